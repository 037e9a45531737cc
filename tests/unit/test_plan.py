"""Choosing and sizing one action, within the owner's limits."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import nan
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keeper.model.lifecycle import Urgency
from keeper.model.units import WAD, Address, Price, Wad, Wei
from keeper.model.values import Action, AddCollateral, Cause, PositionId, Repay
from keeper.policy.costs import GasPrice
from keeper.policy.plan import Plan, Refused, plan
from keeper.policy.settings import Policy
from keeper.policy.size import NO_DEBT_HEALTH, least_reaching, raw_down, usd8_up
from keeper.policy.threat import Threat
from tests.unit.toy_protocol import CHAIN_ID, DOLLAR, ETHER, Toy, ToyPosition

USD8 = 10**8
FREE_GAS = GasPrice(fee_wei=Wei(0), native=None)
NOW = 1_700_000_000
TOY = Toy()
NO_FORECAST = Threat(
    urgency=Urgency.ROUTINE,
    terms=TOY.liquidation_terms,
    chances=lambda healths: [nan] * len(healths),
)

POLICY = Policy(
    name="forecast",
    floor=Wad(115 * WAD // 100),
    trigger_probability=0.05,
    horizon_s=86_400,
    target=Wad(14 * WAD // 10),
    max_health_to_act=Wad(14 * WAD // 10),
    max_per_action_usd8=100_000 * USD8,
    max_per_day_usd8=100_000 * USD8,
    min_action_usd8=0,
)

# 10 ether at 2000 dollars count 16000; against 13000 health is 1.2308. The target of 1.4 takes
# 16000/1.4 = 11428.571428… of debt, hence to repay 1571.428572, or (1.4 × 13000 − 16000)/0.8 =
# 2750 dollars of collateral, 1.375 ether.
LOAN = ToyPosition(
    id=PositionId(chain_id=CHAIN_ID, market="toy", account=Address("0x" + "A1" * 20)),
    ether=10 * ETHER.unit,
    principal=13_000 * DOLLAR.unit,
    updated_at=NOW,
    price_usd8=2_000 * USD8,
    timestamp=NOW,
    ether_wallet=10 * ETHER.unit,
    dollar_wallet=10_000 * DOLLAR.unit,
)


def planned(
    position: ToyPosition = LOAN,
    rules: Mapping[str, int] = MappingProxyType({}),
    *,
    cause: Cause = "floor",
    moved_today_usd8: int = 0,
    predict: Callable[[Action], ToyPosition] | None = None,
) -> Plan | Refused:
    return plan(
        position=position,
        cause=cause,
        policy=replace(POLICY, **dict[str, Any](rules)),
        options=TOY.options(position),
        predict=predict or (lambda action: TOY.predict(action, position, position.timestamp)),
        moved_today_usd8=moved_today_usd8,
        gas_price=FREE_GAS,
        threat=NO_FORECAST,
        surviving=Wad(WAD),
    )


def chosen(outcome: Plan | Refused) -> Plan:
    assert isinstance(outcome, Plan), outcome
    return outcome


def reasons(outcome: Plan | Refused) -> dict[str, str | None]:
    return {item.kind: item.rejected for item in outcome.considered}


# -- which action --------------------------------------------------------------------------------


def test_plan__both_options_reach_the_target__the_one_that_moves_fewer_dollars_wins() -> None:
    found = chosen(planned())
    assert isinstance(found.action, Repay)
    assert found.action.amount.raw == 1_571_428_572
    assert found.moved_usd8 == 157_142_857_200
    assert found.reaches_target
    assert found.predicted.health == 1_400_000_000_070_000_000
    add = found.considered[0]
    assert add.action is not None
    assert add.action.amount.raw == 1_375 * 10**15
    assert add.moved_usd8 == 2_750 * USD8
    assert add.rejected is None


def test_plan__only_the_dearer_option_reaches_the_target__it_wins() -> None:
    found = chosen(planned(replace(LOAN, dollar_wallet=1_571 * DOLLAR.unit)))
    assert isinstance(found.action, AddCollateral)
    assert found.reaches_target


def test_plan__none_reaches_the_target__the_one_that_brings_health_highest_wins() -> None:
    # 1000 dollars repaid: 16000/12000 = 1.3333; half an ether added: 16800/13000 = 1.2923.
    short = replace(LOAN, dollar_wallet=1_000 * DOLLAR.unit, ether_wallet=ETHER.unit // 2)
    found = chosen(planned(short))
    assert isinstance(found.action, Repay)
    assert found.action.amount.raw == 1_000 * DOLLAR.unit
    assert not found.reaches_target
    assert found.predicted.health == 4 * WAD // 3


def test_plan__equal_options__the_first_wins() -> None:
    option = TOY.options(LOAN)[1]
    twins = [option, replace(option, price=replace(option.price, updated_at=NOW - 1))]
    found = plan(
        position=LOAN,
        cause="floor",
        policy=POLICY,
        options=twins,
        predict=lambda action: TOY.predict(action, LOAN, NOW),
        moved_today_usd8=0,
        gas_price=FREE_GAS,
        threat=NO_FORECAST,
        surviving=Wad(WAD),
    )
    assert chosen(found).considered[0].action == chosen(found).action


def test_plan__whole_debt_can_be_repaid_only__reaches_the_target_without_debt() -> None:
    # Nothing but the last dollar helps: the collateral counts for less than one unit of debt.
    hopeless = replace(LOAN, ether=1, principal=2 * DOLLAR.unit, ether_wallet=0)
    found = chosen(planned(hopeless))
    assert found.predicted.health is None
    assert found.reaches_target


# -- within limits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "moved_today_usd8", "moved_usd8"),
    [
        ({"max_per_action_usd8": 500 * USD8}, 0, 500 * USD8),
        ({"max_per_day_usd8": 2_000 * USD8}, 1_200 * USD8, 800 * USD8),
        ({"max_per_day_usd8": 2_000 * USD8}, 428 * USD8, 157_142_857_200),
        # What is worth 1.239999999 dollars at most: 1.239999 in a token of 6 decimals.
        ({"max_per_action_usd8": 123_999_999}, 0, 123_999_900),
    ],
)
def test_plan__limits__bound_what_is_moved(
    rules: dict[str, int], moved_today_usd8: int, moved_usd8: int
) -> None:
    repay_only = replace(LOAN, ether_wallet=0)
    found = chosen(planned(repay_only, rules, moved_today_usd8=moved_today_usd8))
    assert found.moved_usd8 == moved_usd8


@pytest.mark.parametrize("moved_today_usd8", [1_990 * USD8 + 1, 2_000 * USD8, 2_001 * USD8])
def test_plan__day_used_up__is_refused_by_name(moved_today_usd8: int) -> None:
    """Less than the smallest action left counts as used up."""
    limits = {"max_per_day_usd8": 2_000 * USD8, "min_action_usd8": 10 * USD8}
    found = planned(LOAN, limits, moved_today_usd8=moved_today_usd8)
    assert isinstance(found, Refused)
    assert found.reason == "the limit of 2,000 USD per day is used up (max_per_day_usd)"
    assert found.before == LOAN


def test_plan__nothing_in_the_wallet__is_refused_token_by_token() -> None:
    found = planned(replace(LOAN, dollar_wallet=0, ether_wallet=0))
    assert isinstance(found, Refused)
    assert found.reason == (
        "AddCollateral ETHER: the reserve holds no ETHER; Repay DOLLAR: the reserve holds no DOLLAR"
    )


def test_plan__limit_below_one_unit__says_that_the_limit_is_in_the_way() -> None:
    found = planned(LOAN, {"max_per_action_usd8": 99})
    assert reasons(found)["Repay"] == "the limits leave nothing to move"


def test_plan__forecast_asks_for_less_than_the_least_action__is_refused_with_both_figures() -> None:
    found = planned(LOAN, {"min_action_usd8": 10_000 * USD8}, cause="forecast")
    assert isinstance(found, Refused)
    assert reasons(found) == {
        "AddCollateral": "2750.00 USD would be moved, less than min_action_usd = 10000.00",
        "Repay": "1571.43 USD would be moved, less than min_action_usd = 10000.00",
    }


def test_plan__exactly_the_least_action__is_allowed() -> None:
    found = planned(LOAN, {"min_action_usd8": 157_142_857_200}, cause="forecast")
    assert isinstance(chosen(found).action, Repay)


def test_plan__small_position_below_its_floor__is_saved_by_a_small_action() -> None:
    found = planned(LOAN, {"min_action_usd8": 10_000 * USD8}, cause="floor")
    assert chosen(found).reaches_target
    short = replace(LOAN, dollar_wallet=100 * DOLLAR.unit, ether_wallet=0)
    assert isinstance(planned(short, {"min_action_usd8": 101 * USD8}, cause="floor"), Refused)


@pytest.mark.parametrize("wallet", [1, DOLLAR.unit - 1])
def test_plan__dust_in_the_wallet__is_left_there(wallet: int) -> None:
    found = planned(replace(LOAN, dollar_wallet=wallet, ether_wallet=0))
    assert isinstance(found, Refused)
    assert reasons(found)["Repay"] == "the reserve holds less than a dollar of DOLLAR"


def test_plan__blocked_by_the_protocol__the_reason_is_kept() -> None:
    found = planned(replace(LOAN, blocked="the pool is paused"))
    assert isinstance(found, Refused)
    assert reasons(found) == dict.fromkeys(("AddCollateral", "Repay"), "the pool is paused")


def test_plan__no_options__says_so() -> None:
    found = plan(
        position=LOAN,
        cause="forecast",
        policy=POLICY,
        options=(),
        predict=lambda _: LOAN,
        moved_today_usd8=0,
        gas_price=FREE_GAS,
        threat=NO_FORECAST,
        surviving=Wad(WAD),
    )
    assert isinstance(found, Refused)
    assert found.cause == "forecast"
    assert found.reason == "the account has neither debt to repay nor collateral to add to"


def test_plan__action_that_does_not_improve__is_refused() -> None:
    found = planned(predict=lambda _: LOAN)
    assert isinstance(found, Refused)
    assert set(reasons(found).values()) == {"would not improve health"}


loans = st.builds(
    replace,
    st.just(LOAN),
    ether=st.integers(0, 10**22),
    principal=st.integers(1, 10**13),
    price_usd8=st.integers(1, 10**13),
    ether_wallet=st.integers(0, 10**22),
    dollar_wallet=st.integers(0, 10**13),
)
limits = st.integers(0, 10**16)


@given(loans, st.sampled_from(["floor", "forecast"]), limits, limits, limits, limits)
def test_plan__any_loan_and_limits__improves_within_them_and_not_beyond_the_target(
    loan: ToyPosition, cause: Cause, per_action: int, per_day: int, moved_today: int, least: int
) -> None:
    rules = {
        "max_per_action_usd8": per_action,
        "max_per_day_usd8": per_day,
        "min_action_usd8": least,
    }
    found = planned(loan, rules, cause=cause, moved_today_usd8=moved_today)
    assert found == planned(loan, rules, cause=cause, moved_today_usd8=moved_today)
    if isinstance(found, Refused):
        assert found.reason
        assert all(item.rejected for item in found.considered)
        return
    action, now = found.action, loan.health
    assert now is not None
    # Worth what is said, never more than any limit, never more than there is.
    unit, price = (
        (ETHER.unit, loan.price_usd8) if isinstance(action, AddCollateral) else (DOLLAR.unit, USD8)
    )
    assert action.amount.raw * price <= found.moved_usd8 * unit
    assert found.moved_usd8 <= min(per_action, per_day - moved_today)
    assert found.moved_usd8 >= least or (cause == "floor" and found.reaches_target)
    have = loan.ether_wallet if isinstance(action, AddCollateral) else loan.dollar_wallet
    assert 0 < action.amount.raw <= have
    after = found.predicted.health
    assert after is None or after > now
    assert found.reaches_target == (after is None or after >= POLICY.target)
    if found.reaches_target and action.amount.raw > 1:
        one_less = replace(action, amount=replace(action.amount, raw=action.amount.raw - 1))
        health = TOY.predict(one_less, loan, NOW).health
        assert health is not None
        assert health < POLICY.target


# -- how much ------------------------------------------------------------------------------------


def repaying(covered: int, debt: int) -> Callable[[int], int]:
    """Debt falls; nothing owed counts as the highest health."""
    return lambda raw: covered * WAD // (debt - raw) if raw < debt else NO_DEBT_HEALTH


def adding(collateral: int, debt: int, price: int, unit: int, bps: int) -> Callable[[int], int]:
    """Collateral grows, valued and weighted with two truncations."""
    return lambda raw: (collateral + raw * price // unit) * bps // 10_000 * WAD // debt


def assert_least(health_at: Callable[[int], int], target: int, most: int) -> None:
    asked = 0

    def counted(raw: int) -> int:
        nonlocal asked
        asked += 1
        assert 1 <= raw <= most
        return health_at(raw)

    found = least_reaching(counted, health_at(0), target, most)
    assert 1 <= found <= most
    if health_at(most) < target:
        assert found == most
    else:
        assert health_at(found) >= target
        assert found == 1 or health_at(found - 1) < target
    # Bisection alone asks once per binary digit: the secant may not make it much worse.
    assert asked <= 2 * most.bit_length() + 16


targets = st.integers(WAD + 1, 3 * WAD)
amounts = st.integers(1, 10**30)


@given(amounts, amounts, targets, amounts)
@example(covered=16_000, debt=13_000, target=14 * WAD // 10, most=13_000)
@example(covered=1, debt=10**30, target=WAD + 1, most=10**30)
def test_least_reaching__repayment__is_least_to_the_unit(
    covered: int, debt: int, target: int, most: int
) -> None:
    assert_least(repaying(covered, debt), target, min(most, debt))


@given(
    amounts,
    amounts,
    targets,
    amounts,
    st.integers(1, 10**13),
    st.integers(0, 18),
    st.integers(1, 10_000),
)
def test_least_reaching__added_collateral__is_least_to_the_unit(
    collateral: int, debt: int, target: int, most: int, price: int, decimals: int, bps: int
) -> None:
    assert_least(adding(collateral, debt, price, 10**decimals, bps), target, most)


@given(st.integers(10**10, 10**14), st.integers(1, 8_999), st.integers(9_000, 9_500), targets)
def test_least_reaching__threshold_truncated_to_basis_points__still_reaches(
    collateral: int, own_bps: int, added_bps: int, target: int
) -> None:
    """Aave 3.0 averages thresholds to whole basis points, so that health climbs in steps."""
    debt = collateral * own_bps // 11_000 + 1

    def health_at(raw: int) -> int:
        total = collateral + raw
        average = (collateral * own_bps + raw * added_bps) // total
        return total * average // 10_000 * WAD // debt

    assert_least(health_at, target, 10 * collateral)


def test_least_reaching__a_loan_in_dollars__takes_a_handful_of_predictions() -> None:
    asked: list[int] = []

    def health_at(raw: int) -> int:
        asked.append(raw)
        return repaying(16_000 * 10**6, 13_000 * 10**6)(raw)

    least_reaching(health_at, health_at(0), 14 * WAD // 10, 13_000 * 10**6)
    assert len(asked) <= 8


# -- against ourselves ---------------------------------------------------------------------------


def test_usd8_up_and_raw_down__worked_by_hand() -> None:
    feed = Price(value=200_000_000_001, decimals=8, updated_at=NOW)
    # One wei of ether at 2000.00000001 dollars is far below 10^-8 dollars: counted as one.
    assert usd8_up(1, feed, ETHER.unit) == 1
    assert usd8_up(ETHER.unit, feed, ETHER.unit) == 200_000_000_001
    assert raw_down(200_000_000_000, feed, ETHER.unit) == 999_999_999_995_000_000
    assert raw_down(0, feed, ETHER.unit) == 0


@given(
    st.integers(0, 10**40),
    st.integers(1, 10**40),
    st.integers(0, 36),
    st.sampled_from([0, 6, 8, 18]),
)
def test_raw_down__any_budget__is_the_most_that_it_pays(
    budget_usd8: int, value: int, price_decimals: int, token_decimals: int
) -> None:
    price = Price(value=value, decimals=price_decimals, updated_at=NOW)
    raw = raw_down(budget_usd8, price, 10**token_decimals)
    assert usd8_up(raw, price, 10**token_decimals) <= budget_usd8
    assert usd8_up(raw + 1, price, 10**token_decimals) > budget_usd8
