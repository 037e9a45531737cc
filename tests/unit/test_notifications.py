"""Alerts: told once, told again, told when over; and nobody waits for a channel."""

import asyncio

import pytest
from structlog.testing import capture_logs

from keeper.model.alerts import Alert, Severity
from keeper.service.notifications import LINE_LENGTH, ChannelError, Notice, Notifications


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Recording:
    """A channel that keeps what it is given, after failing as often as told."""

    def __init__(self, *, failures: int = 0, name: str = "recording") -> None:
        self.name = name
        self.taken: list[Notice] = []
        self.failures = failures

    async def send(self, notice: Notice) -> None:
        if self.failures:
            self.failures -= 1
            raise ChannelError("HTTP status 500")
        self.taken.append(notice)

    async def close(self) -> None:
        pass

    @property
    def told(self) -> list[tuple[str, bool]]:
        return [(f"{n.alert.name} {n.alert.subject}".strip(), n.resolved) for n in self.taken]


class Hanging(Recording):
    async def send(self, notice: Notice) -> None:  # noqa: ARG002 - it never comes so far
        await asyncio.Event().wait()


def alert(
    name: str = "keeper.blind", subject: str = "", severity: Severity = Severity.WARNING
) -> Alert:
    return Alert(name=name, subject=subject, severity=severity, text="something is wrong")


async def delivered(notifications: Notifications) -> None:
    task = asyncio.create_task(notifications.deliver())
    try:
        await notifications.drain()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_notify__the_same_again_and_again__is_told_once_in_each_interval() -> None:
    clock, channel = Clock(), Recording()
    notifications = Notifications(channels=[channel], clock=clock, repeat_s=600)
    for clock.now_s in (0, 5, 599, 600, 601, 1300):
        notifications.notify(alert())
    await delivered(notifications)
    assert channel.told == [("keeper.blind", False)] * 3


async def test_notify__another_position__is_told_beside_it() -> None:
    channel = Recording()
    notifications = Notifications(channels=[channel], clock=Clock())
    notifications.notify(alert("position.quarantined", "one"))
    notifications.notify(alert("position.quarantined", "two"))
    await delivered(notifications)
    assert channel.told == [
        ("position.quarantined one", False),
        ("position.quarantined two", False),
    ]


async def test_notify__it_became_worse__is_told_at_once() -> None:
    channel = Recording()
    notifications = Notifications(channels=[channel], clock=Clock())
    for severity in (Severity.WARNING, Severity.CRITICAL, Severity.WARNING, Severity.CRITICAL):
        notifications.notify(alert(severity=severity))
    await delivered(notifications)
    assert [n.alert.severity for n in channel.taken] == [Severity.WARNING, Severity.CRITICAL]


async def test_resolve__was_told__is_told_and_the_next_time_is_news() -> None:
    channel = Recording()
    notifications = Notifications(channels=[channel], clock=Clock())
    notifications.notify(alert())
    assert [each.name for each in notifications.active] == ["keeper.blind"]
    notifications.resolve("keeper.blind")
    notifications.resolve("keeper.blind")
    notifications.notify(alert())
    await delivered(notifications)
    assert channel.told == [
        ("keeper.blind", False),
        ("keeper.blind", True),
        ("keeper.blind", False),
    ]


async def test_resolve__never_told__says_nothing() -> None:
    channel = Recording()
    notifications = Notifications(channels=[channel], clock=Clock())
    with capture_logs() as logged:
        notifications.resolve("keeper.blind")
    await delivered(notifications)
    assert channel.told == []
    assert logged == []


async def test_deliver__channel_fails_at_first__tries_again() -> None:
    channel = Recording(failures=2)
    notifications = Notifications(channels=[channel], clock=Clock(), first_wait_s=0)
    notifications.notify(alert())
    await delivered(notifications)
    assert channel.told == [("keeper.blind", False)]


async def test_deliver__channel_never_takes_one__gives_up_and_goes_on_with_the_next() -> None:
    channel = Recording(failures=5)
    notifications = Notifications(channels=[channel], clock=Clock(), first_wait_s=0)
    notifications.notify(alert("first"))
    notifications.notify(alert("second"))
    with capture_logs() as logged:
        await delivered(notifications)
    assert channel.told == [("second", False)]
    assert [e["alert"] for e in logged if e["event"] == "notifier.gave_up"] == ["first"]


async def test_deliver__one_channel_hangs__the_other_is_not_held_up() -> None:
    hanging, other = Hanging(name="hanging"), Recording()
    notifications = Notifications(channels=[hanging, other], clock=Clock())
    task = asyncio.create_task(notifications.deliver())
    notifications.notify(alert())
    try:
        async with asyncio.timeout(5):
            while not other.taken:  # noqa: ASYNC110 - the channel has no event of its own
                await asyncio.sleep(0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("count", [LINE_LENGTH + 3])
async def test_notify__line_is_full__the_newest_are_kept_and_the_loss_is_logged(count: int) -> None:
    channel = Recording()
    notifications = Notifications(channels=[channel], clock=Clock())
    with capture_logs() as logged:
        for number in range(count):
            notifications.notify(alert(subject=str(number)))
    await delivered(notifications)
    assert [n.alert.subject for n in channel.taken] == [
        str(number) for number in range(count - LINE_LENGTH, count)
    ]
    assert len([e for e in logged if e["event"] == "notifier.line_full"]) == count - LINE_LENGTH
