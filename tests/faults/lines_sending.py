"""The way of a transaction from the journal into a block, and back out of it."""

from typing import Any

from eth_utils.crypto import keccak

from keeper.devnet.chain import FIRST_IN_BLOCK, GWEI
from keeper.devnet.recording import SEND
from tests.devnet.keeping.gates import Hold, carries
from tests.devnet.keeping.ground import DEADLINE_BLOCKS, Guarded
from tests.devnet.keeping.process import Keeper
from tests.faults.faulty import accepted_then_dropped, error, first, gated, only, swallowed
from tests.faults.lines_breakers import told
from tests.faults.registry import line
from tests.faults.stage import Bid, Stage

ONCE = "one repayment in the end, every nonce used once"
REPLACED_WITHIN_BLOCKS = 2
LONG_BLOCKS = 30
BASE_FEE_BLOCKS = 20
TIMES_TEN = 10.0
CEILING_GWEI = 50
ROUND_GAS = 90_000
"""For a feed's round, and too little for an approval beside it."""
RECOVERED = 2_900_00000000
"""A price of WETH at which the position is above its target."""


@line("rpc-accepts-then-drops", must="the bytes are posted once a block at most; " + ONCE)
async def _(stage: Stage) -> str:
    """the node takes each transaction and the connection breaks before it says so, twice"""
    one = stage.ground.guard()
    stage.inject(only(SEND, first(2, accepted_then_dropped)))
    async with stage.daemon() as running:
        await running.said("pass.done")
        posted = [sent for post in stage.proxy.recording.posts for sent in post.sent]
        assert posted, "nothing was sent"
        assert len(posted) == len(set(posted)), "the same bytes were posted twice in one pass"
        await stage.settle(one, running)
    return stage.protected(one)


@line("rpc-errors-but-the-transaction-mines", must=ONCE)
async def _(stage: Stage) -> str:
    """the node takes every transaction and answers "internal error" to each"""
    one = stage.ground.guard()
    stage.inject(error(SEND, "internal error", code=-32603))
    async with stage.daemon() as running:
        await stage.settle(one, running)
    return stage.protected(one)


@line("rpc-says-ok-but-never-propagates", must=ONCE)
async def _(stage: Stage) -> str:
    """the node answers with the hash and forgets the transaction, for the first four sends"""
    stage.no_deadline()
    one = stage.ground.guard()
    stage.inject(only(SEND, first(4, swallowed(hash_of))))
    async with stage.daemon() as running:
        await stage.settle(one, running)
    return stage.protected(one)


@line("nonce-used-from-outside-before-the-send", must=ONCE)
async def _(stage: Stage) -> str:
    """the owner's own transaction takes the nonce between signing and sending"""
    one = stage.ground.guard()
    hold = Hold(carries(SEND))
    stage.inject(gated(hold))
    async with stage.daemon() as running:
        await hold.reached()
        take_nonce(stage, one)
        stage.ground.chain.mine()
        hold.release()
        await stage.settle(one, running)
    return stage.protected(one)


@line("nonce-used-from-outside-in-the-mempool", must="at most one reverts; " + ONCE)
async def _(stage: Stage) -> str:
    """the owner's own transaction replaces ours in the mempool"""
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        take_nonce(stage, one)
        await stage.settle(one, running)
    # What waited behind the lost approval was in the mempool already.
    return stage.protected(one, reverted=1)


@line("nonce-gap-by-a-dropped-transaction", must=ONCE)
async def _(stage: Stage) -> str:
    """the node drops the approval while the action waits behind its nonce"""
    stage.no_deadline()
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        chain = stage.ground.chain
        lowest = min(waiting(stage, one), key=lambda each: int(each["nonce"], 16))
        chain.rpc.call("anvil_dropTransaction", lowest["hash"])
        await stage.settle(one, running)
    return stage.protected(one)


@line("mempool-emptied", must=ONCE)
async def _(stage: Stage) -> str:
    """the node restarts with an empty mempool"""
    stage.no_deadline()
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        stage.ground.chain.rpc.call("anvil_dropAllTransactions")
        await stage.settle(one, running)
    return stage.protected(one)


