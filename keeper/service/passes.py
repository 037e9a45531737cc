"""Passes over the heads, one after the other, and what one that fails means for the next."""

import contextlib
import time

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy.exc import SQLAlchemyError

from keeper.chain.heads import Heads
from keeper.chain.pool import Pool
from keeper.chain.rpc import EndpointUnavailableError
from keeper.chain.transactions.manager import TransactionManager
from keeper.engine.engine import Engine
from keeper.engine.reporting import PassReport
from keeper.engine.sight import OtherHeadError
from keeper.model.errors import TemporaryError
from keeper.model.values import Head
from keeper.service.attendance import Attendance
from keeper.service.housekeeping import soon
from keeper.service.stopping import Turn
from keeper.service.tending import Tending

log = structlog.get_logger()

UNFORESEEN_IN_A_ROW = 3
"""A bug in so many passes, one after the other, ends the process."""


class Passes:
    """Feeds heads to the engine."""

    def __init__(
        self,
        *,
        engine: Engine,
        heads: Heads,
        transactions: TransactionManager,
        pool: Pool,
        tending: Tending,
        attendance: Attendance,
        turn: Turn,
        live: bool,
    ) -> None:
        self._engine = engine
        self._heads = heads
        self._transactions = transactions
        self._pool = pool
        self._tending = tending
        self._attendance = attendance
        self._turn = turn
        self._live = live
        self._unforeseen = 0
        self.now = 0
        """The chain's clock at the newest head, Unix seconds."""

    async def follow(self, scheduler: AsyncIOScheduler, *, once: bool) -> None:
        """Until cancelled; with `once`, until one block's plans are settled.

        Raises what broke `UNFORESEEN_IN_A_ROW` passes, and with `once` `TemporaryError`."""
        async with contextlib.aclosing(self._heads.changes()) as changes:
            async for change in changes:
                if change.missed:
                    log.info("heads.missed", count=len(change.missed), block=change.head.number)
                if change.reorged_blocks:
                    log.warning(
                        "heads.reorg", blocks=change.reorged_blocks, block=change.head.number
                    )
                passed = await self._pass(change.head, once=once)
                if passed and not once and self._engine.passes == 1:
                    # Beside the passes, which neither wait for it nor end with it.
                    soon(scheduler, "foresee")
                if once and passed and (self._transactions.idle or not self._live):
                    return

    async def _pass(self, head: Head, *, once: bool) -> bool:
        """Whether the pass came to its end."""
        pulse, metrics = self._attendance.pulse, self._attendance.metrics
        async with self._turn.lock:
            began_s, posted = time.monotonic(), self._pool.posted
            pulse.head(head.number)
            self.now = head.timestamp
            try:
                # One block's plans are all that `once` asks for; later ones settle them.
                planning = not (self._turn.stopping or (once and self._engine.passes))
                report = await self._report(head, planning=planning)
                if once:
                    # The last of them is what `keeper status` shows from then on.
                    await self._engine.foresee()
            except (EndpointUnavailableError, SQLAlchemyError) as error:
                # Nothing is sent without the journal, so both mend themselves at a later head.
                if once:
                    raise TemporaryError(str(error)) from error
                self._unforeseen = 0
                log.error("pass.failed", block=head.number, reason=str(error.args[0]))  # noqa: TRY400 - the reason says it all
                pulse.failed(str(error.args[0]))
                metrics.failed()
                return False
            except Exception as error:
                # What one block brings must not leave all positions alone; what stays is for a
                # new process, which begins from the journal.
                self._unforeseen += 1
                if once or self._unforeseen >= UNFORESEEN_IN_A_ROW:
                    raise
                log.exception("pass.broken", block=head.number)
                pulse.failed(type(error).__name__)
                metrics.failed()
                return False
            finally:
                if self._transactions.settled:
                    self._turn.settled.set()
                else:
                    self._turn.settled.clear()
            self._unforeseen = 0
            pulse.passed()
            self._tending.report = report
            metrics.passed(
                report,
                duration_s=time.monotonic() - began_s,
                round_trips=self._pool.posted - posted,
                now_s=time.time(),
            )
            return True

    async def _report(self, head: Head, *, planning: bool) -> PassReport:
        """Of a pass over the head, as the endpoint that is read tells it."""
        try:
            return await self._engine.run_pass(head, planning=planning)
        except OtherHeadError as error:
            # Whoever announced it is asked, too, before anything is sent.
            log.warning("head.otherwise", block=head.number, reason=str(error))
            self.now = error.head.timestamp
            return await self._engine.run_pass(error.head, planning=planning)
