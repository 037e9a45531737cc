"""A thief with the keeper's key against the perp guardian, and with enough margin to push markets.

What the owner has is counted at the index prices, which he cannot move, before and after each call
to the guardian; what is lost is held against the documented bound.
"""

from itertools import accumulate
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keeper.devnet.chain import Snapshot, TransactionFailedError
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.rpc import RpcError
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import BPS, WAD, Address
from tests.guardian.ground import DAY_S, DOLLAR, USDC, deploy
from tests.guardian.perp_ground import GUARDIAN, Lending, perp_ground
from tests.guardian.robbery import Loss, Tally

LIMIT: Final = 3_000 * DOLLAR
PER_SECOND: Final = LIMIT // DAY_S
CONSENT: Final = 100 * DOLLAR
MOVABLE: Final = 250 * DOLLAR
SOURCE_FLOOR: Final = 160 * WAD // 100
EDGES: Final = (0.97, 0.9, 0.6, 0.0)
"""Shares of the allowed slippage that he tries to take, the boldest first."""
DUST: Final = DOLLAR // 20
"""Of one call: funding for the seconds that its block takes, and roundings."""
HEALTHS: Final = st.sampled_from([1.06, 1.1, 1.15, 1.22, 1.28])
START: Final = 2_281.37


class PerpThief(RuleBasedStateMachine):
    """One sequence. `perp` and `tally` are set by the run."""

    perp: ClassVar[PerpMarket]
    tally: ClassVar[Tally]

    def __init__(self) -> None:
        super().__init__()
        self.chain = self.perp.chain
        self.born: Snapshot = self.chain.snapshot()
        self.losses: list[Loss] = []
        self.consented = self.moved = 0
        self.old_hashes: list[bytes] = []
        self.lucky = False
        self.was_frozen = False

    def teardown(self) -> None:
        try:
            self.tally.sequences += 1
            self.tally.succeeded += self.lucky
        finally:
            self.chain.revert(self.born)

    @initialize(
        reserve=st.sampled_from(["owner", "treasury", "stranger"]),
        short=st.booleans(),
        health=HEALTHS,
    )
    def a_position_and_its_mandate(self, reserve: str, short: bool, health: float) -> None:
        """A second position that the mandate does not name stands beside the first."""
        self.made = perp_ground(self.perp, quote=(-9_000 if short else 9_000) * WAD)
        self.perp.trade(self.made.owner, "vBTC", quote=500 * WAD)
        self.accounts = {
            name: self.chain.account(name).address
            for name in ("thief", "treasury", "stranger", "freezer")
        } | {"owner": self.made.owner, "keeper": self.made.keeper}
        self.his_own = deploy(self.chain, self.accounts["thief"], GUARDIAN)
        for name in ("owner", "treasury", "stranger"):
            holder = self.accounts[name]
            self.chain.mint("USDC", holder, 400 * USDC)
            self.chain.transact(
                holder, self.made.usdc, "approve", self.made.guardian.address, MAX_UINT256
            )
        self.made.set_mandate(
            reserve=self.accounts[reserve],
            freezer=self.accounts["freezer"],
            limit_max=LIMIT,
            limit_per_second=PER_SECOND,
            cooldown_s=60,
        )
        if reserve == "treasury":
            self.chain.transact(
                self.accounts["treasury"],
                self.made.guardian,
                "consent",
                *(self.made.market, CONSENT, 0, 2**48 - 1),
            )
        # What is lent is spare down to health 1.6: about 350 dollars, of which 250 may be moved.
        self.lending = Lending(self.made, 1_500 * USDC, WAD * 3 // 10)
        self.lending.allow(SOURCE_FLOOR, MOVABLE)
        self.prices_move(health=health, gap=0.0)

    # -- the market ------------------------------------------------------------------------------

    @rule(health=HEALTHS, gap=st.floats(-0.004, 0.004))
    def prices_move(self, health: float, gap: float) -> None:
        """Until health is near this; the pool follows the index, nearly."""
        size, price = self.made.size() / WAD, self.made.index() / WAD
        if size:
            # Equity moves by the size for each dollar, the requirement by a sixteenth of that.
            lacking = health * self.made.required / WAD - self.made.value / WAD
            price += lacking / (size - health * abs(size) / 16)
        self.made.move_index(price)
        self.made.move_pool(price * (1 + gap))
        self.chain.mine(self.chain.timestamp() + 1_800)

    @rule(hours=st.sampled_from([0.02, 1, 6, 30]))
    def time_passes(self, hours: float) -> None:
        self.chain.mine(self.chain.timestamp() + int(hours * 3_600))

    # -- the owner and the freezer ---------------------------------------------------------------

    @rule(revoke=st.booleans())
    def owner_sets_the_mandate_again(self, revoke: bool) -> None:
        self.old_hashes.append(self.made.hash)
        if revoke:
            self.made.send(self.made.owner, "revoke_mandate", self.made.market)
        self.made.set_mandate()

    @precondition(lambda self: not self.was_frozen)
    @rule()
    def frozen_for_an_hour(self) -> None:
        self.was_frozen = True
        self.made.send(self.accounts["freezer"], "freeze", self.made.market)
        assert not self._attempt(self.made.keeper, self.made.reduce())
        assert not self._attempt(self.made.keeper, self.made.add())
        self.chain.mine(self.chain.timestamp() + 3_600)
        self.made.send(self.made.owner, "unfreeze", self.made.market)

    # -- the thief with the keeper's key ---------------------------------------------------------

    @rule(most=st.sampled_from([MAX_UINT256, WAD, WAD // 20]), turns=st.integers(1, 3))
    def sandwiches_reductions(self, most: int, turns: int) -> None:
        """Again and again: churning must end at the limit."""
        for _ in range(turns):
            self._sandwich(self.made.reduce(most=most))
            self.chain.mine(self.chain.timestamp() + 60)

    @rule(hold_s=st.sampled_from([60, 1_800]))
    def pushes_the_mark_and_reduces_what_was_healthy(self, hold_s: int) -> None:
        """The mark follows the pool: health falls, though the index stands still."""
        fair = self.made.index() / WAD
        against = -1 if self.made.size() > 0 else 1
        self.made.move_pool(fair * (1 + 0.03 * against))
        self.chain.mine(self.chain.timestamp() + hold_s)
        self._sandwich(self.made.reduce())
        self.made.move_pool(fair)

    @rule(most=st.sampled_from([MAX_UINT256, 20 * USDC]))
    def uses_the_reserve(self, most: int) -> None:
        self._attempt(self.made.keeper, self.made.add(most))

    @rule(most=st.sampled_from([MAX_UINT256, 30 * USDC]))
    def brings_margin_over(self, most: int) -> None:
        lent = self.lending.lent
        if self._attempt(self.made.keeper, self.made.bring(most)):
            self.moved += (lent - self.lending.lent) * 100
            assert self.lending.health >= SOURCE_FLOOR

    @rule(trick=st.sampled_from(["other market", "his own token", "old hash", "other guardian"]))
    def tries_what_is_not_allowed(self, trick: str) -> None:
        made = self.made
        calls: dict[str, tuple[Any, ...]] = {
            "other market": made.reduce("vBTC"),
            "his own token": (
                *("reduce_position", made.market, made.hash),
                *(self.accounts["thief"], MAX_UINT256),
            ),
            "old hash": (
                *("reduce_position", made.market, (self.old_hashes or [bytes(32)])[-1]),
                *(made.base_token(), MAX_UINT256),
            ),
        }
        if trick in calls:
            assert not self._attempt(made.keeper, calls[trick])
            return
        terms, thief = made.mandate.words(), self.accounts["thief"]
        self.chain.transact(thief, self.his_own, "set_mandate", made.market, terms)
        carried = self.chain.read(self.his_own, "status", made.market)[2]
        call = ("reduce_position", made.market, carried, made.base_token(), MAX_UINT256)
        assert not self._attempt(made.keeper, call)

    @rule(growing=st.booleans())
    def trades_for_the_owner_at_the_venue_itself(self, growing: bool) -> None:
        """The delegation is the guardian's: the keeper has none."""
        amount = WAD if (self.made.size() > 0) == growing else -WAD
        order = self.perp.order("vETH", amount=amount, in_base=True)
        house = self.perp.perp.clearing_house
        data = house.encode("openPositionFor", self.made.owner, order)
        request = {"from": self.made.keeper, "to": house.address, "data": "0x" + data.hex()}
        try:
            self.chain.rpc.call("eth_call", request, "latest")
        except RpcError as error:
            assert "CH_SHNAOPT" in str(error)  # noqa: PT017 - the refusal itself is what is meant
        else:
            raise AssertionError("the keeper may trade for the owner")

    # -- what holds whatever he does -------------------------------------------------------------

    @invariant()
    def no_window_costs_more_than_its_bound(self) -> None:
        for start, first in enumerate(self.losses):
            lost_until = accumulate(loss.usd8 for loss in self.losses[start:])
            for last, lost in zip(self.losses[start:], lost_until, strict=True):
                window = last.limit + PER_SECOND * (last.time - first.time)
                bound = self.made.mandate.slippage_urgent_bps * window // BPS
                assert lost <= bound + DUST * len(self.losses), (lost, bound)
                self.tally.worst = max(self.tally.worst, lost / bound)
                self.tally.unscripted = self.tally.worst  # he has no scripted last round

    @invariant()
    def reserve_gives_no_more_than_it_consented_to(self) -> None:
        assert self.consented <= CONSENT + DUST

    @invariant()
    def no_more_is_moved_than_was_allowed(self) -> None:
        assert self.moved <= MOVABLE + DUST

    def _sandwich(self, call: tuple[Any, ...]) -> None:
        """Bend the pool as far as the guardian bears it, call, and trade back."""
        fair, against = self.made.index() / WAD, -1 if self.made.size() > 0 else 1
        slippage = self.made.mandate.slippage_urgent_bps / BPS
        for edge in EDGES:
            self.made.move_pool(fair * (1 + against * edge * slippage))
            if self._attempt(self.made.keeper, call):
                break
        self.made.move_pool(fair)

    def _attempt(self, sender: Address, call: tuple[Any, ...]) -> bool:
        """Whether the guardian did it; what must hold is looked at if so."""
        self.tally.calls += 1
        refused = self.made.refused(sender, *call)
        if refused is not None:
            self.tally.refusals[refused.name] += 1
            return False
        before = self._seen()
        try:
            receipt = self.made.send(sender, *call)
        except TransactionFailedError:  # the averages have gone on by the time it is mined
            self.tally.refusals["when mined"] += 1
            return False
        after = self._seen()
        self.lucky = True
        assert after["health"] > before["health"]
        assert after["vBTC"] == before["vBTC"]
        assert abs(after["vETH"]) <= abs(before["vETH"])
        assert after["vETH"] * before["vETH"] >= 0
        for name in ("keeper", "thief", "guardian"):
            assert after[name] == before[name]
        if self.made.mandate.reserve != self.accounts["stranger"]:
            assert after["stranger"] == before["stranger"]
        paid = (before["treasury"] - after["treasury"]) * 100
        self.consented += paid
        lost = before["equity"] - after["equity"] + paid + 100 * (before["owner"] - after["owner"])
        timestamp = self.chain.rpc.call("eth_getBlockByNumber", receipt["blockNumber"], False)
        self.losses.append(
            Loss(
                time=int(timestamp["timestamp"], 16),
                usd8=lost,
                limit=LIMIT,
                from_treasury_usd8=paid,
            )
        )
        return True

    def _seen(self) -> dict[str, int]:
        """Equity in USD with 8 decimals at the index, the loan's too, balances in raw units, sizes,
        health."""
        made = self.made
        balances = self.perp.perp.account_balance
        equity = made.value
        found = {}
        for symbol in ("vETH", "vBTC"):
            size = found[symbol] = made.size(symbol)
            mark = self.chain.read(balances, "getMarkPrice", made.base_token(symbol))
            equity += size * (made.index(symbol) - int(mark)) // WAD
        holders = {**self.accounts, "guardian": made.guardian.address}
        found |= {name: made.balance(account) for name, account in holders.items()}
        loan = self.lending.account
        equity = equity // 10**10 + loan["collateral"] - loan["debt"]
        return found | {"equity": equity, "health": made.health}
