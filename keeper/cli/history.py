"""`keeper history`: every decision and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keeper.cli.output import (
    ConfigOption,
    JsonOption,
    narrow,
    print_json,
    show,
    token_amount,
    usd,
    utc,
)
from keeper.cli.status import NOTHING, journal_path

if TYPE_CHECKING:  # the database takes its second when the command runs, not in its help
    from keeper.storage.views import DecisionView

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

STYLES = {
    "done": "green",
    "reverted": "bold red",
    "refused": "red",
    **dict.fromkeys(("expired", "cancelled", "nonce lost", "skipped"), "yellow"),
}
CAPTION = (
    "health: before ⇢ as predicted, or before → after at the prices of the action's own block, "
    "which may have moved since the prediction"
)


@app.command()
def history(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every decision, oldest first; `keeper explain ID` tells why."""
    from keeper.storage import views

    path = journal_path(config)
    decisions = views.history(path) if path.exists() else []
    if as_json:
        print_json({"decisions": decisions})
    elif decisions:
        show(Group(_stack(decisions) if narrow() else _table(decisions), Text(CAPTION, "dim")))
    elif path.exists():
        show("Nothing had to be done yet.")
    else:
        show(NOTHING)


def _table(decisions: Sequence[DecisionView]) -> Table:
    table = Table(box=box.ROUNDED)
    table.add_column("id", justify="right")
    table.add_column("UTC", no_wrap=True)
    table.add_column("position", style="bold")
    table.add_column("cause")
    table.add_column("action")
    table.add_column("USD", justify="right")
    table.add_column("health", justify="right", no_wrap=True)
    table.add_column("outcome")
    for decision in decisions:
        table.add_row(
            str(decision.id),
            utc(decision.timestamp),
            decision.label,
            decision.cause,
            _action(decision),
            usd(decision.amount_usd),
            _healths(decision),
            outcome(decision),
        )
    return table


def _stack(decisions: Sequence[DecisionView]) -> RenderableType:
    """What the table says, a few lines for each decision."""
    parts: list[RenderableType] = []
    for decision in decisions:
        parts.append(
            Text.assemble(
                f"#{decision.id}  {utc(decision.timestamp)}  ",
                (decision.label, "bold"),
                f"  {decision.cause}  {_healths(decision)}",
            )
        )
        if decision.kind is not None:
            said = Text(f"{_action(decision)}, {usd(decision.amount_usd)} USD")
            parts.append(Padding(said, (0, 0, 0, 4)))
        parts.append(Padding(outcome(decision), (0, 0, 0, 4)))
    return Group(*parts)


def outcome(decision: DecisionView) -> Text:
    """How it ended, and where it did not as it should, why."""
    said = Text(decision.outcome, style=STYLES.get(decision.outcome, ""))
    if decision.latency_blocks is not None:
        plural = "" if decision.latency_blocks == 1 else "s"
        said.append(f" after {decision.latency_blocks} block{plural}", style="dim")
    if decision.outcome in {"refused", "not sent"}:
        said.append(f": {decision.reason}", style="dim")
    if decision.as_predicted is False:
        said.append(", not as predicted", style="bold red")
    return said


def _action(decision: DecisionView) -> str:
    if decision.kind is None:
        return "–"
    return f"{decision.kind} {token_amount(decision.amount, decision.token)}"


def _healths(decision: DecisionView) -> str:
    after = decision.health_after or decision.predicted_health
    arrow = "→" if decision.health_after else "⇢"
    return f"{decision.health_before:.3f}" + (f" {arrow} {after:.3f}" if after else "")
