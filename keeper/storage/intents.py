"""Intents, nonce slots and attempts: the statements that the journal's transactions are made of."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, select, update

from keeper.model.lifecycle import OPEN, Purpose, State, Urgency, check_transition
from keeper.model.records import Attempt, Intent
from keeper.model.units import Address, Wei
from keeper.model.values import PositionId, Transaction
from keeper.storage.schema import attempts, intents, nonce_slots


class SlotTakenError(Exception):
    """The nonce slot to be taken over is not the one that the journal knows."""


def insert_reserved(connection: Connection, intent: Intent, taken_from: str | None) -> None:
    """An intent with its nonce slot: a new one, or that of the intent with the key `taken_from`.

    Raises sqlalchemy's IntegrityError if the key or the slot is taken, `SlotTakenError` if the slot
    to take over is another intent's."""
    intent_id = connection.execute(
        insert(intents)
        .values(
            key=intent.key,
            decision_id=intent.decision_id,
            episode=intent.episode,
            step=intent.step,
            **asdict(intent.position),
            signer=intent.signer,
            **asdict(intent.transaction),
            head_number=intent.head_number,
            deadline_block=intent.deadline_block,
            state=intent.state,
            urgency=int(intent.urgency),
        )
        .returning(intents.c.id)
    ).scalar_one()
    if taken_from is None:
        connection.execute(
            insert(nonce_slots).values(
                chain_id=intent.position.chain_id,
                signer=intent.signer,
                nonce=intent.nonce,
                intent_id=intent_id,
            )
        )
        return
    owner = select(intents.c.id).where(intents.c.key == taken_from).scalar_subquery()
    taken = connection.execute(
        update(nonce_slots)
        .where(
            nonce_slots.c.chain_id == intent.position.chain_id,
            nonce_slots.c.signer == intent.signer,
            nonce_slots.c.nonce == intent.nonce,
            nonce_slots.c.intent_id == owner,
        )
        .values(intent_id=intent_id)
    )
    if taken.rowcount != 1:
        raise SlotTakenError(f"nonce {intent.nonce} of {intent.signer} is not of {taken_from}")


def insert_attempts(connection: Connection, signed: Iterable[tuple[Intent, Attempt]]) -> None:
    """Signed bytes, and the slot of a filler. The first of an intent make it SIGNED."""
    for intent, attempt in signed:
        intent_id = connection.execute(
            select(intents.c.id).where(intents.c.key == intent.key)
        ).scalar_one()
        if attempt.purpose is Purpose.FILL:
            connection.execute(
                insert(nonce_slots).values(
                    chain_id=intent.position.chain_id,
                    signer=intent.signer,
                    nonce=attempt.nonce,
                    intent_id=intent_id,
                    filler=True,
                )
            )
        connection.execute(insert(attempts).values(intent_id=intent_id, **asdict(attempt)))
        if intent.state is State.RESERVED:
            move(connection, {intent.key: State.SIGNED})


def move(connection: Connection, states: Mapping[str, State]) -> None:
    """Set states, by key. An expired intent frees its slot. Raises `IllegalTransitionError`."""
    if not states:
        return
    query = select(intents.c.id, intents.c.key, intents.c.state).where(intents.c.key.in_(states))
    changes = []
    for intent_id, key, before in connection.execute(query):
        after = states[key]
        check_transition(key, State(before), after)
        changes.append({"the_id": intent_id, "after": after})
    if not changes:
        return
    connection.execute(
        update(intents).where(intents.c.id == bindparam("the_id")).values(state=bindparam("after")),
        changes,
    )
    _forget_blocks(connection, [c["the_id"] for c in changes if c["after"] is State.BROADCAST])
    _free_slots(connection, [c["the_id"] for c in changes if c["after"] is State.EXPIRED])


def _forget_blocks(connection: Connection, ids: Sequence[int]) -> None:
    """What a reorg took back is in no block."""
    if ids:
        nowhere = dict.fromkeys(
            (
                "block_number",
                "block_hash",
                "succeeded",
                "gas_used",
                "effective_gas_price_wei",
                "l1_fee_wei",
            )
        )
        connection.execute(
            update(attempts)
            .where(attempts.c.intent_id.in_(ids), attempts.c.block_number.is_not(None))
            .values(**nowhere)
        )


def _free_slots(connection: Connection, ids: Sequence[int]) -> None:
    """Slots of intents that were never signed are free, or again of those they were taken from."""
    if not ids:
        return
    slots = connection.execute(select(nonce_slots).where(nonce_slots.c.intent_id.in_(ids)))
    for slot in slots.all():
        former = connection.execute(
            select(intents.c.id)
            .join(attempts, attempts.c.intent_id == intents.c.id)
            .where(
                intents.c.chain_id == slot.chain_id,
                intents.c.signer == slot.signer,
                intents.c.state.in_(list(OPEN)),
                attempts.c.nonce == slot.nonce,
            )
            .order_by(attempts.c.id.desc())
            .limit(1)
        ).scalar()
        here = nonce_slots.c.id == slot.id
        if former is None:
            connection.execute(delete(nonce_slots).where(here))
        else:
            connection.execute(update(nonce_slots).where(here).values(intent_id=former))


def load(connection: Connection, *conditions: Any) -> list[Intent]:
    """Intents that meet the conditions, oldest first, each with its attempts."""
    rows = connection.execute(select(intents).where(*conditions).order_by(intents.c.id)).all()
    ids = [row.id for row in rows]
    signed: dict[int, list[Row[Any]]] = defaultdict(list)
    query = select(attempts).where(attempts.c.intent_id.in_(ids)).order_by(attempts.c.id)
    for each in connection.execute(query):
        signed[each.intent_id].append(each)
    held = {
        row.intent_id: row.nonce
        for row in connection.execute(
            select(nonce_slots).where(nonce_slots.c.intent_id.in_(ids), ~nonce_slots.c.filler)
        )
    }
    return [_intent(row, signed[row.id], held.get(row.id)) for row in rows]


def is_open(chain_id: int) -> Any:
    """The condition that an intent may still change the chain."""
    return and_(intents.c.chain_id == chain_id, intents.c.state.in_(list(OPEN)))


def _intent(row: Row[Any], signed: Sequence[Row[Any]], held: int | None) -> Intent:
    own = [each.nonce for each in signed if each.purpose == Purpose.CALL]
    return Intent(
        decision_id=row.decision_id,
        position=PositionId(chain_id=row.chain_id, market=row.market, account=Address(row.account)),
        episode=row.episode,
        step=row.step,
        signer=Address(row.signer),
        transaction=Transaction(
            to=Address(row.to), data=row.data, value_wei=Wei(row.value_wei), purpose=row.purpose
        ),
        urgency=Urgency(row.urgency),
        head_number=row.head_number,
        deadline_block=row.deadline_block,
        nonce=held if held is not None else own[0],
        displaced=held is None,
        state=State(row.state),
        attempts=tuple(
            Attempt(
                purpose=Purpose(each.purpose),
                nonce=each.nonce,
                hash=each.hash,
                raw=each.raw,
                gas_limit=each.gas_limit,
                max_fee_wei=Wei(each.max_fee_wei),
                priority_fee_wei=Wei(each.priority_fee_wei),
                head_number=each.head_number,
            )
            for each in signed
        ),
    )
