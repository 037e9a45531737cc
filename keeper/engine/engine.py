"""One block, one pass: read, forecast, decide, plan, try, journal, send, re-read.

    Head ─read at head.hash→ Snapshot → Forecast → Decision ─quotes→ Plan → Approved | Refused
         ─simulate→ journal INTENT ─send→ Receipt ─re-read→ Outcome → journal RESULT

`Engine.run_pass` tells it line by line and knows no protocol by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from sqlalchemy.exc import SQLAlchemyError

from keeper.chain.prepare import Prepared, Preparer
from keeper.chain.prices import FeedPrices
from keeper.chain.reader import Reader
from keeper.chain.transactions import TransactionManager
from keeper.engine.outcome import Outcomes
from keeper.engine.outlook import Outlook, look_ahead
from keeper.engine.records import decision_record, described, observation, shown
from keeper.engine.trial import objection, proposal
from keeper.engine.watch import Snapshot, Watched, WatchedMarket, assemble
from keeper.model.book import Floats
from keeper.model.reading import ReadingError
from keeper.model.records import DRY_RUN
from keeper.model.units import Address
from keeper.model.values import Cause, Head, PositionId, PositionState
from keeper.policy.decide import Triggers, decide, disarm, floats_from_healths
from keeper.policy.plan import DAY_S, Plan, Refused, comparable, plan
from keeper.storage.store import Store

log = structlog.get_logger()

MARGIN_S = 600
"""A plan is sized and simulated this long after its head: interest until inclusion then cannot
leave it short of its target. At 10 % a year it costs 2 millionths of the debt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What is to be done about one row."""

    row: int
    plan: Plan | Refused
    moved_today_usd8: int


class Engine:
    """Protects the watched positions of one chain, one pass per head."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        markets: Sequence[WatchedMarket],
        reader: Reader,
        prices: FeedPrices,
        preparer: Preparer,
        transactions: TransactionManager,
        store: Store,
        live: bool,
    ) -> None:
        self._watched = tuple(watched)
        self._rows = {row.id: place for place, row in enumerate(self._watched)}
        self._markets = {market.name: market for market in markets}
        self._reader = reader
        self._prices = prices
        self._preparer = preparer
        self._transactions = transactions
        self._store = store
        self._live = live
        self._triggers = Triggers.of([row.policy for row in self._watched])
        self._armed = np.ones(len(self._watched), dtype=np.bool_)
        self._outcomes = Outcomes(reader=reader, watched=self._watched, markets=self._markets)
        self._open_episodes: set[PositionId] = set()
        self._unread: list[WatchedMarket] = []
        self._notes: dict[int, str] = {}
        # What was last said of a row, so that the same words are not written at every block.
        self._said: dict[int, str] = {}
        self.passes = 0
        self.worsened_positions = 0

    async def resume(self, head: Head) -> None:
        """Before the first pass: markets, feeds, and what an earlier run left open."""
        await self.refresh(head)
        chain_id = self._watched[0].id.chain_id
        disarmed = await self._store.run(self._store.journal.disarmed, chain_id)
        self._armed = np.array([row.id not in disarmed for row in self._watched])
        self._open_episodes = await self._store.run(self._store.journal.open_episodes, chain_id)
        await self._transactions.recover(self._rows)

    async def refresh(self, head: Head) -> None:
        """Read anew what changes seldom: market parameters, and feeds that have no rounds yet."""
        feeds: dict[Address, None] = {}
        for market in self._markets.values():
            feeds |= dict.fromkeys(await market.discover(self._reader, head))
        await self._prices.load([feed for feed in feeds if feed not in self._prices.warm], head)

    async def run_pass(self, head: Head) -> None:
        """The story. Raises `EndpointUnavailableError`, which a later head will mend."""
        self._notes = {}
        await self._rediscover(head)
        snapshot, new_rounds, receipts = await self._read(head)
        await self._conclude(snapshot, receipts)
        outlook = look_ahead(snapshot, self._watched, self._markets, self._prices.series)
        decisions = decide(
            _healths(snapshot), outlook.forecast.probability, self._triggers, self._armed
        )
        self._armed = decisions.armed
        decided = [await self._plan(snapshot, row, cause) for row, cause in decisions.acting()]
        for each, prepared in await self._approve(snapshot, outlook, list(filter(None, decided))):
            try:
                await self._act(snapshot, outlook, each, prepared)
            except SQLAlchemyError as error:
                # Without the journal nothing is sent; the next block tries again.
                log.error(  # noqa: TRY400 - the reason says it all
                    "plan.not_sent",
                    position=self._watched[each.row].label,
                    reason=str(error.args[0]),
                )
        await self._observe(snapshot, outlook)
        await self._prices.store(new_rounds)
        self.passes += 1
        log.debug("pass.done", block=head.number)

    async def _rediscover(self, head: Head) -> None:
        """A market that could not be read may have changed: find out before the next reading."""
        for market in self._unread:
            try:
                await market.discover(self._reader, head)
            except ReadingError as error:
                log.error("market.unsupported", market=market.name, reason=str(error))  # noqa: TRY400 - the reason says it all

    # -- read ------------------------------------------------------------------------------------

    async def _read(self, head: Head) -> tuple[Snapshot, Any, list[Any]]:
        markets = list(self._markets.values())
        values, receipts = await self._reader.read(
            [*(market.reading(head) for market in markets), self._prices.latest()],
            at=head.hash,
            beside=self._transactions.outcome_requests(),
        )
        *market_values, new_rounds = values
        self._unread = [
            market
            for market, value in zip(markets, market_values, strict=True)
            if isinstance(value, ReadingError)
        ]
        self._prices.observe(new_rounds, head)
        snapshot = assemble(head, self._watched, markets, market_values)
        for name, market_snapshot in snapshot.markets.items():
            self._markets[name].remember(market_snapshot)
        self._outcomes.keep(snapshot)
        return snapshot, new_rounds, receipts

    # -- receipt → re-read → result --------------------------------------------------------------

    async def _conclude(self, snapshot: Snapshot, receipts: Sequence[Any]) -> None:
        journal = self._store.journal
        for settled in await self._transactions.settle(snapshot.head, receipts):
            approved = await self._store.run(journal.approved, settled.decision_id)
            result = await self._outcomes.result(settled, approved.action, snapshot.head)
            states = {intent.key: intent.state for intent in settled.intents}
            position = approved.action.position
            row = self._rows[position]
            reached = comparable(approved.predicted_health) >= self._watched[row].policy.target
            satisfied = position if result.succeeded and reached else None
            await self._store.run(journal.record_result, result, states, satisfied=satisfied)
            self._transactions.close(settled)
            if satisfied is not None:
                self._armed = disarm(self._armed, [row])
            self.worsened_positions += result.worsened
            (log.info if result.succeeded and not result.worsened else log.error)(
                "plan.concluded",
                position=self._watched[row].label,
                decision=result.decision_id,
                succeeded=result.succeeded,
                worsened=result.worsened,
                health_after=shown(result.health_after),
                block=result.block_number,
                differences=list(result.differences),
            )
        await self._close_episodes(snapshot)

    async def _close_episodes(self, snapshot: Snapshot) -> None:
        for row, watched in enumerate(self._watched):
            position = snapshot.positions[row]
            if (
                watched.id in self._open_episodes
                and not isinstance(position, ReadingError)
                and not self._transactions.busy(watched.id)
                and comparable(position.health) >= watched.policy.target
            ):
                await self._store.run(
                    self._store.journal.close_episode, watched.id, snapshot.head.number
                )
                self._open_episodes.discard(watched.id)

    # -- decision → plan → approved | refused ----------------------------------------------------

    async def _plan(self, snapshot: Snapshot, row: int, cause: Cause) -> Decided | None:
        """None where a plan is under way already, or the position's own trouble prevents one."""
        watched, position = self._watched[row], snapshot.positions[row]
        if isinstance(position, ReadingError) or self._transactions.busy(watched.id):
            return None
        try:
            moved = await self._store.run(
                self._store.journal.moved_usd8_since, watched.id, snapshot.head.timestamp - DAY_S
            )
            aged = position.accrued(snapshot.head.timestamp + MARGIN_S)
            adapter = self._markets[watched.id.market].adapter
            chosen = plan(
                position=aged,
                cause=cause,
                policy=watched.policy,
                options=adapter.options(aged),
                predict=lambda action: adapter.predict(action, aged, aged.timestamp),
                moved_today_usd8=moved,
            )
        except Exception:
            # A position that cannot be planned for, whatever the reason, must not stop the
            # protection of the others.
            log.exception("position.failed", position=watched.label)
            self._notes[row] = "planning failed: the log says why"
            return None
        return Decided(row=row, plan=chosen, moved_today_usd8=moved)

    async def _approve(
        self, snapshot: Snapshot, outlook: Outlook, decided: Sequence[Decided]
    ) -> list[tuple[Decided, Prepared]]:
        """Simulate all plans in one round trip; keep those whose result is the predicted one."""
        trials = []
        for each in decided:
            if isinstance(each.plan, Refused):
                await self._refuse(snapshot, outlook, each, None, each.plan.reason)
            else:
                market = self._markets[each.plan.action.position.market]
                trials.append((each, each.plan, market, proposal(each.plan, market)))
        if not trials:
            return []
        outcomes = await self._preparer.prepare([trial[-1] for trial in trials], snapshot.head)
        approved = []
        for (each, chosen, market, _), outcome in zip(trials, outcomes, strict=True):
            reason = objection(chosen, outcome, market)
            if isinstance(outcome, Prepared) and reason is None:
                approved.append((each, outcome))
            else:
                prepared = outcome if isinstance(outcome, Prepared) else None
                await self._refuse(snapshot, outlook, each, prepared, str(reason))
        return approved

    async def _refuse(
        self,
        snapshot: Snapshot,
        outlook: Outlook,
        each: Decided,
        prepared: Prepared | None,
        reason: str,
    ) -> None:
        self._notes[each.row] = f"refused: {reason}"
        if self._repeats(each, "".join(c for c in reason if not c.isdigit())):
            return
        decision_id = await self._record(snapshot, outlook, each, prepared, reason, approved=False)
        log.warning(
            "plan.refused",
            position=self._watched[each.row].label,
            decision=decision_id,
            cause=each.plan.cause,
            reason=reason,
            health=shown(each.plan.before.health),
        )

    # -- approved → journal → send ---------------------------------------------------------------

    async def _act(
        self, snapshot: Snapshot, outlook: Outlook, each: Decided, prepared: Prepared
    ) -> None:
        if not isinstance(each.plan, Plan):
            return
        watched = self._watched[each.row]
        if not self._live:
            self._notes[each.row] = f"dry run: would {described(each.plan.action)}"
            if self._repeats(each, DRY_RUN):
                return
        decision_id = await self._record(
            snapshot, outlook, each, prepared, "" if self._live else DRY_RUN, approved=True
        )
        log.info(
            "plan.approved",
            position=watched.label,
            decision=decision_id,
            cause=each.plan.cause,
            action=described(each.plan.action),
            health=shown(each.plan.before.health),
            predicted_health=shown(each.plan.predicted.health),
            live=self._live,
        )
        if self._live:
            episode = await self._store.run(
                self._store.journal.open_episode, watched.id, snapshot.head.number
            )
            self._open_episodes.add(watched.id)
            await self._transactions.submit(
                prepared, decision_id=decision_id, episode=episode, head=snapshot.head
            )

    async def _record(
        self,
        snapshot: Snapshot,
        outlook: Outlook,
        each: Decided,
        prepared: Prepared | None,
        reason: str,
        *,
        approved: bool,
    ) -> int:
        record = decision_record(
            head=snapshot.head,
            row=each.row,
            watched=self._watched[each.row],
            outlook=outlook,
            decided=each.plan,
            prepared=prepared,
            approved=approved,
            reason=reason,
            moved_today_usd8=each.moved_today_usd8,
        )
        return await self._store.run(self._store.journal.record_decision, record)

    def _repeats(self, each: Decided, words: str) -> bool:
        """Whether these words were the last about this row and cause."""
        said = f"{each.plan.cause}: {words}"
        again = self._said.get(each.row) == said
        self._said[each.row] = said
        return again

    # -- observe ---------------------------------------------------------------------------------

    async def _observe(self, snapshot: Snapshot, outlook: Outlook) -> None:
        for row in self._said.keys() - self._notes.keys():
            del self._said[row]
        seen = [
            observation(
                head=snapshot.head,
                row=row,
                watched=watched,
                position=position,
                outlook=outlook,
                armed=bool(self._armed[row]),
                note=self._note(row, position, cold=bool(outlook.forecast.cold[row])),
            )
            for row, (watched, position) in enumerate(
                zip(self._watched, snapshot.positions, strict=True)
            )
            if not isinstance(position, ReadingError)
        ]
        await self._store.run(self._store.journal.observe, seen)

    def _note(self, row: int, position: PositionState, *, cold: bool) -> str:
        if row in self._notes:
            return self._notes[row]
        if self._transactions.busy(self._watched[row].id):
            return "a transaction is under way"
        if position.health is None:
            return "idle: no debt"
        if cold:
            return "watched; no forecast for lack of price history: only the floor acts"
        return "watched"


def _healths(snapshot: Snapshot) -> Floats:
    return floats_from_healths(
        [
            None if isinstance(position, ReadingError) else position.health
            for position in snapshot.positions
        ]
    )
