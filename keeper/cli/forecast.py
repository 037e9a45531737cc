"""`keeper forecast`: breach probabilities of the configured positions; their fit and scores."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keeper.cli.output import ConfigOption, JsonOption, health_text, percent, print_json, show, utc
from keeper.cli.scoring import check_can_be_written, fit, score
from keeper.layout import Uncut
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.units import float_from_wad

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.engine.together import Together
    from keeper.inquiry import Seen

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    help="Show how likely each position is to be liquidated; fit and score the probabilities.",
)
app.command()(score)
app.command()(fit)
PICTURES = (".png", ".html")


@app.callback(invoke_without_command=True)
def forecast(
    context: typer.Context,
    position: Annotated[
        list[str] | None,
        typer.Option(
            help="Only the position of this label; may be given several times.", show_default=False
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw how low health may go into this file, .png or .html.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how likely each configured position is to be liquidated, from 5 minutes to 7 days.

    Reads the newest block from the configured endpoint and forecasts as the daemon does; nothing is
    sent and nothing kept. With `fit` or `score`: fit the probabilities, or hold them to the past.
    """
    if context.invoked_subcommand is not None:
        return
    if picture is not None and picture.suffix not in PICTURES:
        raise _wrong("--picture", f"{picture} ends in neither .png nor .html", "name it so")
    check_can_be_written("--picture", picture)
    from keeper.config import default_path, load_settings
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path())
    configure_logging("warning", secrets=settings.secrets)
    labels = [each.label for each in settings.positions]
    for label in position or ():
        if label not in labels:
            raise _wrong(
                "--position", f"no position is called {label}", f"there are {', '.join(labels)}"
            )
    from keeper.engine.together import together
    from keeper.inquiry import look

    seen = asyncio.run(look(settings))
    rows = [n for n, each in enumerate(seen.watched) if not position or each.label in position]
    told = _told(seen, rows)
    joint = together(rows, seen.watched, seen.snapshot, seen.outlook, seen.markets)
    if picture is not None:
        _draw(picture, seen, rows)
        print(f"{picture} is written", file=sys.stderr)
    if as_json:
        head = seen.snapshot.head
        document = {"block": head.number, "timestamp": head.timestamp, "positions": told}
        print_json(document | {"together": joint})
    else:
        show(Group(_shown(seen, told), *_joint(joint)))


def _wrong(where: str, what: str, fix: str) -> ConfigurationError:
    why = "the forecast is about the configured positions"
    return ConfigurationError(Problem(where=where, what=what, why=why, fix=fix))


def _told(seen: Seen, rows: Sequence[int]) -> list[dict[str, Any]]:
    from keeper.engine.ahead import chances, exposures
    from keeper.model.reading import ReadingError

    by_row = chances(seen.outlook)
    told = []
    for row in rows:
        one, position = seen.watched[row], seen.snapshot.positions[row]
        entry: dict[str, Any] = {
            "label": one.label,
            "market": one.id.market,
            "account": one.id.account,
            "policy": one.policy.name,
            "floor": float_from_wad(one.policy.floor),
            "target": float_from_wad(one.policy.target),
        }
        if isinstance(position, ReadingError):
            told.append(entry | {"unreadable": str(position)})
            continue
        cold = {
            _named(seen.outlook.columns[k].label): reason
            for k in seen.outlook.columns_of(row)
            if (reason := seen.outlook.why_cold[k]) is not None
        }
        told.append(
            entry
            | {
                "health": None if position.health is None else float_from_wad(position.health),
                "forecast_from": seen.outlook.source_of(row),
                "horizons": list(by_row.get(row, ())),
                "assets": [
                    {
                        "asset": _named(each.asset),
                        "price": each.price,
                        "liquidation_price": each.liquidation_price,
                        "sensitivity": each.sensitivity,
                        "market_over_oracle": each.market_over_oracle,
                    }
                    for each in (exposures(seen.outlook, row) if row in by_row else ())
                ],
                "cold": cold,
            }
        )
    return told


def _named(label: str) -> str:
    """A column's label without the addresses that make it unique."""
    return re.sub(r"\s*0x[0-9a-fA-F]{40}", "", label)


def _shown(seen: Seen, told: Sequence[dict[str, Any]]) -> RenderableType:
    head = seen.snapshot.head
    parts: list[RenderableType] = [Text(f"block {head.number}, {utc(head.timestamp)} UTC", "dim")]
    for one in told:
        parts += ["", _heading(one)]
        if "unreadable" in one:
            parts.append(Padding(Text(f"could not be read: {one['unreadable']}", "red"), (0, 2)))
        elif one["health"] is None:
            parts.append(Padding(Text("no debt: nothing can be liquidated"), (0, 2)))
        else:
            tables = (Uncut(_horizons(one)), "", Uncut(_assets(one)))
            parts += [Padding(table, (0, 2)) for table in tables]
            parts += [
                Padding(Text(f"{name}: {why}", "yellow"), (0, 2))
                for name, why in one["cold"].items()
            ]
    return Group(*parts)


