"""Sides of one comparison, run in turns in one process so that a busy moment hits all of them."""

import gc
import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

MS = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """What a side returns that has to set up before its clock starts, or stops it early."""

    seconds: float
    found: Any


@dataclass(slots=True, kw_only=True)
class Side:
    """One way to do the work."""

    name: str
    run: Callable[[], Any | Awaitable[Any]]
    """Returns what it found, or a `Lap`, or an awaitable of either."""
    repeats: int = 1
    """Runs per round: more for what is quick."""
    clock: Callable[[], float] = time.perf_counter
    """`time.thread_time` for what only computes, and that on one thread."""
    seconds: list[float] = field(default_factory=list)
    found: Any = None
    """What the last run returned."""

    @property
    def median_ms(self) -> float:
        """The median run."""
        return median(self.seconds) * MS

    async def once(self) -> float:
        """Seconds that one run takes."""
        self.found = None
        begin = self.clock()
        found = self.run()
        if inspect.isawaitable(found):
            found = await found
        seconds = self.clock() - begin
        if isinstance(found, Lap):
            seconds, found = found.seconds, found.found
        self.found = found
        return seconds


async def take_turns(sides: list[Side], *, rounds: int) -> None:
    """Warm every side up once, then time them all `rounds` times over."""
    for side in sides:
        await side.once()
    for _ in range(rounds):
        for side in sides:
            gc.collect()
            side.seconds += [await side.once() for _ in range(side.repeats)]
