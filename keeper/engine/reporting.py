"""What one pass came to, for those who watch the keeper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keeper.engine.outlook import Outlook
from keeper.engine.watch import Snapshot, Watched
from keeper.model.reading import ReadingError
from keeper.model.units import WAD
from keeper.model.values import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionReport:
    """One position as a pass saw it."""

    label: str
    readable: bool
    health: float | None
    """None without debt, and where it could not be read."""
    breach_probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassReport:
    """A pass that came to its end."""

    head: Head
    positions: tuple[PositionReport, ...]
    worsened_positions: int


def pass_report(
    snapshot: Snapshot,
    outlook: Outlook,
    watched: Sequence[Watched],
    *,
    worsened_positions: int,
) -> PassReport:
    """Floats here are for people and dashboards; nothing is decided by them."""
    positions = []
    for place, (row, position) in enumerate(zip(watched, snapshot.positions, strict=True)):
        probability = float(outlook.forecast.probability[place])
        readable = not isinstance(position, ReadingError)
        health = None if isinstance(position, ReadingError) else position.health
        positions.append(
            PositionReport(
                label=row.label,
                readable=readable,
                health=None if health is None else health / WAD,
                breach_probability=None if math.isnan(probability) else probability,
            )
        )
    return PassReport(
        head=snapshot.head,
        positions=tuple(positions),
        worsened_positions=worsened_positions,
    )
