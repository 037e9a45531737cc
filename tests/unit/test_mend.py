"""What waits is outbid, cancelled or displaced: never beside itself, always in its own nonce."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.chain.fees import (
    MOST_NO_OP_GAS,
    Ceiling,
    FeeCapReachedError,
    Fees,
    replacement,
    replaces,
)
from keeper.chain.transactions.patience import LOOKS_TO_LOSE
from keeper.chain.transactions.seams import Stake, Vote
from keeper.model.lifecycle import State, Urgency
from keeper.model.records import MinedReceipt
from keeper.model.units import Wei
from tests.unit.fake_node import CAPS, decoded
from tests.unit.transaction_ground import (
    ALICE,
    BOB,
    DEADLINE_BLOCKS,
    FINALITY_BLOCKS,
    GWEI,
    REPAY,
    Ground,
    ends,
    position,
    prepared,
)

OTHER = position(market="other")


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    yield ground
    ground.store.close()


def stake(*, healthy: bool = False, urgency: Urgency = Urgency.ROUTINE) -> Stake:
    return Stake(healthy=healthy, urgency=urgency, worth_wei=None)


async def test_mend__two_blocks_passed_it_by__is_outbid_by_an_eighth_in_its_nonce(
    ground: Ground,
) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    await ground.settle_over(1)
    assert len(ground.node.raws) == 1
    await ground.settle_over(1)
    before, after = ground.node.sent()
    assert (after.nonce, after.call) == (before.nonce, before.call)
    assert all(after.fields[cap] * 8 >= before.fields[cap] * 9 for cap in CAPS)
    # Whichever is mined is adopted: here the first, which another node had kept.
    ground.node.pool = {before.hash: before}
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]
    assert settled.receipt is not None
    assert settled.receipt.hash == intent.attempt.hash


async def test_mend__restarted__goes_on_outbidding_from_where_it_was(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    await ground.settle_over(2)
    await ground.restarted().recover()
    await ground.settle_over(2)
    caps = [tx.fields["maxFeePerGas"] for tx in ground.node.sent()]
    assert len(caps) == 3
    assert all(8 * after >= 9 * before for before, after in pairwise(caps))


async def test_mend__ceiling_reached__stays_as_it_is(ground: Ground) -> None:
    plan = replace(
        prepared(REPAY), fees=Fees(max_fee_wei=Wei(95 * GWEI), priority_fee_wei=Wei(GWEI))
    )
    await ground.submit(plan)
    await ground.settle_over(4)
    assert len(ground.node.raws) == 1


async def test_mend__several_are_outbid_at_one_head__stay_within_the_days_gas_together(
    ground: Ground, tmp_path: Path
) -> None:
    """The market wants 0.0096 ether for each; 0.014 are left for the two."""
    per_day_wei = 14 * 10**15
    ground.bounded_by(per_day_wei, tmp_path / "keeper.kill")
    both = [position(), OTHER]
    for of in both:
        ground.stakes[of] = replace(stake(urgency=Urgency.URGENT), worth_wei=Wei(10**18))
        await ground.submit(prepared(REPAY, of=of))
    ground.node.base_fee_wei = Wei(8 * GWEI)
    await ground.settle_over(2)
    dearest = {
        tx.nonce: tx.fields["gas"] * tx.fields["maxFeePerGas"] for tx in ground.node.pool.values()
    }
    assert per_day_wei * 99 // 100 < sum(dearest.values()) <= per_day_wei


async def test_mend__the_day_is_overspent__what_costs_less_than_it_replaces_is_signed(
    ground: Ground, tmp_path: Path
) -> None:
    await ground.submit(prepared(REPAY))
    ground.bounded_by(1, tmp_path / "keeper.kill")
    await ground.manager.recover()
    ground.stakes[position()] = stake(healthy=True)
    await ground.settle_over(1)
    assert [tx.call for tx in ground.node.pool.values()] == [b""]


async def test_mend__healthy_again__is_cancelled_before_its_deadline(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    ground.stakes[position()] = stake(healthy=True)
    await ground.settle_over(1)
    assert [tx.call for tx in ground.node.pool.values()] == [b""]
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CANCELLED]


async def test_mend__objection__signs_and_sends_nothing_more(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    ground.objection = "the kill file exists"
    await ground.settle_over(DEADLINE_BLOCKS + 2)
    assert len(ground.node.raws) == 1
    assert ground.asked[-1].replaces
    assert ground.asked[-1].again
    assert ground.asked[-1].transaction.purpose == "cancel"


async def test_submit__objection__expires_and_frees_its_nonces(ground: Ground) -> None:
    ground.objection = "the kill file exists"
    assert await ground.submit() == []
    assert ground.node.raws == []
    (settled,) = await ground.settle()
    assert ends(settled) == [State.EXPIRED, State.EXPIRED]
    ground.conclude(settled)
    ground.objection = None
    await ground.submit()
    assert ground.sent() == [("approve", 0), ("Repay", 1)]


async def test_submit__urgent__takes_the_nonces_of_a_routine_plan(ground: Ground) -> None:
    await ground.submit(prepared(of=OTHER))
    urgent = prepared(REPAY)
    urgent = replace(urgent, proposal=replace(urgent.proposal, urgency=Urgency.URGENT))
    await ground.submit(urgent)
    # Its only transaction comes first; what is left of the other plan is cancelled.
    waiting = sorted(ground.node.pool.values(), key=lambda tx: tx.nonce)
    assert [(tx.nonce, tx.call) for tx in waiting] == [(0, REPAY.data), (1, b"")]
    ground.node.mine()
    settled = {each.intents[0].position: each for each in await ground.settle()}
    assert ends(settled[position()]) == [State.CONFIRMED]
    assert ends(settled[OTHER]) == [State.SKIPPED, State.CANCELLED]


async def test_submit__urgent_loses_the_race__the_routine_one_is_adopted(ground: Ground) -> None:
    (routine,) = await ground.submit(prepared(REPAY, of=OTHER))
    urgent = prepared(REPAY)
    urgent = replace(urgent, proposal=replace(urgent.proposal, urgency=Urgency.URGENT))
    await ground.submit(urgent)
    ground.node.pool = {routine.attempt.hash: decoded(routine.attempt.raw)}
    await ground.restarted().recover()
    ground.node.mine()
    settled = {each.intents[0].position: each for each in await ground.settle()}
    assert ends(settled[OTHER]) == [State.CONFIRMED]
    assert ends(settled[position()]) == [State.NONCE_LOST]


async def test_settle__confirmed__is_watched_until_it_is_final(ground: Ground) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.mine()
    (settled,) = await ground.settle()
    ground.conclude(settled)
    ground.node.take_back(intent.attempt.hash, None)
    await ground.settle_over(2)
    assert ground.states() == {"Repay": State.BROADCAST}
    assert ground.node.raws == [intent.attempt.raw] * 2
    ground.node.mine()
    (settled,) = await ground.settle()
    ground.conclude(settled)
    await ground.settle_over(1)
    ground.node.skip(FINALITY_BLOCKS)
    await ground.settle()
    assert ground.journal.intents_in_reach(position().chain_id, FINALITY_BLOCKS) == []
    assert ground.manager.outcome_requests(ground.node.head) == []


@pytest.mark.parametrize("killed", [False, True])
async def test_settle__revert_taken_back_and_mined_otherwise__is_told_anew(
    ground: Ground, *, killed: bool
) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.mine(succeeded=False)
    (settled,) = await ground.settle()
    assert ends(settled) == [State.REVERTED]
    ground.conclude(settled)
    if killed:
        await ground.restarted().recover()
    # The reorg and the block that mines it again fall between two looks.
    ground.node.take_back(intent.attempt.hash, intent.attempt.raw)
    ground.node.mine()
    assert await ground.settle() == []
    (settled,) = await ground.settle_over(1)
    assert ends(settled) == [State.CONFIRMED]


async def test_settle__cancel_taken_back__the_call_that_is_mined_after_all_is_adopted(
    ground: Ground,
) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.drop(intent.attempt.hash)
    ground.node.skip(DEADLINE_BLOCKS + 1)
    await ground.settle()
    (no_op,) = ground.node.pool
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CANCELLED]
    ground.conclude(settled)
    ground.node.take_back(no_op, None)
    await ground.settle()
    assert ground.states() == {"Repay": State.BROADCAST}
    ground.node.pool = {intent.attempt.hash: decoded(intent.attempt.raw)}
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]


async def test_settle__reverted__is_looked_at_until_it_is_final(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    ground.node.mine(succeeded=False)
    (settled,) = await ground.settle()
    ground.conclude(settled)
    assert ground.manager.outcome_requests(ground.node.head) != []
    ground.node.skip(FINALITY_BLOCKS)
    await ground.settle()
    assert ground.manager.outcome_requests(ground.node.head) == []


async def test_settle__lower_nonce_is_nobodys__a_no_op_fills_it(ground: Ground) -> None:
    """Somebody else's transaction was taken back by a reorg and is lost."""
    await ground.submit(prepared(REPAY, chain_nonce=1))
    ground.node.nonces[ALICE.address] = 0
    await ground.settle_over(4)
    assert (0, b"") in [(tx.nonce, tx.call) for tx in ground.node.pool.values()]
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]


