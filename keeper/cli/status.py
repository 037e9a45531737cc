"""`keeper status`: the last that is known of every position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keeper.cli.output import (
    ConfigOption,
    JsonOption,
    fall,
    health_text,
    narrow,
    percent,
    print_json,
    short,
    show,
    token_amount,
    usd,
    utc,
)

if TYPE_CHECKING:  # the database takes its second when the command runs, not in its help
    from keeper.storage.views import DecisionView, PositionView

    LastActions = Mapping[tuple[str, str], DecisionView]

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
NOTHING = "Nothing recorded yet: start [bold]keeper run[/bold]."
RUNNING = {
    True: "[green]a keeper is running[/green]",
    False: "[bold yellow]no keeper is running: this is what was last seen[/bold yellow]",
    None: "[yellow]whether a keeper is running cannot be told: its lock may not be read[/yellow]",
}


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show each position's health, forecast and last action."""
    from keeper.storage import store, views

    path = journal_path(config)
    seen = views.positions(path) if path.exists() else []
    last = _last_actions(views.history(path)) if seen else {}
    running = store.running(path)
    if as_json:
        print_json({"running": running, "positions": [_document(view, last) for view in seen]})
    elif not seen:
        show(NOTHING)
    else:
        shown = _stack(seen, last) if narrow() else _table(seen, last)
        show(Group(shown, _caption(seen), RUNNING[running]))


def journal_path(config: Path | None) -> Path:
    """Where the journal is; nothing else of the configuration is needed to read it."""
    from keeper.config import default_path, store_path

    return store_path(config or default_path())


def _last_actions(decisions: Sequence[DecisionView]) -> LastActions:
    return {(d.market, d.account): d for d in decisions if d.approved}


def _document(view: PositionView, last: LastActions) -> dict[str, Any]:
    return {**asdict(view), "last_action": last.get((view.market, view.account))}


def _stack(seen: Sequence[PositionView], last: LastActions) -> RenderableType:
    """What the table says, a block for each position."""
    parts: list[RenderableType] = []
    for view in seen:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        facts.add_row("account", f"{view.account} in {view.market}")
        facts.add_row(
            "health",
            Text.assemble(
                health_text(view.health, view.floor, view.target),
                (f", floor {view.floor:.3f}, target {view.target:.3f}", "dim"),
            ),
        )
        facts.add_row("breach probability", percent(view.breach_probability))
        if fall(view.distance):
            facts.add_row("", fall(view.distance))
        facts.add_row("debt", f"{usd(view.debt_usd)} USD")
        facts.add_row("collateral", f"{usd(view.collateral_usd)} USD")
        facts.add_row("last action", _last_action(last.get((view.market, view.account))))
        facts.add_row("now", Text(view.note))
        parts += [Text.assemble((view.label, "bold"), f" · {view.policy}"), Padding(facts, (0, 2))]
    return Group(*parts)


def _table(seen: Sequence[PositionView], last: LastActions) -> Table:
    table = Table(box=box.ROUNDED, show_lines=True)
    table.add_column("position", no_wrap=True)
    table.add_column("health", justify="right", no_wrap=True)
    table.add_column("breach probability", justify="right", no_wrap=True)
    table.add_column("debt\ncollateral", justify="right", no_wrap=True)
    table.add_column("last action")
    table.add_column("now", max_width=40)
    for view in seen:
        table.add_row(
            Text.assemble(
                (view.label, "bold"), f"\n{view.policy} · {view.market}\n", short(view.account)
            ),
            Text.assemble(
                health_text(view.health, view.floor, view.target),
                (f"\nfloor {view.floor:.3f}\ntarget {view.target:.3f}", "dim"),
            ),
            Text.assemble(percent(view.breach_probability), (f"\n{fall(view.distance)}", "dim")),
            f"{usd(view.debt_usd)} USD\n{usd(view.collateral_usd)} USD",
            _last_action(last.get((view.market, view.account))),
            Text(view.note),
        )
    return table


def _last_action(decision: DecisionView | None) -> Text:
    if decision is None:
        return Text("none", style="dim")
    after = decision.health_after or decision.predicted_health
    return Text.assemble(
        f"#{decision.id} {decision.kind} {token_amount(decision.amount, decision.token)}\n",
        f"{decision.health_before:.3f} → {'no debt' if after is None else f'{after:.3f}'}",
        (f" · {decision.outcome}\n{utc(decision.timestamp)}", "dim"),
    )


def _caption(seen: Sequence[PositionView]) -> str:
    newest = max(seen, key=lambda view: view.block)
    models = ", ".join(sorted({view.forecast_model for view in seen}))
    return f"block {newest.block}, {utc(newest.timestamp)} UTC; forecast: {models}"
