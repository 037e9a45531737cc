"""Whether the keeper does its work: heads move, and passes end."""

from collections.abc import Callable
from dataclasses import dataclass

from keeper.model.alerts import Alert, Severity

BLIND = "keeper.blind"
STALLED = "keeper.stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How it stands. Ages are seconds of the monotonic clock."""

    head_number: int | None
    head_age_s: float
    pass_age_s: float
    """Since a pass ended, or since the start."""
    alerts: tuple[Alert, ...]
    """What is wrong; empty is healthy."""

    @property
    def healthy(self) -> bool:
        """Whether the watchdog may be fed."""
        return not self.alerts


class Pulse:
    """Takes note of heads and passes; `vitals` judges them at any time."""

    def __init__(
        self, *, clock: Callable[[], float], blind_after_s: float, stall_after_s: float
    ) -> None:
        self._clock = clock
        self._blind_after_s = blind_after_s
        self._stall_after_s = stall_after_s
        self._head_number: int | None = None
        self._head_at_s = self._passed_at_s = clock()
        self._began_at_s: float | None = None
        self._failure = ""

    def head(self, number: int) -> None:
        """A new head came, and its pass begins. Only a higher one than the last is progress: one
        block in place of another at the same height is none."""
        now_s = self._clock()
        if self._head_number is None or number > self._head_number:
            self._head_at_s = now_s
        self._head_number, self._began_at_s = number, now_s

    def passed(self) -> None:
        """The pass came to its end."""
        self._passed_at_s, self._began_at_s, self._failure = self._clock(), None, ""

    def failed(self, reason: str) -> None:
        """The pass broke off."""
        self._began_at_s, self._failure = None, reason

    def vitals(self) -> Vitals:
        """How it stands now."""
        now = self._clock()
        head_age_s, pass_age_s = now - self._head_at_s, now - self._passed_at_s
        # Heads are taken one pass at a time: none comes while a pass is stuck, and that is no
        # blindness.
        blind = head_age_s > self._blind_after_s and self._began_at_s is None
        # Nothing is late while the last head's pass has ended and the next head may yet come.
        awaited = self._began_at_s is not None or bool(self._failure)
        stalled = pass_age_s > self._stall_after_s and awaited and not blind
        wrong = [self._blind(head_age_s)] * blind + [self._stalled(pass_age_s)] * stalled
        return Vitals(
            head_number=self._head_number,
            head_age_s=head_age_s,
            pass_age_s=pass_age_s,
            alerts=tuple(wrong),
        )

    def _blind(self, age_s: float) -> Alert:
        why = f"; the last one failed: {self._failure}" if self._failure else ""
        return Alert(
            name=BLIND,
            severity=Severity.CRITICAL,
            text=f"no new block for {age_s:.0f} s: nothing is protected{why}",
            fields={"head_age_s": round(age_s, 1), "block": self._head_number},
        )

    def _stalled(self, age_s: float) -> Alert:
        why = self._failure or "a pass has begun and does not end"
        return Alert(
            name=STALLED,
            severity=Severity.CRITICAL,
            text=f"blocks come, but no pass has ended for {age_s:.0f} s: {why}",
            fields={"pass_age_s": round(age_s, 1), "block": self._head_number},
        )
