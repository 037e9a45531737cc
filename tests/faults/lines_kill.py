"""SIGKILL at the four places of an action where it could be done twice, or not at all."""

from keeper.devnet.recording import SEND
from tests.devnet.keeping.gates import Hold, Pass, carries, nth
from tests.faults.faulty import gated
from tests.faults.journals import locked
from tests.faults.registry import line
from tests.faults.stage import Stage

SIMULATION = "eth_simulateV1"
RECEIPT = "eth_getTransactionReceipt"
POLL = "eth_getBlockByNumber"
ONCE = "after the restart one repayment, every nonce used once, nothing open"


async def _killed(stage: Stage, hold: Hold, *, mined: bool = False) -> str:
    one = stage.ground.guard()
    stage.inject(gated(hold))
    async with stage.daemon() as killed:
        if mined:
            await stage.sent(one, killed)
            stage.ground.chain.mine()
        await hold.reached()
        await killed.kill()
    stage.journalled()
    stage.inject()
    async with stage.daemon() as restarted:
        await stage.settle(one, restarted)
    return stage.protected(one)


@line("kill-9-before-reserve", must=ONCE)
async def _(stage: Stage) -> str:
    """kill -9 when the plan is simulated and nothing of it is in the journal"""
    return await _killed(stage, Hold(carries(SIMULATION), answer=True))


@line("kill-9-after-sign", must=ONCE)
async def _(stage: Stage) -> str:
    """kill -9 when the signed bytes are in the journal and none have left"""
    return await _killed(stage, Hold(carries(SEND)))


@line("kill-9-between-two-sends", must=ONCE)
async def _(stage: Stage) -> str:
    """kill -9 when the approval is sent and the action is not"""
    return await _killed(stage, Hold(nth(2, carries(SEND))))


@line("kill-9-after-send", must=ONCE)
async def _(stage: Stage) -> str:
    """kill -9 when the node has the action and the daemon not yet its answer"""
    return await _killed(stage, Hold(nth(2, carries(SEND)), answer=True))


@line("kill-9-before-the-receipt-is-written", must=ONCE)
async def _(stage: Stage) -> str:
    """kill -9 when the action is mined and the receipt is on its way to the journal"""
    return await _killed(stage, Hold(carries(RECEIPT), answer=True), mined=True)


@line("kill-9-while-the-receipt-is-written", must=ONCE)
async def _(stage: Stage) -> str:
    """kill -9 when the receipt is read and the journal, locked by another, does not take it"""
    one = stage.ground.guard()
    hold = Hold(carries(RECEIPT), answer=True)
    stage.inject(gated(hold))
    async with stage.daemon() as killed:
        await stage.sent(one, killed)
        stage.ground.chain.mine()
        await hold.reached()
        with locked(stage.ground.journal):
            # It polls on while its store waits: after two polls it has the receipt.
            polled = Pass(nth(2, carries(POLL)))
            stage.inject(gated(polled))
            hold.release()
            await polled.seen()
            await killed.kill()
    stage.inject()
    async with stage.daemon() as restarted:
        await stage.settle(one, restarted)
    return stage.protected(one)
