"""The demo's live table, and the same in plain lines where there is no terminal."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from keeper.devnet.report import Report
from keeper.devnet.story import AccountTold, ActionTold
from keeper.layout import Uncut
from keeper.model.units import WAD, Wad

LATEST_ACTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What the demo shows while it runs."""

    title: str
    block: int
    """Counted from the scenario's start."""
    blocks: int
    timestamp: int
    market_price: float
    oracle_price: float
    gas_price_wei: int
    healths: Mapping[str, Wad | None]
    """By twin."""
    breach_probabilities: Mapping[str, float | None]
    """By twin, as far as the keeper has one."""
    told: tuple[AccountTold, ...]
    owed: str = "debt"
    """What the market calls the size of a position."""


def live_table(moment: Moment) -> RenderableType:
    """The moment as a table, with the latest actions below it."""
    table = _table(moment.title)
    table.add_column("twin", no_wrap=True)
    for column in ("health", "P(breach)", moment.owed, "actions", "cost", "liquidated", "loss"):
        table.add_column(column, justify="right")
    for story in moment.told:
        table.add_row(
            story.name,
            _health(moment.healths[story.name], moment.owed),
            _probability(moment.breach_probabilities.get(story.name)),
            _dollars(story.debt_end_usd8),
            str(len(story.actions)),
            _usd(story.cost_usd8),
            Text(str(len(story.liquidations)), style="bold red" if story.liquidations else ""),
            _dollars(story.loss_usd8),
        )
    latest = [Text(_acted(name, act, moment.owed)) for name, act in _in_order(moment.told)]
    return Group(Text(_heading(moment)), Uncut(table), *latest[-LATEST_ACTIONS:])


def plain_line(moment: Moment) -> str:
    """The moment in one line."""
    twins = "; ".join(
        f"{story.name} {_health(moment.healths[story.name], moment.owed)}"
        f" p={_probability(moment.breach_probabilities.get(story.name))}"
        f" actions={len(story.actions)} cost={_usd(story.cost_usd8)}"
        f" liquidations={len(story.liquidations)}"
        for story in moment.told
    )
    return f"{_heading(moment)}: {twins}"


def _heading(moment: Moment) -> str:
    return (
        f"block {moment.block}/{moment.blocks}  "
        f"{datetime.fromtimestamp(moment.timestamp, UTC):%Y-%m-%d %H:%M} UTC  "
        f"ETH {moment.market_price:,.2f} (oracle {moment.oracle_price:,.2f})  "
        f"gas {moment.gas_price_wei / 1e9:,.0f} gwei"
    )


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_style="bold",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _in_order(told: Iterable[AccountTold]) -> list[tuple[str, ActionTold]]:
    acts = [(story.name, action) for story in told for action in story.actions]
    return sorted(acts, key=lambda act: act[1].block)


def _acted(name: str, action: ActionTold, owed: str) -> str:
    return (
        f"{_clock(action.timestamp)} {name}: {_words(action)} {_dollars(action.amount_usd8)}, "
        f"health {_health(action.health_before, owed)} to {_health(action.health_after, owed)} "
        f"({action.cause})"
    )


def _clock(timestamp: int) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%m-%d %H:%M}"


def _words(action: ActionTold) -> str:
    """`AddMargin` as people write it: "Add margin"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", action.kind).capitalize()


def _health(health: Wad | None, owed: str) -> str:
    """Without a debt, or for a perp without a position, there is none."""
    if health is None:
        return "no debt" if owed == "debt" else "closed"
    return f"{health / WAD:.3f}"


def _probability(probability: float | None) -> str:
    return "-" if probability is None else f"{probability:.1%}"


def _usd(usd8: int) -> str:
    return f"{'−' if usd8 < 0 else ''}${abs(usd8) / 1e8:,.2f}"


def summary(report: Report) -> RenderableType:
    """What a finished demo comes to."""
    document = report.document()
    table = _table("What it came to")
    table.add_column("twin", no_wrap=True)
    for column in ("liquidations", "loss", "actions", "cost", "lowest health", report.owed):
        table.add_column(column, justify="right")
    for story in report.told:
        table.add_row(
            story.name,
            str(len(story.liquidations)),
            _dollars(story.loss_usd8),
            str(len(story.actions)),
            _usd(story.cost_usd8),
            _health(story.min_health, report.owed),
            _dollars(story.debt_end_usd8),
        )
    sent = (
        f"latency p50 {document['latency_blocks']['p50']} blocks, "
        f"p95 {document['latency_blocks']['p95']}; "
        f"head to broadcast p50 {document['head_to_broadcast_ms']['p50']} ms, "
        f"p95 {document['head_to_broadcast_ms']['p95']} ms"
    )
    figures = (
        f"{document['blocks']} blocks, {document['late_blocks']} of them late; "
        f"{sent if report.broadcasts else 'nothing was sent'}; "
        f"at most {document['reads_per_block']} round trips to read a block"
    )
    return Group(Uncut(_actions(report)), Uncut(table), Text(figures), *_key(report))


def _key(report: Report) -> tuple[Text, ...]:
    """What the keeper's key was good for, where guardians acted."""
    if report.key is None:
        return ()
    held = ", ".join(report.key.tokens) or "no token"
    return (
        Text(
            f"the keeper's account holds {held}, approved {report.key.approvals or 'nobody'} and sent "
            f"to {len(report.key.counterparties)} contracts, "
            f"of which {len(set(report.key.counterparties) & set(report.key.guardians))} guardians"
        ),
    )


def _actions(report: Report) -> Table:
    table = _table("What the keeper did")
    for column in ("twin", "UTC", "cause", "action"):
        table.add_column(column)
    for column in ("amount", "before", "after", "cost"):
        table.add_column(column, justify="right")
    for name, action in _in_order(report.told):
        table.add_row(
            name,
            _clock(action.timestamp),
            action.cause,
            _words(action),
            _dollars(action.amount_usd8),
            _health(action.health_before, report.owed),
            _health(action.health_after, report.owed),
            _usd(action.cost_usd8),
        )
    return table


def _dollars(usd8: int) -> str:
    return f"${usd8 / 1e8:,.0f}"
