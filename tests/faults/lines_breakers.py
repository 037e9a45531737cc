"""What stops the daemon, and whom it tells: kill file, breakers, alerts and who hears them."""

from tests.devnet.keeping.gates import Hold, carries
from tests.devnet.keeping.process import Keeper
from tests.faults.faulty import believing, down, error, gated
from tests.faults.registry import line
from tests.faults.stage import Pager, Stage
from tests.faults.storage import set_balance, with_balance

FALL, DEEPER = 2_100_00000000, 1_750_00000000
BLOCKS = 3
REVERTS = 2
HOUR_S = 3600
WALLET = 10_000 * 10**6


@line(
    "kill-file-before-the-signature",
    must="nothing is signed or sent while it exists; told; then one repayment",
)
async def _(stage: Stage) -> str:
    """the kill file appears when the plan is simulated and about to be signed"""
    one = stage.ground.guard()
    pager = await stage.pager()
    hold = Hold(carries("eth_simulateV1"), answer=True)
    stage.inject(gated(hold))
    kill_file = stage.ground.folder / "keeper.kill"
    async with stage.daemon() as running:
        await hold.reached()
        kill_file.touch()
        hold.release()
        await running.said("pass.done")
        for _ in range(BLOCKS):
            await stage.block(running)
        assert stage.ground.query("SELECT count(*) FROM attempts") == [0]
        seen = stage.untouched(one)
        # It watches on.
        (watched,) = stage.ground.query("SELECT head_number FROM observations")
        assert watched == stage.ground.block()
        await told(stage, pager, "keeper.paused", running)
        kill_file.unlink()
        await stage.settle(one, running)
    return f"{seen}, nothing signed, watched on, alert posted; then " + stage.protected(one)


@line(
    "plans-that-keep-reverting",
    must=f"after {REVERTS} the position is left alone, after a restart too, and told",
)
async def _(stage: Stage) -> str:
    """the node simulates with tokens that the wallet does not have, at every attempt"""
    one = stage.ground.guard()
    chain, account = stage.ground.chain, one.account.address
    stage.ground.environ["KEEPER_BREAKERS__QUARANTINE_AFTER_REVERTS"] = str(REVERTS)
    pager = await stage.pager()
    set_balance(chain, "USDC", account, 0)
    stage.inject(believing(with_balance(chain, "USDC", account, WALLET)))
    async with stage.daemon() as killed:
        for _ in range(2 * REVERTS + 2):
            await stage.block(killed)
        assert _failed(stage) == REVERTS
        await told(stage, pager, "position.quarantined", killed)
        await killed.kill()
    async with stage.daemon() as restarted:
        await restarted.said("pass.done")
        for _ in range(BLOCKS):
            await stage.block(restarted)
        assert _failed(stage) == REVERTS, "the restart forgot the reverts"
        # The quarantine ends after its time.
        stage.inject()
        set_balance(chain, "USDC", account, WALLET)
        chain.mine(chain.timestamp() + 7 * HOUR_S)
        await stage.settle(one, restarted)
    return f"{REVERTS} reverted, none after the restart; then " + stage.protected(
        one, reverted=REVERTS
    )


def _failed(stage: Stage) -> int:
    (one,) = stage.ground.guarded
    return sum(each["status"] != "0x1" for each in stage.ground.transactions(one))


@line(
    "signer-rate-limit", must="no further signature within the hour, after a restart neither; told"
)
async def _(stage: Stage) -> str:
    """a second fall within the hour needs more transactions than the signer may make"""
    one = stage.ground.guard(health="1.30")
    stage.ground.environ["KEEPER_BREAKERS__MAX_TRANSACTIONS_PER_HOUR"] = "3"
    pager = await stage.pager()
    chain = stage.ground.chain
    async with stage.daemon() as killed:
        await stage.block(killed)
        chain.set_price("WETH", FALL)
        await stage.settle(one, killed)
        chain.set_price("WETH", DEEPER)
        for _ in range(BLOCKS):
            await stage.block(killed)
        await told(stage, pager, "signer.rate_limit", killed)
        await killed.kill()
    async with stage.daemon() as restarted:
        await restarted.said("pass.done")
        for _ in range(BLOCKS):
            await stage.block(restarted)
        assert len(stage.ground.events(one)) == 1
        assert len(stage.ground.transactions(one)) == 2
        chain.mine(chain.timestamp() + HOUR_S)
        await stage.settle(one, restarted, executions=2)
    return "held within the hour and over a restart; then " + stage.protected(one, executions=2)


