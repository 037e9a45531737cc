"""What used to wait for ever, or to be done twice over: each with what frees it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.chain.fees import FeeHistory
from keeper.chain.sending import Broadcaster
from keeper.chain.signer import UnsignedTransaction, signed
from keeper.chain.transactions.remedies import Cancel, Capped, Market, Replace, Wait, remedy
from keeper.chain.transactions.slots import allot
from keeper.model.lifecycle import Purpose, State, Urgency
from keeper.model.records import Attempt, Intent
from keeper.model.units import Wei
from tests.unit.fake_node import decoded
from tests.unit.journal_values import attempt, intent
from tests.unit.transaction_ground import (
    ALICE,
    CHAIN_ID,
    GWEI,
    REPAY,
    Ground,
    position,
    prepared,
)

OTHER = position(market="other")


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    yield ground
    ground.store.close()


def reserved_urgently(ground: Ground, nonce: int, taken_from: Intent, *signed: Attempt) -> Intent:
    """An urgent plan in the journal whose process died right after."""
    of = position()
    urgent = Intent(
        decision_id=ground.decision(of),
        position=of,
        episode=ground.journal.open_episode(of, ground.node.number),
        step=0,
        signer=ALICE.address,
        transaction=REPAY,
        urgency=Urgency.URGENT,
        head_number=ground.node.number,
        deadline_block=ground.node.number + 50,
        nonce=nonce,
        state=State.SIGNED if signed else State.RESERVED,
        attempts=signed,
    )
    ground.journal.reserve([urgent], {nonce: taken_from.key})
    return urgent


async def test_mend__taken_by_a_node_that_shows_it_to_nobody__is_outbid(ground: Ground) -> None:
    ground.node.rpc.answers["eth_getTransactionByHash"] = lambda _: None
    await ground.submit(prepared(REPAY))
    await ground.settle_over(2)
    first, *again, last = ground.node.sent()
    assert {each.hash for each in again} <= {first.hash}
    assert last.call == REPAY.data
    assert last.fields["maxFeePerGas"] * 8 >= first.fields["maxFeePerGas"] * 9


async def test_mend__no_node_takes_it__its_price_does_not_rise(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    ground.node.drop(ground.node.sent()[0].hash)
    ground.node.rpc.answers["eth_sendRawTransaction"] = lambda _: "0x"
    await ground.restarted().recover()
    await ground.settle_over(4)
    assert len({each.hash for each in ground.node.sent()}) == 1


async def test_recover__killed_before_a_taken_slot_was_signed_for__former_owner_goes_on(
    ground: Ground,
) -> None:
    (routine,) = await ground.submit(prepared(REPAY, of=OTHER))
    reserved_urgently(ground, 0, routine)
    ground.node.drop(routine.attempt.hash)
    await ground.restarted().recover()
    await ground.settle_over(1)
    assert ground.node.raws == [routine.attempt.raw] * 2


async def test_recover__killed_before_the_rest_gave_way__half_a_plan_is_cancelled(
    ground: Ground,
) -> None:
    approve, repay = await ground.submit(prepared(of=OTHER))
    raw, tx_hash = await signed(
        ALICE,
        UnsignedTransaction(
            chain_id=CHAIN_ID,
            nonce=0,
            to=REPAY.to,
            data=REPAY.data,
            value_wei=Wei(0),
            gas_limit=300_000,
            max_fee_wei=Wei(9 * GWEI),
            priority_fee_wei=Wei(2 * GWEI),
        ),
    )
    bytes_of = replace(
        approve.attempt,
        hash=tx_hash,
        raw=raw,
        max_fee_wei=Wei(9 * GWEI),
        priority_fee_wei=Wei(2 * GWEI),
    )
    reserved_urgently(ground, 0, approve, bytes_of)
    await ground.restarted().recover()
    await ground.settle_over(1)
    assert decoded(repay.attempt.raw).hash not in ground.node.pool
    assert {tx.nonce: tx.call for tx in ground.node.pool.values()}[1] == b""


async def test_mend__step_before_it_lost_its_nonce__is_not_outbid_but_cancelled(
    ground: Ground,
) -> None:
    approve, repay = await ground.submit()
    ground.node.drop(approve.attempt.hash)
    ground.node.nonces[ALICE.address] = 1
    await ground.settle_over(6)
    calls = [tx.call for tx in ground.node.sent() if tx.nonce == repay.nonce]
    assert calls.count(REPAY.data) == 1
    assert calls[-1] == b""


async def test_mend__no_op_in_a_gap_waits_too__is_outbid(ground: Ground) -> None:
    """Somebody else's transaction was taken back by a reorg and is lost."""
    await ground.submit(prepared(REPAY, chain_nonce=1))
    ground.node.nonces[ALICE.address] = 0
    await ground.settle_over(5)
    fillers = [tx for tx in ground.node.sent() if tx.nonce == 0]
    assert len(fillers) > 1
    assert fillers[-1].fields["maxFeePerGas"] * 8 >= fillers[0].fields["maxFeePerGas"] * 9
    ground.node.mine()
    (settled,) = await ground.settle()
    assert [each.state for each in settled.intents] == [State.CONFIRMED]
    paid = ground.store.tallies.spent_wei_since(CHAIN_ID, ALICE.address, 0)
    assert paid == 2 * 50_000 * 2 * GWEI