@line(
    "stuck-transaction",
    must=f"replaced within {REPLACED_WITHIN_BLOCKS} blocks, both caps at least 12.5 % higher",
)
async def _(stage: Stage) -> str:
    """blocks are full of transactions that pay more"""
    stage.no_deadline()
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        before = bids(stage, one)
        for _ in range(REPLACED_WITHIN_BLOCKS):
            await stage.congested(running)
        after = bids(stage, one)
        assert before.keys() <= after.keys()
        for nonce, bid in before.items():
            assert after[nonce].cap_wei * 1000 >= bid.cap_wei * 1125, f"{before} then {after}"
            assert after[nonce].tip_wei * 1000 >= bid.tip_wei * 1125, f"{before} then {after}"
        await stage.settle(one, running)
    nonce = min(before)
    raised = f"{before[nonce].cap_wei / GWEI:.2f} to {after[nonce].cap_wei / GWEI:.2f} gwei"
    return f"replaced from {raised}; " + stage.protected(one)


@line("fee-ceiling-reached", must="told; no bid is raised beyond it; then " + ONCE, quick=False)
async def _(stage: Stage) -> str:
    """blocks are full, and outbidding them would cost more than the owner's ceiling"""
    stage.no_deadline()
    one = stage.ground.guard()
    stage.ground.environ["KEEPER_FEES__MAX_FEE_GWEI"] = str(CEILING_GWEI)
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        for _ in range(LONG_BLOCKS):
            if ("fees.ceiling_reached", "firing") in pager.alerts:
                break
            await stage.congested(running)
        await told(stage, pager, "fees.ceiling_reached", running)
        before = bids(stage, one)
        for _ in range(REPLACED_WITHIN_BLOCKS + 1):
            await stage.congested(running)
        assert bids(stage, one) == before, "it was outbid beyond the ceiling"
        highest = max(bid.cap_wei for bid in before.values()) / GWEI
        assert highest <= CEILING_GWEI
        await stage.settle(one, running)
    return f"alert posted, no bid above {highest:.2f} gwei; " + stage.protected(one)


@line("nothing-mined-for-30-blocks", must="the same nonces all along; " + ONCE, quick=False)
async def _(stage: Stage) -> str:
    """for 30 blocks whatever is bid is too little: blocks are full"""
    stage.no_deadline()
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        nonces = set(bids(stage, one))
        for _ in range(LONG_BLOCKS):
            await stage.congested(running)
        assert stage.ground.events(one) == []
        # At every moment at most these two could have been mined, each once.
        assert set(bids(stage, one)) <= nonces | {max(nonces) + 1, max(nonces) + 2}
        await stage.settle(one, running)
    return stage.protected(one)


@line("base-fee-times-10-within-20-blocks", must="bids follow; " + ONCE)
async def _(stage: Stage) -> str:
    """the base fee rises by the protocol's most, to ten times its height; blocks are full at first"""
    stage.no_deadline()
    one = stage.ground.guard()
    chain = stage.ground.chain
    async with stage.daemon() as running:
        await stage.sent(one, running)
        for number in range(1, BASE_FEE_BLOCKS + 1):
            fee = round(chain.spec.base_fee_wei * TIMES_TEN ** (number / BASE_FEE_BLOCKS))
            if number <= BASE_FEE_BLOCKS // 2:
                await stage.congested(running, base_fee_wei=fee)
            else:
                await stage.block(running, base_fee_wei=fee)
        paid = stage.ground.transactions(one)
        assert stage.ground.events(one), f"not mined within {BASE_FEE_BLOCKS} blocks: {paid}"
        await stage.settle(one, running)
    return stage.protected(one)


@line(
    "deadline-passed-before-the-send", must="the old bytes never leave; a new plan: one repayment"
)
async def _(stage: Stage) -> str:
    """the daemon is killed with signed bytes in the journal and down until their deadline is past"""
    one = stage.ground.guard()
    hold = Hold(carries(SEND))
    stage.inject(gated(hold))
    async with stage.daemon() as killed:
        await hold.reached()
        await killed.kill()
    old = set(stage.ground.query("SELECT hash FROM attempts"))
    for _ in range(DEADLINE_BLOCKS + 1):
        stage.ground.chain.mine()
    stage.inject()
    async with stage.daemon() as restarted:
        await stage.settle(one, restarted)
    mined = {transaction["hash"] for transaction in stage.ground.transactions(one)}
    assert not mined & old, "bytes were sent after their deadline"
    return "other bytes than the old ones; " + stage.protected(one)


@line("confirmations-not-reached", must="no result is written before the depth that was asked for")
async def _(stage: Stage) -> str:
    """the action is mined and the chain stands still before it is deep enough"""
    stage.ground.settings["confirmations"] = 3
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        for depth in (1, 2):
            await stage.block(running)
            results = stage.ground.query("SELECT count(*) FROM results")
            assert results == [0], f"a result at depth {depth}"
        await stage.settle(one, running)
    return "no result at depth 1 and 2; then " + stage.protected(one)


