"""Choosing between reserves and pools by what each costs, and how far an unwind goes."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model.liquidity import Depth, Hop, Route
from keeper.model.units import WAD, Amount, Price, Wad, Wei
from keeper.model.values import Action, Deleverage, ImpossibleActionError, Option, Repay, Unwind
from keeper.policy.costs import Costs, GasPrice, payment_costs, swap_costs
from keeper.policy.plan import Plan, Refused, plan, surviving_health
from keeper.policy.settings import Policy
from keeper.policy.threat import Threat
from tests.unit.fake_rpc import address
from tests.unit.test_plan import LOAN, NO_FORECAST, NOW, POLICY, TOY, USD8, chosen
from tests.unit.toy_protocol import DOLLAR, ETHER, ToyPosition

# 20 gwei at 2000 dollars: 100,000 gas cost 4 dollars.
GAS = GasPrice(fee_wei=Wei(20 * 10**9), native=Price(value=2_000 * USD8, decimals=8, updated_at=0))
ANY_HEALTH = Wad(WAD)
FREE = GasPrice(fee_wei=Wei(0), native=None)


def route(fee_ppm: int = 3_000, hops: int = 1) -> Route:
    tokens = [ETHER.address, *(address(f"a{n}") for n in range(1, hops)), DOLLAR.address]
    return Route(
        venue="toy",
        hops=tuple(
            Hop(pool=address(f"{fee_ppm % 15:x}{n}"), sells=sold, buys=bought, fee_ppm=fee_ppm)
            for n, (sold, bought) in enumerate(pairwise(tokens))
        ),
    )


def flat(cost_bps: int, *, fee_ppm: int = 3_000, most: int = 20_000, hops: int = 1) -> Depth:
    """Ether at 2000 dollars and so much more, up to `most` dollars."""
    sold = most * ETHER.unit * (10_000 + cost_bps) // (2_000 * 10_000)
    return Depth(route=route(fee_ppm, hops), quotes=((most * DOLLAR.unit, sold),))


def unwinding(
    *depths: Depth,
    position: ToyPosition = LOAN,
    slippage_bps: int = 200,
    first: Sequence[Option] = (),
    then: Sequence[Option] = (),
    gas_price: GasPrice = FREE,
    policy: Policy = POLICY,
    threat: Threat = NO_FORECAST,
    surviving: Wad = ANY_HEALTH,
    refused_below_usd8: int = 0,
) -> Plan | Refused:
    unwinds = [
        replace(each, depths=depths, slippage_limit=slippage_bps) for each in TOY.unwinds(position)
    ]
    options: list[Option | Unwind] = [*first, *unwinds, *then]
    return plan(
        position=position,
        cause="floor",
        policy=policy,
        options=options,
        predict=lambda action: TOY.predict(action, position, position.timestamp),
        moved_today_usd8=0,
        gas_price=gas_price,
        threat=threat,
        surviving=surviving,
        refused_below_usd8=refused_below_usd8,
    )


def payments(dollars: int) -> tuple[Option, ...]:
    """A reserve of dollars alone."""
    return TOY.options(replace(LOAN, ether_wallet=0, dollar_wallet=dollars * DOLLAR.unit))


# -- the terms of a cost -------------------------------------------------------------------------


def test_payment_costs__worked_by_hand__gas_and_a_months_carry() -> None:
    action = Repay(position=LOAN.id, amount=Amount(raw=36_500 * DOLLAR.unit, token=DOLLAR))
    dollar = Price(value=USD8, decimals=8, updated_at=NOW)
    found = payment_costs(action, dollar, gas_usd8=4 * USD8)
    # 36,500 × 4 % × 30/365 = 120.
    assert found == Costs(gas_usd8=4 * USD8, carry_usd8=120 * USD8)
    assert found.cash_usd8 == 124 * USD8


def test_swap_costs__worked_by_hand__fee_and_what_else_goes_beyond_the_debt() -> None:
    (unwind,) = TOY.unwinds(LOAN)
    action = Deleverage(
        position=LOAN.id,
        amount=Amount(raw=1_000 * DOLLAR.unit, token=DOLLAR),
        sold=Amount(raw=505 * 10**15, token=ETHER),
        route=route(),
    )
    # 0.505 ether are 1010 dollars; 0.3 % of them are 3.03; the curve took the other 6.97.
    fee = flat(0).fee(action.sold.raw)
    assert fee == 1_515 * 10**12
    found = swap_costs(action, unwind, fee, gas_usd8=USD8)
    assert found.swap_fee_usd8 == 303 * USD8 // 100
    assert found.price_impact_usd8 == 697 * USD8 // 100
    assert found.cash_usd8 == 11 * USD8


def test_gas_price__ethers_price_unknown__counts_for_nothing() -> None:
    assert GAS.usd8(100_000) == 4 * USD8
    assert FREE.usd8(100_000) == 0


def test_depth__between_quotes__is_their_chord_rounded_up() -> None:
    depth = Depth(route=route(hops=2), quotes=((10, 21), (20, 45)))
    assert [depth.sold(bought) for bought in (5, 10, 15, 20)] == [11, 21, 33, 45]
    # 0.3 % twice: 1 − 0.997² = 0.5991 % of 45, rounded up.
    assert depth.fee(45) == 1
    with pytest.raises(ValueError, match="beyond"):
        depth.sold(21)


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), min_size=1, max_size=6))
def test_depth__any_convex_quotes__never_falls_and_meets_each_quote(
    steps: list[tuple[int, int]],
) -> None:
    quotes, bought, sold = [], 0, 0
    for more, for_more in sorted(steps, key=lambda step: step[1] / step[0]):
        bought, sold = bought + more, sold + for_more
        quotes.append((bought, sold))
    depth = Depth(route=route(), quotes=tuple(quotes))
    assert [depth.sold(each) for each, _ in quotes] == [each for _, each in quotes]
    assert depth.sold(1) <= depth.sold(bought // 2 + 1) <= sold


# -- which route, which source -------------------------------------------------------------------


def test_plan__two_routes__the_cheaper_wins() -> None:
    found = chosen(unwinding(flat(100), flat(50, fee_ppm=500)))
    assert isinstance(found.action, Deleverage)
    assert found.action.route == route(500)
    # 16000 − 0.8 × 1.005 r = 1.4 × (13000 − r) leads to r = 2200/0.596 = 3691.275168.
    assert found.action.amount.raw == 3_691_275_168
    assert found.action.sold.raw == 1_854_865_771_920_000_000
    assert found.reaches_target
    assert found.predicted.health is not None
    assert found.predicted.health >= POLICY.target


def test_plan__cheaper_pools_and_dearer_gas__total_cost_decides() -> None:
    straight, around = flat(60), flat(50, fee_ppm=500, hops=3)
    # On 3,700 dollars the pools differ by 3.70; two more pools take 220,000 gas, 8.80 here.
    assert chosen(unwinding(straight, around)).action == chosen(unwinding(around)).action
    dear = chosen(unwinding(straight, around, gas_price=GAS)).action
    assert isinstance(dear, Deleverage)
    assert dear.route == straight.route


def test_plan__reserve_reaches_the_target__comes_before_the_pool_or_after_as_the_owner_wants() -> (
    None
):
    depth = flat(50)
    assert isinstance(chosen(unwinding(depth, first=payments(5_000))).action, Repay)
    assert isinstance(chosen(unwinding(depth, then=payments(5_000))).action, Deleverage)


def test_plan__reserve_for_a_part__is_used_first_if_the_position_survives_it() -> None:
    # 500 dollars bring health to 16000/12500 = 1.28.
    found = chosen(unwinding(flat(50), first=payments(500), surviving=Wad(127 * WAD // 100)))
    assert isinstance(found.action, Repay)
    assert found.action.amount.raw == 500 * DOLLAR.unit
    assert not found.reaches_target


def test_plan__reserve_hardly_helps_and_the_pool_does_it_all__the_pool_is_taken() -> None:
    # 400 dollars bring health to 16000/12600 = 1.27, below 1.275, the middle between 1.15 and 1.4.
    found = chosen(unwinding(flat(50), first=payments(400)))
    assert isinstance(found.action, Deleverage)
    assert found.reaches_target


def test_plan__reserve_hardly_helps_and_the_pool_cannot_do_it_all__the_reserve_is_used() -> None:
    found = chosen(unwinding(flat(50, most=1_000), first=payments(400)))
    assert isinstance(found.action, Repay)


def test_plan__gift_of_a_few_dollars__does_not_hold_up_a_large_unwind() -> None:
    # The pool's 1000 dollars bring 16000/13000 to 15196/12000 and gain 0.0356 of health; 30 dollars
    # gain 0.0028, and 40 of them 0.0038, more than a tenth.
    thin = flat(50, most=1_000)
    assert isinstance(chosen(unwinding(thin, first=payments(30))).action, Deleverage)
    assert isinstance(chosen(unwinding(thin, first=payments(40))).action, Repay)
    assert isinstance(chosen(unwinding(flat(300), first=payments(30))).action, Repay)


def test_plan__less_than_the_mandate_takes__is_not_tried_and_the_next_source_is_asked() -> None:
    small, thin = payments(99), flat(50, most=1_000)
    found = chosen(unwinding(thin, first=small, refused_below_usd8=100 * USD8))
    assert isinstance(found.action, Deleverage)
    kept = next(item for item in found.considered if item.kind == "Repay")
    assert kept.rejected == (
        "99.00 USD would be moved, and the mandate refuses less than 100.00 (ActionTooSmall)"
    )


def test_plan__small_action_saves_all__is_refused_where_the_mandate_refuses_it() -> None:
    """The owner's own `min_action_usd` gives way to danger; the contract's does not."""
    policy = replace(POLICY, min_action_usd8=5_000 * USD8)
    assert chosen(unwinding(flat(50), policy=policy)).reaches_target
    found = unwinding(flat(50), policy=policy, refused_below_usd8=5_000 * USD8)
    assert isinstance(found, Refused)


def test_plan__reserve_would_be_lost_with_the_position__is_kept_and_the_pool_asked() -> None:
    found = chosen(unwinding(flat(50), first=payments(500), surviving=Wad(129 * WAD // 100)))
    assert isinstance(found.action, Deleverage)
    kept = next(item for item in found.considered if item.kind == "Repay")
    assert kept.rejected == (
        "all that can be moved brings health to 1.2800, which the next minutes may take below 1: "
        "the reserve would be lost with the position"
    )
    alone = unwinding(flat(50, most=1), first=payments(500), surviving=Wad(129 * WAD // 100))
    assert isinstance(alone, Refused) or isinstance(alone.action, Deleverage)


def test_surviving_health__worked_by_hand__four_deviations_of_ten_minutes() -> None:
    # 80 % a year over 600 s: 0.8 × √(600/31,536,000) = 0.349 %; four of them: e^0.013958.
    assert surviving_health(0.8, 600) == pytest.approx(1.014056 * WAD, rel=1e-6)
    assert surviving_health(float("nan"), 600) == WAD


# -- how far -------------------------------------------------------------------------------------


def test_plan__impact_would_pass_the_limit__goes_as_far_as_it_allows() -> None:
    # Up to 2000 dollars cost 0.5 %, from there to 3000 1.5 %, beyond them 5 %. 2 % in all would
    # allow more than 3000, but the last dollar may not cost more than that either: 3000 cost
    # 10 + 15 dollars.
    cheap = (2_000 * DOLLAR.unit, 1_005 * 10**15)
    dearer = (3_000 * DOLLAR.unit, (1_005_000 + 507_500) * 10**12)
    dear = (10_000 * DOLLAR.unit, (1_005_000 + 507_500 + 3_675_000) * 10**12)
    found = chosen(unwinding(Depth(route=route(), quotes=(cheap, dearer, dear)), slippage_bps=200))
    assert isinstance(found.action, Deleverage)
    assert found.action.amount.raw == 3_000 * DOLLAR.unit
    assert not found.reaches_target
    (item,) = found.considered
    assert item.costs is not None
    assert item.costs.cash_usd8 == 25 * USD8


def test_plan__every_price_beyond_the_limit__is_refused_with_the_figure() -> None:
    found = unwinding(flat(300), slippage_bps=200)
    assert isinstance(found, Refused)
    assert "would cost more than the 2 % against the oracle" in found.reason


def test_plan__one_way_impossible__is_rejected_and_the_others_remain() -> None:
    def predict(action: Action) -> ToyPosition:
        if isinstance(action, Repay):
            raise ImpossibleActionError(action, "the pool rounds it to nothing")
        return TOY.predict(action, LOAN, LOAN.timestamp)

    (unwind,) = (
        replace(each, depths=(flat(50),), slippage_limit=200) for each in TOY.unwinds(LOAN)
    )
    found = plan(
        position=LOAN,
        cause="floor",
        policy=POLICY,
        options=[*payments(5_000), unwind],
        predict=predict,
        moved_today_usd8=0,
        gas_price=FREE,
        threat=NO_FORECAST,
        surviving=ANY_HEALTH,
    )
    assert isinstance(chosen(found).action, Deleverage)
    rejected = {item.kind: item.rejected or "" for item in found.considered if item.rejected}
    assert "rounds it to nothing" in rejected["Repay"]


def test_plan__several_ways__names_the_others_the_best_first() -> None:
    found = chosen(unwinding(flat(80), flat(50, fee_ppm=500), then=payments(5_000)))
    assert isinstance(found.action, Deleverage)
    assert found.action.route == route(500)
    dearer, payment = found.others
    assert isinstance(dearer.action, Deleverage)
    assert dearer.action.route == route()
    assert isinstance(payment.action, Repay)
    assert payment.others == ()


def test_plan__no_route__says_so() -> None:
    found = unwinding()
    assert isinstance(found, Refused)
    assert found.reason == ("Deleverage DOLLAR: no pool that may be used gives DOLLAR for ETHER")


def test_plan__an_unwind__carries_smaller_ones_for_pools_that_became_thinner() -> None:
    found = chosen(unwinding(flat(50)))
    assert isinstance(found.action, Deleverage)
    sizes = [action.amount.raw for action in found.smaller]
    assert sizes == [found.action.amount.raw * percent // 100 for percent in (90, 80)]
    assert chosen(unwinding(flat(50), first=payments(5_000))).smaller == ()


def test_plan__more_than_the_collateral__is_not_sold() -> None:
    small = replace(LOAN, ether=ETHER.unit, principal=3_000 * DOLLAR.unit)
    found = unwinding(flat(50), position=small)
    assert isinstance(found, Refused)


@given(
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(10**6, 10**11),
    st.integers(0, 10**16),
)
def test_plan__any_depth_and_limit__improves_within_both(
    cost_bps: int, slippage_bps: int, deepest: int, per_action: int
) -> None:
    sold = deepest * 10**12 * (10_000 + cost_bps) // (2_000 * 10_000)
    depth = Depth(route=route(), quotes=((deepest, sold),))
    policy = replace(POLICY, max_per_action_usd8=per_action)
    found = unwinding(depth, slippage_bps=slippage_bps, policy=policy)
    if isinstance(found, Refused):
        assert found.reason
        return
    action = found.action
    assert isinstance(action, Deleverage)
    assert action.amount.raw <= deepest
    assert found.moved_usd8 <= per_action
    paid, repaid = action.sold.raw * 2_000, action.amount.raw * 10**12
    assert paid * 10_000 <= repaid * (10_000 + slippage_bps)
    assert found.predicted.health is not None
    assert LOAN.health is not None
    assert found.predicted.health > LOAN.health
