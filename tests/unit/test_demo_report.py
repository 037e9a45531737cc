"""When a demo counts as a success, and what its document says."""

from dataclasses import replace

import pytest

from keeper.devnet.report import Report
from keeper.devnet.story import AccountTold, ActionTold, LiquidationTold
from keeper.model.units import WAD, Wad

USD8 = 10**8


def action(health_after: int | None = 1_400) -> ActionTold:
    return ActionTold(
        transaction="0xa",
        kind="Repay",
        cause="forecast",
        block=7,
        timestamp=1_583_971_200,
        latency_blocks=2,
        health_before=Wad(12 * WAD // 10),
        health_after=None if health_after is None else Wad(health_after * WAD // 1000),
        amount_usd8=1000 * USD8,
        swap_usd8=0,
        cost_usd8=4 * USD8,
    )


def liquidation(loss_usd: int) -> LiquidationTold:
    return LiquidationTold(block=8, timestamp=1_583_971_500, loss_usd8=loss_usd * USD8)


def story(name: str) -> AccountTold:
    return AccountTold(
        name=name,
        actions=(action(),) if name == "forecast" else (),
        liquidations=(liquidation(100),) if name == "unprotected" else (),
        cost_usd8=4 * USD8 if name == "forecast" else 0,
        min_health=Wad(11 * WAD // 10),
        debt_start_usd8=10_000 * USD8,
        debt_end_usd8=9_000 * USD8,
    )


def report(*stories: AccountTold, calm: bool = False, broadcasts: int = 1) -> Report:
    told = {name: story(name) for name in ("unprotected", "fixed", "forecast")}
    told |= {one.name: one for one in stories}
    return Report(
        scenario="black-thursday",
        calm=calm,
        blocks=10,
        told=tuple(told.values()),
        reads_per_block=1,
        broadcasts=broadcasts,
        head_to_broadcast_ms=(10.0, 20.0, 30.0),
        late_beats=0,
    )


def test_problems__forecast_twin_survives_cheaply__none() -> None:
    assert report().problems() == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (replace(story("unprotected"), liquidations=()), "was not liquidated"),
        (replace(story("forecast"), liquidations=(liquidation(1),)), "was liquidated 1 times"),
        (replace(story("forecast"), cost_usd8=100 * USD8), "not less than the unprotected"),
        # The target is 1.40; 1 % above it is 1.414.
        (replace(story("forecast"), actions=(action(1_415),)), "more than 1 % above its target"),
        (replace(story("forecast"), actions=(action(None),)), "more than 1 % above its target"),
    ],
)
def test_problems__one_thing_wrong__is_named(changed: AccountTold, problem: str) -> None:
    assert any(problem in one for one in report(changed).problems())


def test_problems__one_percent_above_the_target__is_allowed() -> None:
    assert report(replace(story("forecast"), actions=(action(1_414),))).problems() == []


def test_problems__calm_and_nothing_happened__none() -> None:
    quiet = [
        replace(story(name), actions=(), liquidations=(), cost_usd8=0)
        for name in ("unprotected", "fixed", "forecast")
    ]
    assert report(*quiet, calm=True, broadcasts=0).problems() == []


def test_problems__calm_but_something_was_sent_or_liquidated__both_are_named() -> None:
    found = report(calm=True, broadcasts=2).problems()
    assert len(found) == 2
    assert found[0].startswith("the unprotected twin was liquidated 1 times")
    assert found[1].startswith("2 transactions were sent")


def test_document__figures__are_in_dollars_and_plain_numbers() -> None:
    document = report().document()
    accounts = {one["name"]: one for one in document["accounts"]}
    assert accounts["unprotected"]["loss_usd"] == 100.0
    assert accounts["forecast"]["actions"][0]["health_after"] == pytest.approx(1.4)
    assert accounts["forecast"]["debt_end_usd"] == 9_000.0
    assert document["head_to_broadcast_ms"] == {"p50": 20.0, "p95": 29.0}
    assert document["latency_blocks"] == {"p50": 2.0, "p95": 2.0}


def test_document__nothing_done__percentiles_are_empty() -> None:
    document = report(replace(story("forecast"), actions=())).document()
    assert document["latency_blocks"] == {"p50": None, "p95": None}
