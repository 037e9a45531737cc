"""Several endpoints, of which some are behind, dead, another chain's or liars."""

import json

from keeper.devnet.proxy import Answer, RecordingProxy
from keeper.devnet.recording import POLL, SEND, Json
from tests.devnet.keeping.ground import Guarded
from tests.devnet.keeping.process import Keeper
from tests.faults.faulty import (
    Fault,
    Faulty,
    Node,
    Post,
    believing,
    changed,
    down,
    only,
    result,
    slow,
    status,
    swallowed,
)
from tests.faults.lines_sending import hash_of
from tests.faults.registry import line
from tests.faults.stage import Stage
from tests.faults.storage import with_debt, with_price, with_price_as_now

FALL = 2_100_00000000
BEHIND = 50
BLOCKS = 4
RECEIPT = "eth_getTransactionReceipt"
LATER = only(POLL, slow(0.1))
"""Shows its heads late, so that the endpoint before it is the one that is read."""
ONCE = "the others are followed: one repayment"


@line("fail-over", must="the second endpoint takes over: one repayment")
async def _(stage: Stage) -> str:
    """the first of two endpoints dies while a position falls, and stays dead"""
    one = stage.ground.guard(health="1.30")
    await stage.endpoint("second")
    async with stage.daemon() as running:
        await stage.block(running)
        stage.inject(down)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line("one-live-endpoint-of-three", must="unreachable is not disagreement: one repayment")
async def _(stage: Stage) -> str:
    """two of three endpoints refuse every connection from the beginning"""
    one = stage.ground.guard(health="1.30")
    await stage.endpoint("second", down)
    await stage.endpoint("third", status(503))
    async with stage.daemon() as running:
        await stage.block(running)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line("head-frozen", must=ONCE)
async def _(stage: Stage) -> str:
    """the first endpoint's newest block stays the same while a position falls"""
    one = stage.ground.guard(health="1.30")
    await stage.endpoint("second")
    await stage.endpoint("third")
    async with stage.daemon() as running:
        await stage.block(running)
        stage.inject(behind(stage, at=stage.ground.block()))
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line("node-50-blocks-behind", must=ONCE)
async def _(stage: Stage) -> str:
    """the first endpoint is 50 blocks behind the others while a position falls"""
    one = stage.ground.guard(health="1.30")
    stage.ground.chain.rpc.call("anvil_mine", hex(BEHIND))
    await stage.endpoint("second")
    await stage.endpoint("third")
    stage.inject(behind(stage, by=BEHIND))
    async with stage.daemon() as running:
        await stage.block(running)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line("node-50-blocks-behind-sees-an-old-danger", must="nothing is sent for a danger that is over")
async def _(stage: Stage) -> str:
    """the first endpoint still shows the position below its floor, 50 blocks after it recovered"""
    one = stage.ground.guard(health="1.20")
    chain = stage.ground.chain
    chain.set_price("WETH", 2_900_00000000)
    chain.rpc.call("anvil_mine", hex(BEHIND - 1))
    await stage.endpoint("second")
    await stage.endpoint("third")
    stage.inject(behind(stage, by=BEHIND))
    async with stage.daemon() as running:
        for _ in range(BLOCKS):
            await stage.block(running)
    return stage.untouched(one)


@line(
    "wrong-chain-id-after-fail-over",
    must="nothing is ever sent to it; one repayment by the first",
)
async def _(stage: Stage) -> str:
    """the first endpoint dies, and the second has meanwhile become another chain's"""
    one = stage.ground.guard(health="1.30")
    second = await stage.endpoint("second")
    async with stage.daemon() as running:
        await stage.block(running)
        faults(second, result("eth_chainId", lambda *_: "0x1"))
        stage.inject(down)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.asked(running, 1, of=second)
        await stage.asked(running, 1)
        seen = stage.untouched(one)
        stage.inject()
        await stage.settle(one, running)
    assert sends(second) == 0, f"{sends(second)} sends to another chain"
    return f"{seen} meanwhile; then " + stage.protected(one)


@line("byzantine-price", must="two of three say otherwise: nothing is sent")
async def _(stage: Stage) -> str:
    """the first of three endpoints shows every call a fallen price"""
    one = stage.ground.guard(health="1.30")
    return await _lied_to(stage, one, believing(with_price(stage.ground.chain, "WETH", FALL)))


@line("byzantine-health", must="two of three say otherwise: nothing is sent")
async def _(stage: Stage) -> str:
    """the first of three endpoints shows every call a higher debt of the account"""
    one = stage.ground.guard(health="1.30")
    return await _lied_to(
        stage, one, believing(with_debt(stage.ground.chain, one, "USDC", 16_000 * 10**6))
    )


