"""Which rows to act on now, over the whole book at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Self

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Floats
from keeper.model.units import Wad, float_from_wad
from keeper.model.values import Cause
from keeper.policy.settings import Policy

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Triggers:
    """The rules of each row, as arrays. `trigger_probability` is nan where only the floor acts."""

    floor: Floats
    trigger_probability: Floats
    forecast_below: Floats
    """Health under which the forecast may act: no higher than `max_health_to_act`, nor than
    `target`, since an action that restores the target has nothing to do above it."""

    @classmethod
    def of(cls, policies: Sequence[Policy]) -> Self:
        """One policy per row."""
        trigger = [
            nan if p.trigger_probability is None else p.trigger_probability for p in policies
        ]
        below = [float_from_wad(min(p.max_health_to_act, p.target)) for p in policies]
        return cls(
            floor=np.array([float_from_wad(p.floor) for p in policies], dtype=np.float64),
            trigger_probability=np.array(trigger, dtype=np.float64),
            forecast_below=np.array(below, dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decisions:
    """Which rows act, and why; `armed` is what the next block starts from."""

    floor: Flags
    forecast: Flags
    armed: Flags

    def acting(self) -> Iterator[tuple[int, Cause]]:
        """Rows in ascending order, each with its one cause."""
        for row in np.flatnonzero(self.floor | self.forecast).tolist():
            yield row, "floor" if self.floor[row] else "forecast"


def floats_from_healths(healths: Sequence[Wad | None]) -> Floats:
    """Exact healths as `decide` takes them: nan without debt.

    Each is rounded to the nearest float, as the floors are, and rounding keeps order: a health at
    or above its floor never compares below it.
    """
    return np.array([nan if h is None else float_from_wad(h) for h in healths], dtype=np.float64)


def decide(health: Floats, probability: Floats, triggers: Triggers, armed: Flags) -> Decisions:
    """Act on the floor where health < floor, whatever the forecast says; else on the forecast where
    it is armed, probability > trigger and health is below the forecast's ceiling.

    `health` must come from exact healths (`floats_from_healths`); computed in floats it may err by
    an ulp around the floor. Neither nan health (no debt) nor nan probability (cold) acts. A row is
    armed again once its probability is at or below the trigger.
    """
    floor = health < triggers.floor
    likely = probability > triggers.trigger_probability
    forecast = ~floor & armed & likely & (health < triggers.forecast_below)
    calm = probability <= triggers.trigger_probability
    return Decisions(floor=floor, forecast=forecast, armed=armed | calm)


def disarm(armed: Flags, reached: Sequence[int]) -> Flags:
    """Rows whose action has just reached its target wait until their probability has been at or
    below the trigger: the forecast does not act twice on the same danger. The floor always does."""
    after = armed.copy()
    after[list(reached)] = False
    return after