@line("reorg-of-depth-1", must="on the chain that stays: one repayment")
async def _(stage: Stage) -> str:
    """the action's block is replaced by an empty one"""
    return await _reorged(stage, depth=1, confirmations=3)


@line("reorg-of-depth-3", must="on the chain that stays: one repayment")
async def _(stage: Stage) -> str:
    """the action's block and the two after it are replaced, at three confirmations"""
    return await _reorged(stage, depth=3, confirmations=4)


@line(
    "reorg-deeper-than-confirmations",
    must="what was settled is re-opened; on the chain that stays: one repayment",
)
async def _(stage: Stage) -> str:
    """the action was confirmed and its result written when its block is replaced"""
    return await _reorged(stage, depth=3, confirmations=1)


async def _reorged(stage: Stage, *, depth: int, confirmations: int) -> str:
    stage.ground.settings["confirmations"] = confirmations
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        for _ in range(depth):
            await stage.block(running)
        assert len(stage.ground.events(one)) == 1
        stage.reorg(depth)
        assert stage.ground.events(one) == []
        await stage.settle(one, running)
    return "taken back, then " + stage.protected(one)


@line(
    "cancel-that-loses-its-race",
    must="the original is booked, the no-op is not; nothing open",
)
async def _(stage: Stage) -> str:
    """the position recovers, the no-op never reaches the miners and the original is mined"""
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        sent = stage.broadcasts()
        stage.inject(swallowed(hash_of))
        await _recovers(stage, running)
        assert stage.broadcasts() > sent, "nothing was cancelled"
        for _ in range(4):
            await stage.block(running)
        await stage.settle(one, running)
    states = set(stage.ground.query("SELECT state FROM intents"))
    assert states <= {"confirmed", "finalized"}, states
    return "no-ops were sent in vain; " + stage.protected(one)


@line(
    "cancel-that-wins",
    must="no repayment: the position recovered before anything was mined",
)
async def _(stage: Stage) -> str:
    """the position recovers while its transactions are stuck"""
    one = stage.ground.guard()
    async with stage.daemon() as running:
        await stage.sent(one, running)
        await _recovers(stage, running)
        for _ in range(6):
            await stage.block(running)
    ground = stage.ground
    assert ground.events(one) == []
    assert ground.nonce(one) == ground.nonce(one, "pending")
    assert ground.open() == [], ground.open()
    return f"no repayment, {ground.nonce(one)} nonces used, nothing open"


async def _recovers(stage: Stage, running: Keeper) -> None:
    """The price recovers in a block that has no room for anything else."""
    chain = stage.ground.chain
    now = chain.timestamp() + 12
    chain.send_price("WETH", RECOVERED, now)
    await stage.congested(running, beside_gas=ROUND_GAS)


def hash_of(raw: str) -> str:
    """Of signed bytes."""
    return "0x" + keccak(hexstr=raw).hex()


def take_nonce(stage: Stage, one: Guarded) -> None:
    """Put a transaction of the owner's own into the mempool, for the lowest nonce that is free or
    at a price that replaces what waits there."""
    stage.ground.chain.rpc.call(
        "eth_sendTransaction",
        {
            "from": one.account.address,
            "to": one.account.address,
            "nonce": hex(stage.ground.nonce(one)),
            "gas": hex(21_000),
            "maxFeePerGas": hex(FIRST_IN_BLOCK.max_wei),
            "maxPriorityFeePerGas": hex(FIRST_IN_BLOCK.priority_wei),
        },
    )


def waiting(stage: Stage, one: Guarded) -> list[dict[str, Any]]:
    """The account's transactions in the node's mempool."""
    pool = stage.ground.chain.rpc.call("txpool_content")
    return [
        transaction
        for part in ("pending", "queued")
        for account, by_nonce in pool[part].items()
        if int(account, 16) == int(one.account.address, 16)
        for transaction in by_nonce.values()
    ]


def bids(stage: Stage, one: Guarded) -> dict[int, Bid]:
    """What is bid for each nonce that waits."""
    return {
        int(each["nonce"], 16): Bid(
            cap_wei=int(each["maxFeePerGas"], 16), tip_wei=int(each["maxPriorityFeePerGas"], 16)
        )
        for each in waiting(stage, one)
    }
