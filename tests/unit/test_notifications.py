"""Alerts: told once, told again, told when over; and nobody waits for a channel."""

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from keeper.model.alerts import Alert, Severity
from keeper.service.channels import LINE_LENGTH, ChannelError, Notice, Reach
from keeper.service.notifications import Notifications


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Whoever waits lets the time pass."""
        self.now_s += seconds
        await asyncio.sleep(0)


class Recording:
    """A channel that keeps what it is given, after failing as often as told."""

    def __init__(self, *, failures: int = 0, name: str = "recording") -> None:
        self.name = name
        self.taken: list[Notice] = []
        self.messages: list[tuple[Notice, ...]] = []
        self.failures = failures

    async def send(self, notices: Sequence[Notice]) -> None:
        if self.failures:
            self.failures -= 1
            raise ChannelError("HTTP status 500")
        self.messages.append(tuple(notices))
        self.taken.extend(notices)

    async def close(self) -> None:
        pass

    @property
    def told(self) -> list[tuple[str, bool]]:
        return [(f"{n.alert.name} {n.alert.subject}".strip(), n.resolved) for n in self.taken]


class Hanging(Recording):
    async def send(self, notices: Sequence[Notice]) -> None:  # noqa: ARG002 - it never comes so far
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
    notifications = Notifications(reaches=[Reach(channel=channel)], clock=clock, repeat_s=600)
    for clock.now_s in (0, 5, 599, 600, 601, 1300):
        notifications.notify(alert())
    await delivered(notifications)
    assert channel.told == [("keeper.blind", False)] * 3


async def test_notify__another_position__is_told_beside_it() -> None:
    channel = Recording()
    notifications = Notifications(reaches=[Reach(channel=channel)], clock=Clock())
    notifications.notify(alert("position.quarantined", "one"))
    notifications.notify(alert("position.quarantined", "two"))
    await delivered(notifications)
    assert channel.told == [
        ("position.quarantined one", False),
        ("position.quarantined two", False),
    ]


async def test_notify__it_became_worse__is_told_at_once() -> None:
    channel = Recording()
    notifications = Notifications(reaches=[Reach(channel=channel)], clock=Clock())
    for severity in (Severity.WARNING, Severity.CRITICAL, Severity.WARNING, Severity.CRITICAL):
        notifications.notify(alert(severity=severity))
    await delivered(notifications)
    assert [n.alert.severity for n in channel.taken] == [Severity.WARNING, Severity.CRITICAL]


async def test_resolve__was_told__is_told_and_the_next_time_is_news() -> None:
    channel = Recording()
    notifications = Notifications(reaches=[Reach(channel=channel)], clock=Clock())
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
    notifications = Notifications(reaches=[Reach(channel=channel)], clock=Clock())
    with capture_logs() as logged:
        notifications.resolve("keeper.blind")
    await delivered(notifications)
    assert channel.told == []
    assert logged == []


async def test_deliver__channel_fails_at_first__tries_again() -> None:
    channel = Recording(failures=2)
    notifications = Notifications(
        reaches=[Reach(channel=channel)], clock=Clock(), sleep=Clock().sleep
    )
    notifications.notify(alert())
    await delivered(notifications)
    assert channel.told == [("keeper.blind", False)]


async def test_deliver__channel_never_takes_one__gives_up_and_goes_on_with_the_next() -> None:
    channel = Recording(failures=5)
    notifications = Notifications(
        reaches=[Reach(channel=channel)], clock=Clock(), sleep=Clock().sleep
    )
    notifications.notify(alert("first"))
    notifications.notify(alert("second"))
    with capture_logs() as logged:
        await delivered(notifications)
    assert channel.told == [("second", False)]
    assert [e["alerts"] for e in logged if e["event"] == "notifier.gave_up"] == [["first"]]


async def test_deliver__one_channel_hangs__the_other_is_not_held_up() -> None:
    hanging, other = Hanging(name="hanging"), Recording()
    notifications = Notifications(
        reaches=[Reach(channel=hanging), Reach(channel=other)], clock=Clock()
    )
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
    channel, clock = Recording(), Clock()
    reach = Reach(channel=channel, per_hour=count)
    notifications = Notifications(reaches=[reach], clock=clock, sleep=clock.sleep)
    with capture_logs() as logged:
        for number in range(count):
            notifications.notify(alert(subject=str(number)))
    await delivered(notifications)
    assert [n.alert.subject for n in channel.taken] == [
        str(number) for number in range(count - LINE_LENGTH, count)
    ]
    assert len([e for e in logged if e["event"] == "notifier.line_full"]) == count - LINE_LENGTH


# -- who is told, when, and how often -------------------------------------------------------------


async def test_escalation__critical_and_not_acknowledged__is_told_again_and_in_time_by_the_phone() -> (
    None
):
    clock, chat, phone = Clock(), Recording(name="chat"), Recording(name="phone")
    notifications = Notifications(
        reaches=[Reach(channel=chat), Reach(channel=phone, after_s=1200)],
        clock=clock,
        repeat_s=3600,
        escalate_s=600,
    )
    notifications.notify(alert(severity=Severity.CRITICAL))
    for clock.now_s in range(0, 2000, 100):
        notifications.remind()
    await delivered(notifications)
    # At 0, 600, 1,200 and 1,800 s; the phone from 1,200 s on.
    assert len(chat.taken) == 4
    assert len(phone.taken) == 2


async def test_escalation__acknowledged__is_quiet_until_it_is_over() -> None:
    clock, channel = Clock(), Recording()
    notifications = Notifications(reaches=[Reach(channel=channel)], clock=clock, escalate_s=600)
    notifications.notify(alert(severity=Severity.CRITICAL))
    assert notifications.acknowledge("keeper.blind") == 1
    for clock.now_s in range(0, 9000, 100):
        notifications.notify(alert(severity=Severity.CRITICAL))
        notifications.remind()
    notifications.resolve("keeper.blind")
    await delivered(notifications)
    assert channel.told == [("keeper.blind", False), ("keeper.blind", True)]


async def test_acknowledge__then_it_becomes_worse__is_told_at_once() -> None:
    channel = Recording()
    notifications = Notifications(reaches=[Reach(channel=channel)], clock=Clock())
    notifications.notify(alert(severity=Severity.WARNING))
    notifications.acknowledge()
    notifications.notify(alert(severity=Severity.CRITICAL))
    await delivered(notifications)
    assert [n.alert.severity for n in channel.taken] == [Severity.WARNING, Severity.CRITICAL]


@pytest.mark.parametrize(
    ("name", "subject", "left"),
    [
        ("", "", []),
        ("a", "", ["b two"]),
        ("a", "one", ["a two", "b two"]),
        ("c", "", ["a one", "a two", "b two"]),
    ],
)
def test_acknowledge__by_name_and_subject__leaves_the_others(
    name: str, subject: str, left: list[str]
) -> None:
    notifications = Notifications(clock=Clock())
    for each in (("a", "one"), ("a", "two"), ("b", "two")):
        notifications.notify(alert(*each))
    assert notifications.acknowledge(name, subject) == 3 - len(left)
    open_ = [e.alert for e in notifications.standing if not e.acknowledged]
    assert [f"{each.name} {each.subject}" for each in open_] == left


async def test_reach__severity__decides_what_is_told_and_ends_only_what_was() -> None:
    everything, pager = Recording(name="all"), Recording(name="pager")
    notifications = Notifications(
        reaches=[Reach(channel=everything), Reach(channel=pager, severity=Severity.CRITICAL)],
        clock=Clock(),
    )
    notifications.notify(alert("a", severity=Severity.WARNING))
    notifications.notify(alert("b", severity=Severity.CRITICAL))
    notifications.resolve("a")
    notifications.resolve("b")
    notifications.say(Alert(name="keeper.digest", severity=Severity.INFO, text="all is well"))
    await delivered(notifications)
    assert pager.told == [("b", False), ("b", True)]
    assert len(everything.told) == 5
    assert notifications.active == ()


async def test_rate__more_than_an_hour_allows__is_told_together_and_nothing_is_lost() -> None:
    clock, channel = Clock(), Recording()
    notifications = Notifications(
        reaches=[Reach(channel=channel, per_hour=4)], clock=clock, sleep=clock.sleep
    )
    for number in range(30):
        notifications.notify(alert(subject=str(number)))
    await delivered(notifications)
    assert [len(message) for message in channel.messages] == [1, 1, 1, 1, 26]
    assert [n.alert.subject for n in channel.taken] == [str(number) for number in range(30)]
    # A quarter of an hour later one more may go: 3,600 s / 4.
    assert clock.now_s == pytest.approx(900)


async def test_rate__quiet_for_an_hour__has_all_its_messages_again() -> None:
    clock, channel = Clock(), Recording()
    notifications = Notifications(
        reaches=[Reach(channel=channel, per_hour=2)], clock=clock, sleep=clock.sleep
    )
    for hour in range(3):
        clock.now_s = 3600.0 * hour
        for number in range(2):
            notifications.notify(alert(f"of hour {hour}", subject=str(number)))
        await delivered(notifications)
        assert clock.now_s == 3600.0 * hour
    assert [len(message) for message in channel.messages] == [1] * 6
