"""Sizes in closed form beside the exact plan of one position."""

from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from keeper.backtest.sizing import Need, Sized, for_debt, sized
from keeper.model.lifecycle import Urgency
from keeper.model.liquidity import Depth
from keeper.model.units import WAD, Price, Wad, Wei, float_from_wad
from keeper.model.values import Deleverage, Option, Repay, Unwind
from keeper.policy.costs import GasPrice
from keeper.policy.plan import Plan, Refused, plan
from keeper.policy.threat import Threat
from tests.unit.test_plan import LOAN, POLICY, TOY, USD8
from tests.unit.test_unwind import route
from tests.unit.toy_protocol import DOLLAR, ETHER

GAS = 100_000
FEE_PPM = 3_000
QUOTES = 800


def need(**given: Any) -> Need:
    """10 ether at 2,000 dollars, of which 80 % count, against a debt in dollars."""
    columns: dict[str, Any] = {
        "value": 20_000.0,
        "threshold": 0.8,
        "floor": 1.25,
        "target": 1.4,
        "fee": FEE_PPM / 1e6,
        "least": 1.0,
        **given,
    }
    return Need(**{name: np.array([value], dtype=np.float64) for name, value in columns.items()})


def exact(
    debt: int,
    reserve: int,
    depth: float,
    slippage_bps: int,
    gas: float,
    share: float,
    surviving: float,
) -> Plan | Refused:
    position = replace(
        LOAN, principal=debt * DOLLAR.unit, dollar_wallet=reserve * DOLLAR.unit, ether_wallet=0
    )
    bought = debt * (np.arange(1, QUOTES + 1) / QUOTES) ** 2
    sold = for_debt(bought, np.full(QUOTES, FEE_PPM / 1e6), np.full(QUOTES, depth))
    quotes = tuple(
        (round(b * DOLLAR.unit), round(s / 2_000.0 * ETHER.unit))
        for b, s in zip(bought.tolist(), sold.tolist(), strict=True)
        if np.isfinite(s)
    )
    unwinds = (
        [
            replace(
                each,
                gas=GAS,
                depths=(Depth(route=route(FEE_PPM), quotes=quotes),),
                slippage_limit=slippage_bps,
            )
            for each in TOY.unwinds(position)
        ]
        if quotes
        else []
    )
    options: list[Option | Unwind] = [*TOY.options(position), *unwinds]
    health = 16_000.0 / debt
    urgent = 2.0 * (health - 1.0) < 0.25
    return plan(
        position=position,
        cause="floor",
        policy=replace(POLICY, floor=Wad(125 * WAD // 100), guard_share=share),
        options=options,
        predict=lambda action: TOY.predict(action, position, position.timestamp),
        moved_today_usd8=0,
        gas_price=GasPrice(
            fee_wei=Wei(round(gas / GAS / 2_000.0 * 1e18)),
            native=Price(value=2_000 * USD8, decimals=8, updated_at=0),
        ),
        threat=Threat(
            urgency=Urgency.URGENT if urgent else Urgency.ROUTINE,
            terms=TOY.liquidation_terms,
            chances=lambda healths: [nan] * len(healths),
        ),
        surviving=Wad(round(surviving * WAD)),
    )


def kind(found: Sized) -> str:
    return "reserve" if found.paid[0] > 0.0 else "swap" if found.swapped[0] > 0.0 else "nothing"


@settings(max_examples=150, deadline=None)
@given(
    debt=st.integers(12_900, 15_900),
    reserve=st.integers(0, 3_000),
    depth=st.floats(2e4, 5e6),
    slippage_bps=st.integers(40, 250),
    gas=st.floats(0.01, 120.0),
    share=st.floats(0.05, 1.0),
    surviving=st.floats(1.0, 1.1),
)
# The reserve reaches the target, the swap does, slices, the guard, and a reserve kept back.
@example(debt=13_000, reserve=3_000, depth=1e6, slippage_bps=200, gas=1.0, share=0.4, surviving=1.0)
@example(debt=13_000, reserve=300, depth=4e6, slippage_bps=200, gas=60.0, share=0.4, surviving=1.0)
@example(debt=13_000, reserve=0, depth=3e5, slippage_bps=200, gas=1.0, share=0.4, surviving=1.0)
@example(debt=13_000, reserve=0, depth=3e5, slippage_bps=200, gas=120.0, share=0.05, surviving=1.0)
@example(debt=15_800, reserve=200, depth=2e4, slippage_bps=40, gas=1.0, share=0.4, surviving=1.09)
def test_sized__any_position__is_what_the_exact_plan_does(
    debt: int,
    reserve: int,
    depth: float,
    slippage_bps: int,
    gas: float,
    share: float,
    surviving: float,
) -> None:
    def closed(scale: float) -> Sized:
        return sized(
            need(
                debt=debt * scale,
                reserve=reserve / scale,
                depth=depth / scale,
                slippage=slippage_bps / 1e4 * scale,
                gas=gas * scale,
                most_cash=share * 0.05 * 0.5 * debt / scale,
                surviving=surviving / scale,
            )
        )

    found = closed(1.0)
    # On the border between two choices rounding decides.
    assume(kind(closed(0.995)) == kind(found) == kind(closed(1.005)))
    outcome = exact(debt, reserve, depth, slippage_bps, gas, share, surviving)
    if isinstance(outcome, Refused):
        assert kind(found) == "nothing"
        return
    amount = outcome.action.amount.raw / DOLLAR.unit
    if isinstance(outcome.action, Repay):
        assert (kind(found), found.swapped[0]) == ("reserve", 0.0)
        assert abs(found.paid[0] - amount) < 0.01
        return
    assert isinstance(outcome.action, Deleverage)
    assert (kind(found), found.paid[0]) == ("swap", 0.0)
    # The pool's curve is a chain of chords for the plan: never better, hardly worse.
    assert abs(found.swapped[0] - amount) <= 0.02 * amount + 20.0
    sold = float(for_debt(found.swapped, np.array([FEE_PPM / 1e6]), np.array([depth]))[0])
    after = (20_000.0 - sold) * 0.8 / (debt - found.swapped[0])
    assert outcome.predicted.health is not None
    assert abs(after - float_from_wad(outcome.predicted.health)) < 0.005


def test_sized__many_rows_at_once__are_each_as_alone() -> None:
    debts = np.array([13_000.0, 15_000.0, 15_900.0])

    def of(chosen: slice) -> Sized:
        one = need(
            debt=0.0,
            reserve=500.0,
            depth=3e5,
            slippage=0.01,
            gas=1.0,
            most_cash=150.0,
            surviving=1.0,
        )
        count = len(debts[chosen])
        rows = {name: np.full(count, getattr(one, name)[0]) for name in one.__dataclass_fields__}
        return sized(Need(**rows | {"debt": debts[chosen]}))

    together = of(slice(None))
    for n in range(3):
        alone = of(slice(n, n + 1))
        assert (together.paid[n], together.swapped[n]) == (alone.paid[0], alone.swapped[0])
