"""Everything by which the keeper is watched, started and stopped together."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from keeper.service.acknowledging import Acknowledgements, acknowledgement_file
from keeper.service.attendant import Attendant
from keeper.service.channels import Reach
from keeper.service.deadman import DeadMan
from keeper.service.metrics import Metrics
from keeper.service.notifications import Notifications
from keeper.service.obedience import Obedience
from keeper.service.pulse import Pulse
from keeper.service.redaction import Redactor
from keeper.service.settings import AlertSettings, ServiceSettings
from keeper.service.systemd import SystemdSocket
from keeper.service.web import serving
from keeper.service.webhook import Webhook

log = structlog.get_logger()

LAST_WORDS_S = 5.0
"""At the end, what is still in line has so long to get out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """Who watches one daemon."""

    pulse: Pulse
    metrics: Metrics
    notifications: Notifications
    attendant: Attendant


@contextlib.asynccontextmanager
async def attended(
    settings: ServiceSettings,
    *,
    chain_id: int,
    live: bool,
    kill_file: Path,
    secrets: Collection[str],
    systemd_socket: str | None,
    clock: Callable[[], float],
    end: Callable[[], None],
) -> AsyncIterator[Attendance]:
    """Watch for as long as the context lasts. `end` has the keeper stop at once.

    Raises `ConfigurationError` where the port of /healthz cannot be had, or the owner has killed
    this keeper."""
    obedience = Obedience(kill_file, live=live, now=time.time, end=end)
    redactor = Redactor(secrets)
    notifications = Notifications(
        reaches=reaches(settings.alerts, keeper=f"chain {chain_id}", redactor=redactor),
        clock=clock,
        repeat_s=settings.alerts.repeat_s,
        escalate_s=settings.alerts.escalate_s,
    )
    pulse = Pulse(
        clock=clock, blind_after_s=settings.blind_after_s, stall_after_s=settings.stall_after_s
    )
    metrics = Metrics()
    attendant = Attendant(
        pulse=pulse,
        notifications=notifications,
        metrics=metrics,
        systemd=SystemdSocket(systemd_socket),
        kill_file=kill_file,
        obedience=obedience,
        acknowledgements=Acknowledgements(acknowledgement_file(kill_file)),
        clock=clock,
    )
    async with serving(settings.http_port, health=attendant.health, metrics=metrics.text):
        delivering = asyncio.create_task(notifications.deliver(), name="notifications")
        attending = asyncio.create_task(attendant.attend(), name="attendant")
        pinging = asyncio.create_task(_pinging(settings.alerts, attendant), name="dead-man")
        for task in (delivering, attending, pinging):
            task.add_done_callback(_told)
        try:
            yield Attendance(
                pulse=pulse, metrics=metrics, notifications=notifications, attendant=attendant
            )
        finally:
            attendant.stopping()
            attending.cancel()
            pinging.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(notifications.drain(), LAST_WORDS_S)
            delivering.cancel()
            obedience.close()
            await asyncio.gather(delivering, attending, pinging, return_exceptions=True)


def unattended(settings: ServiceSettings) -> ServiceSettings:
    """For one pass that somebody looks at: no port, and nobody is told."""
    return replace(settings, http_port=0, alerts=AlertSettings())


def reaches(settings: AlertSettings, *, keeper: str, redactor: Redactor) -> list[Reach]:
    """Every channel. `keeper` names the sender."""
    found: list[Reach] = []
    if settings.webhook_url is not None:
        url = settings.webhook_url.get_secret_value()
        found.append(Reach(channel=Webhook(url, keeper=keeper, redactor=redactor)))
    for each in settings.channels:
        # It takes its half second, and most keepers that are tried out tell nobody.
        from keeper.service.apprise_channel import AppriseChannel

        url = each.url.get_secret_value()
        channel = AppriseChannel(each.name, url, keeper=keeper, redactor=redactor)
        reach = Reach(
            channel=channel,
            severity=each.severity,
            after_s=each.after_s,
            per_hour=each.per_hour,
        )
        found.append(reach)
    return found


async def _pinging(settings: AlertSettings, attendant: Attendant) -> None:
    if settings.deadman_url is not None:
        url = settings.deadman_url.get_secret_value()
        await DeadMan(url, every_s=settings.deadman_every_s, health=attendant.health).ping()


def _told(task: asyncio.Task[None]) -> None:
    """Protection goes on without it; the watchdog, no longer fed, has systemd start anew."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("attendance.failed", task=task.get_name(), exc_info=error)
