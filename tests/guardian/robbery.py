"""What a theft from a guardian is watched by: what is whose before and after each call.

After each call to the guardian that succeeded, what must hold whatever was done is checked; what the
owner lost is kept, to be held against the documented bound.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, ClassVar, Final

from hypothesis.stateful import RuleBasedStateMachine, invariant

from keeper.abi.erc20 import TRANSFERRED
from keeper.abi.words import word_to_address
from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import BLOCK_SECONDS, LocalChain
from keeper.devnet.pools import Pair
from keeper.devnet.rpc import RpcError
from keeper.devnet.uniswap import MAX_UINT256, PoolKey, sqrt_price_x96
from keeper.model.units import BPS, WAD, Address
from tests.guardian.ground import DAY_S, DOLLAR, USDC, WETH_USDC, Ground, refused_with

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
    limit: int
    """The mandate's, at that time."""
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
    unscripted: float = 0.0
    """The same, without the last round of tries that ends each sequence."""
    refusals: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        refused = ", ".join(f"{name} {count}" for name, count in self.refusals.most_common())
        return (
            f"{self.calls} calls in {self.sequences} sequences, {self.succeeded} of them with a "
            f"success; the worst window cost {self.worst:.0%} of its bound ({self.unscripted:.0%} before the "
            f"scripted last round); refused: {refused}"
        )


class Robbery(RuleBasedStateMachine):
    """Whatever is done to a guardian, and what holds all the same. `chain`, `odd` and `tally` are
    set by the run."""

    chain: ClassVar[LocalChain]
    odd: ClassVar[Contract]
    """A token of the thief's making, listed by the market, that the owner owes too."""
    tally: ClassVar[Tally]
    made: Ground
    owner: Address
    reserve: Address
    thief: Address
    treasury: Address
    stranger: Address
    pools: dict[PoolKey, Contract]
    allowed: set[Address]
    losses: list[Loss]
    lucky: bool
    scripted: bool = False
    """Whether the last round of tries has begun."""
    token_id: int

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
                window = last.limit + PER_SECOND * (last.time - first.time)
                bound = slippage_bps * window // BPS
                assert lost <= bound + DUST * len(self.losses), (lost, bound)
                self.tally.worst = max(self.tally.worst, lost / bound)
                if not self.scripted:
                    self.tally.unscripted = max(self.tally.unscripted, lost / bound)

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
        fair, oracle = self._pool_price(key), self.made.price("WETH") / DOLLAR
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
        limit = self.made.mandate.limit_max
        self.losses.append(Loss(time=time, usd8=lost, limit=limit, from_treasury_usd8=taken))
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
            if log["topics"][0] == TRANSFERRED and int(log["topics"][1], 16) in victims:
                receiver = word_to_address(int(log["topics"][2], 16))
                assert receiver in self.allowed, f"{log['address']} went to {receiver}"

    def _where_tokens_may_go(self) -> set[Address]:
        pool = self.chain.contracts.aave.pool
        reserves = [self.chain.read(pool, "getReserveData", t.address) for t in self._tokens]
        return {
            *(word_to_address(int(reserve[8], 16)) for reserve in reserves),
            *(self.pools[key].address for key in (WETH_USDC, THIN, *TWO_HOPS)),
            self.made.guardian.address,
            self.owner,
            self.reserve,
            word_to_address(0),
        }

    # -- looking ---------------------------------------------------------------------------------

    @property
    def _tokens(self) -> list[Contract]:
        return [*(self.made.token(symbol) for symbol in SYMBOLS), self.odd]

    def _see(self, time: int | None = None) -> Seen:
        """Now, or as it would be at a later time if nothing happened."""
        at: tuple[Any, ...] = ("latest",) if time is None else ("latest", {}, {"time": hex(time)})
        aave, tokens = self.chain.contracts.aave, self._tokens
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
        units = [*(self.chain.contracts.token(symbol).unit for symbol in SYMBOLS), USDC]
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
        return THIN_SIDE_USD * DOLLAR * unit // self.made.price(symbol)

    def _add_liquidity(self) -> None:
        manager = self.chain.contracts.uniswap.position_manager
        amounts = (self._side("WETH"), self._side("USDC"))
        if int(self.made.token("USDC").address, 16) < int(self.made.token("WETH").address, 16):
            amounts = (amounts[1], amounts[0])
        self.chain.transact(
            self.thief, manager, "increaseLiquidity", (self.token_id, *amounts, 0, 0, 2**64)
        )
