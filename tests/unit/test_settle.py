"""What came of what was sent: the chain's newest answer decides, before and after a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper.chain.rpc import RpcError
from keeper.model.records import State
from tests.unit.transaction_ground import (
    ALICE,
    BOB,
    CHAIN_ID,
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
    assert ground.manager.outcome_requests() == []
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
    assert ground.manager.busy(position())  # until its result is in the journal
    ground.conclude(settled)
    assert ground.manager.idle
    assert ground.states() == {}


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
    answers = await ground.node.rpc.batch(ground.manager.outcome_requests())
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


async def test_settle__dropped_past_its_deadline__expires_and_frees_its_nonce(
    ground: Ground,
) -> None:
    (intent,) = await ground.submit(prepared(REPAY, chain_nonce=3))
    ground.node.drop(intent.attempt.hash)
    ground.node.skip(DEADLINE_BLOCKS + 1)
    (settled,) = await ground.settle()
    assert ends(settled) == [State.EXPIRED]
    assert settled.receipt is None
    assert len(ground.node.raws) == 1
    ground.conclude(settled)
    assert ground.manager.idle
    await ground.submit(prepared(REPAY, chain_nonce=3))
    assert ground.sent() == [("Repay", 3), ("Repay", 3)]
    assert ground.node.raws[0] == ground.node.raws[1]


async def test_settle__approval_mined_but_the_rest_expired__is_over(ground: Ground) -> None:
    first, second = await ground.submit()
    ground.node.mine(first.attempt.hash)
    ground.node.drop(second.attempt.hash)
    ground.node.skip(DEADLINE_BLOCKS + 1)
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED, State.EXPIRED]
    assert settled.receipt is None


async def test_settle__overdue_but_known_to_the_node__keeps_waiting(ground: Ground) -> None:
    await ground.submit(prepared(REPAY))
    ground.node.skip(10 * DEADLINE_BLOCKS)
    assert await ground.settle() == []
    assert ground.manager.busy(position())
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]


async def test_settle__answers_are_errors__nothing_is_concluded_from_them(ground: Ground) -> None:
    (intent,) = await ground.submit(prepared(REPAY))
    ground.node.drop(intent.attempt.hash)
    ground.node.skip(DEADLINE_BLOCKS + 1)
    error = RpcError("eth_getTransactionByHash", -32005, "rate limit")
    assert await ground.manager.settle(ground.node.head, [error, error]) == []
    assert len(ground.node.raws) == 1
    assert ground.manager.busy(position())


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

WATCHED = frozenset({position(), position(BOB.address)})


async def test_recover__sent_before_the_kill__is_not_sent_again(ground: Ground) -> None:
    await ground.submit()
    await ground.restarted().recover(WATCHED)
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
    await ground.restarted().recover(WATCHED)
    assert await ground.settle() == []
    assert ground.node.raws == [intent.attempt.raw for intent in intents]


async def test_recover__past_its_deadline__never_sends(ground: Ground) -> None:
    ground.node.rpc.down = True
    await ground.submit()
    ground.node.rpc.down = False
    ground.node.skip(DEADLINE_BLOCKS + 1)
    await ground.restarted().recover(WATCHED)
    (settled,) = await ground.settle()
    assert ends(settled) == [State.EXPIRED, State.EXPIRED]
    assert ground.node.raws == []


async def test_recover__without_the_key__sends_nothing_but_follows_what_was_sent(
    ground: Ground,
) -> None:
    intents = await ground.submit()
    for intent in intents:
        ground.node.drop(intent.attempt.hash)
    ground.restarted(signers=())
    await ground.manager.recover(WATCHED)
    assert await ground.settle() == []
    assert len(ground.node.raws) == 2


async def test_recover__position_not_watched_any_more__is_left_alone(ground: Ground) -> None:
    await ground.submit()
    await ground.restarted().recover(frozenset({position(BOB.address)}))
    assert ground.manager.idle
    assert len(ground.journal.open_intents(CHAIN_ID)) == 2


# -- journal and chain ---------------------------------------------------------------------------


async def test_reconcile__our_own_transactions__are_explained(ground: Ground) -> None:
    await ground.manager.reconcile(ground.node.head)
    await ground.submit()
    ground.node.mine()
    with capture_logs() as logs:
        await ground.manager.reconcile(ground.node.head)
    assert logs == []


@pytest.mark.parametrize("own", [0, 2])
async def test_reconcile__transactions_of_others__are_counted(ground: Ground, own: int) -> None:
    await ground.manager.reconcile(ground.node.head)
    if own:
        await ground.submit()
        ground.node.mine()
    ground.node.nonces[ALICE.address] = own + 3
    with capture_logs() as logs:
        await ground.manager.reconcile(ground.node.head)
        await ground.manager.reconcile(ground.node.head)
    (said,) = logs
    assert said["event"] == "reconcile.foreign_transactions"
    assert (said["signer"], said["count"]) == (ALICE.address, 3)


async def test_reconcile__node_refuses__is_said(ground: Ground) -> None:
    del ground.node.rpc.answers["eth_getTransactionCount"]
    with capture_logs() as logs:
        await ground.manager.reconcile(ground.node.head)
    assert {line["event"] for line in logs} == {"reconcile.unanswered"}


async def test_reconcile__no_signers_as_in_a_dry_run__asks_for_nothing(ground: Ground) -> None:
    await ground.restarted(signers=()).reconcile(ground.node.head)
    assert ground.node.rpc.posts == []
