"""Faults that are planted inside the daemon's process, before it starts.

The test switches them with signals that the daemon itself does not use, or with a flag file.
"""

import asyncio
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from types import FrameType

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import Connection, Engine, event

from keeper.model.alerts import Notifier
from keeper.service.housekeeping import Job

SWITCH = signal.SIGUSR1


def read_only(flag: Path) -> None:
    """While `flag` exists, SQLite refuses to write to the journal."""

    def begin(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(f"PRAGMA query_only = {int(flag.exists())}")

    event.listen(Engine, "begin", begin)


def clock(shift_s: float) -> None:
    """From the signal on, the wall clock is `shift_s` seconds off; the monotonic one is not."""
    shift = 0.0
    true_time = time.time

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Shifted":
            return cls.fromtimestamp(time.time(), tz)

    def jump(number: int, frame: FrameType | None) -> None:
        nonlocal shift
        shift = shift_s

    time.time = lambda: true_time() + shift
    for module in list(sys.modules.values()):
        # The modules that imported the class by its name, the scheduler's among them.
        if getattr(module, "datetime", None) is datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
    signal.signal(SWITCH, jump)


def blocked(seconds: float) -> None:
    """At the signal, the thread of the event loop does nothing for that long."""
    signal.signal(SWITCH, lambda *_: time.sleep(seconds))


def hanging_jobs(timeout_s: float) -> None:
    """Every job of the housekeeping is due at once and never ends, until it is broken off."""
    from keeper import app
    from keeper.service import housekeeping

    vars(housekeeping)["JOB_TIMEOUT_S"] = timeout_s

    async def hang() -> None:
        await asyncio.Event().wait()

    def schedule(jobs: list[Job], notifier: Notifier) -> AsyncIOScheduler:
        return truly([replace(job, every_s=0.2, run=hang) for job in jobs], notifier)

    truly: Callable[[list[Job], Notifier], AsyncIOScheduler] = vars(app)["schedule"]
    vars(app)["schedule"] = schedule


def refreshed(every_s: float) -> None:
    """What changes seldom is read anew that often."""
    from keeper import app

    vars(app)["REFRESH_S"] = every_s
