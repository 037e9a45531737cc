"""How the daemon hears of new blocks, and what it is told about the newest."""

import os
import signal

from keeper.devnet.recording import POLL, Json
from keeper.model.units import WAD
from tests.devnet.keeping.gates import Hold, carries
from tests.devnet.keeping.process import Keeper
from tests.faults.faulty import gated, result
from tests.faults.registry import line
from tests.faults.stage import Stage

FALL = 2_100_00000000
QUEUED = 1_000
BEHIND = 50
BLOCKS = 4


@line("websocket-half-open", must="the poll overtakes it: one repayment")
async def _(stage: Stage) -> str:
    """the WebSocket stands and says nothing more while a position falls"""
    one = stage.ground.guard(health="1.30")
    async with stage.daemon(ws=True) as running:
        await _heard(stage, running)
        stage.gate.mute = True
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line("websocket-closed", must="the poll overtakes it: one repayment")
async def _(stage: Stage) -> str:
    """the WebSocket is closed whenever it would say something, while a position falls"""
    one = stage.ground.guard(health="1.30")
    async with stage.daemon(ws=True) as running:
        await _heard(stage, running)
        stage.gate.cut = True
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line(
    "websocket-1000-heads-queued",
    must="the decision is made on the newest head: one repayment",
    quick=False,
)
async def _(stage: Stage) -> str:
    """the process is stopped while 1,000 heads are announced, the last with a fallen price"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    async with stage.daemon(ws=True) as running:
        await _heard(stage, running)
        os.kill(running.pid, signal.SIGSTOP)
        try:
            chain.rpc.call("anvil_mine", hex(QUEUED))
            chain.set_price("WETH", FALL)
        finally:
            os.kill(running.pid, signal.SIGCONT)
        newest = stage.ground.block()
        await stage.sent(one, running)
        await stage.settle(one, running)
    heads = [decision.block for decision in stage.ground.decisions() if decision.approved]
    assert heads == [newest], f"decided on {heads}, the newest was {newest}"
    return f"decided on the newest of {QUEUED + 1}; " + stage.protected(one)


@line("heads-backward", must="the newest head seen stays; one repayment")
async def _(stage: Stage) -> str:
    """every other poll answers with a block three behind the last"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    polls = 0

    def lie(_: object, header: Json) -> Json:
        nonlocal polls
        polls += 1
        if polls % 2:
            return header
        old: Json = chain.rpc.call(POLL, hex(max(int(header["number"], 16) - 3, 0)), False)
        return old

    stage.inject(result(POLL, lie))
    async with stage.daemon() as running:
        await stage.block(running)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    blocks = stage.ground.query("SELECT head_number FROM decisions WHERE approved ORDER BY id")
    assert blocks == sorted(blocks)
    return stage.protected(one)


@line("block-arrives-during-the-read", must="each decision is about the block that it names")
async def _(stage: Stage) -> str:
    """a block with a fallen price is mined while the reads of the one before it are on their way"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    hold = Hold(carries("eth_call"))
    async with stage.daemon() as running:
        await stage.block(running)
        stage.inject(gated(hold))
        chain.mine()
        await hold.reached()
        chain.set_price("WETH", FALL)
        hold.release()
        await stage.settle(one, running)
    approved = [decision for decision in stage.ground.decisions() if decision.approved]
    for decision in approved:
        at_head = stage.ground.health(one, hex(decision.block)) / WAD
        # A plan counts some minutes of interest ahead.
        assert abs(decision.health_before - at_head) < 1e-4, f"at {decision.block}: {at_head}"
    return f"{len(approved)} decision, the chain's own health at each; " + stage.protected(one)


async def _heard(stage: Stage, running: Keeper) -> None:
    """Wait until the socket has announced a head."""
    while not stage.proxy.recording.heads:
        await stage.block(running)
