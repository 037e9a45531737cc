"""The one local chain that `keeper devnet up` runs for a user, found again by `keeper devnet down`."""

import fcntl
import json
import os
import select
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from platformdirs import user_cache_path

STOP_TIMEOUT_S: Final = 30


class DevnetRunningError(Exception):
    """A local chain is up already."""


class DevnetStopError(Exception):
    """The local chain did not stop when asked to."""


@contextmanager
def announced(details: Mapping[str, Any]) -> Iterator[None]:
    """Let `stop` and `running` find this process while the context lasts.

    Raises `DevnetRunningError` if another process is announced. The kernel frees the lock however
    this process ends, so a crash leaves nothing that looks alive.
    """
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _lock(file):
            raise DevnetRunningError(
                "a local chain is up already: use it, or stop it with `keeper devnet down`"
            )
        file.truncate(0)
        json.dump({"pid": os.getpid(), **details}, file)
        file.flush()
        yield


def running() -> dict[str, Any] | None:
    """What the chain that is up announced, and its `pid`; None if none is."""
    if not _path().exists():
        return None
    with _path().open() as file:
        if _lock(file):
            return None
        details: dict[str, Any] = json.load(file)
        return details


def stop() -> bool:
    """Ask the chain that is up to stop and wait until it has; False if none is.

    Raises `DevnetStopError` if it is still there after `STOP_TIMEOUT_S`.
    """
    details = running()
    if details is None:
        return False
    try:
        process = os.pidfd_open(details["pid"])
    except ProcessLookupError:
        return False
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended = select.poll()
        ended.register(process, select.POLLIN)
        if not ended.poll(STOP_TIMEOUT_S * 1000):
            raise DevnetStopError(
                f"process {details['pid']} did not stop within {STOP_TIMEOUT_S} s: "
                "look at its output, or kill it"
            )
    finally:
        os.close(process)
    return True


def _path() -> Path:
    return user_cache_path("keeper") / "devnet.json"


def _lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
