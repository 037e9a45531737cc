"""`keeper status`: the last that is known of every position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from keeper.cli.output import (
    ConfigOption,
    JsonOption,
    console,
    fall,
    health_text,
    percent,
    print_json,
    short,
    token_amount,
    usd,
    utc,
)

if TYPE_CHECKING:  # the database takes its second when the command runs, not in its help
    from keeper.storage.views import DecisionView, PositionView

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
NOTHING = "Nothing recorded yet: start [bold]keeper run[/bold]."


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show each position's health, forecast and last action."""
    from keeper.storage import views

    path = journal_path(config)
    seen = views.positions(path) if path.exists() else []
    if as_json:
        print_json({"positions": seen})
    elif not seen:
        console().print(NOTHING)
    else:
        console().print(_table(seen, views.history(path)))


def journal_path(config: Path | None) -> Path:
    """Where the journal is; nothing else of the configuration is needed to read it."""
    from keeper.config import default_path, store_path

    return store_path(config or default_path())


def _table(seen: Sequence[PositionView], decisions: Sequence[DecisionView]) -> Table:
    last = {(d.market, d.account): d for d in decisions if d.approved}
    table = Table(box=box.ROUNDED, show_lines=True, caption=_caption(seen), caption_justify="left")
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
    models = ", ".join(sorted({view.forecast_model.replace("_", " ") for view in seen}))
    return f"block {newest.block}, {utc(newest.timestamp)} UTC; forecast: {models}"
