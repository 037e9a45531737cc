"""The states of an intent: no step but those of the table, in values and in the journal."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from keeper.model.lifecycle import (
    OPEN,
    TRANSITIONS,
    IllegalTransitionError,
    State,
    check_transition,
)
from keeper.storage.database import open_database
from keeper.storage.intents import SlotTakenError
from keeper.storage.journal import Journal
from tests.unit.journal_values import (
    ALICE,
    BOB,
    CHAIN_ID,
    attempt,
    intent,
    kept,
    opened,
    result,
    way_to,
)

SIGNED_ONES = [s for s in State if s not in {State.PLANNED, State.RESERVED, State.EXPIRED}]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    engine = open_database(tmp_path / "journal.sqlite3")
    yield Journal(engine)
    engine.dispose()


@given(st.sampled_from(State), st.sampled_from(State))
def test_check_transition__any_two_states__allows_what_the_table_has_and_staying(
    before: State, after: State
) -> None:
    if after is before or after in TRANSITIONS[before]:
        check_transition("key", before, after)
        return
    with pytest.raises(IllegalTransitionError, match=f"from {before.value} to {after.value}"):
        check_transition("key", before, after)


def test_transitions__signed_bytes__never_expire_and_are_never_unsigned() -> None:
    reachable, rest = set[State](), [State.SIGNED]
    while rest:
        state = rest.pop()
        reachable.add(state)
        rest += TRANSITIONS[state] - reachable
    assert reachable == set(SIGNED_ONES)


def test_transitions__whatever_was_in_a_block__can_be_taken_back_until_it_is_final() -> None:
    for state in (State.MINED, State.CONFIRMED, State.REVERTED, State.CANCELLED):
        assert State.BROADCAST in TRANSITIONS[state]
    assert TRANSITIONS[State.FINALIZED] == TRANSITIONS[State.EXPIRED] == frozenset()


@pytest.mark.parametrize("before", SIGNED_ONES)
def test_journal__illegal_step__is_refused_and_nothing_is_written(
    journal: Journal, before: State
) -> None:
    ids = opened(journal)
    one, other = intent(*ids, nonce=1, state=before), intent(*ids, nonce=2, step=1)
    kept(journal, [one, other])
    illegal = [each for each in State if each not in TRANSITIONS[before] | {before}]
    for after in illegal:
        states = {other.key: State.MINED, one.key: after}
        with pytest.raises(IllegalTransitionError):
            journal.move(states)
        with pytest.raises(IllegalTransitionError):
            journal.record_mined([], states)
        with pytest.raises(IllegalTransitionError):
            journal.record_result(result(ids[0]), states)
    assert journal.open_intents(CHAIN_ID)[-1].state is State.SIGNED
    assert journal.open_intents(CHAIN_ID) == [each for each in (one, other) if each.state in OPEN]


def test_journal__several_attempts__are_read_back_oldest_first(journal: Journal) -> None:
    one = intent(*opened(journal), nonce=4)
    kept(journal, [one])
    second = attempt(ALICE, 4, hash="0xsecond", head_number=102)
    journal.record_attempt(one, second)
    (found,) = journal.open_intents(CHAIN_ID)
    assert found.attempts == (one.attempt, second)
    assert found.attempt == second


def test_reserve__slot_taken_over__is_the_new_ones_and_the_old_one_is_watched(
    journal: Journal,
) -> None:
    old = intent(*opened(journal), nonce=4)
    kept(journal, [old])
    new = replace(
        intent(*opened(journal, BOB), nonce=4, position=BOB),
        signer=old.signer,
        state=State.RESERVED,
        attempts=(),
    )
    with pytest.raises(IntegrityError):
        journal.reserve([new], {})
    with pytest.raises(SlotTakenError):
        journal.reserve([new], {4: "another's key"})
    journal.reserve([new], {4: old.key})
    found = {each.key: each for each in journal.open_intents(CHAIN_ID)}
    assert found == {old.key: replace(old, displaced=True), new.key: new}
    # Given up before it was signed: the slot is the old one's again.
    journal.move({new.key: State.EXPIRED})
    assert journal.open_intents(CHAIN_ID) == [old]


def test_way_to__every_end__is_reached(journal: Journal) -> None:
    for state in SIGNED_ONES:
        assert (way_to(state) or (State.SIGNED,))[-1] is state