async def _lied_to(stage: Stage, one: Guarded, lie: Fault) -> str:
    await stage.endpoint("second", LATER)
    await stage.endpoint("third", LATER)
    stage.inject(lie)
    async with stage.daemon() as running:
        for _ in range(BLOCKS):
            await stage.block(running)
        seen = stage.untouched(one)
        # The liar does not keep the honest from protecting.
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return f"{seen} for a lie; then " + stage.protected(one)


@line("byzantine-hides-a-danger", must="what the others see is acted upon: one repayment")
async def _(stage: Stage) -> str:
    """the first of three endpoints shows every call the price from before a fall"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    await stage.endpoint("second", LATER)
    await stage.endpoint("third", LATER)
    stage.inject(believing(with_price_as_now(chain, "WETH")))
    async with stage.daemon() as running:
        await stage.block(running)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line(
    "disagreement-without-majority",
    must="nothing is sent while they disagree; then one repayment",
)
async def _(stage: Stage) -> str:
    """the second of two endpoints still shows the price from before a fall"""
    one = stage.ground.guard(health="1.30")
    chain = stage.ground.chain
    second = await stage.endpoint("second", LATER)
    async with stage.daemon() as running:
        await stage.block(running)
        faults(second, LATER, believing(with_price_as_now(chain, "WETH")))
        chain.set_price("WETH", FALL)
        for _ in range(BLOCKS):
            await stage.block(running)
        seen = stage.untouched(one)
        faults(second, LATER)
        await stage.settle(one, running)
    return f"{seen} for {BLOCKS} blocks; then " + stage.protected(one)


@line("byzantine-block", must="a block that no other has is not acted upon: nothing is sent")
async def _(stage: Stage) -> str:
    """the first of three endpoints makes up a block on the newest one, in which the price has fallen"""
    one = stage.ground.guard(health="1.30")
    await stage.endpoint("second", LATER)
    await stage.endpoint("third", LATER)
    chain = stage.ground.chain
    stage.inject(making_blocks_up(), believing(with_price(chain, "WETH", FALL)))
    async with stage.daemon() as running:
        for _ in range(BLOCKS):
            await _passed(stage, running)
        seen = stage.untouched(one)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return f"{seen} for a lie; then " + stage.protected(one)


@line(
    "byzantine-heights",
    must="that puts nobody out of step: the others outvote it, and nothing is sent",
    quick=False,
)
async def _(stage: Stage) -> str:
    """the first of three endpoints tells of blocks ten further on, then of a fallen price in them"""
    one = stage.ground.guard(health="1.30")
    others = [await stage.endpoint("second"), await stage.endpoint("third")]
    chain = stage.ground.chain
    ahead = making_blocks_up(by=10)
    stage.inject(ahead)
    async with stage.daemon() as running:
        for faults in ([ahead], [ahead, believing(with_price(chain, "WETH", FALL))]):
            stage.inject(*faults)
            for _ in range(BLOCKS):
                await _passed(stage, running)
                for other in others:
                    # Its head is taken in.
                    await stage.asked(running, 2, of=other)
        seen = stage.untouched(one)
        chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return f"{seen} for a lie; then " + stage.protected(one)


async def _passed(stage: Stage, running: Keeper) -> None:
    """A block more, and a pass over whatever the daemon takes for the newest."""

    def passes() -> int:
        return sum(line.get("event") == "pass.done" for line in running.lines)

    before = passes()
    stage.ground.chain.mine()
    await stage.until(lambda: passes() > before, "a pass", running)


@line("byzantine-receipt-of-failure", must="not booked as reverted, not done again: one repayment")
async def _(stage: Stage) -> str:
    """the first of three endpoints says of everything mined that it reverted"""
    one = stage.ground.guard()
    await stage.endpoint("second", LATER)
    await stage.endpoint("third", LATER)
    stage.inject(result(RECEIPT, lambda _, true: true and {**true, "status": "0x0"}))
    async with stage.daemon() as running:
        await stage.settle(one, running)
        await stage.block(running)
    assert "reverted" not in stage.ground.query("SELECT state FROM intents")
    return stage.protected(one)


@line(
    "byzantine-receipt-of-success",
    must="not booked as done: nothing was mined; then one repayment",
)
async def _(stage: Stage) -> str:
    """the first of three endpoints shows receipts of what waits in full blocks' mempool"""
    one = stage.ground.guard()
    await stage.endpoint("second", LATER)
    await stage.endpoint("third", LATER)
    stage.inject(result(RECEIPT, lambda asked, true: true or made_up(stage, asked["params"][0])))
    async with stage.daemon() as running:
        await stage.sent(one, running)
        for _ in range(BLOCKS):
            await stage.congested(running)
            assert stage.ground.query("SELECT count(*) FROM results WHERE succeeded") == [0]
        await stage.settle(one, running)
    return f"no result for {BLOCKS} blocks; then " + stage.protected(one)


