"""Housekeeping beside the block loop: one job's trouble is logged and is not the others'."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from keeper.model.alerts import Alert
from keeper.service import housekeeping
from keeper.service.housekeeping import Job, schedule, soon

SOON_S = 0.001


class Ears:
    """A notifier that keeps the names and subjects that were told."""

    def __init__(self) -> None:
        self.told: set[tuple[str, str]] = set()

    def notify(self, alert: Alert) -> None:
        self.told.add(alert.key)

    def resolve(self, name: str, subject: str = "") -> None:
        pass


EARS = Ears()


class Counted:
    """Does nothing, and tells when it has been done often enough."""

    def __init__(self, enough: int = 3) -> None:
        self.times = 0
        self.enough = enough
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        self.times += 1
        if self.times >= self.enough:
            self.done.set()


async def run(*jobs: Callable[[], Awaitable[None]], until: Counted) -> list[EventDict]:
    """Run the jobs, and one more, until that has been done; returns what was logged."""
    everything: list[Callable[[], Awaitable[None]]] = [*jobs, until]
    scheduler = schedule(
        [Job(name=f"job {n}", every_s=SOON_S, run=job) for n, job in enumerate(everything)],
        EARS,
    )
    with capture_logs() as logs:
        scheduler.start()
        try:
            await until.done.wait()
        finally:
            scheduler.shutdown(wait=False)
    return list(logs)


def said(logs: list[EventDict]) -> set[tuple[str, str]]:
    return {(line["event"], line["job"]) for line in logs}


async def test_schedule__jobs__run_again_and_again() -> None:
    counted = Counted(enough=5)
    await run(until=counted)
    assert counted.times >= 5


async def test_schedule__failing_job__is_logged_each_time_and_runs_again() -> None:
    failures = 0
    other = Counted()

    async def fail() -> None:
        nonlocal failures
        failures += 1
        if failures <= 3:
            other.enough = other.times + 3
        raise ValueError("no such market")

    logs = await run(fail, until=other)
    assert failures >= 2
    failed = [line for line in logs if line["event"] == "housekeeping.failed"]
    assert {line["job"] for line in failed} == {"job 0"}
    assert {line["reason"] for line in failed} == {"ValueError('no such market')"}
    assert all(line["log_level"] == "error" for line in failed)


async def test_schedule__hanging_job__is_late_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(housekeeping, "JOB_TIMEOUT_S", 0.02)
    hung = asyncio.Event()
    begun = Counted(enough=2)

    async def hang() -> None:
        await begun()
        await hung.wait()

    class Both(Counted):
        """Goes on until the hanging job has begun a second time."""

        async def __call__(self) -> None:
            if begun.done.is_set():
                self.done.set()

    logs = await run(hang, until=Both())
    assert ("housekeeping.late", "job 0") in said(logs)
    (reason,) = {line["reason"] for line in logs if line["event"] == "housekeeping.failed"}
    assert reason == "TimeoutError()"
    assert ("housekeeping.failed", "job 0") in EARS.told
    assert {line["job"] for line in logs} == {"job 0"}


async def test_soon__a_job_with_a_long_interval__is_done_at_once() -> None:
    rare, often = Counted(enough=1), Counted(enough=1)
    scheduler = schedule(
        [Job(name="rare", every_s=10_000, run=rare), Job(name="often", every_s=10_000, run=often)],
        EARS,
    )
    scheduler.start()
    try:
        soon(scheduler, "rare")
        async with asyncio.timeout(5):
            await rare.done.wait()
    finally:
        scheduler.shutdown(wait=False)
    assert often.times == 0
