"""How numbers, times and documents look, the same in every command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import exp, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keeper.layout import Uncut

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.devnet.twins import Guarding

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration file; else ./keeper.toml, "
        "else keeper/keeper.toml in the user's configuration folder.",
        show_default=False,
    ),
]


def _scenarios(begun: str) -> list[str]:
    from keeper.devnet.scenario import packaged_names

    return [name for name in packaged_names() if name.startswith(begun)]


ScenarioOption = Annotated[
    str,
    typer.Option(
        help="What happens: a file of config/scenarios, by its name.", autocompletion=_scenarios
    ),
]
ModeOption = Annotated[
    Literal["direct", "guardian"],
    typer.Option(
        help="direct: the keeper has the accounts' own keys. guardian: its key has gas money only, "
        "and contracts of the owners let it act within their mandates."
    ),
]
ReserveOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="What lies in each wallet to protect its position, as a share of the debt, in USDC; "
        "else 4,000 USDC and 60 WETH.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


NARROW = 110
"""Columns below which a table's cells would be cut: what it says is stacked instead."""


def guarding(mode: Literal["direct", "guardian"], reserve: float | None) -> Guarding:
    """How the keeper may act for the demo's twins."""
    from keeper.devnet.twins import Guarding

    share = None if reserve is None else Fraction(str(reserve))
    return Guarding(mode=mode, reserve=share)


def console() -> Console:
    """Standard output; wide enough for the tables where neither a terminal nor COLUMNS says."""
    out = Console(highlight=False)
    if out.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return out
    return Console(highlight=False, width=160)


def narrow() -> bool:
    """Whether tables have to be stacked."""
    return console().width < NARROW


def show(said: RenderableType) -> None:
    """Print to a terminal as it is, to files and pipes without blanks at the lines' ends."""
    out = console()
    if out.is_terminal:
        out.print(said)
        return
    with out.capture() as captured:
        out.print(said)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_lines(
    lines: Sequence[Mapping[str, str]],
    *,
    left: Collection[str],
    bold: Collection[int] = (),
    prose: str | None = None,
) -> None:
    """A table of these lines, by column; stacked where its cells would be cut. `left` are the columns of
    words, `bold` the lines to be seen first, `prose` the column that may be wrapped."""
    table = Table(box=box.ROUNDED)
    for name in lines[0]:
        table.add_column(name, justify="left" if name in left else "right")
    for number, line in enumerate(lines):
        table.add_row(*line.values(), style="bold" if number in bold else None)
    show(Uncut(table, least=NARROW, prose=prose))


def print_json(document: Any) -> None:
    """One JSON document; what is no number in JSON becomes null. Where the output takes ASCII or
    Latin alone, other characters are escaped: nothing is lost."""
    text = json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(_plain(document), indent=2, allow_nan=False)
    print(text)


def health_text(health: float | None, floor: float, target: float) -> Text:
    """Red below the floor, yellow below the target, green above; blinding below 1."""
    if health is None:
        return Text("no debt", style="green")
    style = (
        "bold white on red"
        if health < 1
        else "bold red"
        if health < floor
        else "yellow"
        if health < target
        else "green"
    )
    return Text(f"{health:.3f}", style=style)


def percent(probability: float | None) -> str:
    """A probability as a percentage; a forecast that is cold has none."""
    if probability is None:
        return "–"
    if 0 < probability < 0.001:
        return "< 0.1 %"
    return f"{100 * probability:.1f} %"


def fall(distance: float | None) -> str:
    """The price move that liquidates, from the log distance."""
    if distance is None or not isfinite(distance):
        return ""
    return f"liquidated at −{100 * (1 - exp(-distance)):.1f} %"


def token_amount(amount: str | None, token: str | None) -> str:
    """A quantity to six decimals, cut, not rounded; JSON and `keeper explain` hold every digit."""
    whole, _, decimals = (amount or "0").partition(".")
    rest = decimals[:6].rstrip("0")
    return f"{int(whole):,}{'.' + rest if rest else ''} {token}"


def usd(amount: float | None) -> str:
    """US dollars in cents."""
    return "–" if amount is None else f"{amount:,.2f}"


def utc(timestamp: int) -> str:
    """Chain time."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S}"


def short(address: str) -> str:
    """An address as people compare it."""
    return f"{address[:8]}…{address[-6:]}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    match value:
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case float() if not isfinite(value):
            return None
        case bytes():
            return "0x" + value.hex()
        case _:
            return value
