"""Channels that reach out: what arrives, what is told of a failure, and that nobody waits."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from keeper.chain.secrecy import all_parts
from keeper.model.alerts import Alert, Severity
from keeper.service.apprise_channel import MOST_LINES, AppriseChannel
from keeper.service.channels import ChannelError, Notice, Reach
from keeper.service.deadman import DeadMan
from keeper.service.notifications import Notifications
from keeper.service.redaction import Redactor
from keeper.service.webhook import SEVERAL, Webhook
from tests.alerts.receivers import TOKEN, Receiver, receiver


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


def notice(name: str = "keeper.blind", *, resolved: bool = False, subject: str = "") -> Notice:
    alert = Alert(
        name=name, subject=subject, severity=Severity.CRITICAL, text="no new block for 46 s"
    )
    return Notice(alert=alert, resolved=resolved)


def channel(hook: Receiver) -> AppriseChannel:
    url = f"json://{hook.url}"
    return AppriseChannel("phone", url, keeper="chain 1", redactor=Redactor(all_parts(url)))


async def test_apprise__one_alert__says_who_what_and_how_bad(hook: Receiver) -> None:
    phone = channel(hook)
    await phone.send([notice(subject="main")])
    await phone.send([notice(resolved=True)])
    await phone.close()
    first, second = hook.bodies
    assert first["title"] == "keeper chain 1: keeper.blind"
    assert first["message"] == "CRITICAL: main: no new block for 46 s"
    assert (first["type"], second["type"]) == ("failure", "success")
    assert second["message"] == "over: no new block for 46 s"


async def test_apprise__many_alerts__are_one_message_that_ends_somewhere(hook: Receiver) -> None:
    phone = channel(hook)
    await phone.send([notice(subject=str(number)) for number in range(MOST_LINES + 5)])
    await phone.close()
    (body,) = hook.bodies
    assert body["title"] == f"keeper chain 1: {MOST_LINES + 5} alerts"
    lines = body["message"].splitlines()
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == "and 5 more: see the log"


async def test_apprise__service_refuses__is_an_error_without_the_url(hook: Receiver) -> None:
    hook.status = 500
    phone = channel(hook)
    with pytest.raises(ChannelError) as caught:
        await phone.send([notice()])
    await phone.close()
    assert "500" in str(caught.value)
    assert TOKEN not in str(caught.value)


async def test_apprise__service_hangs__others_and_the_loop_are_not_held_up(hook: Receiver) -> None:
    hook.hanging = True
    async with receiver() as other:
        notifications = Notifications(
            reaches=[
                Reach(channel=channel(hook)),
                Reach(channel=Webhook(f"http://{other.url}", keeper="", redactor=Redactor())),
            ],
            clock=asyncio.get_running_loop().time,
        )
        delivering = asyncio.create_task(notifications.deliver())
        notifications.notify(notice("first").alert)
        await hook.came()  # it hangs from here on
        for number in range(3):
            notifications.notify(notice("more", subject=str(number)).alert)
        bodies = await other.came(4)
        assert [body["name"] for body in bodies] == ["first", "more", "more", "more"]
        # Work in other threads goes on as well: the hanging service has one of its own.
        ran = await asyncio.gather(*(asyncio.to_thread(threading.get_ident) for _ in range(64)))
        assert len(ran) == 64
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)


async def test_webhook__several__are_one_message_with_each_of_them(hook: Receiver) -> None:
    webhook = Webhook(f"http://{hook.url}", keeper="chain 1", redactor=Redactor())
    await webhook.send([notice("a"), notice("b", resolved=True)])
    await webhook.close()
    (body,) = hook.bodies
    assert (body["name"], body["severity"], body["fields"]) == (SEVERAL, "critical", {"count": 2})
    assert [(each["name"], each["status"]) for each in body["notices"]] == [
        ("a", "firing"),
        ("b", "resolved"),
    ]
    assert body["text"].count("\n") == 1


async def test_deadman__state__is_in_the_url_and_in_the_body(hook: Receiver) -> None:
    well = True

    def health() -> tuple[bool, dict[str, object]]:
        return well, {"status": "ok" if well else "failing", "block": 7}

    switch = DeadMan(f"http://{hook.url}/{{state}}", every_s=0.01, health=health)
    pinging = asyncio.create_task(switch.ping())
    await hook.came(1)
    well = False
    while hook.bodies[-1]["status"] == "ok":
        await hook.came(len(hook.bodies) + 1)
    pinging.cancel()
    await asyncio.gather(pinging, return_exceptions=True)
    assert (hook.paths[0], hook.bodies[0]) == (f"/{TOKEN}/ok", {"status": "ok", "block": 7})
    assert hook.paths[-1] == f"/{TOKEN}/failing"


async def test_deadman__nobody_listens__is_logged_without_the_url_and_tried_again(
    hook: Receiver,
) -> None:
    hook.status = 503
    switch = DeadMan(f"http://{hook.url}", every_s=0.01, health=lambda: (True, {}))
    with capture_logs() as logged:
        pinging = asyncio.create_task(switch.ping())
        await hook.came(2)
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
    assert {
        "event": "deadman.failed",
        "log_level": "warning",
        "reason": "HTTP status 503",
    } in logged
    assert TOKEN not in str(logged)
