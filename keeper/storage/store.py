"""The thread that owns the database."""

import asyncio
import fcntl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TextIO, TypeVar

from keeper.storage.database import DatabaseUnusableError, open_database
from keeper.storage.journal import Journal
from keeper.storage.pair_fits import PairFits
from keeper.storage.prices import PriceHistory
from keeper.storage.prospects import Prospects
from keeper.storage.starts import Starts
from keeper.storage.tallies import Tallies
from keeper.storage.wishes import Wishes

P = ParamSpec("P")
R = TypeVar("R")
LOOK_S = 0.1
"""Far longer than `running` holds the lock, and too short to be noticed at a start."""


class Store:
    """Journal and price history behind one thread. `await store.run(store.journal.method, …)`."""

    def __init__(self, path: Path) -> None:
        self._lock = _locked(path)
        try:
            self._engine = open_database(path)
        except DatabaseUnusableError:
            self._lock.close()
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self.journal = Journal(self._engine)
        self.prices = PriceHistory(self._engine)
        self.tallies = Tallies(self._engine)
        self.pair_fits = PairFits(self._engine)
        self.prospects = Prospects(self._engine)
        self.wishes = Wishes(self._engine)
        self.starts = Starts(self._engine)

    async def run(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a synchronous method on the store's thread and wait for it.

        A write that has begun is finished even when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: method(*args, **kwargs))

    def close(self) -> None:
        """Finish what is queued and close the file."""
        self._thread.shutdown(wait=True)
        self._engine.dispose()
        self._lock.close()


def running(path: Path) -> bool | None:
    """Whether a keeper holds this journal right now; None where its lock may not be read."""
    try:
        with Path(f"{path}.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except PermissionError:
        return None
    return False


def _locked(path: Path) -> TextIO:
    """An exclusive lock that ends with the process: two keepers on one journal would both act."""
    try:
        lock = Path(f"{path}.lock").open("w")  # noqa: SIM115 - open for as long as the lock is held
    except OSError as error:
        raise DatabaseUnusableError(
            path,
            f"it cannot be opened as the journal ({error.strerror} for its lock)",
            fix="let keeper's user write the file and its folder, or name another [store] path",
        ) from None
    if not (_took(lock) or _took_later(lock)):
        lock.close()
        raise DatabaseUnusableError(
            path,
            "another keeper uses this journal",
            fix="stop the other one; a second keeper, for other positions, needs a journal of its own",
        )
    return lock


def _took(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _took_later(lock: TextIO) -> bool:
    """Somebody may just have looked whether a keeper is running."""
    time.sleep(LOOK_S)
    return _took(lock)
