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
FEW = 3
"""So many are shown one below the other, with all that is known of each."""
NEAR_A_DOLLAR = 0.05
"""What is so near to it is pegged: its own fall or rise is not what people watch."""
NOTHING = "Nothing recorded yet: start [bold]keeper run[/bold]."


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show each position's health, forecast and last action."""
    from keeper.cli.keeping import keeping
    from keeper.config import default_path, kill_file_path
    from keeper.storage import views

    path = journal_path(config)
    seen = views.positions(path) if path.exists() else []
    last = _last_actions(views.history(path)) if seen else {}
    found = keeping(path, kill_file_path(config or default_path()))
    if as_json:
        print_json({**found.document(), "positions": [_document(view, last) for view in seen]})
    elif not seen:
        show(NOTHING if found.order == "run" else f"{NOTHING}\n{found.said()}")
    else:
        shown = _stack(seen, last) if narrow() or len(seen) <= FEW else _table(seen, last)
        show(Group(shown, _caption(seen), found.said()))


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
        facts.add_row("boundary", _liquidated(view) or "–")
        facts.add_row("probability", _by_horizon(view))
        for name, figure in _owed_and_held(view):
            facts.add_row(name, figure)
        facts.add_row("reserve", _reserve(view))
        facts.add_row("last action", _last_action(last.get((view.market, view.account))))
        facts.add_row("now", Text(view.note))
        parts += [Text.assemble((view.label, "bold"), f" · {view.policy}"), Padding(facts, (0, 2))]
    return Group(*parts)


def _table(seen: Sequence[PositionView], last: LastActions) -> Table:
    table = Table(box=box.ROUNDED, show_lines=True)
    table.add_column("position", no_wrap=True)
    table.add_column("health", justify="right", no_wrap=True)
    table.add_column("breach probability", justify="right", no_wrap=True)
    table.add_column("debt, notional\ncollateral, equity\nreserve", justify="right", no_wrap=True)
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
            Text.assemble(
                percent(view.breach_probability),
                (f"\n{fall(view.distance)}", "dim"),
                (f"\n{_prices(view)}{_of_block(view)}", "dim"),
            ),
            _in_short(view),
            _last_action(last.get((view.market, view.account))),
            Text(view.note),
        )
    return table


def _owed_and_held(view: PositionView) -> list[tuple[str, str]]:
    """Debt and collateral, or the margin terms of a perp account."""
    margin = (view.ahead or {}).get("margin")
    if not margin:
        return [
            ("debt", f"{usd(view.debt_usd)} USD"),
            ("collateral", f"{usd(view.collateral_usd)} USD"),
        ]
    dollars = [
        (name.removesuffix("_usd").replace("_", " "), f"{usd(value)} USD")
        for name, value in margin.items()
        if name.endswith("_usd") and value is not None
    ]
    leverage = margin.get("leverage")
    return [*dollars, ("leverage", "–" if leverage is None else f"{leverage:.2f}×")]


def _in_short(view: PositionView) -> str:
    leverage = ((view.ahead or {}).get("margin") or {}).get("leverage")
    times = "" if leverage is None else f", {leverage:.1f}×"
    return f"{usd(view.debt_usd)} USD{times}\n{usd(view.collateral_usd)} USD\n{_reserve_usd(view)}"


def _liquidated(view: PositionView) -> str:
    """By which fall, and at which prices of each asset alone."""
    prices = _prices(view)
    dated = prices and f"{prices}{_of_block(view)}"
    return ", ".join(filter(None, (fall(view.distance), dated)))


def _of_block(view: PositionView) -> str:
    """What lies ahead is worked out a few times a minute, not at every block: where it is not of the
    block that the health is of, of which one."""
    block = (view.ahead or {}).get("block", view.block)
    return "" if block == view.block else f" (block {block})"


def _prices(view: PositionView) -> str:
    return ", ".join(
        f"{each['asset'].rpartition(' ')[2]} {each['liquidation_price']:,.6g}"
        for each in (view.ahead or {}).get("assets", ())
        if each["liquidation_price"] is not None and abs(each["price"] - 1.0) > NEAR_A_DOLLAR
    )


def _by_horizon(view: PositionView) -> str:
    horizons = (view.ahead or {}).get("horizons")
    if not horizons:
        return percent(view.breach_probability)
    from keeper.backtest.models import hours

    return " · ".join(
        f"{hours(each['horizon_s'])} {percent(each['breach_probability'])}" for each in horizons
    ) + _of_block(view)


def _reserve_usd(view: PositionView) -> str:
    reserve = (view.ahead or {}).get("reserve")
    return "–" if reserve is None else f"{usd(reserve['reserve_usd'])} USD"


def _reserve(view: PositionView) -> str:
    """What there is, and how far it goes."""
    from keeper.engine.runway import all_paid, held_until, then

    reserve = (view.ahead or {}).get("reserve")
    if reserve is None:
        return "–"
    # Journals of earlier versions tell loans' reserves only, and not that they are.
    against = reserve.get("against", "loan")
    goes = (
        all_paid(against)
        if reserve["pays_all"]
        else f"holds the floor down to −{100 * (1 - reserve['held_down_to']):.1f} %"
        if against == "loan" and reserve["held_down_to"] < 1
        else held_until(against, reserve["held_down_to"])
    )
    days = reserve["in_deviations"]
    more = f", {days:.1f} σ of a day" if days is not None and days > 0 else ""
    pools = f"; then {then(against)}" if reserve["unwinds"] else ""
    return f"{_reserve_usd(view)} {goes}{more}{pools}{_of_block(view)}"


def _last_action(decision: DecisionView | None) -> Text:
    if decision is None:
        return Text("none", style="dim")
    after = decision.health_after or decision.predicted_health
    return Text.assemble(
        f"#{decision.id} {decision.kind} {token_amount(decision.amount, decision.token)}\n",
        f"{decision.health_before:.3f} → {'nothing at risk' if after is None else f'{after:.3f}'}",
        (f" · {decision.outcome}\n{utc(decision.timestamp)}", "dim"),
    )


def _caption(seen: Sequence[PositionView]) -> str:
    newest = max(seen, key=lambda view: view.block)
    models = ", ".join(sorted({view.forecast_model for view in seen}))
    return f"block {newest.block}, {utc(newest.timestamp)} UTC; forecast: {models}"
