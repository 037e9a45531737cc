"""A receipt by the word of several endpoints: most of those that have its block decide."""

from dataclasses import replace
from typing import Any

import pytest

from keeper.chain.pool import Endpoint, Pool
from keeper.chain.standing import Standing
from keeper.chain.transactions.seams import Vote
from keeper.chain.transactions.votes import PoolVotes
from keeper.model.records import MinedReceipt
from keeper.model.units import Wei
from tests.unit.fake_rpc import FakeRpc, block_hash, head_at, header, refused
from tests.unit.journal_values import intent

CHAIN_ID = 31_337
BLOCK = 100
RECEIPT = MinedReceipt(
    hash="0x" + "ab" * 32,
    block_number=BLOCK,
    block_hash=block_hash(BLOCK),
    succeeded=True,
    gas_used=50_000,
    effective_gas_price_wei=Wei(1),
    l1_fee_wei=Wei(0),
)
TRUE = {"blockHash": RECEIPT.block_hash, "status": "0x1", "node's own": "field"}
REVERTED = {**TRUE, "status": "0x0"}
ELSEWHERE = {**TRUE, "blockHash": block_hash(BLOCK, "f")}


def node(receipt: Any = TRUE, *, newest: int = BLOCK) -> FakeRpc:
    """Has the blocks up to one, and one word on the receipt."""
    return FakeRpc(
        {
            "eth_chainId": lambda: hex(CHAIN_ID),
            "eth_getTransactionReceipt": lambda _: receipt,
            "eth_getBlockByNumber": lambda number, _: (
                header(head_at(int(number, 16))) if int(number, 16) <= newest else None
            ),
        }
    )


def pool_of(*nodes: FakeRpc) -> Pool:
    """Their heads are known, as from their polls."""
    pool = Pool([Endpoint(each, chain_id=CHAIN_ID) for each in nodes])
    for endpoint, rpc in zip(pool.endpoints, nodes, strict=True):
        head = next(n for n in (BLOCK, 0) if rpc.answers["eth_getBlockByNumber"](hex(n), False))
        endpoint.state = replace(endpoint.state, head_number=head)
    return pool


async def vote(pool: Pool) -> Vote:
    """On a receipt that the first endpoint has told of."""
    return await PoolVotes(pool).on(RECEIPT, pool.endpoints[0])


async def test_on__only_endpoint__is_believed_unasked() -> None:
    alone = node(None)
    assert await vote(pool_of(alone)) is Vote.FOR
    assert alone.posts == []


async def test_on__others_are_dead_or_refuse__is_believed() -> None:
    dead, mute = node(), node()
    dead.down = True
    mute.answers["eth_getTransactionReceipt"] = refused("eth_getTransactionReceipt")
    assert await vote(pool_of(node(), dead, mute)) is Vote.FOR


async def test_on__all_have_it__costs_each_one_post() -> None:
    nodes = [node(), node(), node()]
    assert await vote(pool_of(*nodes)) is Vote.FOR
    assert [len(each.posts) for each in nodes] == [1, 1, 1]


@pytest.mark.parametrize("other", [None, REVERTED, ELSEWHERE, "nonsense"])
async def test_on__one_of_two_others_denies_it__the_majority_decides(other: Any) -> None:
    pool = pool_of(node(), node(), node(other))
    assert await vote(pool) is Vote.FOR
    assert pool.in_order()[0] is pool.endpoints[0]


@pytest.mark.parametrize("other", [None, REVERTED, ELSEWHERE])
async def test_on__most_deny_it__stays_open_and_the_first_is_outvoted(other: Any) -> None:
    pool = pool_of(node(), node(other), node(other))
    assert await vote(pool) is Vote.AGAINST
    assert pool.endpoints[0].state.standing is Standing.OUTVOTED


async def test_on__another_is_asked_first_by_now__the_one_that_told_of_it_is_outvoted() -> None:
    pool = pool_of(node(), node(None), node(None))
    pool.endpoints[1].showed_head(BLOCK + 1, BLOCK + 1)
    assert pool.in_order()[0] is pool.endpoints[1]
    assert await vote(pool) is Vote.AGAINST
    standings = [each.state.standing for each in pool.endpoints]
    assert standings == [Standing.OUTVOTED, Standing.ALIVE, Standing.ALIVE]


async def test_on__told_by_one_that_denies_it_when_asked__is_outvoted_all_the_same() -> None:
    pool = pool_of(node(None), node(None), node(None))
    assert await vote(pool) is Vote.AGAINST
    assert pool.endpoints[0].state.standing is Standing.OUTVOTED


async def test_on__two_deny_each_other__stays_open_and_nobody_is_outvoted() -> None:
    pool = pool_of(node(), node(None))
    assert await vote(pool) is Vote.AGAINST
    assert pool.endpoints[0].state.standing is Standing.ALIVE


async def test_on__the_other_is_a_block_behind__is_waited_for() -> None:
    """Its silence is no confirmation: the one that is read would decide alone."""
    pool = pool_of(node(), node(None, newest=BLOCK - 1))
    assert await vote(pool) is Vote.NOT_YET
    pool = pool_of(node(), node(), node(None, newest=BLOCK - 1))
    assert await vote(pool) is Vote.FOR


async def test_on__the_other_shows_the_head_but_denies_the_block__contradicts() -> None:
    pool = pool_of(node(), node(None, newest=BLOCK - 1))
    pool.endpoints[1].state = replace(pool.endpoints[1].state, head_number=BLOCK + 1)
    assert await vote(pool) is Vote.AGAINST


NONCE = 7
OURS = intent(1, 1, nonce=NONCE)


@pytest.mark.parametrize(
    ("told", "used"),
    [
        (("0x8", "0x8", "0x7"), True),
        (("0x8", "0x7", "0x7"), False),
        (("0x8", "0x7"), False),
        (("0x8", None), True),
        (("0x8", "nonsense", "-0x1", {}), True),
        ((None, ""), False),
    ],
)
async def test_is_lost__what_is_no_number__does_not_count(
    told: tuple[Any, ...], used: bool
) -> None:
    nodes = [node(None) for _ in told]
    for each, nonce in zip(nodes, told, strict=True):
        each.answers["eth_getTransactionCount"] = lambda *_, nonce=nonce: nonce
    assert await PoolVotes(pool_of(*nodes)).is_lost(OURS, None, block_number=BLOCK) is used


@pytest.mark.parametrize(
    ("receipts", "standing"),
    [
        ((None, TRUE, TRUE), Standing.OUTVOTED),
        ((None, TRUE), Standing.OUTVOTED),
        ((None, None, TRUE), Standing.ALIVE),
    ],
)
async def test_is_lost__somebody_has_a_receipt_of_ours__it_is_not(
    receipts: tuple[Any, ...], standing: Standing
) -> None:
    """What was executed by ourselves must not count as lost: its costs and its action are ours."""
    nodes = [node(receipt) for receipt in receipts]
    for each in nodes:
        each.answers["eth_getTransactionCount"] = lambda *_: hex(NONCE + 1)
    pool = pool_of(*nodes)
    reader = pool.endpoints[0]
    assert not await PoolVotes(pool).is_lost(OURS, reader, block_number=BLOCK)
    assert reader.state.standing is standing