def _joint(joint: Together | None) -> list[RenderableType]:
    """All legs as one exposure, and each under a shock of one price."""
    if joint is None:
        return []
    shocks = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    shocks.add_column("if alone")
    for name in (*joint.legs, "as one"):
        shocks.add_column(name, justify="right")
    for shock in joint.shocks:
        values = (*shock.healths.values(), shock.joint)
        shocks.add_row(
            f"{_named(shock.asset)} {100 * shock.move:+.0f} %",
            *("–" if each is None else Text(f"{each:.3f}", _danger(each)) for each in values),
        )
    deltas = ", ".join(
        f"{each.tokens:+,.4g} {_named(each.asset)} ({each.worth_usd:+,.0f} USD)"
        for each in joint.deltas
    )
    parts: list[RenderableType] = [
        "",
        Text.assemble(("together", "bold"), f" · {', '.join(joint.legs)}"),
        Padding(Text("as far as what is spare on one side can help the other", "dim"), (0, 2)),
        Padding(Uncut(_horizons({"horizons": joint.chances})), (0, 2)),
        Padding(Text(f"delta: {deltas}"), (0, 2)),
        Padding(Uncut(shocks), (0, 2)),
    ]
    return parts + [
        Padding(
            Text(
                f"to take {_named(each.asset)} out: {each.side} {each.tokens:,.4g} in {each.where}; "
                "keeper never does so by itself"
            ),
            (0, 2),
        )
        for each in joint.hedges
    ]


def _danger(value: float) -> str:
    return "bold red" if value < 1.0 else ""


def _heading(one: dict[str, Any]) -> Text:
    heading = Text.assemble((one["label"], "bold"), f" · {one['market']} · {one['policy']}")
    if one.get("health") is not None:
        heading.append("   health ")
        heading.append_text(health_text(one["health"], one["floor"], one["target"]))
        heading.append(f"   forecast from {one['forecast_from']}", "dim")
    return heading


def _horizons(one: dict[str, Any]) -> Table:
    from keeper.backtest.models import hours

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("within")
    for chance in one["horizons"]:
        table.add_column(hours(chance.horizon_s), justify="right")
    chances = one["horizons"]
    table.add_row("liquidated", *(percent(_finite(c.breach_probability)) for c in chances))
    table.add_row(
        "distance in σ",
        *("–" if c.distance_in_sigma is None else f"{c.distance_in_sigma:.1f}" for c in chances),
    )
    table.add_row("σ a year", *(percent(_finite(c.volatility_per_year)) for c in chances))
    return table


def _finite(value: float) -> float | None:
    return None if isnan(value) else value


def _assets(one: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("price of")
    for name in ("oracle", "market", "liquidated at", "that is", "health per +1 %"):
        table.add_column(name, justify="right")
    for asset in one["assets"]:
        limit, gap = asset["liquidation_price"], asset["market_over_oracle"]
        table.add_row(
            asset["asset"],
            f"{asset['price']:,.6g}",
            "" if gap is None else f"{100 * gap:+.2f} %",
            "never" if limit is None else f"{limit:,.6g}",
            "" if limit is None else f"{100 * (limit / asset['price'] - 1):+.1f} %",
            f"{asset['sensitivity']:+.2f} %",
        )
    return table


def _draw(path: Path, seen: Seen, rows: Sequence[int]) -> None:
    from keeper.engine.ahead import fan
    from keeper.service.fan import MOST_PANELS, Panel, draw

    probability = seen.outlook.forecast.probability
    nearest = sorted(rows, key=lambda row: -probability[row] if probability[row] >= 0 else 1.0)
    panels: list[Panel] = []
    for row in nearest:
        lowest, one = fan(seen.outlook, row), seen.watched[row]
        health = getattr(seen.snapshot.positions[row], "health", None)
        if lowest is not None and health is not None and len(panels) < MOST_PANELS:
            panels.append(
                Panel(
                    label=one.label,
                    health=float_from_wad(health),
                    floor=float_from_wad(one.policy.floor),
                    lowest=lowest,
                )
            )
    if not panels:
        raise _wrong("--picture", "there is nothing to draw", "ask for a position that has debt")
    head = seen.snapshot.head
    draw(path, f"How low health may go, from {utc(head.timestamp)} UTC", panels)
