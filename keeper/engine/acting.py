"""Approved plans into the journal and on their way, and what waits mended."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog
from sqlalchemy.exc import SQLAlchemyError

from keeper.chain.prepare import Prepared
from keeper.chain.rpc import EndpointUnavailableError
from keeper.chain.transactions.manager import TransactionManager
from keeper.chain.transactions.seams import Stake
from keeper.engine.approval import Approved
from keeper.engine.crosscheck import CrossCheck
from keeper.engine.decided import Decided
from keeper.engine.outlook import Outlook
from keeper.engine.planning import Planner
from keeper.engine.records import described, shown
from keeper.engine.scribe import Scribe
from keeper.engine.settling import Settling
from keeper.engine.triggering import Triggering
from keeper.engine.watch import Snapshot, Watched
from keeper.model.records import DRY_RUN
from keeper.model.values import PositionId
from keeper.policy.plan import Plan
from keeper.storage.store import Store

log = structlog.get_logger()

ENDS_A_PASS = (EndpointUnavailableError, SQLAlchemyError)
"""Nothing is done without the chain and the journal: the next head tries again."""


class Acting:
    """The only one that has anything sent."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        transactions: TransactionManager,
        planner: Planner,
        settling: Settling,
        triggering: Triggering,
        crosscheck: CrossCheck,
        scribe: Scribe,
        store: Store,
        live: bool,
    ) -> None:
        self._watched = watched
        self._transactions = transactions
        self._planner = planner
        self._settling = settling
        self._triggering = triggering
        self._crosscheck = crosscheck
        self._scribe = scribe
        self._store = store
        self._live = live

    async def act_all(
        self, snapshot: Snapshot, outlook: Outlook, approved: Sequence[Approved]
    ) -> None:
        """Send what is new and mend what waits, side by side: the manager keeps the order of each
        signer, and no signer waits for another. All have ended when it ends, by an error too."""
        stakes = await self._stakes(snapshot, outlook)
        ended = await asyncio.gather(
            *(self._act(snapshot, outlook, each, prepared) for each, prepared in approved),
            self._transactions.mend(snapshot.head, stakes.get),
            return_exceptions=True,
        )
        for each in ended:
            if isinstance(each, Exception) and not isinstance(each, ENDS_A_PASS):
                # Of one signer's transactions; those of others were mended.
                log.error("mending.failed", exc_info=each)
            elif isinstance(each, BaseException):
                raise each

    async def _stakes(self, snapshot: Snapshot, outlook: Outlook) -> dict[PositionId, Stake]:
        """How the positions stand for which something is under way. What protects one is not taken
        back because a single endpoint shows it healthy."""
        stakes = {
            watched.id: stake
            for watched in self._watched
            if self._transactions.pending(watched.id)
            and (stake := self._planner.stake_of(snapshot, outlook, watched.id)) is not None
        }
        if any(
            stake.healthy and self._transactions.busy(position)
            for position, stake in stakes.items()
        ) and not await self._crosscheck.look(snapshot, at_once=True):
            return {position: replace(stake, healthy=False) for position, stake in stakes.items()}
        return stakes

    async def _act(
        self, snapshot: Snapshot, outlook: Outlook, each: Decided, prepared: Prepared
    ) -> None:
        with self._scribe.alone(each.row):
            if isinstance(each.plan, Plan):
                await self._act_alone(snapshot, outlook, each, each.plan, prepared)

    async def _act_alone(
        self,
        snapshot: Snapshot,
        outlook: Outlook,
        each: Decided,
        plan: Plan,
        prepared: Prepared,
    ) -> None:
        if not self._live:
            self._scribe.note(each.row, f"dry run: would {described(plan.action)}")
            if self._scribe.repeats(each, DRY_RUN):
                return
        decision_id = await self._scribe.record(
            snapshot, outlook, each, prepared, "" if self._live else DRY_RUN, approved=True
        )
        log.info(
            "plan.approved",
            position=self._watched[each.row].label,
            decision=decision_id,
            cause=plan.cause,
            action=described(plan.action),
            cash_cost_usd=plan.costs.cash_usd8 / 1e8,
            expected_loss_left_usd=None
            if plan.costs.loss_left_usd8 is None
            else plan.costs.loss_left_usd8 / 1e8,
            health=shown(plan.before.health),
            predicted_health=shown(plan.predicted.health),
            live=self._live,
        )
        if self._live:
            position = plan.action.position
            episode = await self._store.run(
                self._store.journal.open_episode, position, snapshot.head.number
            )
            self._settling.opened(position)
            if await self._transactions.submit(
                prepared, decision_id=decision_id, episode=episode, head=snapshot.head
            ):
                self._triggering.sent(each.row, in_slices=plan.slice)
                self._planner.sent(plan, snapshot.head)
