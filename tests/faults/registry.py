"""The fixed list of faults: what is done to the daemon, and what must be seen for it to pass.

A line drives the daemon through its fault and judges by the chain's events and the journal. It
returns what it saw, in words, or fails an assertion.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.stage import Stage

Play = Callable[[Stage], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One fault."""

    name: str
    family: str
    fault: str
    """What is injected."""
    must: str
    """What must be seen."""
    play: Play
    quick: bool
    """Whether the seeded sample may take it."""


LINES: dict[str, Line] = {}
"""By name, in the order of the table."""


def line(name: str, *, must: str, fault: str = "", quick: bool = True) -> Callable[[Play], Play]:
    """Enter a line; what is injected is its docstring unless given."""

    def entered(play: Play) -> Play:
        assert name not in LINES, f"two lines are called {name}"
        said = fault or " ".join((play.__doc__ or "").split())
        family = play.__module__.rpartition(".")[2].removeprefix("lines_")
        LINES[name] = Line(name=name, family=family, fault=said, must=must, play=play, quick=quick)
        return play

    return entered


def sample(count: int, seed: int) -> list[str]:
    """So many lines, from all families by turns; the same for the same seed."""
    families: dict[str, list[str]] = {}
    for each in LINES.values():
        if each.quick:
            families.setdefault(each.family, []).append(each.name)
    chance = random.Random(seed)
    for names in families.values():
        chance.shuffle(names)
    longest = max(map(len, families.values()))
    turns = [
        names[turn] for turn in range(longest) for names in families.values() if turn < len(names)
    ]
    return turns[:count]
