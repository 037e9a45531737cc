"""What was decided, signed, sent and seen is kept: once, all of it, exactly."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError

from keeper.model.lifecycle import State
from keeper.model.liquidity import Hop, Route
from keeper.model.records import (
    ApprovedAction,
    MinedReceipt,
)
from keeper.model.units import Address, Amount, Token, Wad, Wei
from keeper.model.values import (
    AddCollateral,
    AddMargin,
    Deleverage,
    MoveMargin,
    Repay,
    Transaction,
)
from keeper.storage.database import open_database
from keeper.storage.journal import Journal
from keeper.storage.schema import attempts, intents, nonce_slots, observations, results
from tests.unit.fake_rpc import address
from tests.unit.journal_values import (
    ALICE,
    BOB,
    CHAIN_ID,
    DAY_S,
    DOLLAR,
    ELSEWHERE,
    HUGE,
    NOW,
    decision,
    intent,
    kept,
    observation,
    opened,
    result,
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path / "journal.sqlite3")
    yield engine
    engine.dispose()


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine)


def rows(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


# -- decisions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AddCollateral, Repay, AddMargin, MoveMargin])
def test_record_decision__approved__gives_the_action_back(journal: Journal, kind: Any) -> None:
    recorded = decision(
        kind=kind.__name__, amount_raw=HUGE, moved_usd8=HUGE, predicted_health=Wad(HUGE)
    )
    assert journal.approved(journal.record_decision(recorded)) == ApprovedAction(
        action=kind(position=ALICE, amount=Amount(raw=HUGE, token=DOLLAR)),
        predicted_health=Wad(HUGE),
    )


def test_record_decision__unwind__gives_its_route_and_what_is_sold_back(journal: Journal) -> None:
    ether = Token(address=address("e7"), symbol="ETHER", decimals=18)
    hop = Hop(pool=address("f0"), sells=ether.address, buys=DOLLAR.address, fee_ppm=500)
    route = Route(venue="uniswap_v3", hops=(hop,))
    swap = {"sold_raw": str(HUGE), "sold_token": asdict(ether), "route": asdict(route)}
    recorded = decision(kind="Deleverage", document={"swap": swap})
    assert journal.approved(journal.record_decision(recorded)).action == Deleverage(
        position=ALICE,
        amount=Amount(raw=5, token=DOLLAR),
        sold=Amount(raw=HUGE, token=ether),
        route=route,
    )


def test_record_decision__debt_repaid_whole__predicts_no_health(journal: Journal) -> None:
    kept = journal.approved(journal.record_decision(decision(predicted_health=None)))
    assert kept.predicted_health is None


def test_record_decision__refusal__needs_no_action(journal: Journal) -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("kind", "amount_raw", "token", "moved_usd8", "predicted_health")
    )
    first = journal.record_decision(decision(ALICE, approved=False, reason="paused", **nothing))
    assert journal.record_decision(decision()) == first + 1


# -- episodes ------------------------------------------------------------------------------------


def test_open_episode__open_already__is_the_same_one(journal: Journal) -> None:
    first = journal.open_episode(ALICE, 100)
    assert journal.open_episode(ALICE, 101) == first
    assert journal.open_episode(BOB, 101) != first
    assert journal.open_episodes(CHAIN_ID) == {ALICE, BOB}


def test_close_episode__then_opened__is_a_new_one(journal: Journal) -> None:
    first = journal.open_episode(ALICE, 100)
    journal.open_episode(BOB, 100)
    journal.close_episode(ALICE, 110)
    assert journal.open_episodes(CHAIN_ID) == {BOB}
    assert journal.open_episode(ALICE, 120) != first


def test_open_episodes__of_another_chain__are_not_ours(journal: Journal) -> None:
    journal.open_episode(ELSEWHERE, 100)
    assert journal.open_episodes(CHAIN_ID) == set()


# -- intents -------------------------------------------------------------------------------------


def test_record_intents__read_back__is_exactly_what_was_signed(journal: Journal) -> None:
    approve = Transaction(
        to=address("d4"), data=bytes(range(256)), value_wei=Wei(HUGE), purpose="approve"
    )
    batch = [
        intent(*opened(journal), nonce=4, transaction=approve),
        intent(*opened(journal), nonce=5, step=1),
    ]
    kept(journal, batch)
    assert journal.open_intents(CHAIN_ID) == batch
    assert journal.open_intents(1) == []
    assert journal.next_step(batch[0].episode) == 2


@pytest.mark.parametrize(
    "taken",
    [
        {"nonce": 4, "step": 9},  # the nonce slot
        {"nonce": 9, "step": 0},  # the idempotency key
    ],
)
def test_record_intents__one_cannot_be_kept__none_is(
    journal: Journal, engine: Engine, taken: dict[str, int]
) -> None:
    ids = opened(journal)
    kept(journal, [intent(*ids, nonce=4)])
    with pytest.raises(IntegrityError):
        kept(journal, [intent(*ids, nonce=7, step=7), intent(*ids, **taken)])
    assert [rows(engine, table) for table in (intents, nonce_slots, attempts)] == [1, 1, 1]
    assert journal.next_step(ids[1]) == 1


def test_record_intents__same_nonce_of_another_signer_or_chain__is_free(journal: Journal) -> None:
    for position in (ALICE, BOB, ELSEWHERE):
        ids = opened(journal, position)
        kept(journal, [intent(*ids, nonce=4, position=position)])
    assert journal.last_nonce(CHAIN_ID, ALICE.account) == 4


def test_record_intents__unknown_decision_or_episode__is_refused(journal: Journal) -> None:
    decision_id, episode = opened(journal)
    for wrong in (intent(decision_id + 1, episode), intent(decision_id, episode + 1)):
        with pytest.raises(IntegrityError):
            kept(journal, [wrong])


def test_move__some_intents__leaves_the_others(journal: Journal) -> None:
    ids = opened(journal)
    batch = [intent(*ids, nonce=nonce, step=nonce) for nonce in range(3)]
    kept(journal, batch)
    journal.move(dict.fromkeys([batch[0].key, batch[2].key], State.MINED))
    assert [each.state for each in journal.open_intents(CHAIN_ID)] == [
        State.MINED,
        State.SIGNED,
        State.MINED,
    ]


@pytest.mark.parametrize(
    ("state", "last"), [(State.CONFIRMED, 4), (State.REVERTED, 4), (State.CANCELLED, 4)]
)
def test_record_result__intent_over__is_not_open_and_keeps_its_nonce(
    journal: Journal, state: State, last: int
) -> None:
    ids = opened(journal)
    only = intent(*ids, nonce=4, state=State.MINED)
    kept(journal, [only])
    journal.record_result(result(ids[0]), {only.key: state})
    assert journal.open_intents(CHAIN_ID) == []
    assert journal.last_nonce(CHAIN_ID, ALICE.account) == last


def test_move__never_signed_and_expired__frees_its_nonce(journal: Journal) -> None:
    only = replace(intent(*opened(journal), nonce=4, state=State.RESERVED), attempts=())
    journal.reserve([only], {})
    journal.move({only.key: State.EXPIRED})
    assert journal.open_intents(CHAIN_ID) == []
    assert journal.last_nonce(CHAIN_ID, ALICE.account) is None


def test_record_result__settled_again_after_a_reorg__the_last_counts(
    journal: Journal, engine: Engine
) -> None:
    decision_id, _ = opened(journal)
    journal.record_result(result(decision_id, succeeded=False, block_number=102), {})
    journal.record_result(
        result(decision_id, block_number=104, differences=("debt is 5, predicted 4",)), {}
    )
    with engine.connect() as connection:
        (row,) = connection.execute(select(results)).all()
    assert (row.succeeded, row.block_number, row.health_after) == (True, 104, HUGE)
    assert row.differences == ["debt is 5, predicted 4"]


def test_record_result__plan_that_satisfied_the_forecast__disarms_it_at_once(
    journal: Journal,
) -> None:
    journal.observe([observation(), observation(BOB)])
    decision_id, _ = opened(journal)
    journal.record_result(result(decision_id), {}, satisfied=ALICE)
    assert journal.disarmed(CHAIN_ID) == {ALICE}


def test_settled_intents__from_a_nonce_on__are_those_the_journal_holds_for_mined(
    journal: Journal,
) -> None:
    ids = opened(journal)
    ends = [State.CONFIRMED, State.REVERTED, State.CANCELLED, State.EXPIRED, State.MINED]
    batch = [intent(*ids, nonce=n, step=n, state=state) for n, state in enumerate(ends)]
    others = opened(journal, BOB)
    kept(journal, [*batch, intent(*others, position=BOB, nonce=2, state=State.CONFIRMED)])
    assert journal.settled_intents(CHAIN_ID, ALICE.account, 1) == batch[1:3]
    assert journal.settled_intents(CHAIN_ID, ALICE.account, 3) == []


def test_annotate__position_seen_before__changes_its_note_alone(
    journal: Journal, engine: Engine
) -> None:
    journal.observe([observation(), observation(BOB)])
    journal.annotate(ALICE, "NOT PROTECTED")
    journal.annotate(ELSEWHERE, "never seen")
    with engine.connect() as connection:
        rows = connection.execute(select(observations).order_by(observations.c.account)).all()
    assert [(row.note, row.health) for row in rows] == [("NOT PROTECTED", HUGE), ("watched", HUGE)]


def test_record_receipts__mined_again_elsewhere__is_overwritten(
    journal: Journal, engine: Engine
) -> None:
    only = intent(*opened(journal))
    kept(journal, [only])
    receipt = MinedReceipt(
        hash=only.attempt.hash,
        block_number=101,
        block_hash="0xa",
        succeeded=True,
        gas_used=1,
        effective_gas_price_wei=Wei(HUGE),
    )
    journal.record_mined([replace(receipt, block_number=103, block_hash="0xb"), receipt], {})
    with engine.connect() as connection:
        (row,) = connection.execute(select(attempts)).all()
    assert (row.block_number, row.block_hash) == (101, "0xa")
    assert row.effective_gas_price_wei == HUGE


# -- limits per day ------------------------------------------------------------------------------


def test_moved_usd8_since__states__count_what_is_open_or_done(journal: Journal) -> None:
    ends = {
        State.SIGNED: 1,
        State.BROADCAST: 2,
        State.MINED: 4,
        State.CONFIRMED: 8,
        State.REVERTED: 16,
        State.EXPIRED: 32,
        State.CANCELLED: 64,
        State.NONCE_LOST: 128,
        State.SKIPPED: 256,
        State.FINALIZED: 512,
    }
    for nonce, (state, moved) in enumerate(ends.items()):
        ids = opened(journal, moved_usd8=moved)
        kept(journal, [intent(*ids, nonce=nonce, step=nonce, state=state)])
    assert journal.moved_usd8_since(ALICE, NOW - DAY_S) == 1 + 2 + 4 + 8 + 512


def test_moved_usd8_since__approval_and_action__count_once(journal: Journal) -> None:
    ids = opened(journal, moved_usd8=HUGE)
    kept(journal, [intent(*ids, nonce=0), intent(*ids, nonce=1, step=1)])
    assert journal.moved_usd8_since(ALICE, NOW - DAY_S) == HUGE


def test_moved_usd8_since__approval_done_but_action_reverted__counts_nothing(
    journal: Journal,
) -> None:
    ids = opened(journal)
    approve, repay = intent(*ids, nonce=0), intent(*ids, nonce=1, step=1)
    kept(journal, [approve, repay])
    journal.move(dict.fromkeys([approve.key, repay.key], State.MINED))
    journal.move({approve.key: State.CONFIRMED, repay.key: State.REVERTED})
    assert journal.moved_usd8_since(ALICE, NOW - DAY_S) == 0


def test_moved_usd8_since__dry_runs_refusals_others_and_yesterday__count_nothing(
    journal: Journal,
) -> None:
    journal.record_decision(decision())  # a dry run: approved, nothing signed
    journal.record_decision(decision(approved=False))
    for nonce, position in enumerate((BOB, ELSEWHERE)):
        ids = opened(journal, position)
        kept(journal, [intent(*ids, nonce=nonce, position=position)])
    old = opened(journal, timestamp=NOW - DAY_S)
    kept(journal, [intent(*old, nonce=9)])
    assert journal.moved_usd8_since(ALICE, NOW - DAY_S) == 0
    assert journal.moved_usd8_since(ALICE, NOW - DAY_S - 1) == 7


# -- observations --------------------------------------------------------------------------------


def test_observe__seen_again__replaces_what_was_known(journal: Journal, engine: Engine) -> None:
    journal.observe([observation(), observation(BOB)])
    journal.observe([observation(health=None, armed=False, note="idle: no debt")])
    journal.observe([])
    with engine.connect() as connection:
        alice, bob = connection.execute(select(observations).order_by(observations.c.account)).all()
    assert (alice.health, alice.armed, alice.note) == (None, False, "idle: no debt")
    assert (bob.health, bob.collateral_usd8, bob.armed) == (HUGE, HUGE, True)


def test_disarmed__last_observations__are_remembered_per_chain(journal: Journal) -> None:
    journal.observe(
        [observation(armed=False), observation(BOB), observation(ELSEWHERE, armed=False)]
    )
    assert journal.disarmed(CHAIN_ID) == {ALICE}
    journal.observe([observation(armed=True)])
    assert journal.disarmed(CHAIN_ID) == set()


def test_intent_key__position_episode_purpose_and_step__tell_executions_apart() -> None:
    first = intent(1, 2, step=3)
    assert first.key == f"{CHAIN_ID}:aave:{ALICE.account}:2:Repay:3"
    assert isinstance(ALICE.account, str)
    assert first.key != intent(1, 2, step=4).key
    assert Address(first.signer) == ALICE.account
