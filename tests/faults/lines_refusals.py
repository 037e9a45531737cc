"""Actions that the protocol, the token or the wallet does not allow, before or after the send."""

from keeper.devnet.chain import VARIABLE_RATE
from keeper.devnet.recording import SEND
from keeper.devnet.views import Repaid, Supplied
from tests.devnet.keeping.gates import Hold, carries, nth
from tests.devnet.keeping.ground import Guarded
from tests.devnet.keeping.process import Keeper
from tests.faults.faulty import gated
from tests.faults.lines_breakers import told
from tests.faults.registry import line
from tests.faults.stage import Stage
from tests.faults.storage import revoke, set_balance

BLOCKS = 3
ETHER = 10**18
WALLET = 10_000 * 10**6


@line(
    "reserve-paused",
    must="told; nothing sent, the refusal journalled with its reason; acts when unpaused",
)
async def _(stage: Stage) -> str:
    """the pool's reserve of the debt is paused"""
    one = stage.ground.guard()
    _configure(stage, "setReservePause", "USDC", True)
    pager = await stage.pager()
    async with stage.daemon() as running:
        seen = await _refused(stage, one, running, "paused")
        await told(stage, pager, "reserve.paused", running)
        _configure(stage, "setReservePause", "USDC", False)
        await stage.settle(one, running)
    return seen + stage.protected(one)


@line("supply-cap-hit", must="nothing sent, the refusal journalled; acts when the cap is raised")
async def _(stage: Stage) -> str:
    """the only help is more collateral, and its supply cap is reached"""
    one = stage.ground.guard(wallet={"WETH": 10})
    _configure(stage, "setSupplyCap", "WETH", 1)
    async with stage.daemon() as running:
        seen = await _refused(stage, one, running, "cap")
        _configure(stage, "setSupplyCap", "WETH", 0)
        await stage.settle(one, running)
    (event,) = stage.ground.events(one)
    assert isinstance(event, Supplied)
    return seen + stage.protected(one)


@line("repay-more-than-debt", must="the pool takes what is owed and no more; nothing left open")
async def _(stage: Stage) -> str:
    """somebody repays nearly all of the debt between the simulation and the block"""
    one = stage.ground.guard()
    hold = Hold(carries(SEND))
    stage.inject(gated(hold))
    async with stage.daemon() as running:
        await hold.reached()
        left = _repay_for(stage, one, all_but=100 * 10**6)
        hold.release()
        for _ in range(2 * BLOCKS):
            await stage.block(running)
    ours = [event for event in stage.ground.events(one) if isinstance(event, Repaid)][1:]
    assert sum(event.amount_raw for event in ours) <= left * 1001 // 1000
    assert stage.ground.open() == [], stage.ground.open()
    assert stage.ground.nonce(one) == stage.ground.nonce(one, "pending")
    taken = sum(event.amount_raw for event in ours) / 1e6
    return f"{left / 1e6:.0f} USDC were left, {taken:.2f} were taken, nothing open"


@line(
    "simulated-fine-reverts-on-chain",
    must="booked as reverted; tried again as a new step: one repayment",
)
async def _(stage: Stage) -> str:
    """the wallet is emptied between the simulation and the block, and filled again later"""
    one = stage.ground.guard()
    hold = Hold(nth(2, carries(SEND)))
    stage.inject(gated(hold))
    chain, account = stage.ground.chain, one.account.address
    async with stage.daemon() as running:
        await hold.reached()
        set_balance(chain, "USDC", account, 0)
        hold.release()
        await stage.sent(one, running)
        await stage.block(running)
        set_balance(chain, "USDC", account, WALLET)
        await stage.settle(one, running)
    states = stage.ground.query("SELECT state FROM intents ORDER BY id")
    assert "reverted" in states, states
    return "booked as reverted; then " + stage.protected(one, reverted=1)


@line("gas-exhausted", must="nothing sent, the refusal journalled; acts when there is ether again")
async def _(stage: Stage) -> str:
    """the signer has no ether left for gas"""
    one = stage.ground.guard()
    chain = stage.ground.chain
    chain.rpc.call("anvil_setBalance", one.account.address, hex(10**9))
    async with stage.daemon() as running:
        seen = await _refused(stage, one, running, "ether")
        chain.rpc.call("anvil_setBalance", one.account.address, hex(ETHER))
        await stage.settle(one, running)
    return seen + stage.protected(one)


@line(
    "reserve-exhausted",
    must="nothing sent, the refusal journalled; acts when there are tokens again",
)
async def _(stage: Stage) -> str:
    """the wallet that protects the position is empty"""
    one = stage.ground.guard(wallet={})
    async with stage.daemon() as running:
        seen = await _refused(stage, one, running, "the reserve holds no USDC")
        set_balance(stage.ground.chain, "USDC", one.account.address, WALLET)
        await stage.settle(one, running)
    return seen + stage.protected(one)


@line(
    "approval-revoked", must="the failed step is booked as reverted and tried again: one repayment"
)
async def _(stage: Stage) -> str:
    """the allowance is gone when the action is mined, although its approval was mined before it"""
    one = stage.ground.guard()
    hold = Hold(nth(2, carries(SEND)))
    stage.inject(gated(hold))
    ground = stage.ground
    async with stage.daemon() as running:
        await hold.reached()
        # The approval alone.
        ground.chain.mine()
        revoke(ground.chain, "USDC", one.account.address)
        hold.release()
        await stage.sent(one, running, 1)
        await stage.settle(one, running)
    states = ground.query("SELECT state FROM intents ORDER BY id")
    assert "reverted" in states, states
    return "booked as reverted; then " + stage.protected(one, reverted=1)


async def _refused(stage: Stage, one: Guarded, running: Keeper, reason: str) -> str:
    """Some blocks in which nothing is sent, and the journal's reason for it."""
    for _ in range(BLOCKS):
        await stage.block(running)
    stage.untouched(one)
    reasons = {decision.reason for decision in stage.ground.decisions() if not decision.approved}
    assert any(reason in each for each in reasons), reasons
    return f'refused with "{reason}"; then '


def _configure(stage: Stage, function: str, symbol: str, setting: object) -> None:
    chain = stage.ground.chain
    chain.transact(
        chain.account("deployer").address,
        chain.contracts.aave.pool_configurator,
        function,
        chain.contracts.tokens[symbol].address,
        setting,
    )


def _repay_for(stage: Stage, one: Guarded, *, all_but: int) -> int:
    """Let somebody else repay the account's debt but so many raw USDC."""
    chain, account = stage.ground.chain, one.account.address
    friend, pool = chain.account("friend").address, chain.contracts.aave.pool
    usdc = chain.contracts.tokens["USDC"]
    data = chain.contracts.aave.reserve_data_provider
    owed = chain.read(data, "getUserReserveData", usdc.address, account)[2]
    chain.mint("USDC", friend, owed)
    chain.transact(friend, usdc, "approve", pool.address, owed)
    chain.transact(friend, pool, "repay", usdc.address, owed - all_but, VARIABLE_RATE, account)
    return all_but
