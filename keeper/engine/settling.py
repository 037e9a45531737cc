"""What became of plans that are over, and which episodes are closed by it."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from keeper.chain.transactions.manager import TransactionManager
from keeper.chain.transactions.verdicts import Settled
from keeper.engine.outcome import Outcomes
from keeper.engine.records import shown
from keeper.engine.triggering import Triggering
from keeper.engine.watch import Snapshot, Watched
from keeper.model.reading import ReadingError
from keeper.model.records import ApprovedAction
from keeper.model.values import PositionId
from keeper.policy.size import comparable
from keeper.storage.store import Store

log = structlog.get_logger()


class Settling:
    """Receipts in, results out."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        rows: Mapping[PositionId, int],
        outcomes: Outcomes,
        transactions: TransactionManager,
        triggering: Triggering,
        store: Store,
    ) -> None:
        self._watched = watched
        self._rows = rows
        self._outcomes = outcomes
        self._transactions = transactions
        self._triggering = triggering
        self._store = store
        self._open_episodes: set[PositionId] = set()
        self._unconcluded: list[tuple[Settled, ApprovedAction]] = []
        self.worsened_positions = 0

    async def begin(self, chain_id: int) -> None:
        """Take over what an earlier run left open."""
        self._open_episodes = await self._store.run(self._store.journal.open_episodes, chain_id)

    def opened(self, position: PositionId) -> None:
        """An episode of this position is open."""
        self._open_episodes.add(position)

    async def settle(self, snapshot: Snapshot, answers: Sequence[Any]) -> None:
        """Close the plans that are over, so that their positions may be planned for at once.

        A result that would cost reads of past blocks is looked at after the pass's sends, or after
        those of a later pass if this one does not come so far.
        """
        self._outcomes.keep(snapshot)
        for settled in await self._transactions.settle(
            snapshot.head, answers, reader=snapshot.reader
        ):
            approved = await self._store.run(self._store.journal.approved, settled.decision_id)
            if self._outcomes.at_hand(settled):
                await self._conclude(snapshot, settled, approved)
            else:
                self._unconcluded.append((settled, approved))
            self._transactions.close(settled)
            if self._satisfies(settled, approved):
                self._triggering.reached(self._rows[approved.action.position])

    async def conclude(self, snapshot: Snapshot) -> None:
        """Write down the results that were put off, and close the episodes that are over."""
        while self._unconcluded:
            await self._conclude(snapshot, *self._unconcluded[0])
            del self._unconcluded[0]
        await self._close_episodes(snapshot)

    def _satisfies(self, settled: Settled, approved: ApprovedAction) -> bool:
        """Whether the plan did what it set out to do, and that was to reach the target."""
        row = self._rows.get(approved.action.position)
        return (
            row is not None
            and settled.receipt is not None
            and settled.receipt.succeeded
            and comparable(approved.predicted_health) >= self._watched[row].policy.target
        )

    async def _conclude(
        self, snapshot: Snapshot, settled: Settled, approved: ApprovedAction
    ) -> None:
        position = approved.action.position
        row = self._rows.get(position)
        result = await self._outcomes.result(settled, approved.action, snapshot.head)
        await self._store.run(
            self._store.journal.record_result,
            result,
            {intent.key: intent.state for intent in settled.intents},
            satisfied=position if self._satisfies(settled, approved) else None,
        )
        self._transactions.concluded(settled)
        self.worsened_positions += result.worsened
        (log.info if result.succeeded and not result.worsened else log.error)(
            "plan.concluded",
            position=str(position) if row is None else self._watched[row].label,
            decision=result.decision_id,
            succeeded=result.succeeded,
            worsened=result.worsened,
            health_after=shown(result.health_after),
            block=result.block_number,
            differences=list(result.differences),
        )

    async def _close_episodes(self, snapshot: Snapshot) -> None:
        for row, watched in enumerate(self._watched):
            position = snapshot.positions[row]
            if (
                watched.id in self._open_episodes
                and not isinstance(position, ReadingError)
                and not self._transactions.pending(watched.id)
                and comparable(position.health) >= watched.policy.target
            ):
                await self._store.run(
                    self._store.journal.close_episode, watched.id, snapshot.head.number
                )
                self._open_episodes.discard(watched.id)
