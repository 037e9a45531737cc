"""Alerts on their way out: the log at once, and each channel at its own pace.

What is wrong is told when it begins, again every `repeat_s` for as long as it is reported, and once
more when it is over. A channel that fails or hangs delays nobody: `notify` only puts the alert in
line, and a full line loses its oldest entry.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from keeper.model.alerts import Alert, Severity

log = structlog.get_logger()

REPEAT_S = 3600.0
"""What is still wrong is told again after this long."""
LINE_LENGTH = 256
"""Alerts that may wait for one channel; the oldest give way."""
SEND_TIMEOUT_S = 10.0
ATTEMPTS = 5
"""An alert that a channel did not take so many times is given up; the log has it."""
FIRST_WAIT_S = 1.0
"""Before the second attempt; each later one waits twice as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a channel is given: an alert, or its end."""

    alert: Alert
    resolved: bool


class ChannelError(Exception):
    """A channel did not take a notice. The text holds no secret."""


class Channel(Protocol):
    """One way to reach the owner."""

    @property
    def name(self) -> str: ...

    async def send(self, notice: Notice) -> None:
        """Raises `ChannelError` if it was not taken."""
        ...

    async def close(self) -> None: ...


class Notifications:
    """A `Notifier`: the log, and a line for each channel. `deliver` runs beside the rest."""

    def __init__(
        self,
        *,
        channels: Sequence[Channel] = (),
        clock: Callable[[], float],
        repeat_s: float = REPEAT_S,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._lines = [_Line(channel, first_wait_s) for channel in channels]
        self._clock = clock
        self._repeat_s = repeat_s
        self._told: dict[tuple[str, str], tuple[float, Alert]] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        """What is wrong now, as last told."""
        return tuple(alert for _, alert in self._told.values())

    def notify(self, alert: Alert) -> None:
        """Put it in line, unless the same was told less than `repeat_s` ago."""
        now, before = self._clock(), self._told.get(alert.key)
        # What has become worse is news.
        if (
            before is not None
            and now - before[0] < self._repeat_s
            and (alert.severity is before[1].severity or alert.severity is Severity.WARNING)
        ):
            return
        self._told[alert.key] = (now, alert)
        self._tell(Notice(alert=alert, resolved=False))

    def resolve(self, name: str, subject: str = "") -> None:
        """Say that it is over, if it had been told."""
        told = self._told.pop((name, subject), None)
        if told is not None:
            self._tell(Notice(alert=told[1], resolved=True))

    def _tell(self, notice: Notice) -> None:
        alert = notice.alert
        write = log.error if alert.severity is Severity.CRITICAL else log.warning
        (log.info if notice.resolved else write)(
            "alert.resolved" if notice.resolved else "alert.raised",
            alert=alert.name,
            subject=alert.subject,
            severity=alert.severity.value,
            text=alert.text,
            fields=dict(alert.fields),
        )
        for line in self._lines:
            line.put(notice)

    async def deliver(self) -> None:
        """Hand out until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for line in self._lines:
                    group.create_task(line.deliver(), name=f"notify.{line.channel.name}")
        finally:
            for line in self._lines:
                await line.channel.close()

    async def drain(self) -> None:
        """Return when nothing is in line any more."""
        for line in self._lines:
            await line.empty.wait()


class _Line:
    """What waits for one channel."""

    def __init__(self, channel: Channel, first_wait_s: float) -> None:
        self.channel = channel
        self.empty = asyncio.Event()
        self.empty.set()
        self._first_wait_s = first_wait_s
        self._waiting: deque[Notice] = deque(maxlen=LINE_LENGTH)
        self._filled = asyncio.Event()

    def put(self, notice: Notice) -> None:
        if len(self._waiting) == LINE_LENGTH:
            log.error("notifier.line_full", channel=self.channel.name)
        self._waiting.append(notice)
        self.empty.clear()
        self._filled.set()

    async def deliver(self) -> None:
        while True:
            await self._filled.wait()
            while self._waiting:
                await self._send(self._waiting.popleft())
            self._filled.clear()
            self.empty.set()

    async def _send(self, notice: Notice) -> None:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._first_wait_s * 2 ** (attempt - 1))
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self.channel.send(notice)
            except (ChannelError, TimeoutError) as error:
                log.warning(
                    "notifier.failed",
                    channel=self.channel.name,
                    alert=notice.alert.name,
                    attempt=attempt + 1,
                    reason=str(error) or "timed out",
                )
            except Exception:
                # A channel is other people's code; the ones beside it must go on.
                log.exception("notifier.failed", channel=self.channel.name)
            else:
                return
        log.error("notifier.gave_up", channel=self.channel.name, alert=notice.alert.name)
