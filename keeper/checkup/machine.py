"""This machine: who hears of alerts, the disk, the database and the service."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing

from keeper.chain.kill_file import Order, ordered
from keeper.checkup.line import Line, of_error
from keeper.config.settings import Settings
from keeper.storage.database import DatabaseUnusableError, open_for_reading
from keeper.storage.store import running

LOW_DISK, NO_DISK = 2**30, 100 * 2**20
UNIT = "keeper.service"
ASK_S = 5.0


def machine_lines(settings: Settings) -> Iterator[Line]:
    """What can be seen without a chain."""
    yield _notifier(settings)
    yield _disk(settings)
    yield _database(settings)
    yield _kill_file(settings)
    yield _service(settings)


def _notifier(settings: Settings) -> Line:
    if settings.service.alerts.heard:
        what = "alerts have somewhere to go; `keeper notify test` tries it"
        return Line(topic="notifier", verdict="ok", what=what)
    return Line(
        topic="notifier",
        verdict="warn",
        what="alerts stand in the log alone",
        fix="set KEEPER_WEBHOOK_URL or a channel (docs/ALERTS.md)",
    )


def _disk(settings: Settings) -> Line:
    folder = settings.store_path.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return of_error("disk", "fail", error, fix=f"mkdir -p {folder}")
    return Line(
        topic="disk",
        verdict="fail" if free < NO_DISK else "warn" if free < LOW_DISK else "ok",
        what=f"{free / 2**30:,.1f} GiB are free in {folder}",
        fix="" if free >= LOW_DISK else "make room: without the journal nothing is sent",
    )


def _database(settings: Settings) -> Line:
    path = settings.store_path
    if not path.exists():
        what = f"{path} does not exist yet: the first run makes it"
        return Line(topic="database", verdict="ok", what=what)
    try:
        open_for_reading(path).dispose()
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            (found,) = opened.execute("PRAGMA quick_check(1)").fetchone()
    except (DatabaseUnusableError, sqlite3.Error) as error:
        return of_error("database", "fail", error, fix="restore it from a backup")
    if found != "ok":
        what = f"{path} is damaged: {found}"
        return Line(topic="database", verdict="fail", what=what, fix="restore it from a backup")
    return Line(topic="database", verdict="ok", what=f"{path} is whole and of this version")


def _kill_file(settings: Settings) -> Line:
    path = settings.breakers.kill_file
    order = ordered(path)
    return {
        Order.RUN: Line(topic="kill file", verdict="ok", what="nothing is paused"),
        Order.PAUSE: Line(
            topic="kill file", verdict="warn", what=f"{path}: paused", fix="keeper resume"
        ),
        Order.KILL: Line(
            topic="kill file", verdict="fail", what=f"{path}: killed", fix="keeper resume"
        ),
    }[order]


def _service(settings: Settings) -> Line:
    state = _systemd_state()
    under = f"; systemd says {UNIT} is {state}" if state else ""
    alive = running(settings.store_path)
    if alive:
        return Line(topic="service", verdict="ok", what=f"a keeper is running{under}")
    failed = state == "failed"
    return Line(
        topic="service",
        verdict="fail" if failed else "warn",
        what=f"no keeper is running on this journal{under}",
        fix=f"journalctl -u {UNIT}" if failed else "keeper run --live, or systemctl start keeper",
    )


def _systemd_state() -> str | None:
    """None where there is no systemd, or it does not know the unit."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    try:
        asked = subprocess.run(  # noqa: S603 - a fixed command, found on PATH
            [systemctl, "is-active", UNIT],
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    state = asked.stdout.strip()
    return state if state not in {"", "inactive", "unknown", "offline"} else None
