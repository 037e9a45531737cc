"""What a demo shows while it runs and when it ends."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from keeper.devnet.report import Report
from keeper.devnet.story import AccountTold, ActionTold, LiquidationTold
from keeper.devnet.table import Moment, live_table, plain_line, summary
from keeper.model.units import WAD, Wad

USD8 = 10**8
ACTION = ActionTold(
    transaction="0xa",
    kind="Repay",
    cause="forecast",
    block=7,
    timestamp=1_584_010_800,
    latency_blocks=1,
    health_before=Wad(12 * WAD // 10),
    health_after=Wad(14 * WAD // 10),
    amount_usd8=1_234 * USD8,
    swap_usd8=0,
    cost_usd8=4 * USD8,
)
ADDED = replace(
    ACTION, kind="AddCollateral", amount_usd8=12_345 * USD8, cost_usd8=1_234_56 * USD8 // 100
)
TOLD = tuple(
    AccountTold(
        name=name,
        actions=(ACTION,) if name == "forecast" else (),
        liquidations=(LiquidationTold(block=8, timestamp=1_584_010_860, loss_usd8=99 * USD8),)
        if name == "unprotected"
        else (),
        cost_usd8=0,
        min_health=Wad(WAD),
        debt_start_usd8=10_000 * USD8,
        debt_end_usd8=9_876 * USD8,
    )
    for name in ("unprotected", "fixed", "forecast")
)
MOMENT = Moment(
    title="A fall",
    block=8,
    blocks=20,
    timestamp=1_584_010_860,
    market_price=141.4,
    oracle_price=142.5,
    gas_price_wei=66 * 10**9,
    healths={"unprotected": None, "fixed": Wad(11 * WAD // 10), "forecast": ACTION.health_after},
    breach_probabilities={"fixed": None, "forecast": 0.034},
    told=TOLD,
)


def rendered(shown: RenderableType, width: int) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(shown)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_live_table__any_terminal__shows_every_fact_uncut(width: int) -> None:
    text = " ".join(rendered(live_table(MOMENT), width).split())
    for fact in (
        *("block 8/20", "2020-03-12 11:01 UTC", "141.40", "142.50", "66 gwei"),
        *("no debt", "1.100", "1.400", "3.4%", "$9,876", "$99"),
        "03-12 11:00 forecast: Repay $1,234, health 1.200 to 1.400 (forecast)",
    ):
        assert fact in text
    assert "…" not in text


def test_plain_line__no_terminal__is_one_line() -> None:
    line = plain_line(MOMENT)
    assert "\n" not in line
    assert "forecast 1.400 p=3.4% actions=1" in line
    assert "unprotected no debt p=- actions=0 cost=$0.00 liquidations=1" in line


@pytest.mark.parametrize("width", [60, 80, 160])
def test_summary__finished__tells_actions_losses_and_figures(width: int) -> None:
    report = Report(
        scenario="fall",
        calm=False,
        blocks=20,
        told=(*TOLD, replace(TOLD[2], actions=(ADDED,))),
        reads_per_block=1,
        broadcasts=1,
        head_to_broadcast_ms=(25.0,),
        late_beats=3,
    )
    text = rendered(summary(report), width)
    for fact in ("Repay", "$1,234", "$99", "20 blocks, 3 of them late", "p50 25.0 ms"):
        assert fact in text
    for fact in ("collateral", "$12,345", "$1,234.56", "03-12 11:00"):
        assert fact in text
    assert "…" not in text


def test_summary__nothing_sent__says_so_instead_of_figures() -> None:
    report = Report(
        scenario="calm",
        calm=True,
        blocks=20,
        told=tuple(replace(story, actions=()) for story in TOLD),
        reads_per_block=1,
        broadcasts=0,
        head_to_broadcast_ms=(),
        late_beats=0,
    )
    text = rendered(summary(report), 80)
    assert "nothing was sent" in text
    assert "None" not in text


def test_summary__perps__speaks_of_perps() -> None:
    report = Report(
        scenario="fall",
        calm=False,
        blocks=20,
        told=(
            replace(TOLD[0], min_health=None),
            replace(TOLD[2], actions=(replace(ADDED, kind="AddMargin"),)),
            replace(TOLD[2], actions=(replace(ADDED, kind="ReducePosition", health_after=None),)),
        ),
        reads_per_block=1,
        broadcasts=1,
        head_to_broadcast_ms=(25.0,),
        late_beats=3,
        owed="notional",
    )
    text = rendered(summary(report), 160)
    for fact in ("notional", "Add margin", "Reduce position", "closed"):
        assert fact in text
    assert "debt" not in text
    moment = rendered(live_table(replace(MOMENT, owed="notional")), 160)
    assert "notional" in moment
    assert "debt" not in moment
