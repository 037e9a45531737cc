"""What the protocol's price feed says, and what the chain's sequencer was."""

from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.toolchain import install
from tests.devnet.support import create
from tests.faults.lines_breakers import told
from tests.faults.registry import line
from tests.faults.stage import Stage

FALL, DEEPER = 2_100_00000000, 1_750_00000000
GRACE_S = 3600
DAY_S = 24 * 3600
BLOCKS = 3


@line(
    "oracle-stale", must="told; the protocol liquidates on it, so it is acted upon: one repayment"
)
async def _(stage: Stage) -> str:
    """the feed has not been written for two days while a position is below its floor"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.block(running)
        chain.set_price("WETH", FALL)
        chain.mine(chain.timestamp() + 2 * DAY_S)
        await stage.settle(one, running)
        await told(stage, pager, "oracle.stale", running)
    return "alert posted; " + stage.protected(one)


@line("oracle-zero", must="told; nothing sent while the protocol has no price; then one repayment")
async def _(stage: Stage) -> str:
    """the feed answers 0"""
    return await _unusable(stage, 0)


@line(
    "oracle-negative", must="told; nothing sent while the protocol has no price; then one repayment"
)
async def _(stage: Stage) -> str:
    """the feed answers a negative number"""
    return await _unusable(stage, -FALL)


async def _unusable(stage: Stage, answer: int) -> str:
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.block(running)
        chain.set_price("WETH", answer)
        for _ in range(BLOCKS):
            await stage.block(running)
        await told(stage, pager, "oracle.not_positive", running)
        seen = stage.untouched(one)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        await told(stage, pager, "oracle.not_positive", running, status="resolved")
    return f"{seen} for {BLOCKS} blocks, alert posted; then " + stage.protected(one)


@line("oracle-times-10", must="told; health is ten times as high: nothing sent; then one repayment")
async def _(stage: Stage) -> str:
    """the feed jumps to ten times its answer, and from there to a fall"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.block(running)
        chain.set_price("WETH", 10 * FALL)
        for _ in range(BLOCKS):
            await stage.block(running)
        await told(stage, pager, "oracle.jumped", running)
        seen = stage.untouched(one)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return f"{seen} for {BLOCKS} blocks, alert posted; then " + stage.protected(one)


@line(
    "sequencer-down-then-grace",
    must="told of both; what the pool allows is done: a repayment in each",
)
async def _(stage: Stage) -> str:
    """the rollup's sequencer is down, then up within its grace period; a position falls in both"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    admin = chain.account("deployer").address
    sequencer = _sequencer(stage)
    stage.ground.settings |= {"sequencer_feed": sequencer.address, "sequencer_grace": "1h"}
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.block(running)
        chain.transact(admin, sequencer, "setAnswer", True, 0)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        await told(stage, pager, "sequencer.down", running)
        chain.transact(admin, sequencer, "setAnswer", False, chain.timestamp())
        chain.set_price("WETH", DEEPER)
        await stage.settle(one, running, executions=2)
        await told(stage, pager, "sequencer.grace", running)
    return "both alerts posted; " + stage.protected(one, executions=2)


def _sequencer(stage: Stage) -> Contract:
    """Let the pool watch over a sequencer, as on a rollup."""
    chain = stage.ground.chain
    admin, provider = (
        chain.account("deployer").address,
        chain.contracts.aave.pool_addresses_provider,
    )
    artifacts = Artifacts(node_modules=install(lambda _: None).node_modules)
    sequencer = create(chain, artifacts.aave("mocks/oracle/SequencerOracle"), admin)
    sentinel = create(
        chain,
        artifacts.aave("protocol/configuration/PriceOracleSentinel"),
        *(provider.address, sequencer.address, GRACE_S),
    )
    chain.transact(admin, provider, "setPriceOracleSentinel", sentinel.address)
    return sequencer
