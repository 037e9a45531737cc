"""Work that may be late: APScheduler runs it beside the block loop, never instead of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from keeper.model.alerts import Alert, Notifier, Severity

log = structlog.get_logger()

JOB_TIMEOUT_S = 45.0
"""What hangs is told of within a minute."""
FAILED = "housekeeping.failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to do every `every_s` seconds."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedJob:
    """Something to do when a crontab says so."""

    name: str
    crontab: str
    time_zone: str
    run: Callable[[], Awaitable[None]]


def schedule(jobs: Sequence[Job | TimedJob], notifier: Notifier) -> AsyncIOScheduler:
    """A scheduler with these jobs, to be started on a running loop.

    In memory: a job store that fails to write kills APScheduler silently. Late jobs run once when
    they can, and whatever the scheduler would swallow is logged.
    """
    scheduler = AsyncIOScheduler(
        timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True}
    )
    for job in jobs:
        trigger = (
            IntervalTrigger(seconds=job.every_s, timezone="UTC")
            if isinstance(job, Job)
            else CronTrigger.from_crontab(job.crontab, timezone=job.time_zone)
        )
        scheduler.add_job(_bounded, trigger, (job,), id=job.name)
    scheduler.add_listener(lambda event: _failed(event, notifier), EVENT_JOB_ERROR)
    scheduler.add_listener(lambda event: notifier.resolve(FAILED, event.job_id), EVENT_JOB_EXECUTED)
    scheduler.add_listener(_late, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
    return scheduler


def soon(scheduler: AsyncIOScheduler, name: str) -> None:
    """Run a job now, and from then on at its interval."""
    scheduler.modify_job(name, next_run_time=datetime.now(UTC))


async def _bounded(job: Job | TimedJob) -> None:
    async with asyncio.timeout(JOB_TIMEOUT_S):
        await job.run()


def _failed(event: JobExecutionEvent, notifier: Notifier) -> None:
    hung = isinstance(event.exception, TimeoutError)
    notifier.notify(
        Alert(
            name=FAILED,
            subject=event.job_id,
            severity=Severity.WARNING,
            text=f"it hung for {JOB_TIMEOUT_S:.0f} s and was broken off" if hung else "it failed",
            fields={"error": type(event.exception).__name__},
        )
    )
    log.error("housekeeping.failed", job=event.job_id, reason=repr(event.exception))


def _late(event: JobExecutionEvent | JobSubmissionEvent) -> None:
    log.warning("housekeeping.late", job=event.job_id)
