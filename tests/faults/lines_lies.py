"""What one of several endpoints tells of the chain itself: its time, its fees, its state, its height."""

from typing import Any

from keeper.devnet.recording import POLL, Json
from tests.faults.faulty import down, error, only, result, slow
from tests.faults.lines_breakers import told
from tests.faults.lines_pool import LATER, behind
from tests.faults.registry import line
from tests.faults.stage import Stage

FALL = 2_100_00000000
MONTH_S = 30 * 86_400
FAR_BEHIND = 100
ENOUGH_POLLS = 25
"""More than those after which a node's word is believed against a socket's."""
BY_HASH = "eth_getBlockByHash"
MOST_TIP_WEI = 10 * 10**9
ETHER_PER_GAS = hex(10**15)


@line("byzantine-head-time", must="nothing is decided at a false time: one repayment", quick=False)
async def _(stage: Stage) -> str:
    """the first of three endpoints tells every block's time a month too late"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    await stage.endpoint("second", LATER)
    await stage.endpoint("third", LATER)

    def later(_: object, block: Any) -> Any:
        return block and {**block, "timestamp": hex(int(block["timestamp"], 16) + MONTH_S)}

    stage.inject(result((POLL, BY_HASH), later))
    async with stage.daemon() as running:
        await stage.block(running)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    true = int(chain.rpc.call(POLL, "latest", False)["timestamp"], 16)
    decided = stage.ground.query("SELECT timestamp FROM decisions WHERE approved")
    assert all(each <= true for each in decided), f"decided at {decided}, it is {true}"
    return stage.protected(one)


@line("byzantine-simulation", must="another is asked at the next block: one repayment", quick=False)
async def _(stage: Stage) -> str:
    """the first of three endpoints says of everything it simulates that it would revert"""
    one = stage.ground.guard(health="1.30")
    await stage.endpoint("second", LATER)
    await stage.endpoint("third", LATER)

    def reverts(_: object, blocks: Any) -> Any:
        return [
            {**block, "calls": [{**call, "status": "0x0"} for call in block["calls"]]}
            for block in blocks
        ]

    stage.inject(result("eth_simulateV1", reverts))
    async with stage.daemon() as running:
        await stage.block(running)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line("byzantine-fee-history", must="it goes on, and tips no fortune: one repayment")
async def _(stage: Stage) -> str:
    """one endpoint tells by turns of a base fee without bound and of tips of 0.001 ether per gas"""
    one = stage.ground.guard(health="1.30")
    asked = 0

    def lie(_: object, history: Any) -> Json:
        nonlocal asked
        asked += 1
        if asked % 2:
            return {**history, "reward": [[ETHER_PER_GAS] * len(history["reward"][0])]}
        return {**history, "baseFeePerGas": ["0x" + "f" * 400]}

    stage.inject(result("eth_feeHistory", lie))
    async with stage.daemon() as running:
        await stage.block(running)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    tips = [int(tip) for tip in stage.ground.query("SELECT priority_fee_wei FROM attempts")]
    assert tips
    assert max(tips) <= MOST_TIP_WEI, f"tipped {max(tips)} wei per gas"
    return f"tipped {max(tips) / 1e9:.2f} gwei at most; " + stage.protected(one)


@line(
    "pruned-state-of-the-first-of-two",
    must="the second is read while a transaction is open: one repayment, settled at once",
    quick=False,
)
async def _(stage: Stage) -> str:
    """the first endpoint loses all state once bytes are sent, and still tells receipts and fees"""
    one = stage.ground.guard(health="1.30")
    # So late that the first is the one that leads, however busy the machine is.
    await stage.endpoint("second", only(POLL, slow(0.5)))
    of_state = {"eth_call", "eth_simulateV1", "eth_getBalance", "eth_getTransactionCount"}
    async with stage.daemon() as running:
        await stage.block(running)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.sent(one, running)
        sent_at = stage.ground.block()
        await running.said("pass.done", block=sent_at)
        stage.inject(error(of_state, "header not found"))
        await stage.settle(one, running)
    blocks = stage.ground.block() - sent_at
    assert blocks == 1, f"settled after {blocks} blocks"
    return stage.protected(one)


@line(
    "leader-dies-the-other-100-blocks-behind",
    must="no old block is acted upon, and it is told that none comes; then one repayment",
    quick=False,
)
async def _(stage: Stage) -> str:
    """the first endpoint dies; the second, 100 blocks behind, shows a danger that is over"""
    one = stage.ground.guard(health="1.20")
    chain = stage.ground.chain
    chain.set_price("WETH", 2_900_00000000)
    chain.rpc.call("anvil_mine", hex(FAR_BEHIND - 2))
    stage.ground.environ["KEEPER_SERVICE__BLIND_AFTER"] = "2s"
    pager = await stage.pager()
    second = await stage.endpoint("second", behind(stage, by=FAR_BEHIND))
    async with stage.daemon() as running:
        await stage.block(running)
        stage.inject(down)
        await told(stage, pager, "keeper.blind", running)
        await stage.asked(running, ENOUGH_POLLS, of=second)
        seen = stage.untouched(one)
        stage.inject()
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return f"{seen}, alert posted; then " + stage.protected(one)
