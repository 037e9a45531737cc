"""Alerts on their way out: the log at once, and each channel at its own pace.

What is wrong is told when it begins, again for as long as it lasts, and once more when it is over. A
critical alert is told again until somebody acknowledges it, in time on channels that others have not
woken. A channel that fails or hangs delays nobody: `notify` only puts the alert in line.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from keeper.model.alerts import Alert, Severity
from keeper.service.channels import Line, Notice, Reach, Sleep

log = structlog.get_logger()

REPEAT_S, ESCALATE_S = 3600.0, 900.0


@dataclass(slots=True, kw_only=True)
class Standing:
    """An alert that is not over. Times are of the monotonic clock."""

    alert: Alert
    raised_at_s: float
    told_at_s: float
    acknowledged: bool = False
    heard_by: set[int] = field(default_factory=set)
    """Places of the lines that were told of it, and have to be told of its end."""


class Notifications:
    """A `Notifier`: the log, and a line for each channel. `deliver` runs beside the rest."""

    def __init__(
        self,
        *,
        reaches: Sequence[Reach] = (),
        clock: Callable[[], float],
        repeat_s: float = REPEAT_S,
        escalate_s: float = ESCALATE_S,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._lines = [Line(reach, clock=clock, sleep=sleep) for reach in reaches]
        self._clock = clock
        self._repeat_s = repeat_s
        self._escalate_s = escalate_s
        self._standing: dict[tuple[str, str], Standing] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        """What is wrong now, as last told."""
        return tuple(each.alert for each in self._standing.values())

    @property
    def standing(self) -> tuple[Standing, ...]:
        """The same, with what was done about it."""
        return tuple(self._standing.values())

    def notify(self, alert: Alert) -> None:
        """Put it in line, unless the same was told a short time ago."""
        now, before = self._clock(), self._standing.get(alert.key)
        if before is None:
            before = Standing(alert=alert, raised_at_s=now, told_at_s=now)
            self._standing[alert.key] = before
        elif alert.severity.rank > before.alert.severity.rank:
            # What has become worse is news.
            before.acknowledged = False
        elif alert.severity is before.alert.severity and (
            before.acknowledged or now - before.told_at_s < self._interval_s(before)
        ):
            # What is shown of it is the newest.
            before.alert = alert
            return
        elif before.acknowledged or now - before.told_at_s < self._interval_s(before):
            return
        before.alert = alert
        self._tell(before, now)

    def resolve(self, name: str, subject: str = "") -> None:
        """Say that it is over, if it had been told."""
        over = self._standing.pop((name, subject), None)
        if over is None:
            return
        log.info("alert.resolved", **_fields(over.alert))
        for place in over.heard_by:
            self._lines[place].put(Notice(alert=over.alert, resolved=True))

    def remind(self) -> None:
        """Tell again what is critical and nobody has acknowledged; called now and then."""
        now = self._clock()
        for each in self._standing.values():
            late = now - each.told_at_s >= self._escalate_s
            if late and not each.acknowledged and each.alert.severity is Severity.CRITICAL:
                self._tell(each, now)

    def acknowledge(self, name: str = "", subject: str = "") -> int:
        """Somebody has seen all that stands, all of one name, or one. How many that were."""
        seen = [
            each
            for each in self._standing.values()
            if name in {"", each.alert.name} and subject in {"", each.alert.subject}
        ]
        for each in seen:
            each.acknowledged = True
            log.info("alert.acknowledged", alert=each.alert.name, subject=each.alert.subject)
        return len(seen)

    def say(self, alert: Alert) -> None:
        """What is no alert and does not stand, such as a summary: told once."""
        log.info("notice.said", alert=alert.name, text=alert.text)
        for line in self._lines:
            if line.reach.includes(Notice(alert=alert, resolved=False), age_s=0.0):
                line.put(Notice(alert=alert, resolved=False))

    def _interval_s(self, standing: Standing) -> float:
        critical = standing.alert.severity is Severity.CRITICAL
        return min(self._escalate_s, self._repeat_s) if critical else self._repeat_s

    def _tell(self, standing: Standing, now: float) -> None:
        critical = standing.alert.severity is Severity.CRITICAL
        (log.error if critical else log.warning)("alert.raised", **_fields(standing.alert))
        standing.told_at_s = now
        notice = Notice(alert=standing.alert, resolved=False)
        for place, line in enumerate(self._lines):
            if line.reach.includes(notice, age_s=now - standing.raised_at_s):
                standing.heard_by.add(place)
                line.put(notice)

    async def deliver(self) -> None:
        """Hand out until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for line in self._lines:
                    group.create_task(line.deliver(), name=f"notify.{line.name}")
        finally:
            for line in self._lines:
                await line.reach.channel.close()

    async def drain(self) -> None:
        """Return when nothing is in line any more."""
        for line in self._lines:
            await line.empty.wait()


def _fields(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "subject": alert.subject,
        "severity": alert.severity.value,
        "text": alert.text,
        "fields": dict(alert.fields),
    }