async def test_settle__two_lower_nonces_are_nobodys__both_are_filled_and_outbid_once_each(
    ground: Ground,
) -> None:
    await ground.submit(prepared(REPAY, chain_nonce=2))
    ground.node.nonces[ALICE.address] = 0
    await ground.settle_over(DEADLINE_BLOCKS)
    fillers = {tx.nonce: tx.call for tx in ground.node.pool.values() if tx.nonce < 2}
    assert fillers == {0: b"", 1: b""}
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]


amounts = st.integers(0, 10**14)


@given(amounts, amounts, amounts, amounts, st.integers(0, 10**15))
def test_replacement__any_fees__is_one_that_nodes_take_within_the_ceiling(
    old_max: int, old_priority: int, market_max: int, market_priority: int, most: int
) -> None:
    old = Fees(max_fee_wei=Wei(old_max), priority_fee_wei=Wei(min(old_max, old_priority)))
    market = Fees(
        max_fee_wei=Wei(market_max), priority_fee_wei=Wei(min(market_max, market_priority))
    )
    ceiling = Ceiling(max_fee_wei=Wei(most), bound="max_fee_gwei")
    try:
        new = replacement(old=old, market=market, ceiling=ceiling)
    except FeeCapReachedError:
        assert most < max(-(-old_max * 110 // 100), old_max + 1)
        return
    assert replaces(new, old)
    assert new.priority_fee_wei <= new.max_fee_wei <= most
    assert 10 * new.max_fee_wei >= 11 * old.max_fee_wei


async def test_settle__nonce_told_too_low__opens_what_was_ours_again_and_fills_nothing(
    ground: Ground,
) -> None:
    await ground.submit()
    ground.node.mine()
    (settled,) = await ground.settle()
    ground.conclude(settled)
    await ground.submit(prepared(REPAY, chain_nonce=2))
    ground.node.nonces[ALICE.address] = 1
    assert await ground.settle_over(3) == []
    ground.node.nonces[ALICE.address] = 2
    (again,) = await ground.settle_over(1)
    assert ends(again) == [State.CONFIRMED]
    assert {tx.nonce for tx in ground.node.sent()[2:]} == {2}


async def test_settle__reorg_frees_a_nonce_that_was_lost__our_own_bytes_take_it(
    ground: Ground,
) -> None:
    (lost,) = await ground.submit(prepared(REPAY))
    ground.node.drop(lost.attempt.hash)
    ground.node.nonces[ALICE.address] = 1
    (settled,) = await ground.settle_over(LOOKS_TO_LOSE)
    assert ends(settled) == [State.NONCE_LOST]
    ground.conclude(settled)
    await ground.submit(prepared(REPAY, chain_nonce=1))
    ground.node.nonces[ALICE.address] = 0
    await ground.settle_over(4)
    assert sorted(tx.nonce for tx in ground.node.pool.values()) == [0, 1]
    assert lost.attempt.hash in ground.node.pool or b"" in {
        tx.call for tx in ground.node.pool.values()
    }


async def test_submit__takes_a_slot_over__the_dearer_of_the_two_counts(
    ground: Ground, tmp_path: Path
) -> None:
    routine = prepared(REPAY, of=OTHER)
    urgent = prepared(REPAY)
    urgent = replace(urgent, proposal=replace(urgent.proposal, urgency=Urgency.URGENT))
    most_wei = routine.gas_limits[0] * routine.fees.max_fee_wei
    ground.bounded_by(most_wei * 3 // 2, tmp_path / "keeper.kill")
    await ground.submit(routine)
    (intent,) = await ground.submit(urgent)
    assert (intent.nonce, intent.state) == (0, State.BROADCAST)
    # Of that nonce one alone is paid for, and yet it is another call than the one it replaces.
    assert (ground.asked[-1].replaces, ground.asked[-1].again) == (True, False)


async def test_recovering__left_by_an_earlier_run__until_it_is_mended(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    manager = ground.restarted()
    await manager.recover()
    assert manager.recovering(ALICE.address)
    assert not manager.recovering(BOB.address)
    await ground.settle_over(1)
    assert not manager.recovering(ALICE.address)


async def test_recovering__what_was_left_is_over_at_the_first_look__holds_nothing_up(
    ground: Ground,
) -> None:
    await ground.submit(prepared(REPAY))
    ground.node.mine()
    manager = ground.restarted()
    await manager.recover()
    answers = await ground.node.rpc.batch(manager.outcome_requests(ground.node.head))
    (settled,) = await manager.settle(ground.node.head, answers)
    ground.conclude(settled)
    assert not manager.recovering(ALICE.address)


async def test_settle__submitted_while_votes_are_counted__both_go_on(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    ground.node.mine()
    counted = asyncio.Event()

    async def slow(_: MinedReceipt, __: object) -> Vote:
        await counted.wait()
        return Vote.FOR

    ground.on = slow  # type: ignore[method-assign, assignment]  # the test's own votes
    settling = asyncio.create_task(ground.settle())
    await asyncio.sleep(0)
    await ground.submit(prepared(REPAY, of=position(BOB.address)))
    counted.set()
    (settled,) = await settling
    assert ends(settled) == [State.CONFIRMED]


async def test_mend__node_tells_absurd_gas_for_a_no_op__signs_for_what_one_can_take(
    ground: Ground,
) -> None:
    await ground.submit(prepared(REPAY))
    ground.node.rpc.answers["eth_estimateGas"] = lambda _: hex(2**255)
    ground.stakes[position()] = stake(healthy=True)
    await ground.settle_over(1)
    (no_op,) = ground.node.pool.values()
    assert (no_op.call, no_op.fields["gas"]) == (b"", MOST_NO_OP_GAS)
