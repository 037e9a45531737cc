"""What is left to fear, whether an action is worth it, how it is sliced, and whose turn it is."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan

import pytest

from keeper.engine.outlook import nothing_known
from keeper.engine.triggering import Triggering
from keeper.engine.watch import Snapshot, Watched
from keeper.model.lifecycle import Urgency
from keeper.model.liquidity import Depth
from keeper.model.units import BPS, WAD, Amount, Bps, Wad, Wei
from keeper.model.values import AddCollateral, Deleverage, LiquidationTerms, PositionId, Repay
from keeper.policy.costs import Costs, GasPrice, expected_loss_usd8
from keeper.policy.plan import Plan, Refused
from keeper.policy.threat import Threat
from keeper.policy.turns import Claim, in_turn, short_of
from keeper.policy.worth import worth_acting
from tests.unit.fake_rpc import address, head_at
from tests.unit.test_plan import LOAN, NO_FORECAST, NOW, POLICY, TOY, USD8, chosen
from tests.unit.test_unwind import FREE, GAS, payments, route, unwinding
from tests.unit.toy_protocol import CHAIN_ID, DOLLAR, ETHER, ToyPosition

# Of 13,000 dollars of debt a liquidation takes half, and 5 % of that: 325 dollars.
LOSS_USD8 = 325 * USD8


def feared(probability: float, urgency: Urgency = Urgency.ROUTINE) -> Threat:
    """The same chance at any health."""
    return replace(
        NO_FORECAST, urgency=urgency, chances=lambda healths: [probability] * len(healths)
    )


# -- the expected liquidation loss ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.1, 3_250_000_001), (0.5, 1_625 * 10**7), (0.0, 0), (1.0, LOSS_USD8), (nan, None)],
)
def test_expected_loss__of_325_dollars__times_the_chance_rounded_up(
    probability: float, expected: int | None
) -> None:
    # The float nearest to 0.1 lies a little above it: rounding against ourselves shows.
    assert expected_loss_usd8(LOSS_USD8, probability) == expected


def test_threat__of_a_position__is_penalty_times_close_factor_times_debt_times_the_chance() -> None:
    assert feared(0.5).loss_usd8(LOAN) == LOSS_USD8
    # 3,000 repaid leave 10,000: 250 at 2 % are 5.
    after = TOY.predict(
        Repay(position=LOAN.id, amount=Amount(raw=3_000 * DOLLAR.unit, token=DOLLAR)), LOAN, NOW
    )
    assert feared(0.5).expected_losses_usd8([LOAN, after]) == [LOSS_USD8 // 2, 125 * USD8]
    debtless = replace(LOAN, principal=0)
    assert feared(0.5).expected_losses_usd8([debtless]) == [0]


def test_threat__close_factor_changes_with_health__each_position_by_its_own_terms() -> None:
    def terms(position: object) -> LiquidationTerms:
        assert isinstance(position, ToyPosition)
        healthy = position.health is not None and position.health > WAD
        close_factor = Bps(5_000) if healthy else Bps(BPS)
        return LiquidationTerms(close_factor=close_factor, liquidation_penalty=Bps(500))

    threat = replace(feared(1.0), terms=terms)
    sunk = replace(LOAN, ether=8 * ETHER.unit)
    assert [threat.loss_usd8(each) for each in (LOAN, sunk)] == [LOSS_USD8, 2 * LOSS_USD8]


def test_plan__both_reach_the_target__the_least_of_cash_and_expected_loss_wins() -> None:
    # To repay 1571.43 costs a month's carry of 5.17 and gas of 4, and leaves 11,428.57 of debt; to
    # add 2750 costs 9.05, gas here for nothing, and leaves 13,000. At 2 % a liquidation of the
    # former is feared for 5.71, of the latter for 6.50: 14.88 against 15.55.
    add, repay = TOY.options(LOAN)
    options = [replace(add, gas=0), repay]
    by_cash = chosen(unwinding(first=options, gas_price=GAS))
    assert isinstance(by_cash.action, AddCollateral)
    assert by_cash.costs.loss_left_usd8 is None
    in_all = chosen(unwinding(first=options, gas_price=GAS, threat=feared(0.02)))
    assert isinstance(in_all.action, Repay)
    assert in_all.costs.gas_usd8 == 4 * USD8
    assert in_all.costs.carry_usd8 / USD8 == pytest.approx(1_571.428572 * 0.04 * 30 / 365)
    assert in_all.costs.loss_left_usd8 is not None
    assert in_all.costs.loss_left_usd8 / USD8 == pytest.approx(11_428.571428 * 0.5 * 0.05 * 0.02)
    assert in_all.costs.total_usd8 / USD8 == pytest.approx(14.88, abs=0.01)


def test_plan__chance_at_the_health_after__is_what_counts() -> None:
    asked: list[Wad | None] = []

    def chances(healths: Sequence[Wad | None]) -> list[float]:
        asked.extend(healths)
        return [0.0] * len(healths)

    found = chosen(unwinding(first=payments(5_000), threat=replace(NO_FORECAST, chances=chances)))
    assert asked == [found.predicted.health]


# -- worth it? -----------------------------------------------------------------------------------


def test_plan__costs_more_than_its_share_of_the_loss__is_refused_with_both_figures() -> None:
    # Gas 4 and carry 5.17 are 2.82 % of the 325 dollars that a liquidation would take.
    enough = unwinding(
        first=payments(5_000), gas_price=GAS, policy=replace(POLICY, guard_share=0.029)
    )
    assert isinstance(enough, Plan)
    found = unwinding(
        first=payments(5_000), gas_price=GAS, policy=replace(POLICY, guard_share=0.028)
    )
    assert isinstance(found, Refused)
    assert found.not_worth
    assert (
        "not worth it: it would cost 9.17 USD, more than 0.028 × the 325.00 USD that a liquidation "
        "would take (guard_share)" in found.reason
    )


def test_plan__nothing_can_be_done__is_not_told_as_not_worth_it() -> None:
    found = unwinding()
    assert isinstance(found, Refused)
    assert not found.not_worth


def test_plan__the_first_source_is_not_worth_it__the_next_is_taken() -> None:
    add, repay = TOY.options(LOAN)
    dear = replace(add, gas=10_000_000)  # 400 dollars, against 0.4 × 325
    found = chosen(unwinding(first=[dear, repay], gas_price=GAS))
    assert isinstance(found.action, Repay)
    assert [item.not_worth for item in found.considered[:2]] == [True, False]


def test_worth_acting__in_whole_cents__as_in_the_arrays_of_many() -> None:
    assert worth_acting(130 * USD8, LOSS_USD8)
    assert not worth_acting(130 * USD8 + 1, LOSS_USD8)


# -- slices --------------------------------------------------------------------------------------

# 100 dollars at the oracle's price, then a curve that takes 12 dollars for 1,000.
THIN = Depth(
    route=route(), quotes=((100 * DOLLAR.unit, 50 * 10**15), (1_000 * DOLLAR.unit, 506 * 10**15))
)
# 300,000 gas at 5 gwei and 2000 dollars: 3 dollars.
CHEAP = GasPrice(fee_wei=Wei(5 * 10**9), native=GAS.native)
FOR_1000 = replace(POLICY, max_per_action_usd8=1_000 * USD8)


def test_depth__impact__is_what_goes_beyond_the_price_of_the_smallest_quote() -> None:
    assert THIN.impact(1_000 * DOLLAR.unit) == 6 * 10**15
    assert THIN.impact(50 * DOLLAR.unit) == 0


def test_plan__thin_pool_and_time__begins_with_the_slice_of_least_cost() -> None:
    # Depth is 1000²/(2 × 12) = 41,667; √(2 × 3 × 41,667) = 500.
    found = chosen(unwinding(THIN, gas_price=CHEAP, policy=FOR_1000))
    assert found.slice
    assert isinstance(found.action, Deleverage)
    assert found.action.amount.raw == 500 * DOLLAR.unit
    assert found.moved_usd8 == 500 * USD8
    assert not found.reaches_target
    (item,) = found.considered
    assert item.action is not None
    assert item.action.amount.raw == 1_000 * DOLLAR.unit
    assert item.slice is not None
    assert found.costs == item.slice.costs


@pytest.mark.parametrize(
    ("gas_price", "threat", "rules", "surviving"),
    [
        (CHEAP, feared(nan, Urgency.URGENT), {}, WAD),
        (GAS, NO_FORECAST, {}, WAD),  # 12 dollars of gas, as much as the curve takes
        (FREE, NO_FORECAST, {}, WAD),
        (CHEAP, NO_FORECAST, {"min_action_usd8": 501 * USD8}, WAD),
        (CHEAP, NO_FORECAST, {}, 131 * WAD // 100),
    ],
    ids=[
        "urgent",
        "gas as dear as the curve",
        "gas costs nothing",
        "slice too small",
        "would not survive the wait",
    ],
)
def test_plan__no_time_or_nothing_to_gain__all_at_once(
    gas_price: GasPrice, threat: Threat, rules: dict[str, int], surviving: int
) -> None:
    found = chosen(
        unwinding(
            THIN,
            gas_price=gas_price,
            threat=threat,
            policy=replace(FOR_1000, **rules),  # type: ignore[arg-type]  # all are numbers
            surviving=Wad(surviving),
        )
    )
    assert not found.slice
    assert found.action.amount.raw == 1_000 * DOLLAR.unit


def test_triggering__a_slice_was_sent__goes_on_above_the_floor_until_the_target() -> None:
    triggering = Triggering([Watched(id=LOAN.id, label="main", policy=POLICY)])

    def acts(ether: int) -> bool:
        position = replace(LOAN, ether=ether * ETHER.unit // 100)
        snapshot = Snapshot(head=head_at(1), markets={}, positions=(position,))
        return bool(list(triggering.decide(snapshot, nothing_known(1)).acting()))

    # 1,000 × 16/13000: health 1.23 is above the floor of 1.15, 1.14 below it.
    assert not acts(1_000)
    assert acts(925)
    triggering.sent(0, in_slices=True)
    assert acts(1_000)
    assert not acts(1_138)  # 1.4006: restored
    assert not acts(1_000)
    triggering.sent(0, in_slices=True)
    triggering.sent(0, in_slices=False)
    assert not acts(1_000)


# -- a shared reserve ----------------------------------------------------------------------------


def claim(name: str, *, dollars: int, spared: int, held: int = 10_000, by: str = "a1") -> Claim:
    return Claim(
        position=PositionId(chain_id=CHAIN_ID, market=name, account=address("01")),
        holder=address(by),
        amount=Amount(raw=dollars * DOLLAR.unit, token=DOLLAR),
        held=Amount(raw=held * DOLLAR.unit, token=DOLLAR),
        moved_usd8=dollars * USD8,
        spared_usd8=spared * USD8,
    )


def test_short_of__claims_of_one_reserve__are_added_up_by_token() -> None:
    fits = [claim("one", dollars=6_000, spared=1), claim("two", dollars=4_000, spared=1)]
    assert short_of(fits) == frozenset()
    assert short_of([*fits, claim("three", dollars=1, spared=1)]) == {address("a1")}
    elsewhere = claim("three", dollars=1, spared=1, by="b2")
    assert short_of([*fits, elsewhere]) == frozenset()


def test_in_turn__reserve_cannot_save_all__the_most_loss_spared_per_dollar_comes_first() -> None:
    # 200 on 8,000 dollars are 2.5 cents a dollar, 90 on 3,000 three, 30 on 500 six.
    found = in_turn(
        [
            claim("large", dollars=8_000, spared=200),
            claim("middle", dollars=3_000, spared=90),
            claim("small", dollars=500, spared=30),
        ]
    )
    assert [each.position.market for each in found] == ["small", "middle", "large"]


def test_costs__total__is_cash_and_what_is_left_to_fear() -> None:
    costs = Costs(gas_usd8=1, swap_fee_usd8=2, price_impact_usd8=-1, carry_usd8=4)
    assert (costs.cash_usd8, costs.total_usd8) == (6, 6)
    assert replace(costs, loss_left_usd8=5).total_usd8 == 11
