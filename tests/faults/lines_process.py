"""What happens to the process itself: its clock, its loop, its jobs, its signals, a second one."""

import os
import signal
from functools import partial

from keeper.devnet.recording import SEND
from tests.devnet.keeping.gates import Hold, carries, nth
from tests.devnet.keeping.ground import Ground
from tests.faults import sabotage
from tests.faults.faulty import gated
from tests.faults.lines_breakers import told
from tests.faults.registry import line
from tests.faults.stage import Stage

FALL = 2_100_00000000
BLOCKED_S = 5.0
HUNG_S = 3.0
"""Instead of the daemon's own patience with a job, which is three quarters of a minute."""


@line("clock-one-hour-ahead", must="the fall is met as if nothing were: one repayment")
async def _(stage: Stage) -> str:
    """the machine's clock jumps one hour ahead while the daemon runs"""
    return await _jumped(stage, 3600)


@line("clock-one-hour-behind", must="the fall is met as if nothing were: one repayment")
async def _(stage: Stage) -> str:
    """the machine's clock jumps one hour back while the daemon runs"""
    return await _jumped(stage, -3600)


async def _jumped(stage: Stage, shift_s: float) -> str:
    one = stage.ground.guard(health="1.30")
    async with stage.daemon(sabotage=partial(sabotage.clock, shift_s)) as running:
        await stage.block(running)
        os.kill(running.pid, sabotage.SWITCH)
        await stage.block(running)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        assert await running.stop() == 0
    return stage.protected(one)


@line(
    "event-loop-blocked-5-s",
    must="told; what fell meanwhile is protected right after: one repayment",
    quick=False,
)
async def _(stage: Stage) -> str:
    """the event loop stands still for 5 s while a position falls"""
    one = stage.ground.guard(health="1.30")
    pager = await stage.pager()
    async with stage.daemon(sabotage=partial(sabotage.blocked, BLOCKED_S)) as running:
        await stage.block(running)
        os.kill(running.pid, sabotage.SWITCH)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        await told(stage, pager, "keeper.loop_blocked", running)
    return "alert posted; " + stage.protected(one)


@line("job-that-hangs", must="passes go on and a fall is met; told when the job is broken off")
async def _(stage: Stage) -> str:
    """every housekeeping job starts and never ends"""
    one = stage.ground.guard(health="1.30")
    pager = await stage.pager()
    async with stage.daemon(sabotage=partial(sabotage.hanging_jobs, HUNG_S)) as running:
        await running.said("housekeeping.late")
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        await told(stage, pager, "housekeeping.failed", running)
        assert await running.stop() == 0
    return "alert posted; " + stage.protected(one)


@line("sigterm-during-sign", must="sends what it planned, awaits the receipts, ends with 0")
async def _(stage: Stage) -> str:
    """SIGTERM when the plan is simulated and about to be signed"""
    return await _stopped(stage, Hold(carries("eth_simulateV1"), answer=True))


@line("sigterm-during-send", must="sends what it planned, awaits the receipts, ends with 0")
async def _(stage: Stage) -> str:
    """SIGTERM while the action's bytes are on their way"""
    return await _stopped(stage, Hold(nth(2, carries(SEND))))


async def _stopped(stage: Stage, hold: Hold) -> str:
    one = stage.ground.guard()
    stage.inject(gated(hold))
    async with stage.daemon() as stopped:
        await hold.reached()
        os.kill(stopped.pid, signal.SIGTERM)
        await stopped.said("keeper.stopping")
        hold.release()
        await stopped.said("pass.done")
        stage.ground.chain.mine()
        assert await stopped.ended() == 0
        assert stopped.all("plan.concluded", succeeded=True)
    return "exit code 0; " + stage.protected(one)


@line("sigterm-during-wait", must="waits for the receipts, then ends with 0: one repayment")
async def _(stage: Stage) -> str:
    """SIGTERM while the sent transactions wait to be mined, which they are then"""
    one = stage.ground.guard()
    async with stage.daemon() as stopped:
        await stage.sent(one, stopped)
        os.kill(stopped.pid, signal.SIGTERM)
        await stopped.said("keeper.stopping")
        stage.ground.chain.mine()
        assert await stopped.ended() == 0
        assert stopped.all("plan.concluded", succeeded=True)
    return "exit code 0; " + stage.protected(one)


@line("sigterm-twice-during-wait", must="ends with 0 although nothing is mined; a restart finishes")
async def _(stage: Stage) -> str:
    """SIGTERM, and again at once, while the sent transactions wait to be mined"""
    one = stage.ground.guard()
    async with stage.daemon() as stopped:
        await stage.sent(one, stopped)
        os.kill(stopped.pid, signal.SIGTERM)
        await stopped.said("keeper.stopping")
        assert await stopped.stop() == 0
        assert not stopped.all("plan.concluded")
    async with stage.daemon() as restarted:
        await stage.settle(one, restarted)
    return "exit code 0; " + stage.protected(one)


@line("two-daemons-one-signer", must="the second refuses to start, whatever its journal")
async def _(stage: Stage) -> str:
    """a second daemon, with a journal of its own, is started for the same signer"""
    one = stage.ground.guard(health="1.30")
    folder = stage.ground.folder / "second"
    folder.mkdir()
    second = Ground(
        chain=stage.ground.chain,
        folder=folder,
        guarded=stage.ground.guarded,
        environ=stage.ground.environ,
    )
    async with stage.daemon() as running:
        await stage.block(running)
        del stage.ground.environ["KEEPER_SERVICE__HTTP_PORT"]
        async with second.keeper(stage.proxy, "--live", ws=False) as refused:
            code = await refused.ended()
        assert code not in {0, -signal.SIGKILL}
        stage.ground.chain.set_price("WETH", FALL)
        while not stage.ground.events(one) or stage.ground.open():
            await stage.block(running)
    return f"the second ended with {code}; the first " + stage.protected(one)
