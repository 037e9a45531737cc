"""The journal cannot be written to, or has lost what was written last."""

import resource
from functools import partial

from keeper.devnet.recording import SEND
from tests.devnet.keeping.gates import Hold, carries, nth
from tests.devnet.keeping.process import Keeper
from tests.faults import sabotage
from tests.faults.faulty import gated
from tests.faults.journals import kept, locked, put_back, release, reserve
from tests.faults.registry import line
from tests.faults.stage import Stage

BLOCKS = 3
FALL = 2_100_00000000
NOT_MEANWHILE = "no byte leaves meanwhile; afterwards one repayment"
NOTHING_MEANWHILE = f"{BLOCKS} blocks without a send; then "


@line("database-full", must=NOT_MEANWHILE)
async def _(stage: Stage) -> str:
    """the disk takes not one byte more (the kernel refuses every write) while a position falls"""
    one = stage.ground.guard(health="1.30")
    async with stage.daemon() as running:
        await stage.block(running)
        _, hard = resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await _writes_nothing(stage, running)
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await stage.settle(one, running)
    return NOTHING_MEANWHILE + stage.protected(one)


@line("database-read-only", must=NOT_MEANWHILE)
async def _(stage: Stage) -> str:
    """SQLite answers "attempt to write a readonly database" while a position falls"""
    one = stage.ground.guard(health="1.30")
    flag = stage.ground.folder / "read-only"
    async with stage.daemon(sabotage=partial(sabotage.read_only, flag)) as running:
        await stage.block(running)
        flag.touch()
        await _writes_nothing(stage, running)
        flag.unlink()
        await stage.settle(one, running)
    return NOTHING_MEANWHILE + stage.protected(one)


async def _writes_nothing(stage: Stage, running: Keeper) -> None:
    stage.ground.chain.set_price("WETH", FALL)
    for _ in range(BLOCKS):
        await stage.block(running)
    assert stage.broadcasts() == 0
    assert stage.ground.query("SELECT count(*) FROM attempts") == [0]


@line("database-locked", must=NOT_MEANWHILE, quick=False)
async def _(stage: Stage) -> str:
    """another process holds the journal's lock longer than SQLite waits for it"""
    one = stage.ground.guard(health="1.30")
    async with stage.daemon() as running:
        await stage.block(running)
        with locked(stage.ground.journal):
            stage.ground.chain.set_price("WETH", FALL)
            await running.said("pass.failed", block=stage.ground.block())
            assert stage.broadcasts() == 0
        await stage.settle(one, running)
    return "no send while locked; then " + stage.protected(one)


@line("nonce-taken-in-the-journal", must="no byte leaves under it; free again, one repayment")
async def _(stage: Stage) -> str:
    """another process has reserved the signer's next nonce in the journal, behind the daemon's back"""
    one = stage.ground.guard(health="1.30")
    ground = stage.ground
    async with stage.daemon() as running:
        await stage.block(running)
        reserve(ground.journal, ground.chain.chain_id, one.account.address, ground.nonce(one))
        ground.chain.set_price("WETH", FALL)
        for _ in range(BLOCKS):
            await stage.block(running)
        seen = stage.untouched(one)
        release(ground.journal)
        await stage.settle(one, running)
    return f"{seen} for {BLOCKS} blocks; then " + stage.protected(one)


@line("database-last-commit-lost-in-the-mempool", must="the same nonces: at most one can be mined")
async def _(stage: Stage) -> str:
    """the journal forgets the intents (a restored copy) while their transactions wait to be mined"""
    return await _forgotten(stage, mined=False)


@line("database-last-commit-lost-and-mined", must="one repayment: the position is healthy")
async def _(stage: Stage) -> str:
    """the journal forgets the intents (a restored copy) and their transactions are mined"""
    return await _forgotten(stage, mined=True)


async def _forgotten(stage: Stage, *, mined: bool) -> str:
    one = stage.ground.guard(health="1.30")
    copy = stage.ground.folder / "copy"
    async with stage.daemon() as killed:
        await stage.block(killed)
        # The pass is over: the journal is at rest.
        kept(stage.ground.journal, copy)
        hold = Hold(nth(2, carries(SEND)), answer=True)
        stage.inject(gated(hold))
        stage.ground.chain.set_price("WETH", FALL)
        await hold.reached()
        await killed.kill()
    put_back(stage.ground.journal, copy)
    stage.inject()
    if mined:
        stage.ground.chain.mine()
    async with stage.daemon() as restarted:
        # It has looked at what the mempool still holds.
        await restarted.said("pass.done")
        for _ in range(2 * BLOCKS):
            await stage.block(restarted)
    return stage.protected(one)