@line("byzantine-nonce", must="the others' word counts: one repayment, no nonce left out")
async def _(stage: Stage) -> str:
    """the first of three endpoints tells of the signer five more nonces than are used"""
    one = stage.ground.guard(health="1.30")
    await stage.endpoint("second", LATER)
    await stage.endpoint("third", LATER)
    stage.inject(result("eth_getTransactionCount", lambda _, told: hex(int(told, 16) + 5)))
    async with stage.daemon() as running:
        await stage.block(running)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
    return stage.protected(one)


@line(
    "one-sender-swallows",
    must="every endpoint that sends has the bytes: one repayment",
)
async def _(stage: Stage) -> str:
    """the first of two endpoints says OK to transactions and never passes them on"""
    one = stage.ground.guard()
    stage.no_deadline()
    second = await stage.endpoint("second")
    stage.inject(only(SEND, swallowed(hash_of)))
    async with stage.daemon() as running:
        await stage.settle(one, running)
    assert sends(second) > 0
    return stage.protected(one)


def faults(proxy: RecordingProxy, *chosen: Fault) -> None:
    """From now on the endpoint has these faults and no others."""
    assert isinstance(proxy.gate, Faulty)
    proxy.gate.faults = chosen


def sends(proxy: RecordingProxy) -> int:
    """POSTs with signed bytes that it was given."""
    return sum(SEND in post.methods for post in proxy.recording.posts)


def behind(stage: Stage, *, by: int = 0, at: int | None = None) -> Fault:
    """A node that has not seen the newest blocks: its head is old, and it knows no newer hash."""
    rpc = stage.ground.chain.rpc

    def newest() -> int:
        return stage.ground.block() - by if at is None else at

    def old(request: Json, response: Json) -> Json:
        params = request["params"]
        if request["method"] == POLL:
            number = newest() if params[0] == "latest" else int(params[0], 16)
            found = rpc.call(POLL, hex(number), False) if number <= newest() else None
            return {**response, "result": found}
        pinned = [p["blockHash"] for p in params if isinstance(p, dict) and "blockHash" in p]
        block = rpc.call("eth_getBlockByHash", pinned[0], False) if pinned else None
        if block is not None and int(block["number"], 16) > newest():
            unknown = {"code": -32000, "message": "header not found"}
            return {"jsonrpc": "2.0", "id": response["id"], "error": unknown}
        return response

    return changed((POLL, "eth_call", "eth_getTransactionCount", "eth_getBalance"), old)


def made_up(stage: Stage, tx_hash: str) -> Json:
    """A receipt of something that was never mined, in the newest block."""
    block = stage.ground.chain.rpc.call(POLL, "latest", False)
    return {
        "transactionHash": tx_hash,
        "blockNumber": block["number"],
        "blockHash": block["hash"],
        "status": "0x1",
        "gasUsed": hex(100_000),
        "effectiveGasPrice": hex(10**9),
        "logs": [],
    }


def making_blocks_up(by: int = 1) -> Fault:
    """A node that is always so many blocks ahead of all others; what it tells of its newest is so in
    the newest real one."""
    real: dict[str, Json] = {}

    def made_up(block: Json) -> Json:
        mark = "0xbad" + block["hash"][5:]
        real[mark] = block
        ahead = {name: hex(int(block[name], 16) + by) for name in ("number", "timestamp")}
        return {**block, **ahead, "hash": mark, "parentHash": block["hash"]}

    def renamed(request: Json) -> Json:
        text = json.dumps(request)
        for mark, block in real.items():
            text = text.replace(mark, block["hash"])
            if request["method"] == "eth_feeHistory":
                text = text.replace(hex(int(block["number"], 16) + by), block["number"])
        return dict(json.loads(text))

    async def flawed(post: Post, node: Node) -> Answer:
        answer = await node(Post(tuple(map(renamed, post.requests)), post.batch))
        parsed = json.loads(answer.body)
        responses = parsed if post.batch else [parsed]
        for request, response in zip(post.requests, responses, strict=True):
            asked = request["params"][:1]
            if request["method"] == POLL and asked == ["latest"]:
                response["result"] = made_up(response["result"])
            elif request["method"] == "eth_getBlockByHash" and asked[0] in real:
                response["result"] = made_up(real[asked[0]])
        return Answer(body=json.dumps(parsed).encode())

    return flawed
