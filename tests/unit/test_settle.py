"""What came of what was sent: the chain's newest answer decides, before and after a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.chain.rpc import RpcError
from keeper.chain.transactions.patience import LOOKS_TO_LOSE
from keeper.chain.transactions.seams import Vote
from keeper.model.lifecycle import State
from tests.unit.fake_node import decoded
from tests.unit.transaction_ground import (
    ALICE,
    BOB,
    DEADLINE_BLOCKS,
    REPAY,
    Ground,
    ends,
    position,
    prepared,
)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    yield ground
    ground.store.close()


async def test_settle__nothing_open__asks_for_nothing(ground: Ground) -> None:
    assert ground.manager.outcome_requests(ground.node.head) == []
    assert await ground.settle() == []
    assert ground.manager.idle


async def test_settle__waiting_in_the_pool__stays_open_and_is_not_sent_again(
    ground: Ground,
) -> None:
    await ground.submit()
    ground.node.skip(1)
    assert await ground.settle() == []
    assert len(ground.node.raws) == 2


async def test_settle__mined__is_over_at_the_first_confirmation(ground: Ground) -> None:
    await ground.submit()
    head = ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED, State.CONFIRMED]
    assert settled.receipt is not None
    assert settled.receipt.hash == settled.intents[-1].attempt.hash
    assert (settled.receipt.block_number, settled.receipt.block_hash) == (head.number, head.hash)
    assert settled.receipt.gas_used == 50_000
    assert ground.manager.pending(position())  # until its result is in the journal
    ground.conclude(settled)
    assert ground.manager.idle
    assert ground.states() == {}


@pytest.mark.parametrize(
    ("vote", "alerts"), [(Vote.AGAINST, ["receipt.disputed"]), (Vote.NOT_YET, [])]
)
async def test_settle__other_endpoints_do_not_bear_it_out__stays_open_until_they_do(
    ground: Ground, vote: Vote, alerts: list[str]
) -> None:
    await ground.submit()
    ground.node.mine(succeeded=False)
    ground.vote = vote
    assert await ground.settle_over(3) == []
    assert [alert.name for alert in ground.notifier.active] == alerts
    ground.vote = Vote.FOR
    (settled,) = await ground.settle()
    assert ends(settled) == [State.REVERTED, State.REVERTED]
    assert list(ground.notifier.active) == []


@pytest.mark.parametrize(("blocks", "over"), [(1, False), (2, False), (3, True), (9, True)])
async def test_settle__three_confirmations__waits_for_that_depth(
    ground: Ground, blocks: int, over: bool
) -> None:
    ground.restarted(confirmations=3)
    await ground.submit()
    ground.node.mine(blocks=blocks)
    assert bool(await ground.settle()) is over
    assert ground.states() == {"approve": State.MINED, "Repay": State.MINED}


async def test_settle__node_ahead_of_the_head__waits(ground: Ground) -> None:
    """Receipts are the node's newest, the head is the pass's own."""
    await ground.submit()
    head = ground.node.head
    ground.node.mine(blocks=5)
    answers = await ground.node.rpc.batch(ground.manager.outcome_requests(head))
    assert await ground.manager.settle(head, answers) == []


async def test_settle__plan_half_mined__waits_for_the_rest(ground: Ground) -> None:
    first, _ = await ground.submit()
    ground.node.mine(first.attempt.hash, blocks=3)
    assert await ground.settle() == []
    assert ground.states() == {"approve": State.MINED, "Repay": State.BROADCAST}


async def test_settle__reverted__is_over_as_such(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    ground.node.mine(succeeded=False)
    (settled,) = await ground.settle()
    assert ends(settled) == [State.REVERTED]
    assert settled.receipt is not None
    assert not settled.receipt.succeeded


async def test_settle__reorg_takes_the_receipt_back__is_open_again(ground: Ground) -> None:
    ground.restarted(confirmations=3)
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.mine(blocks=2)
    await ground.settle()
    assert ground.states() == {"Repay": State.MINED}
    ground.node.take_back(intent.attempt.hash, intent.attempt.raw)
    ground.node.skip(1)
    assert await ground.settle() == []
    assert ground.states() == {"Repay": State.BROADCAST}
    assert len(ground.node.raws) == 1  # the node still has it
    ground.node.mine(blocks=3)
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]


async def test_settle__reorg_loses_the_transaction__the_same_bytes_are_sent_again(
    ground: Ground,
) -> None:
    ground.restarted(confirmations=3)
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.mine(blocks=2)
    await ground.settle()
    ground.node.take_back(intent.attempt.hash, None)
    assert await ground.settle() == []
    assert ground.node.raws == [intent.attempt.raw] * 2


async def test_settle__dropped_before_its_deadline__the_same_bytes_are_sent_again_in_order(
    ground: Ground,
) -> None:
    first, second = await ground.submit()
    ground.node.drop(first.attempt.hash)
    ground.node.drop(second.attempt.hash)
    ground.node.skip(DEADLINE_BLOCKS)
    assert await ground.settle() == []
    assert ground.node.raws == [first.attempt.raw, second.attempt.raw] * 2


async def test_settle__dropped_past_its_deadline__is_cancelled_by_a_no_op(ground: Ground) -> None:
    (intent,) = await ground.submit(prepared(REPAY, chain_nonce=3))
    ground.node.nonces[ALICE.address] = 3
    ground.node.drop(intent.attempt.hash)
    ground.node.skip(DEADLINE_BLOCKS + 1)
    assert await ground.settle() == []
    (no_op,) = ground.node.pool.values()
    assert (no_op.nonce, no_op.to, no_op.call) == (3, ALICE.address, b"")
    assert ground.manager.busy(position())
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CANCELLED]
    assert settled.receipt is None
    ground.conclude(settled)
    assert ground.manager.idle


async def test_settle__cancel_loses_its_race__the_call_is_adopted(ground: Ground) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.skip(DEADLINE_BLOCKS + 1)
    await ground.settle()
    (no_op,) = ground.node.pool.values()
    assert no_op.call == b""
    # Another node had kept the call, and its miner was first.
    ground.node.pool = {intent.attempt.hash: decoded(intent.attempt.raw)}
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]
    assert settled.receipt is not None
    assert settled.receipt.hash == intent.attempt.hash


async def test_settle__approval_mined_but_the_rest_cancelled__is_over(ground: Ground) -> None:
    first, second = await ground.submit()
    ground.node.mine(first.attempt.hash)
    ground.node.drop(second.attempt.hash)
    ground.node.skip(DEADLINE_BLOCKS + 1)
    await ground.settle()
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED, State.CANCELLED]
    assert settled.receipt is None


async def test_settle__dropped_before_a_queued_transaction__fills_its_own_gap(
    ground: Ground,
) -> None:
    first, _ = await ground.submit()
    ground.node.drop(first.attempt.hash)
    ground.node.before_taking = _full
    ground.node.skip(1)
    assert await ground.settle() == []
    ground.node.before_taking = lambda _: None
    ground.node.skip(1)
    await ground.settle()
    assert first.attempt.hash in ground.node.pool
    assert sorted(tx.nonce for tx in ground.node.pool.values()) == [0, 1]


def _full(_: bytes) -> None:
    raise RpcError("eth_sendRawTransaction", -32000, "the mempool is full")


async def test_settle__nonce_used_by_another_transaction__is_lost_after_several_looks(
    ground: Ground,
) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.drop(intent.attempt.hash)
    ground.node.nonces[ALICE.address] = 1
    assert await ground.settle_over(LOOKS_TO_LOSE - 1) == []
    (settled,) = await ground.settle_over(1)
    assert ends(settled) == [State.NONCE_LOST]
    assert len(ground.node.raws) == 1


async def test_submit__reorg_took_back_what_was_settled__opens_it_again_instead(
    ground: Ground,
) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.mine()
    (settled,) = await ground.settle()
    ground.conclude(settled)
    ground.node.take_back(intent.attempt.hash, None)
    assert await ground.submit(prepared(REPAY)) == []
    assert ground.states() == {"Repay": State.BROADCAST}
    assert ground.manager.busy(position())
    await ground.settle()
    assert ground.node.raws == [intent.attempt.raw] * 2
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]


async def test_settle__answers_are_errors__nothing_is_concluded_from_them(ground: Ground) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.drop(intent.attempt.hash)
    ground.node.skip(DEADLINE_BLOCKS + 1)
    error = RpcError("eth_getTransactionByHash", -32005, "rate limit")
    requests = ground.manager.outcome_requests(ground.node.head)
    assert await ground.manager.settle(ground.node.head, [error] * len(requests)) == []
    await ground.manager.mend(ground.node.head, ground.stakes.get)
    assert len(ground.node.raws) == 1
    assert ground.manager.busy(position())


@pytest.mark.parametrize(
    "changed",
    [
        {"blockNumber": None, "blockHash": None},
        {"blockNumber": "latest"},
        {"blockNumber": hex(2**64)},
        {"blockHash": 5},
        {"status": None},
        {"gasUsed": "-0x1"},
        {"effectiveGasPrice": "nonsense"},
        {"transactionHash": "0x" + "0b" * 32},
    ],
    ids=lambda changed: "-".join(changed),
)
async def test_settle__what_is_no_receipt_of_ours__says_nothing(
    ground: Ground, changed: dict[str, object]
) -> None:
    """Neither that it is mined nor that it is not: nothing is concluded, and nothing sent anew."""
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.mine()
    told = ground.node.receipts[intent.attempt.hash]
    ground.node.receipts[intent.attempt.hash] = {**told, **changed}
    assert await ground.settle_over(DEADLINE_BLOCKS + 1) == []
    assert len(ground.node.raws) == 1
    ground.node.receipts[intent.attempt.hash] = told
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]


async def test_settle__nonces_that_are_no_numbers__say_nothing(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    for told in ("nonsense", "-0x1", None):
        ground.node.rpc.answers["eth_getTransactionCount"] = lambda *_, told=told: told
        assert await ground.settle_over(1) == []


async def test_settle__two_plans__are_settled_each_for_itself(ground: Ground) -> None:
    (mine,) = await ground.submit(prepared(REPAY))
    await ground.submit(prepared(REPAY, of=position(BOB.address)))
    ground.node.mine(mine.attempt.hash)
    (settled,) = await ground.settle()
    assert settled.intents[0].position == position()
    ground.conclude(settled)
    assert not ground.manager.busy(position())
    assert ground.manager.busy(position(BOB.address))


# -- after a restart -----------------------------------------------------------------------------


async def test_recover__sent_before_the_kill__is_not_sent_again(ground: Ground) -> None:
    await ground.submit()
    await ground.restarted().recover()
    assert ground.manager.busy(position())
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED, State.CONFIRMED]
    assert len(ground.node.raws) == 2


async def test_recover__killed_before_the_send__sends_the_identical_bytes(ground: Ground) -> None:
    ground.node.rpc.down = True
    intents = await ground.submit()
    ground.node.rpc.down = False
    assert ground.node.raws == []
    await ground.restarted().recover()
    assert await ground.settle() == []
    assert ground.node.raws == [intent.attempt.raw for intent in intents]


async def test_recover__past_its_deadline__sends_a_no_op_and_never_the_call(
    ground: Ground,
) -> None:
    ground.node.rpc.down = True
    await ground.submit()
    ground.node.rpc.down = False
    ground.node.skip(DEADLINE_BLOCKS + 1)
    await ground.restarted().recover()
    await ground.settle()
    assert [tx.call for tx in ground.node.sent()] == [b"", b""]
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CANCELLED, State.CANCELLED]


async def test_recover__without_the_key__sends_nothing_but_follows_what_was_sent(
    ground: Ground,
) -> None:
    intents = await ground.submit()
    for intent in intents:
        ground.node.drop(intent.attempt.hash)
    ground.restarted(signers=())
    await ground.manager.recover()
    assert await ground.settle() == []
    assert len(ground.node.raws) == 2
