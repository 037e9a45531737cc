"""Work that may be late: APScheduler runs it beside the block loop, never instead of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler

log = structlog.get_logger()

JOB_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to do every `every_s` seconds."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[None]]


def schedule(jobs: list[Job]) -> AsyncIOScheduler:
    """A scheduler with these jobs, to be started on a running loop.

    In memory: a job store that fails to write kills APScheduler silently. Late jobs run once when
    they can, and whatever the scheduler would swallow is logged.
    """
    scheduler = AsyncIOScheduler(
        timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True}
    )
    for job in jobs:
        scheduler.add_job(_bounded, "interval", (job,), seconds=job.every_s, id=job.name)
    scheduler.add_listener(_failed, EVENT_JOB_ERROR)
    scheduler.add_listener(_late, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
    return scheduler


async def _bounded(job: Job) -> None:
    async with asyncio.timeout(JOB_TIMEOUT_S):
        await job.run()


def _failed(event: JobExecutionEvent) -> None:
    log.error("housekeeping.failed", job=event.job_id, reason=repr(event.exception))


def _late(event: JobExecutionEvent | JobSubmissionEvent) -> None:
    log.warning("housekeeping.late", job=event.job_id)
