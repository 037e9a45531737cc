"""A thief with the keeper's key, all the money he wants, and days to try.

He and the market act in any order. After each call to the guardian that succeeded, what must hold
whatever he did is checked; what the owner lost is kept, to be held against the documented bound.
"""

from dataclasses import replace
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from keeper.devnet.chain import BLOCK_SECONDS, VARIABLE_RATE, Snapshot
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD, Address
from tests.guardian.ground import BTC, DOLLAR, USDC, WETH_USDC, deploy, ground
from tests.guardian.mocks import mock
from tests.guardian.robbery import (
    CONSENT,
    CONSENT_PER_SECOND,
    LIMIT,
    PER_SECOND,
    ROUTES,
    SYMBOLS,
    THIN,
    TWO_HOPS,
    Robbery,
)

HEALTHS: Final = st.sampled_from([1.003, 1.02, 0.985, 1.05, 1.15])
EMERGENCY: Final = 104 * WAD // 100
ODD_DEBT: Final = 2_000 * USDC


class Thief(Robbery):
    """One sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.born: Snapshot = self.chain.snapshot()
        self.losses = []
        self.old_hashes: list[bytes] = []
        self.lucky = False
        self.was_frozen = False
        self.thief = self.chain.account("thief").address
        self.stranger = self.chain.account("stranger").address
        self.treasury = self.chain.account("treasury").address

    def teardown(self) -> None:
        """He never leaves without a last round of tries, which counts as no success of his."""
        try:
            self.tally.sequences += 1
            self.tally.succeeded += self.lucky
            if hasattr(self, "allowed"):
                self._take_all_there_is()
        finally:
            self.chain.revert(self.born)

    @initialize(reserve=st.sampled_from(["owner", "treasury", "stranger"]), health=HEALTHS)
    def a_position_and_its_mandate(self, reserve: str, health: float) -> None:
        self.made = ground(self.chain, {"WETH": 100 * WAD}, {"USDC": 146_000 * USDC})
        self.owner = self.made.owner
        self.reserve = {"owner": self.owner, "treasury": self.treasury}.get(reserve, self.stranger)
        self.pools = {**self.chain.contracts.uniswap.pools, THIN: self._thin_pool()}
        for account in {self.owner, self.treasury, self.stranger}:
            for symbol, amount in (("USDC", 15_000 * USDC), ("WETH", 8 * WAD)):
                self.chain.mint(symbol, account, amount)
                self.made.allow(self.made.token(symbol), MAX_UINT256, account)
        pool = self.chain.contracts.aave.pool
        self.chain.transact(
            self.owner, pool, "borrow", self.odd.address, ODD_DEBT, VARIABLE_RATE, 0, self.owner
        )
        for account in {self.owner, self.treasury, self.stranger}:
            self.chain.transact(self.thief, self.odd, "mint", account, 10 * ODD_DEBT)
            self.made.allow(self.odd, MAX_UINT256, account)
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
        price = int(self.made.price("WETH") * health * WAD / self.made.health)
        self.chain.set_price("WETH", price)
        self._move_pool(WETH_USDC, price / DOLLAR * (1 + gap))
        self._move_pool(THIN, price / DOLLAR)

    @rule(hours=st.sampled_from([0.02, 1, 6, 30]))
    def time_passes(self, hours: float) -> None:
        self.chain.mine(self.chain.timestamp() + int(hours * 3600))

    # -- the owner and the freezer ---------------------------------------------------------------

    @rule(share=st.sampled_from([1.0, 0.25, 1.5]))
    def owner_sets_the_mandate_again(self, share: float) -> None:
        """With this share of the first limit: lowering it must not make what was spent forgotten."""
        self.old_hashes.append(self.made.hash)
        self.made.set_mandate(limit_max=int(LIMIT * share))

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

    @rule(
        trick=st.sampled_from(
            ["fee", "gain", "loss", "no", "emergency", "unwind", "callback", "loan", "consent"]
        ),
        most=st.sampled_from([MAX_UINT256, 60 * USDC]),
    )
    def repays_with_a_token_of_his_making(self, trick: str, most: int) -> None:
        """That takes more, changes balances, says no, or calls somebody while it is moved."""
        odd, guardian, market = self.odd, self.made.guardian, self.made.market
        aave, usdc = self.chain.contracts.aave.pool, self.made.token("USDC").address
        loan = (guardian.address, usdc, 10**5 * USDC, b"", 0)
        calls = {
            "emergency": (guardian.address, guardian.encode("emergency", market)),
            "unwind": (guardian.address, guardian.encode(*self._deleverage("deep", MAX_UINT256))),
            "callback": (
                guardian.address,
                guardian.encode("uniswapV3SwapCallback", 10**20, -(10**9), b"x" * 96),
            ),
            "loan": (aave.address, aave.encode("flashLoanSimple", *loan)),
            "consent": (guardian.address, guardian.encode("consent", market, LIMIT, LIMIT, 2**40)),
        }
        prepared = {
            "fee": ("charge", 500),
            "gain": ("rebase", guardian.address, 7 * USDC),
            "loss": ("rebase", guardian.address, -7 * USDC),
            "no": ("say_no", True),
        }.get(trick) or ("call_on_transfer", *calls[trick], True)
        self.chain.transact(self.thief, odd, *prepared)
        call = ("repay", market, self.made.hash, odd.address, most)
        done = self._attempt(self.made.keeper, call)
        assert not done or trick in calls, f"{trick} was not noticed"
        assert not self.chain.read(odd, "got_in"), f"{trick} got in"
        self.chain.transact(self.thief, odd, "charge", 0)
        self.chain.transact(self.thief, odd, "rebase", self.thief, 0)
        self.chain.transact(self.thief, odd, "say_no", False)
        self.chain.transact(self.thief, odd, "call_on_transfer", odd.address, b"", True)

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

    @rule(symbol=st.sampled_from(["WETH", "USDC"]), hours=st.sampled_from([1, 24]))
    def squeezes_the_market(self, symbol: str, hours: int) -> None:
        """Borrows all there is: of the collateral, so that none can be withdrawn, or of the debt, so
        that its interest drives health down."""
        aave, token = self.chain.contracts.aave.pool, self.made.token(symbol)
        a_token, wbtc = self.made.a_token(symbol).address, self.made.token("WBTC").address
        self.chain.transact(self.thief, aave, "supply", wbtc, 10**5 * BTC, self.thief, 0)
        most = self.made.balance(token, a_token)
        borrow = (token.address, most, VARIABLE_RATE, 0, self.thief)
        self.chain.transact(self.thief, aave, "borrow", *borrow)
        self._attempt(self.made.keeper, self._deleverage("deep", MAX_UINT256))
        self.chain.mine(self.chain.timestamp() + hours * 3600)
        owed = self.made.balance(self.made.debt_token(symbol), self.thief)
        self.chain.transact(
            self.thief, aave, "repay", token.address, owed * 2, VARIABLE_RATE, self.thief
        )
        self._attempt(self.made.keeper, self._deleverage("deep", MAX_UINT256))

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
        his = self.pools["WETH", "USDC", 3_000].address if pool == "unlisted" else self._his_pool()
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
            part = ("emergency_part", self.made.market, self.thief, 8)
            assert not self._attempt(caller, part)

    def _his_pool(self) -> Address:
        """A contract of his that sells at the oracle's price, and asks for the price as a pool does."""
        if not hasattr(self, "fake"):
            weth, usdc = self.made.token("WETH"), self.made.token("USDC")
            self.fake = mock(self.chain, "FakePool")
            price = 10**18 * self.made.price("USDC") * 10**12 // self.made.price("WETH")
            told = (weth.address, usdc.address, "once", price, self.thief)
            self.chain.transact(self.thief, self.fake, "tell", *told)
            self.chain.transact(self.thief, usdc, "mint", self.fake.address, 10**6 * USDC)
        return self.fake.address

    def _take_all_there_is(self) -> None:
        """Unwind at the worst price again and again, also when the mandate is set anew, and use the
        reserve as often: limits that do not hold show here."""
        self.scripted = True
        self.price_moves(health=1.003, gap=0.0)
        for renewed in (False, False, True):
            if renewed:
                self.owner_sets_the_mandate_again(1.0)
                self.replays_an_old_mandate()
            self.chain.mine(self.chain.timestamp() + self.made.mandate.cooldown_s)
            self.sandwiches_an_unwind("deep", MAX_UINT256, flash_loan=False)
            self.chain.mine(self.chain.timestamp() + self.made.mandate.cooldown_s)
            self.uses_the_reserve("repay", "USDC", MAX_UINT256)
            self.no_window_costs_more_than_its_bound()
            self.no_window_takes_more_from_the_reserve_than_it_consented_to()
