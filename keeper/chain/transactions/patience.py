"""When to stop sending: a small state machine for each slot that is not mined."""

from collections.abc import Callable
from enum import Enum, auto

Clock = Callable[[], float]
"""Monotonic seconds."""

LOOKS_TO_LOSE = 3
"""Heads in a row at which the nonce is used and no receipt of ours is found: a node may tell the
nonce before the receipt."""
REFUSALS_TO_ABANDON = 3
"""Refusals in a row: one may be the trouble of a moment."""
REFUSED_S_TO_ABANDON = 24.0
"""And they must have gone on for two blocks of 12 s, so that several quick ones do not count."""


class Verdict(Enum):
    """What to make of a slot."""

    KEEP = auto()
    ABANDON = auto()
    """No node takes these bytes: another transaction must use the nonce."""
    LOST = auto()
    """The nonce seems to be used by somebody else."""


class Patience:
    """Counts what happens to one slot. Whatever goes well starts the count anew."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refusals = 0
        self._refused_since_s = 0.0
        self._looks_used = 0

    def taken(self) -> None:
        """A node has the bytes."""
        self._refusals = 0

    def refused(self) -> None:
        """Every node that answered has refused them, for their own sake."""
        if self._refusals == 0:
            self._refused_since_s = self._clock()
        self._refusals += 1

    def looked(self, *, nonce_used: bool) -> None:
        """A head went by without a receipt."""
        self._looks_used = self._looks_used + 1 if nonce_used else 0

    @property
    def verdict(self) -> Verdict:
        """As of now."""
        if self._looks_used >= LOOKS_TO_LOSE:
            return Verdict.LOST
        refused_s = self._clock() - self._refused_since_s
        if self._refusals >= REFUSALS_TO_ABANDON and refused_s >= REFUSED_S_TO_ABANDON:
            return Verdict.ABANDON
        return Verdict.KEEP