async def test_mend__cancel_of_a_plan__is_sent_for_each_step_whatever_came_of_the_others(
    ground: Ground,
) -> None:
    approve, repay = await ground.submit()
    await ground.settle_over(4)
    newest = {tx.nonce: tx for tx in ground.node.pool.values()}

    def approval_is_mined_meanwhile(raw: bytes) -> None:
        if decoded(raw).nonce == approve.nonce and newest[0].hash in ground.node.pool:
            ground.node.mine(newest[0].hash)

    ground.node.before_taking = approval_is_mined_meanwhile
    await ground.settle_over(2)
    assert {tx.nonce: tx.call for tx in ground.node.pool.values()} == {repay.nonce: b""}


async def test_settle__reorg_mines_the_earlier_bytes_instead__one_of_them_is_paid_for(
    ground: Ground,
) -> None:
    await ground.submit(prepared(REPAY))
    await ground.settle_over(2)
    first, second = ground.node.sent()
    await ground.restarted(confirmations=3).recover()
    ground.node.mine(second.hash)
    await ground.settle()
    ground.node.take_back(second.hash, None)
    ground.node.pool = {first.hash: first}
    ground.node.mine(first.hash)
    await ground.settle()
    (found,) = ground.journal.open_intents(CHAIN_ID)
    assert found.state is State.MINED
    paid = ground.store.tallies.spent_wei_since(CHAIN_ID, ALICE.address, 0)
    assert paid == 50_000 * 2 * GWEI


async def test_submit__rollup__its_l1_fee_is_among_what_it_may_cost(ground: Ground) -> None:
    plan = replace(prepared(REPAY), l1_fees_wei=(Wei(7 * 10**15),))
    (sent,) = await ground.submit(plan)
    assert ground.asked[-1].most_wei == sent.attempt.gas_limit * 3 * GWEI + 7 * 10**15
    spent = ground.store.tallies.spent_wei_since(CHAIN_ID, ALICE.address, 0)
    assert spent == ground.asked[-1].most_wei
    await ground.restarted().recover()
    await ground.settle_over(2)
    assert ground.asked[-1].replaced_wei == spent
    assert (
        ground.asked[-1].most_wei
        == sent.attempt.gas_limit * (ground.node.sent()[-1].fields["maxFeePerGas"]) + 7 * 10**15
    )


def market(ground: Ground, base_fee_wei: int, budget_left_wei: int = 10**24) -> Market:
    return Market(
        head=replace(ground.node.head, base_fee_wei=Wei(base_fee_wei)),
        history=FeeHistory(),
        settings=ground.fees,
        budget_left_wei=Wei(budget_left_wei),
    )


