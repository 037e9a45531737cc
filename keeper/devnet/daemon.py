"""The keeper under test: `keeper run --live` in a process of its own, as its users run it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import OperationalError

from keeper.devnet.child import bound_to_parent
from keeper.devnet.story import Decided
from keeper.storage import views
from keeper.storage.database import DatabaseUnusableError

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 15.0
POLL_S = 0.1
LOG_TAIL_CHARACTERS = 3000


class KeeperFailedError(Exception):
    """The keeper did not come up, or ended by itself; the message ends with its log."""

    def __init__(self, what: str, log: Path) -> None:
        tail = log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:]
        super().__init__(f"{what}; the end of its log {log}:\n{tail}")
        self.log = log


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """What the keeper itself says: the only facts of a demo that are not the chain's."""

    breach_probabilities: Mapping[str, float | None]
    """By position label."""
    decided: Mapping[str, Decided]
    """By transaction hash: why, and on which head."""


def read_journal(path: Path) -> Testimony:
    """What the keeper's journal holds so far. Raises `DatabaseUnusableError` before it exists."""
    seen = views.positions(path)
    return Testimony(
        breach_probabilities={one.label: one.breach_probability for one in seen},
        decided={
            transaction.tx_hash: Decided(
                cause="forecast" if decision.cause == "forecast" else "floor",
                head_number=decision.block,
            )
            for decision in views.history(path)
            for transaction in decision.transactions
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningKeeper:
    """A started daemon."""

    process: asyncio.subprocess.Process
    journal: Path
    log: Path

    async def ready(self, labels: Collection[str]) -> None:
        """Wait until it has looked at every position once. Raises `KeeperFailedError`."""
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while not await asyncio.to_thread(self._has_seen, labels):
                    self.check()
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise KeeperFailedError(
                f"the keeper saw no position within {READY_WITHIN_S:.0f} s", self.log
            ) from None

    def check(self) -> None:
        """Raise `KeeperFailedError` if it has ended."""
        if self.process.returncode is not None:
            raise KeeperFailedError(f"the keeper ended with {self.process.returncode}", self.log)

    async def stop(self) -> None:
        """Ask it to end, as an init system does; kill it if it does not."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOPPED_WITHIN_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def _has_seen(self, labels: Collection[str]) -> bool:
        try:
            return set(labels) <= read_journal(self.journal).breach_probabilities.keys()
        except (DatabaseUnusableError, OperationalError):
            return False  # it is just being created


@asynccontextmanager
async def running_keeper(
    config: Path, journal: Path, environ: Mapping[str, str]
) -> AsyncIterator[RunningKeeper]:
    """Start the daemon with exactly these variables; stop it on leaving. Its log lies beside the
    configuration."""
    log = config.with_name("keeper.log")
    with log.open("wb") as output:
        # A session of its own: Ctrl-C is for the demo, which stops the keeper in its turn.
        process = await asyncio.create_subprocess_exec(
            *bound_to_parent(
                [sys.executable, "-m", "keeper", "run", "--live", "--config", str(config)]
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environ),
            start_new_session=True,
        )
    keeper = RunningKeeper(process=process, journal=journal, log=log)
    try:
        yield keeper
    finally:
        await keeper.stop()
