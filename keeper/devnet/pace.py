"""A fixed beat of the wall clock."""

import threading
import time
from collections.abc import Callable, Iterator


class Pace:
    """Beats every `seconds` by a monotonic clock, whatever is done between the beats."""

    def __init__(
        self, seconds: float, stop: threading.Event, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.late_beats = 0
        """Beats that came after their time because the work before them took too long."""
        self._seconds = seconds
        self._stop = stop
        self._now = now

    def beats(self) -> Iterator[None]:
        """One item per beat, until `stop` is set.

        A late beat comes at once; what follows keeps its distance from it, so that a machine that
        stood still does not catch up in a burst."""
        due = self._now() + self._seconds
        while not self._stop.wait(max(0.0, due - self._now())):
            yield
            due += self._seconds
            if (now := self._now()) > due:
                self.late_beats += 1
                due = now