def cancelling(urgency: Urgency) -> Intent:
    call = attempt(nonce=0, max_fee_wei=Wei(100 * GWEI), priority_fee_wei=Wei(GWEI))
    no_op = replace(call, purpose=Purpose.CANCEL, hash="0xc", gas_limit=21_000)
    return replace(intent(1, 1, nonce=0), urgency=urgency, attempts=(call, no_op))


@pytest.mark.parametrize(
    ("urgency", "worth_wei", "expected"),
    [
        (Urgency.URGENT, 10**18, Cancel),
        (Urgency.URGENT, None, Capped),
        (Urgency.ROUTINE, 10**18, Capped),
    ],
)
def test_remedy__no_op_below_the_base_fee__pays_what_a_position_in_danger_is_worth(
    ground: Ground, urgency: Urgency, worth_wei: int | None, expected: type
) -> None:
    waiting = cancelling(urgency)
    high = replace(
        waiting.attempts[1], max_fee_wei=Wei(149 * GWEI), priority_fee_wei=Wei(140 * GWEI)
    )
    found = remedy(
        replace(waiting, urgency=urgency, attempts=(*waiting.attempts[:1], high)),
        market=market(ground, 300 * GWEI),
        worth_wei=None if worth_wei is None else Wei(worth_wei),
        missing=False,
        hidden=False,
        underpriced=False,
        waited_blocks=5,
        void=True,
    )
    assert isinstance(found, expected)
    if isinstance(found, Cancel):
        assert found.fees.max_fee_wei > 300 * GWEI


@pytest.mark.parametrize("urgency", list(Urgency))
def test_allot__slot_of_a_no_op__is_the_urgent_plans(urgency: Urgency) -> None:
    waiting = cancelling(urgency)
    found = allot(1, chain_nonce=0, of_signer=[waiting], urgency=Urgency.URGENT)
    assert found.nonces == (0,)
    assert found.taken_from == {0: waiting}
    assert allot(1, chain_nonce=0, of_signer=[waiting], urgency=Urgency.ROUTINE).nonces == (1,)


def test_allot__slot_that_the_chain_has_used__is_not_taken() -> None:
    """A node may count the nonce before it tells of the receipt."""
    mined = intent(1, 1, nonce=5, state=State.BROADCAST)
    found = allot(1, chain_nonce=6, of_signer=[mined], urgency=Urgency.URGENT)
    assert (found.nonces, found.taken_from, found.left_over) == ((6,), {}, ())


def test_remedy__rollup__what_protection_is_worth_pays_the_l1_fee_first(ground: Ground) -> None:
    call = attempt(
        nonce=0,
        gas_limit=100_000,
        max_fee_wei=Wei(GWEI),
        priority_fee_wei=Wei(1),
        l1_fee_wei=Wei(10**15),
    )
    waiting = replace(intent(1, 1, nonce=0), urgency=Urgency.URGENT, attempts=(call,))
    found = [
        remedy(
            replace(waiting, urgency=Urgency.URGENT),
            market=market(ground, 2 * GWEI),
            worth_wei=Wei(worth_wei),
            missing=False,
            hidden=False,
            underpriced=False,
            waited_blocks=2,
            void=False,
        )
        for worth_wei in (10**15, 2 * 10**15)
    ]
    assert isinstance(found[0], Capped)
    assert isinstance(found[1], Replace)
    assert found[1].fees.max_fee_wei * 100_000 <= 10**15


def test_remedy__just_sent__waits(ground: Ground) -> None:
    found = remedy(
        replace(cancelling(Urgency.ROUTINE), attempts=cancelling(Urgency.ROUTINE).attempts[:1]),
        market=market(ground, GWEI),
        worth_wei=None,
        missing=False,
        hidden=False,
        underpriced=False,
        waited_blocks=0,
        void=False,
    )
    assert found == Wait()


def test_broadcaster__only_private_and_none_is_there__refuses(ground: Ground) -> None:
    with pytest.raises(ValueError, match="private"):
        Broadcaster([ground.node.rpc], private_only=True)
