"""One way to reach the owner: what it is given, and the line of what waits for it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from keeper.model.alerts import Alert, Severity

log = structlog.get_logger()

LINE_LENGTH = 256
"""Alerts that may wait for one channel; the oldest give way."""
SEND_TIMEOUT_S = 10.0
ATTEMPTS = 5
"""What a channel did not take so many times is given up; the log has it."""
FIRST_WAIT_S = 1.0
"""Before the second attempt; each later one waits twice as long."""
HOUR_S = 3600.0


Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a channel is given: an alert, or its end."""

    alert: Alert
    resolved: bool


def line_of(notice: Notice) -> str:
    """What it says, on one line; may hold what has to be redacted."""
    alert = notice.alert
    word = "over" if notice.resolved else alert.severity.value.upper()
    return f"{word}: {alert.subject}: {alert.text}" if alert.subject else f"{word}: {alert.text}"


class ChannelError(Exception):
    """A channel did not take a message. The text holds no secret."""


class Channel(Protocol):
    """One way to reach the owner."""

    @property
    def name(self) -> str: ...

    async def send(self, notices: Sequence[Notice]) -> None:
        """One message of all of them. Raises `ChannelError` if it was not taken."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What is told on a channel."""

    channel: Channel
    severity: Severity = Severity.INFO
    after_s: float = 0.0
    per_hour: int = 60

    def includes(self, notice: Notice, *, age_s: float) -> bool:
        """Whether an alert that has stood unacknowledged for `age_s` is told here."""
        return notice.alert.severity.rank >= self.severity.rank and age_s >= self.after_s


class Line:
    """What waits for one channel. As many messages as an hour allows may go at once; then one for
    each share of an hour, which tells all that has come until then."""

    def __init__(
        self, reach: Reach, *, clock: Callable[[], float], sleep: Sleep = asyncio.sleep
    ) -> None:
        self.reach = reach
        self.empty = asyncio.Event()
        self.empty.set()
        self._clock = clock
        self._sleep = sleep
        self._waiting: deque[Notice] = deque(maxlen=LINE_LENGTH)
        self._filled = asyncio.Event()
        self._left, self._counted_at_s = float(reach.per_hour), clock()

    @property
    def name(self) -> str:
        """The channel's."""
        return self.reach.channel.name

    def put(self, notice: Notice) -> None:
        """Never waits."""
        if len(self._waiting) == LINE_LENGTH:
            log.error("notifier.line_full", channel=self.name)
        self._waiting.append(notice)
        self.empty.clear()
        self._filled.set()

    async def deliver(self) -> None:
        """Until cancelled."""
        while True:
            await self._filled.wait()
            while self._waiting:
                together = await self._wait_for_leave()
                count = len(self._waiting) if together else 1
                self._left -= 1
                await self._send([self._waiting.popleft() for _ in range(count)])
            self._filled.clear()
            self.empty.set()

    async def _wait_for_leave(self) -> bool:
        """Whether it had to be waited for."""
        waited = False
        while (wait_s := self._until_leave_s()) > 0:
            if not waited:
                log.warning("notifier.rate_limited", channel=self.name, wait_s=round(wait_s))
            waited = True
            await self._sleep(wait_s)
        return waited

    def _until_leave_s(self) -> float:
        now, rate = self._clock(), self.reach.per_hour / HOUR_S
        gained = (now - self._counted_at_s) * rate
        self._left = min(self._left + gained, float(self.reach.per_hour))
        self._counted_at_s = now
        return max((1.0 - self._left) / rate, 0.0)

    async def _send(self, notices: Sequence[Notice]) -> None:
        names = sorted({notice.alert.name for notice in notices})
        for attempt in range(ATTEMPTS):
            if attempt:
                await self._sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self.reach.channel.send(notices)
            except (ChannelError, TimeoutError) as error:
                log.warning(
                    "notifier.failed",
                    channel=self.name,
                    alerts=names,
                    attempt=attempt + 1,
                    reason=str(error) or "timed out",
                )
            except Exception:
                # A channel is other people's code; the ones beside it must go on.
                log.exception("notifier.failed", channel=self.name)
            else:
                return
        log.error("notifier.gave_up", channel=self.name, alerts=names)
