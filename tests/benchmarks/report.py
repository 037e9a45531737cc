"""What a benchmark ends with: rows for people and rows for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.measuring import Side

WIDTH = 150
"""Of the table where it does not go to a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of keeper's beside one peer."""

    name: str
    value: float
    """Keeper's, a median."""
    unit: str
    peer: str
    """What it is compared with; for a floor, what no client of that node can go below."""
    peer_value: float
    ratio: float
    """How many times better keeper is than the peer; below 1 for a floor."""
    goal: float | None = None
    """The ratio, or for rates the value, that is aimed at."""

    def document(self) -> dict[str, object]:
        """As it stands in the file."""
        return {key: asdict(self)[key] for key in ("name", "value", "unit", "peer", "ratio")}


def compared(name: str, ours: Side, peer: Side, goal: float | None = None) -> Row:
    """Two sides that did the same work, in milliseconds."""
    return times(name, ours.median_ms, peer.name, peer.median_ms, goal)


def times(name: str, ours_ms: float, peer: str, peer_ms: float, goal: float | None = None) -> Row:
    """Two durations."""
    return Row(
        name=name,
        value=ours_ms,
        unit="ms",
        peer=peer,
        peer_value=peer_ms,
        ratio=peer_ms / ours_ms,
        goal=goal,
    )


def show(rows: Sequence[Row], notes: Sequence[str]) -> None:
    """Print the table."""
    table = Table(title="keeper and its peers, side by side in one run")
    table.add_column("figure")
    for heading in ("keeper", "beside it", "ratio", "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("peer or floor")
    last = ""
    for row in rows:
        name, last = (row.name if row.name != last else ""), row.name
        table.add_row(
            name,
            f"{_shown(row.value)} {row.unit}",
            f"{_shown(row.peer_value)} {row.unit}",
            f"{_shown(row.ratio)}×",
            "" if row.goal is None else _goal(row),
            row.peer,
        )
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)
    for note in notes:
        console.print(note, style="dim")


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.document() for row in rows], indent=2) + "\n", encoding="utf-8")


def _goal(row: Row) -> str:
    reached = (row.value if row.unit.endswith("/s") else row.ratio) >= (row.goal or 0.0)
    mark = "[green]reached[/]" if reached else "[red]below[/]"
    unit = f" {row.unit}" if row.unit.endswith("/s") else "×"
    return f"≥ {_shown(row.goal or 0.0)}{unit} {mark}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
