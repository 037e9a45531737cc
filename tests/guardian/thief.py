"""A thief with the keeper's key, all the money he wants, and days to try.

He and the market act in any order. After each call to the guardian that succeeded, what must hold
whatever he did is checked; what the owner lost is kept, to be held against the documented bound.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, ClassVar, Final

from eth_utils.crypto import keccak
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keeper.abi.words import word_to_address
from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import BLOCK_SECONDS, LocalChain, Snapshot
from keeper.devnet.pools import Pair
from keeper.devnet.rpc import RpcError
from keeper.devnet.uniswap import MAX_UINT256, PoolKey, sqrt_price_x96
from keeper.model.units import BPS, WAD, Address
from tests.guardian.ground import (
    DAY_S,
    DOLLAR,
    USDC,
    WETH_USDC,
    deploy,
    ground,
    refused_with,
)

TRANSFER: Final = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
THIN: Final[PoolKey] = ("WETH", "USDC", 10_000)
"""A listed pool whose liquidity is the thief's alone."""
THIN_SIDE_USD: Final = 400_000
TWO_HOPS: Final[tuple[PoolKey, ...]] = (("WBTC", "WETH", 500), ("WBTC", "USDC", 3_000))
ROUTES: Final[Mapping[str, tuple[PoolKey, ...]]] = {
    "deep": (WETH_USDC,),
    "thin": (THIN,),
    "two hops": TWO_HOPS,
}
LIMIT: Final = 20_000 * DOLLAR
PER_SECOND: Final = LIMIT // DAY_S
CONSENT: Final = LIMIT // 4
CONSENT_PER_SECOND: Final = PER_SECOND // 4
HEALTHS: Final = st.sampled_from([1.003, 1.02, 0.985, 1.05, 1.15])
EMERGENCY: Final = 104 * WAD // 100
EDGES: Final = (1.02, 0.985, 0.9, 0.6, 0.0)
"""Shares of the allowed slippage that the thief tries to take, the boldest first."""
DUST: Final = DOLLAR // 100
"""Of one call: roundings of rays and units, in USD with 8 decimals."""
SYMBOLS: Final = ("WETH", "USDC", "WBTC", "DAI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that is somebody's, at one time and the oracle's prices; USD with 8 decimals."""

    equity: int
    """Of the owner's position."""
    wallets: Mapping[str, int]
    """By whose it is."""
    health: int
    held: tuple[int, ...]
    """Raw balances of the guardian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the owner and his reserve lost by one call."""

    time: int
    usd8: int
    from_treasury_usd8: int
    """What left the consenting reserve, for the owner's position."""


@dataclass(slots=True)
class Tally:
    """Over all sequences of a run."""

    calls: int = 0
    sequences: int = 0
    succeeded: int = 0
    """Sequences with at least one successful call."""
    worst: float = 0.0
    """The largest share of its bound that a window of calls cost."""
    refusals: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        refused = ", ".join(f"{name} {count}" for name, count in self.refusals.most_common())
        return (
            f"{self.calls} calls in {self.sequences} sequences, {self.succeeded} of them with a "
            f"success; the worst window cost {self.worst:.0%} of its bound; refused: {refused}"
        )


class Thief(RuleBasedStateMachine):
    """One sequence. `chain` and `tally` are set by the run."""

    chain: ClassVar[LocalChain]
    tally: ClassVar[Tally]

    def __init__(self) -> None:
        super().__init__()
        self.born: Snapshot = self.chain.snapshot()
        self.losses: list[Loss] = []
        self.old_hashes: list[bytes] = []
        self.lucky = False
        self.was_frozen = False
        self.thief = self.chain.account("thief").address
        self.stranger = self.chain.account("stranger").address
        self.treasury = self.chain.account("treasury").address

    def teardown(self) -> None:
        """He never leaves without a last round of tries."""
        try:
            if hasattr(self, "allowed"):
                self._take_all_there_is()
        finally:
            self.tally.sequences += 1
            self.tally.succeeded += self.lucky
            self.chain.revert(self.born)

    @initialize(reserve=st.sampled_from(["owner", "treasury", "stranger"]), health=HEALTHS)
    def a_position_and_its_mandate(self, reserve: str, health: float) -> None:
        self.made = ground(self.chain, {"WETH": 100 * WAD}, {"USDC": 148_000 * USDC})
        self.owner = self.made.owner
        self.reserve = {"owner": self.owner, "treasury": self.treasury}.get(reserve, self.stranger)
        self.pools = {**self.chain.contracts.uniswap.pools, THIN: self._thin_pool()}
        for account in {self.owner, self.treasury, self.stranger}:
            for symbol, amount in (("USDC", 15_000 * USDC), ("WETH", 8 * WAD)):
                self.chain.mint(symbol, account, amount)
                self.made.allow(self.made.token(symbol), MAX_UINT256, account)
        for symbol in SYMBOLS:
            unit = self.chain.contracts.token(symbol).unit
            self.chain.mint(symbol, self.thief, 10**9 * unit)
            for spender in (
                self.chain.contracts.uniswap.router,
                self.chain.contracts.uniswap.position_manager,
                self.chain.contracts.aave.pool,
            ):
                self.chain.transact(
                    self.thief, self.made.token(symbol), "approve", spender.address, MAX_UINT256
                )
        self.made.set_mandate(
            reserve=self.reserve,
            freezer=self.chain.account("freezer").address,
            limit_max=LIMIT,
            limit_per_second=PER_SECOND,
            cooldown_s=60,
            pools=tuple(self.pools[key].address for key in (WETH_USDC, THIN, *TWO_HOPS)),
            emergency_health=EMERGENCY,
            emergency_collateral=self.made.token("WETH").address,
            emergency_debt=self.made.token("USDC").address,
            emergency_route=(self.pools[WETH_USDC].address,),
        )
        if reserve == "treasury":
            self.chain.transact(
                self.treasury,
                self.made.guardian,
                "consent",
                *(self.made.market, CONSENT, CONSENT_PER_SECOND, 2**48 - 1),
            )
        self.allowed = self._where_tokens_may_go()
        self.price_moves(health=health, gap=0.0)

    # -- the market ------------------------------------------------------------------------------

    @rule(health=st.one_of(HEALTHS, st.just(1.3)), gap=st.floats(-0.01, 0.01))
    def price_moves(self, health: float, gap: float) -> None:
        """Until the owner's health is this; traders bring the deep pool after it, nearly."""
        price = int(self._price("WETH") * health * WAD / self.made.health)
        self.chain.set_price("WETH", price)
        self._move_pool(WETH_USDC, price / DOLLAR * (1 + gap))
        self._move_pool(THIN, price / DOLLAR)

    @rule(hours=st.sampled_from([0.02, 1, 6, 30]))
    def time_passes(self, hours: float) -> None:
        self.chain.mine(self.chain.timestamp() + int(hours * 3600))

    # -- the owner and the freezer ---------------------------------------------------------------

    @rule()
    def owner_sets_the_mandate_again(self) -> None:
        self.old_hashes.append(self.made.hash)
        self.made.set_mandate()

    @rule()
    def owner_revokes_and_sets_again(self) -> None:
        self.old_hashes.append(self.made.hash)
        self.made.send(self.owner, "revoke_mandate", self.made.market)
        self.made.set_mandate()

    @precondition(lambda self: not self.was_frozen)
    @rule()
    def frozen_for_an_hour(self) -> None:
        self.was_frozen = True
        self.made.send(self.made.mandate.freezer, "freeze", self.made.market)
        assert not self._attempt(self.made.keeper, self._deleverage("deep", MAX_UINT256))
        assert not self._attempt(self.thief, ("emergency", self.made.market))
        self.chain.mine(self.chain.timestamp() + 3600)
        self.made.send(self.owner, "unfreeze", self.made.market)

    # -- the thief with the keeper's key ---------------------------------------------------------

    @precondition(lambda self: self.made.health < self.made.mandate.max_health_to_act)
    @rule(
        route=st.sampled_from(["deep", "thin", "two hops"]),
        most=st.sampled_from([MAX_UINT256, 5_000 * USDC, 300 * USDC]),
        flash_loan=st.booleans(),
    )
    def sandwiches_an_unwind(self, route: str, most: int, flash_loan: bool) -> None:
        call = self._deleverage(route, most, flash_loan=flash_loan)
        keys = ROUTES[route]
        if len(keys) == 1:
            self._sandwich(keys[0], self._slippage(), self.made.keeper, call)
        else:
            self._attempt(self.made.keeper, call)

    @rule(
        action=st.sampled_from(["repay", "add_collateral"]),
        symbol=st.sampled_from(["USDC", "WETH", "WBTC", "his own"]),
        most=st.sampled_from([MAX_UINT256, 500 * USDC, WAD]),
    )
    def uses_the_reserve(self, action: str, symbol: str, most: int) -> None:
        asset = self.thief if symbol == "his own" else self.made.token(symbol).address
        self._attempt(self.made.keeper, (action, self.made.market, self.made.hash, asset, most))

    @rule()
    def replays_an_old_mandate(self) -> None:
        for old in self.old_hashes[-2:]:
            call = self._deleverage("deep", MAX_UINT256)
            assert not self._attempt(self.made.keeper, (*call[:2], old, *call[3:]))

    @rule()
    def twice_in_one_block(self) -> None:
        for _ in range(2):
            self.chain.send(
                self.made.keeper,
                self.made.guardian.address,
                self._encoded(self._deleverage("deep", 2_000 * USDC)),
                gas=3_000_000,
            )
        self._observed(self.chain.timestamp() + BLOCK_SECONDS, lambda: None)

    @rule(share=st.sampled_from([0.5, 0.999]))
    def takes_his_liquidity_away_meanwhile(self, share: float) -> None:
        positions = self.chain.contracts.uniswap.position_manager
        liquidity = self.chain.read(positions, "positions", self.token_id)[7]
        taken = int(liquidity * share)
        self.chain.transact(
            self.thief, positions, "decreaseLiquidity", (self.token_id, taken, 0, 0, 2**64)
        )
        self._attempt(self.made.keeper, self._deleverage("thin", MAX_UINT256))
        self._add_liquidity()

    # -- the thief without any key ---------------------------------------------------------------

    @precondition(lambda self: self.made.health < EMERGENCY)
    @rule()
    def makes_the_emergency_call_in_a_sandwich(self) -> None:
        call = ("emergency", self.made.market)
        self._sandwich(WETH_USDC, self._slippage() / 2, self.thief, call)

    @rule(up=st.booleans())
    def gives_to_move_the_health(self, up: bool) -> None:
        """A gift makes the owner richer and may hold up a rescue; what was given can be spent."""
        pool, weth, usdc = self.chain.contracts.aave.pool, *map(self.made.token, ("WETH", "USDC"))
        if up:
            self.chain.transact(self.thief, pool, "supply", weth.address, 2 * WAD, self.owner, 0)
        else:
            self.chain.transact(self.thief, pool, "repay", usdc.address, 900 * USDC, 2, self.owner)

    @rule()
    def gives_to_the_guardian(self) -> None:
        for symbol, amount in (("USDC", 3_000 * USDC), ("WETH", WAD)):
            self.chain.transact(
                self.thief, self.made.token(symbol), "transfer", self.made.guardian.address, amount
            )

    @rule(who=st.sampled_from(["thief", "pool", "aave"]))
    def calls_back_unasked(self, who: str) -> None:
        caller = {
            "pool": self.pools[WETH_USDC].address,
            "aave": self.chain.contracts.aave.pool.address,
        }.get(who, self.thief)
        usdc = self.made.token("USDC").address
        self.chain.rpc.call("anvil_setBalance", caller, hex(10**20))
        assert not self._attempt(caller, ("uniswapV3SwapCallback", 10**20, -(10**9), b"x" * 96))
        assert not self._attempt(
            caller, ("executeOperation", usdc, USDC, 0, self.made.guardian.address, b"x" * 96)
        )

    @rule()
    def has_aave_lend_to_the_guardian(self) -> None:
        usdc = self.made.token("USDC").address
        pool = self.chain.contracts.aave.pool
        arguments = (self.made.guardian.address, usdc, 10**5 * USDC, b"", 0)
        assert not self._attempt(self.thief, ("flashLoanSimple", *arguments), to=pool)

    @rule(pool=st.sampled_from(["unlisted", "his own"]))
    def routes_over_another_pool(self, pool: str) -> None:
        his = self.thief if pool == "his own" else self.pools["WETH", "USDC", 3_000].address
        *call, _, flash_loan = self._deleverage("deep", MAX_UINT256)
        assert not self._attempt(self.made.keeper, (*call, [his], flash_loan))

    @rule()
    def names_a_strangers_reserve_in_a_guardian_of_his_own(self) -> None:
        """He is the owner there, and may name whom he likes; the allowances are not that guardian's,
        and a guardian of his has no consent of anybody's."""
        if not hasattr(self, "own"):
            self.own = deploy(self.chain, self.thief)
        terms = replace(self.made.mandate, keeper=self.thief, reserve=self.stranger)
        self.chain.transact(self.thief, self.own, "set_mandate", self.made.market, terms.words())
        current = self.chain.read(self.own, "status", self.made.market)[2]
        usdc = self.made.token("USDC").address
        call = ("repay", self.made.market, current, usdc, MAX_UINT256)
        assert not self._attempt(self.thief, call, to=self.own)

    @rule(call=st.sampled_from(["set_mandate", "revoke_mandate", "unfreeze", "freeze"]))
    def plays_the_owner(self, call: str) -> None:
        terms = (self.made.mandate.words(),) if call == "set_mandate" else ()
        for caller in (self.thief, self.made.keeper):
            assert not self._attempt(caller, (call, self.made.market, *terms))

    def _take_all_there_is(self) -> None:
        """Unwind at the worst price again and again, also when the mandate is set anew, and use the
        reserve as often: limits that do not hold show here."""
        self.price_moves(health=1.003, gap=0.0)
        for renewed in (False, False, True):
            if renewed:
                self.owner_sets_the_mandate_again()
                self.replays_an_old_mandate()
            self.chain.mine(self.chain.timestamp() + self.made.mandate.cooldown_s)
            self.sandwiches_an_unwind("deep", MAX_UINT256, flash_loan=False)
            self.chain.mine(self.chain.timestamp() + self.made.mandate.cooldown_s)
            self.uses_the_reserve("repay", "USDC", MAX_UINT256)
            self.no_window_costs_more_than_its_bound()
            self.no_window_takes_more_from_the_reserve_than_it_consented_to()

    # -- what holds whatever he does -------------------------------------------------------------

    @invariant()
    def no_window_costs_more_than_its_bound(self) -> None:
        slippage_bps = self.made.mandate.slippage_urgent_bps if self.losses else 0
        for start, first in enumerate(self.losses):
            for last, lost in zip(
                self.losses[start:],
                accumulate(loss.usd8 for loss in self.losses[start:]),
                strict=True,
            ):
                window = LIMIT + PER_SECOND * (last.time - first.time)
                bound = slippage_bps * window // BPS
                assert lost <= bound + DUST * len(self.losses), (lost, bound)
                self.tally.worst = max(self.tally.worst, lost / bound)

    @invariant()
    def no_window_takes_more_from_the_reserve_than_it_consented_to(self) -> None:
        for start, first in enumerate(self.losses):
            for last, taken in zip(
                self.losses[start:],
                accumulate(loss.from_treasury_usd8 for loss in self.losses[start:]),
                strict=True,
            ):
                bound = CONSENT + CONSENT_PER_SECOND * (last.time - first.time)
                assert taken <= bound + DUST * len(self.losses), (taken, bound)

    def _sandwich(
        self, key: PoolKey, slippage: float, sender: Address, call: tuple[Any, ...]
    ) -> None:
        """Bend the pool's price as far as the guardian bears it, call, and trade back."""
        fair, oracle = self._pool_price(key), self._price("WETH") / DOLLAR
        room = max(slippage - key[2] / 10**6, 0.0)
        for edge in EDGES:
            self._move_pool(key, oracle * (1 - edge * room))
            if self._would_pass(sender, call):
                break
        self._attempt(sender, call)
        self._move_pool(key, fair)

    def _would_pass(self, sender: Address, call: tuple[Any, ...]) -> bool:
        data = "0x" + self._encoded(call).hex()
        request = {"from": sender, "to": self.made.guardian.address, "data": data}
        try:
            self.chain.rpc.call("eth_call", request, "latest")
        except RpcError:
            return False
        return True

    def _attempt(self, sender: Address, call: tuple[Any, ...], to: Contract | None = None) -> bool:
        target = to or self.made.guardian
        data = target.encode(*call)
        return self._observed(
            self.chain.timestamp() + BLOCK_SECONDS,
            lambda: self.chain.send(sender, target.address, data, gas=4_000_000),
        )

    def _observed(self, time: int, send: Callable[[], str | None]) -> bool:
        """Mine what is sent at this time, beside what would be without it."""
        before = self._see(time)
        sent = send()
        self.chain.mine(time)
        after = self._see()
        receipts = self.chain.rpc.call("eth_getBlockReceipts", "latest")
        self.tally.calls += len(receipts)
        done = any(receipt["status"] == "0x1" for receipt in receipts)
        assert sent is None or len(receipts) == 1
        assert after.held == before.held, "the guardian kept something, or lost a gift"
        assert after.wallets["stranger"] >= before.wallets["stranger"], "a stranger paid"
        if not done:
            for receipt in receipts:
                self._note_refusal(receipt)
            return False
        self.lucky = True
        assert after.health >= before.health, "a call made the position worse"
        for receipt in receipts:
            self._check_transfers(receipt)
        lost = sum(
            had - has
            for had, has in [
                (before.equity, after.equity),
                *((before.wallets[who], after.wallets[who]) for who in before.wallets),
            ]
        )
        taken = before.wallets["treasury"] - after.wallets["treasury"]
        self.losses.append(Loss(time=time, usd8=lost, from_treasury_usd8=taken))
        return True

    def _note_refusal(self, receipt: Mapping[str, Any]) -> None:
        sent = self.chain.rpc.call("eth_getTransactionByHash", receipt["transactionHash"])
        call = {"from": sent["from"], "to": sent["to"], "data": sent["input"]}
        before = hex(int(receipt["blockNumber"], 16) - 1)
        try:
            self.chain.rpc.call("eth_call", call, before)
        except RpcError as error:
            self.tally.refusals[refused_with(error).name] += 1

    def _check_transfers(self, receipt: Mapping[str, Any]) -> None:
        victims = {int(each, 16) for each in (self.owner, self.treasury, self.stranger)}
        victims.add(int(self.made.guardian.address, 16))
        for log in receipt["logs"]:
            if log["topics"][0] == TRANSFER and int(log["topics"][1], 16) in victims:
                receiver = word_to_address(int(log["topics"][2], 16))
                assert receiver in self.allowed, f"{log['address']} went to {receiver}"

    def _where_tokens_may_go(self) -> set[Address]:
        a_tokens = {self.made.a_token(symbol).address for symbol in SYMBOLS}
        return {
            *(word_to_address(int(each, 16)) for each in a_tokens),
            *(self.pools[key].address for key in (WETH_USDC, THIN, *TWO_HOPS)),
            self.made.guardian.address,
            self.owner,
            self.reserve,
            word_to_address(0),
        }

    # -- looking ---------------------------------------------------------------------------------

    def _see(self, time: int | None = None) -> Seen:
        """Now, or as it would be at a later time if nothing happened."""
        at: tuple[Any, ...] = ("latest",) if time is None else ("latest", {}, {"time": hex(time)})
        aave, tokens = self.chain.contracts.aave, [self.made.token(symbol) for symbol in SYMBOLS]
        whose = {"owner": self.owner, "treasury": self.treasury, "stranger": self.stranger}
        calls = [(aave.pool, "getUserAccountData", self.owner)]
        calls += [(aave.oracle, "getAssetPrice", token.address) for token in tokens]
        holders = [*whose.values(), self.made.guardian.address]
        calls += [(token, "balanceOf", holder) for holder in holders for token in tokens]
        answers = self.chain.rpc.batch(
            [
                (
                    "eth_call",
                    (
                        {"to": to.address, "data": "0x" + to.encode(name, argument).hex()},
                        *at,
                    ),
                )
                for to, name, argument in calls
            ]
        )
        words = [[int(a[i : i + 64], 16) for i in range(2, len(a), 64)] for a in answers]
        collateral, debt, *_, health = words[0]
        prices = [each[0] for each in words[1 : 1 + len(tokens)]]
        balances = [each[0] for each in words[1 + len(tokens) :]]
        count = len(tokens)
        units = [self.chain.contracts.token(symbol).unit for symbol in SYMBOLS]
        worth = [
            sum(
                balance * price // unit
                for balance, price, unit in zip(
                    balances[n * count : (n + 1) * count], prices, units, strict=True
                )
            )
            for n in range(len(whose))
        ]
        return Seen(
            equity=collateral - debt,
            wallets=dict(zip(whose, worth, strict=True)),
            health=health,
            held=tuple(balances[len(whose) * count :]),
        )

    def _price(self, symbol: str) -> int:
        oracle, token = self.chain.contracts.aave.oracle, self.made.token(symbol)
        return int(self.chain.read(oracle, "getAssetPrice", token.address))

    def _slippage(self) -> float:
        """What is allowed at the health now, as a fraction."""
        terms = self.made.mandate
        span = terms.max_health_to_act - WAD
        depth = min(max(terms.max_health_to_act - self.made.health, 0), span)
        rise = terms.slippage_urgent_bps - terms.slippage_calm_bps
        return (terms.slippage_calm_bps + rise * depth / span) / BPS

    # -- calls and pools -------------------------------------------------------------------------

    def _deleverage(self, route: str, most: int, *, flash_loan: bool = False) -> tuple[Any, ...]:
        tokens = (self.made.token("WETH").address, self.made.token("USDC").address)
        pools = [self.pools[key].address for key in ROUTES[route]]
        return (
            *("deleverage", self.made.market, self.made.hash, *tokens),
            *(most, MAX_UINT256, pools, flash_loan),
        )

    def _encoded(self, call: tuple[Any, ...]) -> bytes:
        return self.made.guardian.encode(*call)

    def _pair(self, key: PoolKey) -> Pair:
        tokens = self.chain.contracts
        return Pair(
            pool=self.pools[key], base=tokens.token(key[0]), quote=tokens.token(key[1]), fee=key[2]
        )

    def _pool_price(self, key: PoolKey) -> float:
        pair = self._pair(key)
        return pair.price(self.chain.read(pair.pool, "slot0")[0])

    def _move_pool(self, key: PoolKey, price: float) -> None:
        pair = self._pair(key)
        root = self.chain.read(pair.pool, "slot0")[0]
        trade = pair.trade(self.thief, root, price)
        if trade is not None:
            router = self.chain.contracts.uniswap.router
            self.chain.transact(self.thief, router, "exactInputSingle", trade)

    def _thin_pool(self) -> Contract:
        """A genuine pool with nobody's liquidity but the thief's."""
        uniswap, tokens = self.chain.contracts.uniswap, self.chain.contracts
        sides = sorted(
            (tokens.tokens[s].address.lower(), self._side(s), s) for s in ("WETH", "USDC")
        )
        (token0, amount0, symbol0), (token1, amount1, symbol1) = sides
        manager = uniswap.position_manager
        for symbol, amount in ((symbol0, amount0), (symbol1, amount1)):
            self.chain.mint(symbol, self.thief, 10 * amount)
            self.chain.transact(
                self.thief, tokens.tokens[symbol], "approve", manager.address, MAX_UINT256
            )
        self.chain.transact(
            self.thief,
            manager,
            "createAndInitializePoolIfNecessary",
            *(token0, token1, THIN[2], sqrt_price_x96(amount0, amount1)),
        )
        minted = (token0, token1, THIN[2], -887_200, 887_200, amount0, amount1, 0, 0)
        self.chain.transact(self.thief, manager, "mint", (*minted, self.thief, 2**64))
        balance = self.chain.read(manager, "balanceOf", self.thief)
        self.token_id = self.chain.read(manager, "tokenOfOwnerByIndex", self.thief, balance - 1)
        found = self.chain.read(uniswap.factory, "getPool", token0, token1, THIN[2])
        return Contract(
            address=word_to_address(int(found, 16)), interface=uniswap.pools[WETH_USDC].interface
        )

    def _side(self, symbol: str) -> int:
        unit = self.chain.contracts.token(symbol).unit
        return THIN_SIDE_USD * DOLLAR * unit // self._price_of_feed(symbol)

    def _price_of_feed(self, symbol: str) -> int:
        oracle, tokens = self.chain.contracts.aave.oracle, self.chain.contracts.tokens
        return int(self.chain.read(oracle, "getAssetPrice", tokens[symbol].address))

    def _add_liquidity(self) -> None:
        manager = self.chain.contracts.uniswap.position_manager
        amounts = (self._side("WETH"), self._side("USDC"))
        if int(self.made.token("USDC").address, 16) < int(self.made.token("WETH").address, 16):
            amounts = (amounts[1], amounts[0])
        self.chain.transact(
            self.thief, manager, "increaseLiquidity", (self.token_id, *amounts, 0, 0, 2**64)
        )
