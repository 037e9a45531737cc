"""What the protocol's price feed says, and what the chain's sequencer was."""

from functools import partial

from eth_utils.crypto import keccak

from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.toolchain import install
from tests.devnet.support import create, uptime_feed, write_round
from tests.faults import sabotage
from tests.faults.lines_breakers import told
from tests.faults.registry import line
from tests.faults.stage import Stage

FALL, DEEPER = 2_100_00000000, 1_750_00000000
GRACE_S = 3600
DAY_S = 24 * 3600
BLOCKS = 3
UP, DOWN = 0, 1
REFRESH_S = 0.5
"""Instead of the daemon's own ten minutes."""
IMPLEMENTATION_SLOT = hex(int.from_bytes(keccak(text="eip1967.proxy.implementation"), "big") - 1)
ELSEWHERE = "0x" + "e1" * 20
EIGHT, SIX = (number.to_bytes(32, "big").hex() for number in (8, 6))


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
    uptime = uptime_feed(chain)
    write_round(chain, uptime, UP, chain.timestamp() - DAY_S)
    stage.ground.settings |= {"sequencer_feed": uptime.address, "sequencer_grace": "1h"}
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.block(running)
        chain.transact(admin, sequencer, "setAnswer", True, 0)
        write_round(chain, uptime, DOWN, chain.timestamp())
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        await told(stage, pager, "sequencer.down", running)
        chain.transact(admin, sequencer, "setAnswer", False, chain.timestamp())
        write_round(chain, uptime, UP, chain.timestamp())
        chain.set_price("WETH", DEEPER)
        await stage.settle(one, running, executions=2)
        await told(stage, pager, "sequencer.grace", running)
    return "both alerts posted; " + stage.protected(one, executions=2)


@line("oracle-decimals-changed", must="told; a payment goes on: one repayment")
async def _(stage: Stage) -> str:
    """the feed's contract is exchanged for one that says 6 decimals instead of 8"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    feed = chain.contracts.feeds["WETH"].address
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.block(running)
        code = chain.rpc.call("eth_getCode", feed, "latest")
        assert code.count(EIGHT) == 1, "the decimals are not in the code once"
        chain.rpc.call("anvil_setCode", feed, code.replace(EIGHT, SIX))
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        await told(stage, pager, "oracle.decimals_changed", running)
    return "alert posted; " + stage.protected(one)


@line("proxy-code-changed", must="told; a payment goes on: one repayment")
async def _(stage: Stage) -> str:
    """the pool's proxy is pointed to another implementation while the daemon runs"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    pool = chain.contracts.aave.pool.address
    pager = await stage.pager()
    async with stage.daemon(sabotage=partial(sabotage.refreshed, REFRESH_S)) as running:
        await stage.block(running)
        word = chain.rpc.call("eth_getStorageAt", pool, IMPLEMENTATION_SLOT, "latest")
        code = chain.rpc.call("eth_getCode", "0x" + word[-40:], "latest")
        chain.rpc.call("anvil_setCode", ELSEWHERE, code)
        there = "0x" + ELSEWHERE.removeprefix("0x").rjust(64, "0")
        chain.rpc.call("anvil_setStorageAt", pool, IMPLEMENTATION_SLOT, there)

        def noticed() -> bool:
            chain.mine()
            return ("contract.changed", "firing") in pager.alerts

        await stage.until(noticed, "the alert contract.changed", running)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return "alert posted; " + stage.protected(one)


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