@line("notifier-down", must="it delays nothing: one repayment")
async def _(stage: Stage) -> str:
    """the receiver of alerts answers 500 to everything, while there is something to tell"""
    one = stage.ground.guard(health="1.30")
    await stage.pager(status=500)
    return await _deaf(stage, one.label)


@line("notifier-unreachable", must="it delays nothing: one repayment")
async def _(stage: Stage) -> str:
    """nobody listens where alerts are posted to, while there is something to tell"""
    one = stage.ground.guard(health="1.30")
    stage.ground.environ["KEEPER_WEBHOOK_URL"] = "http://127.0.0.1:9/hook"
    return await _deaf(stage, one.label)


async def _deaf(stage: Stage, label: str) -> str:
    (one,) = (each for each in stage.ground.guarded if each.label == label)
    stage.ground.environ["KEEPER_SERVICE__MIN_GAS_BALANCE"] = "900000000"
    stage.ground.chain.rpc.call("anvil_setBalance", one.account.address, hex(10**18))
    async with stage.daemon() as running:
        await stage.block(running)
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        assert await running.stop() == 0
    return stage.protected(one)


@line(
    "blind", must="told, /healthz says 503; when it sees again: one repayment, told that it is over"
)
async def _(stage: Stage) -> str:
    """no endpoint answers for longer than `blind_after`"""
    one = stage.ground.guard(health="1.30")
    stage.ground.environ["KEEPER_SERVICE__BLIND_AFTER"] = "2s"
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.block(running)
        stage.inject(down)
        await told(stage, pager, "keeper.blind", running)
        assert b"blind" in (await stage.pages())["healthz"]
        stage.inject()
        stage.ground.chain.set_price("WETH", FALL)
        await stage.settle(one, running)
        await told(stage, pager, "keeper.blind", running, status="resolved")
    return "alert posted and resolved; " + stage.protected(one)


@line("stalled", must="told although blocks come; then one repayment")
async def _(stage: Stage) -> str:
    """every pass fails for longer than `stall_after`, although blocks come"""
    one = stage.ground.guard(health="1.30")
    stage.ground.environ["KEEPER_SERVICE__STALL_AFTER"] = "2s"
    pager = await stage.pager()
    async with stage.daemon() as running:
        await stage.block(running)
        stage.inject(error("eth_call", "missing trie node"))
        stage.ground.chain.set_price("WETH", FALL)

        def stalled() -> bool:
            stage.ground.chain.mine()
            return ("keeper.stalled", "firing") in pager.alerts

        await stage.until(stalled, "the alert that it has stalled", running)
        stage.inject()
        await stage.settle(one, running)
    return "alert posted; " + stage.protected(one)


@line("low-gas", must="told before the gas is out")
async def _(stage: Stage) -> str:
    """the signer's ether falls below `min_gas_balance`"""
    one = stage.ground.guard(health="1.50")
    pager = await stage.pager()
    stage.ground.chain.rpc.call("anvil_setBalance", one.account.address, hex(10**14))
    async with stage.daemon() as running:
        await stage.block(running)
        await told(stage, pager, "signer.low_gas", running)
        await stage.pages()
    return "alert posted; " + stage.untouched(one)


async def told(
    stage: Stage, pager: Pager, name: str, running: Keeper, status: str = "firing"
) -> None:
    """Wait until the alert has come to its receiver."""
    await stage.until(lambda: (name, status) in pager.alerts, f"the alert {name}", running)
