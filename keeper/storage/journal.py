"""The journal: every intent is here, durably, before its bytes leave the machine.

Synchronous, for one thread: the daemon calls it through `Store`, which owns that thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Engine, Row, bindparam, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from keeper.model.lifecycle import ENDED_IN_BLOCK, OPEN, TRANSITIONS, Purpose, State
from keeper.model.liquidity import Hop, Route
from keeper.model.records import (
    ApprovedAction,
    Attempt,
    DecisionRecord,
    Intent,
    MinedReceipt,
    Observation,
    Result,
)
from keeper.model.units import Address, Amount, Token, Wad
from keeper.model.values import (
    Action,
    AddCollateral,
    AddMargin,
    Deleverage,
    MoveMargin,
    PositionId,
    ReducePosition,
    Repay,
)
from keeper.storage.intents import (
    forget_rivals,
    insert_attempt,
    insert_reserved,
    is_open,
    load,
    move,
)
from keeper.storage.schema import (
    attempts,
    decisions,
    episodes,
    intents,
    nonce_slots,
    observations,
    results,
)

FAILED = (State.EXPIRED, State.REVERTED, State.CANCELLED, State.NONCE_LOST, State.SKIPPED)
REOPENING = [s for s in State if not s.open and State.BROADCAST in TRANSITIONS[s]]
"""Ends that a reorg can take back."""

# Made once: to put a statement together takes longer than SQLite needs to run it.
_MINED = (
    update(attempts)
    .where(attempts.c.hash == bindparam("the_hash"))
    .where(
        attempts.c.intent_id.in_(
            select(intents.c.id).where(intents.c.state.in_([*OPEN, State.CONFIRMED]))
        )
    )
    .values(
        {
            name: bindparam(name)
            for name in (
                "block_number",
                "block_hash",
                "succeeded",
                "gas_used",
                "effective_gas_price_wei",
                "l1_fee_wei",
            )
        }
    )
)
_RESULT = upsert(results)
# A plan that a reorg took back is settled a second time, and that is what counts.
_RESULT = _RESULT.on_conflict_do_update(
    index_elements=["decision_id"],
    set_={c.name: _RESULT.excluded[c.name] for c in results.c if c.name != "decision_id"},
)


class Journal:
    """What was decided, signed, sent and seen. Each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- decisions and episodes ------------------------------------------------------------------

    def record_decision(self, record: DecisionRecord) -> int:
        """Keep a decision and return its id, which `keeper explain` takes."""
        values = asdict(record)
        token = values.pop("token") or {"address": None, "symbol": None, "decimals": None}
        values |= {f"token_{name}": value for name, value in token.items()}
        with self._engine.begin() as connection:
            row = connection.execute(
                insert(decisions)
                .values(**values.pop("position"), **values)
                .returning(decisions.c.id)
            )
            return int(row.scalar_one())

    def approved(self, decision_id: int) -> ApprovedAction:
        """What an approved decision set out to do."""
        query = select(decisions).where(decisions.c.id == decision_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).one()
        amount = Amount(
            raw=row.amount_raw,
            token=Token(
                address=Address(row.token_address),
                symbol=row.token_symbol,
                decimals=row.token_decimals,
            ),
        )
        health = row.predicted_health
        return ApprovedAction(
            action=_action(row, amount),
            predicted_health=None if health is None else Wad(health),
        )

    def open_episode(self, position: PositionId, block: int) -> int:
        """The position's open episode, begun at `block` if there is none."""
        with self._engine.begin() as connection:
            found = connection.execute(
                select(episodes.c.id).where(
                    *_is(episodes, position), episodes.c.closed_block.is_(None)
                )
            ).scalar()
            if found is None:
                found = connection.execute(
                    insert(episodes)
                    .values(**asdict(position), opened_block=block)
                    .returning(episodes.c.id)
                ).scalar_one()
            return int(found)

    def close_episode(self, position: PositionId, block: int) -> None:
        """The position is at its target again, or without debt."""
        with self._engine.begin() as connection:
            connection.execute(
                update(episodes)
                .where(*_is(episodes, position), episodes.c.closed_block.is_(None))
                .values(closed_block=block)
            )

    def open_episodes(self, chain_id: int) -> set[PositionId]:
        """Positions whose episode has not ended."""
        query = select(episodes).where(
            episodes.c.chain_id == chain_id, episodes.c.closed_block.is_(None)
        )
        with self._engine.connect() as connection:
            return {_position(row) for row in connection.execute(query)}

    # -- intents ---------------------------------------------------------------------------------

    def next_step(self, episode: int) -> int:
        """The number of intents that the episode has had."""
        with self._engine.connect() as connection:
            count = select(func.count()).where(intents.c.episode == episode)
            return int(connection.execute(count).scalar_one())

    def reserve(self, batch: Sequence[Intent], taken_from: Mapping[int, str]) -> None:
        """Make intents durable, each with its nonce slot and the bytes that were signed for it, which
        may leave the machine only then: all of them or none.

        `taken_from` gives, by nonce, the key of the intent whose slot is taken over. Raises
        sqlalchemy's IntegrityError if a key or a slot is taken, and `SlotTakenError` if the slot to
        take over is not that intent's: then nothing may be signed."""
        with self._engine.begin() as connection:
            insert_reserved(connection, batch, taken_from)

    def record_attempt(self, intent: Intent, attempt: Attempt) -> None:
        """Make further signed bytes of an intent durable; only then may they leave the machine."""
        with self._engine.begin() as connection:
            insert_attempt(connection, intent, attempt)

    def holds_nonce(self, chain_id: int, signer: Address, nonce: int) -> bool:
        """Whether a slot was ever made for the nonce, and not freed again."""
        query = select(nonce_slots.c.id).where(
            nonce_slots.c.chain_id == chain_id,
            nonce_slots.c.signer == signer,
            nonce_slots.c.nonce == nonce,
        )
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def last_nonce(self, chain_id: int, signer: Address) -> int | None:
        """The highest nonce that was ever signed for; None if none was."""
        query = select(func.max(nonce_slots.c.nonce)).where(
            nonce_slots.c.chain_id == chain_id, nonce_slots.c.signer == signer
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def move(self, states: Mapping[str, State]) -> None:
        """Set the intents' states, by key; an expired one frees its slot.

        Raises `IllegalTransitionError`: then none has moved."""
        with self._engine.begin() as connection:
            move(connection, states)

    def record_mined(self, receipts: Iterable[MinedReceipt], states: Mapping[str, State]) -> None:
        """Keep what was mined of the intents that are followed, which a reorg overwrites, together
        with the states that follow from it. Raises `IllegalTransitionError`."""
        mined = [_columns(receipt) for receipt in receipts]
        with self._engine.begin() as connection:
            for values in mined:
                connection.execute(_MINED, values)
            forget_rivals(connection, [values["the_hash"] for values in mined])
            move(connection, states)

    def record_result(
        self, result: Result, states: Mapping[str, State], *, satisfied: PositionId | None = None
    ) -> None:
        """The end of a plan: its result and the states of its intents, in one transaction. The
        forecast of a `satisfied` position is disarmed with it. Raises `IllegalTransitionError`."""
        with self._engine.begin() as connection:
            connection.execute(_RESULT, asdict(result))
            move(connection, states)
            if satisfied is not None:
                connection.execute(
                    update(observations).where(*_is(observations, satisfied)).values(armed=False)
                )

    def open_intents(self, chain_id: int) -> list[Intent]:
        """Intents that may still change the chain, oldest first."""
        with self._engine.connect() as connection:
            return load(connection, is_open(chain_id))

    def intents_in_reach(self, chain_id: int, finality_blocks: int) -> list[Intent]:
        """Intents that have ended in a block which a reorg may reach: those confirmed and not final,
        and those undone or cancelled in the last `finality_blocks` before the newest block that
        holds a transaction of ours."""
        ours = attempts.join(intents, attempts.c.intent_id == intents.c.id)
        of_chain = intents.c.chain_id == chain_id
        newest = select(func.max(attempts.c.block_number)).select_from(ours).where(of_chain)
        with self._engine.connect() as connection:
            lowest = (connection.execute(newest).scalar() or 0) - finality_blocks
            shallow = select(attempts.c.intent_id).where(attempts.c.block_number > lowest)
            return load(
                connection,
                of_chain,
                intents.c.state.in_(ENDED_IN_BLOCK),
                or_(intents.c.state == State.CONFIRMED, intents.c.id.in_(shallow)),
            )

    def settled_intents(self, chain_id: int, signer: Address, from_nonce: int) -> list[Intent]:
        """Intents whose slots, from this nonce on, the journal holds for used: lowest nonce first."""
        signed = select(attempts.c.intent_id).where(
            attempts.c.nonce >= from_nonce, attempts.c.purpose == Purpose.CALL
        )
        with self._engine.connect() as connection:
            found = load(
                connection,
                intents.c.chain_id == chain_id,
                intents.c.signer == signer,
                intents.c.state.in_(REOPENING),
                intents.c.id.in_(signed),
            )
        return sorted(found, key=lambda intent: intent.nonce)

    def moved_usd8_since(self, position: PositionId, timestamp: int) -> int:
        """What approved plans moved for a position since `timestamp` (chain time): open plans and
        those that succeeded, not ones of which a transaction came to nothing."""
        sent = select(intents.c.decision_id)
        failed = sent.where(intents.c.state.in_(FAILED))
        query = select(decisions.c.moved_usd8).where(
            *_is(decisions, position),
            decisions.c.approved,
            decisions.c.timestamp > timestamp,
            decisions.c.id.in_(sent),
            decisions.c.id.not_in(failed),
        )
        with self._engine.connect() as connection:
            return sum(moved for (moved,) in connection.execute(query))

    # -- observations ----------------------------------------------------------------------------

    def observe(self, seen: Sequence[Observation]) -> None:
        """Replace the last observation of each position."""
        if not seen:
            return
        rows = []
        for observation in seen:
            values = asdict(observation)
            rows.append({**values.pop("position"), **values})
        statement = upsert(observations)
        keys = {"chain_id", "market", "account"}
        statement = statement.on_conflict_do_update(
            index_elements=sorted(keys),
            set_={c.name: statement.excluded[c.name] for c in observations.c if c.name not in keys},
        )
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def annotate(self, position: PositionId, note: str) -> None:
        """Change the note of a position's last observation, if it has one."""
        with self._engine.begin() as connection:
            connection.execute(
                update(observations).where(*_is(observations, position)).values(note=note)
            )

    def disarmed(self, chain_id: int) -> set[PositionId]:
        """Positions whose forecast trigger waits for the probability to fall first."""
        query = select(
            observations.c.chain_id, observations.c.market, observations.c.account
        ).where(observations.c.chain_id == chain_id, ~observations.c.armed)
        with self._engine.connect() as connection:
            return {_position(row) for row in connection.execute(query)}


def _is(table: Any, position: PositionId) -> tuple[Any, ...]:
    return (
        table.c.chain_id == position.chain_id,
        table.c.market == position.market,
        table.c.account == position.account,
    )


def _action(row: Row[Any, Any, Any], amount: Amount) -> Action:
    position = _position(row)
    match row.kind:
        case "AddCollateral":
            return AddCollateral(position=position, amount=amount)
        case "Repay":
            return Repay(position=position, amount=amount)
        case "AddMargin":
            return AddMargin(position=position, amount=amount)
        case "MoveMargin":
            return MoveMargin(position=position, amount=amount)
        case "ReducePosition":
            quote = row.document["quote"]
            token = Token(**quote["token"])
            return ReducePosition(
                position=position,
                amount=amount,
                quote=Amount(raw=int(quote["raw"]), token=token),
            )
        case _:
            swap = row.document["swap"]
            hops = tuple(Hop(**hop) for hop in swap["route"]["hops"])
            return Deleverage(
                position=position,
                amount=amount,
                sold=Amount(raw=int(swap["sold_raw"]), token=Token(**swap["sold_token"])),
                route=Route(venue=swap["route"]["venue"], hops=hops),
            )


def _position(row: Row[Any, Any, Any]) -> PositionId:
    return PositionId(chain_id=row.chain_id, market=row.market, account=Address(row.account))


def _columns(receipt: MinedReceipt) -> dict[str, Any]:
    values = asdict(replace(receipt, logs=()))
    del values["logs"]
    return {"the_hash": values.pop("hash"), **values}
