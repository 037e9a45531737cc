"""What the engine says: log lines, decisions and observations, each thing once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from keeper.chain.prepare import Prepared
from keeper.engine.decided import Decided
from keeper.engine.outlook import Outlook
from keeper.engine.records import decision_record, observation, shown
from keeper.engine.watch import Snapshot, Watched
from keeper.model.reading import ReadingError
from keeper.model.records import Observation
from keeper.model.values import PositionState
from keeper.storage.store import Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A decision that was written down."""

    decision_id: int
    approved: bool
    reason: str


class Scribe:
    """Keeps the notes of one pass and remembers what the last ones said."""

    def __init__(self, *, watched: Sequence[Watched], store: Store) -> None:
        self._watched = watched
        self._store = store
        self.notes: dict[int, str] = {}
        """Of this pass, by row."""
        self.written: dict[int, Written] = {}
        """By row, what this pass has decided."""
        # What was last said of a row, so that the same words are not written at every block.
        self._said: dict[int, str] = {}
        self._unreadable: dict[int, str] = {}
        self._introduced: set[int] = set()

    def begin(self) -> None:
        """A new pass. A row of which the last one had nothing to note may be spoken of again."""
        self._said = {row: said for row, said in self._said.items() if row in self.notes}
        self.notes = {}
        self.written = {}

    def note(self, row: int, words: str) -> None:
        """Why nothing is done about a row, or what is; shown by `keeper status`."""
        self.notes[row] = words

    @contextmanager
    def alone(self, row: int) -> Iterator[None]:
        """The engine's one boundary: a position that cannot be planned or acted for, whatever the
        reason, must not stop the protection of the others."""
        label = self._watched[row].label
        try:
            yield
        except SQLAlchemyError as error:
            # What is not in the journal is not sent; the next block tries again.
            self.note(row, "the journal cannot be used: the log says why")
            log.error("position.journal_failed", position=label, reason=str(error.args[0]))  # noqa: TRY400 - the reason says it all
        except Exception:
            self.note(row, "failed: the log says why")
            log.exception("position.failed", position=label)

    def repeats(self, each: Decided, words: str) -> bool:
        """Whether these words were the last about this row and cause; figures may differ."""
        if each.plan.cause == "owner":
            return False
        said = f"{each.plan.cause}: " + "".join(c for c in words if not c.isdigit())
        again = self._said.get(each.row) == said
        self._said[each.row] = said
        return again

    async def refuse(
        self,
        snapshot: Snapshot,
        outlook: Outlook,
        each: Decided,
        prepared: Prepared | None,
        reason: str,
    ) -> None:
        """Write down a refusal, unless it is the one written down last."""
        self.note(each.row, f"refused: {reason}")
        if self.repeats(each, reason):
            return
        decision_id = await self.record(snapshot, outlook, each, prepared, reason, approved=False)
        log.warning(
            "plan.refused",
            position=self._watched[each.row].label,
            decision=decision_id,
            cause=each.plan.cause,
            reason=reason,
            health=shown(each.plan.before.health),
        )

    async def record(
        self,
        snapshot: Snapshot,
        outlook: Outlook,
        each: Decided,
        prepared: Prepared | None,
        reason: str,
        *,
        approved: bool,
    ) -> int:
        """Keep a decision with all that went into it; its id is what `keeper explain` takes."""
        record = decision_record(
            head=snapshot.head,
            row=each.row,
            watched=self._watched[each.row],
            outlook=outlook,
            decided=each,
            prepared=prepared,
            approved=approved,
            reason=reason,
        )
        decision_id = await self._store.run(self._store.journal.record_decision, record)
        self.written[each.row] = Written(decision_id=decision_id, approved=approved, reason=reason)
        return decision_id

    async def observe(
        self, snapshot: Snapshot, outlook: Outlook, *, armed: Sequence[bool], busy: Sequence[bool]
    ) -> None:
        """Replace what is known of each position; of one that could not be read, say so beside the
        last that was known."""
        seen, unreadable = [], {}
        for row, (watched, position) in enumerate(
            zip(self._watched, snapshot.positions, strict=True)
        ):
            if isinstance(position, ReadingError):
                unreadable[row] = str(position)
                continue
            cold = bool(outlook.forecast.cold[row])
            found = observation(
                head=snapshot.head,
                row=row,
                watched=watched,
                position=position,
                outlook=outlook,
                armed=armed[row],
                note=self._note(row, position, cold=cold, busy=busy[row], armed=armed[row]),
            )
            seen.append(found)
            self._introduce(row, found)
        await self._store.run(self._store.journal.observe, seen)
        for row, reason in unreadable.items():
            if self._unreadable.get(row) != reason:
                watched = self._watched[row]
                log.error("position.unreadable", position=watched.label, reason=reason)
                await self._store.run(
                    self._store.journal.annotate,
                    watched.id,
                    f"NOT PROTECTED since block {snapshot.head.number}: it cannot be read: {reason}",
                )
        self._unreadable = unreadable

    def _introduce(self, row: int, found: Observation) -> None:
        """Say once how a position stands: where all is well, nothing else does."""
        if row in self._introduced:
            return
        self._introduced.add(row)
        probability = found.breach_probability
        log.info(
            "position.watched",
            position=found.label,
            block=found.head_number,
            health=shown(found.health),
            floor=shown(found.floor),
            breach_probability=None if probability is None else round(probability, 6),
            now=found.note,
        )

    def _note(
        self, row: int, position: PositionState, *, cold: bool, busy: bool, armed: bool
    ) -> str:
        if row in self.notes:
            return self.notes[row]
        if busy:
            return "a transaction is under way"
        if position.health is None:
            return "idle: no position" if position.terms_shown else "idle: no debt"
        if cold:
            return "watched; no forecast for lack of price history: only the floor acts"
        if self._watched[row].policy.trigger_probability is None:
            return "watched: health is above its floor"
        if not armed:
            return (
                "watched: acted on this danger; the forecast acts anew once the probability has "
                "been at or below its trigger"
            )
        return "watched: health is above its floor, a breach no likelier than its trigger"
