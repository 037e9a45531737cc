"""Intents, nonce slots and attempts: the statements that the journal's transactions are made of."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
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


def insert_reserved(
    connection: Connection, batch: Sequence[Intent], taken_from: Mapping[int, str]
) -> None:
    """Intents with their nonce slots and signed bytes: new slots, or by nonce those of the intents
    with the keys of `taken_from`. One that has expired holds none.

    Raises sqlalchemy's IntegrityError if a key or a slot is taken, `SlotTakenError` if the slot to
    take over is another intent's."""
    connection.execute(_NEW_INTENT, [_columns(intent) for intent in batch])
    holding = [intent for intent in batch if intent.state is not State.EXPIRED]
    new = [_slot(each, each.nonce) for each in holding if each.nonce not in taken_from]
    if new:
        connection.execute(_NEW_SLOT, new)
    for intent in holding:
        if intent.nonce in taken_from:
            _take_over(connection, intent, taken_from[intent.nonce])
    signed = [_bytes(intent, attempt) for intent in batch for attempt in intent.attempts]
    if signed:
        connection.execute(_NEW_ATTEMPT, signed)


def _take_over(connection: Connection, intent: Intent, former: str) -> None:
    taken = connection.execute(
        update(nonce_slots)
        .where(
            nonce_slots.c.chain_id == intent.position.chain_id,
            nonce_slots.c.signer == intent.signer,
            nonce_slots.c.nonce == intent.nonce,
            nonce_slots.c.intent_id == _id_of(former),
        )
        .values(intent_id=_id_of(intent.key))
    )
    if taken.rowcount != 1:
        raise SlotTakenError(f"nonce {intent.nonce} of {intent.signer} is not of {former}")


def insert_attempt(connection: Connection, intent: Intent, attempt: Attempt) -> None:
    """Further signed bytes, and the slot of an intent's first filler in a nonce. The first bytes of
    an intent make it SIGNED."""
    if attempt.purpose is Purpose.FILL and all(
        each.nonce != attempt.nonce for each in intent.attempts
    ):
        connection.execute(_NEW_SLOT, _slot(intent, attempt.nonce) | {"filler": True})
    connection.execute(_NEW_ATTEMPT, _bytes(intent, attempt))
    if intent.state is State.RESERVED:
        move(connection, {intent.key: State.SIGNED})


def _id_of(key: str) -> Any:
    return select(intents.c.id).where(intents.c.key == key).scalar_subquery()


# Made once: to put a statement together takes longer than SQLite needs to run it.
_BY_KEY = select(intents.c.id).where(intents.c.key == bindparam("the_key")).scalar_subquery()
_NEW_INTENT = insert(intents)
_NEW_SLOT = insert(nonce_slots).values(intent_id=_BY_KEY)
_NEW_ATTEMPT = insert(attempts).values(intent_id=_BY_KEY)


def _columns(intent: Intent) -> dict[str, Any]:
    position, transaction = intent.position, intent.transaction
    return {
        "key": intent.key,
        "decision_id": intent.decision_id,
        "episode": intent.episode,
        "step": intent.step,
        "chain_id": position.chain_id,
        "market": position.market,
        "account": position.account,
        "signer": intent.signer,
        "to": transaction.to,
        "data": transaction.data,
        "value_wei": transaction.value_wei,
        "purpose": transaction.purpose,
        "head_number": intent.head_number,
        "deadline_block": intent.deadline_block,
        "state": intent.state,
        "urgency": int(intent.urgency),
    }


def _slot(intent: Intent, nonce: int) -> dict[str, Any]:
    return {
        "the_key": intent.key,
        "chain_id": intent.position.chain_id,
        "signer": intent.signer,
        "nonce": nonce,
        "filler": False,
    }


def _bytes(intent: Intent, attempt: Attempt) -> dict[str, Any]:
    return {"the_key": intent.key, **asdict(attempt)}


def move(connection: Connection, states: Mapping[str, State]) -> None:
    """Set states, by key. An expired intent frees its slot. Raises `IllegalTransitionError`."""
    if not states:
        return
    changes, taken_back = [], []
    for intent_id, key, before in connection.execute(_STATES, {"keys": list(states)}).all():
        after = states[key]
        check_transition(key, State(before), after)
        changes.append({"the_id": intent_id, "after": after})
        if after is State.BROADCAST and before != State.SIGNED:
            taken_back.append(intent_id)
    if not changes:
        return
    connection.execute(_MOVE, changes)
    _forget_blocks(connection, taken_back)
    _free_slots(connection, [c["the_id"] for c in changes if c["after"] is State.EXPIRED])


_STATES = select(intents.c.id, intents.c.key, intents.c.state).where(
    intents.c.key.in_(bindparam("keys", expanding=True))
)
_MOVE = update(intents).where(intents.c.id == bindparam("the_id")).values(state=bindparam("after"))


_NOWHERE = dict.fromkeys(
    ("block_number", "block_hash", "succeeded", "gas_used", "effective_gas_price_wei")
)


def _forget_blocks(connection: Connection, ids: Sequence[int]) -> None:
    """What a reorg took back is in no block."""
    if ids:
        connection.execute(
            update(attempts)
            .where(attempts.c.intent_id.in_(ids), attempts.c.block_number.is_not(None))
            .values(**_NOWHERE)
        )


def forget_rivals(connection: Connection, hashes: Sequence[str]) -> None:
    """Where one of an intent's attempts is mined, no other with its nonce is: a reorg may put the
    one in the other's place between two looks."""
    if hashes:
        connection.execute(_FORGET_RIVALS, {"hashes": list(hashes)})


_MINED_NOW, _RIVAL = attempts.alias(), attempts.alias()
_FORGET_RIVALS = (
    update(attempts)
    .where(
        attempts.c.id.in_(
            select(_RIVAL.c.id)
            .join(
                _MINED_NOW,
                and_(
                    _MINED_NOW.c.intent_id == _RIVAL.c.intent_id,
                    _MINED_NOW.c.nonce == _RIVAL.c.nonce,
                ),
            )
            .where(
                _MINED_NOW.c.hash.in_(bindparam("hashes", expanding=True)),
                _RIVAL.c.hash.not_in(bindparam("hashes", expanding=True)),
                _RIVAL.c.block_number.is_not(None),
            )
        )
    )
    .values(**_NOWHERE)
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
                l1_fee_wei=Wei(each.l1_fee_wei or 0),
            )
            for each in signed
        ),
    )
