"""What the daemon does for positions on the real contracts, judged by the chain."""

import json

import pytest

from keeper.devnet.chain import BLOCK_SECONDS, TransactionFailedError
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.views import Repaid, Supplied
from tests.devnet.keeping.ground import Ground, Guarded, target_of
from tests.devnet.keeping.strict_token import make_strict

DAY_S = 24 * 3600


async def test_daemon__tokens_of_the_collateral_only__adds_it_exactly(ground: Ground) -> None:
    one = ground.guard(wallet={"WETH": 10})
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="AddCollateral")
        await ground.until_concluded(running)
    (event,) = ground.events(one)
    assert isinstance(event, Supplied)
    assert target_of(one) <= ground.health(one) <= target_of(one) * 101 // 100
    assert ground.allowance(one, "WETH") == 0
    assert ground.flaws() == []


async def test_daemon__allowance_too_small_on_a_strict_token__is_reset_first(
    ground: Ground,
) -> None:
    make_strict(ground.chain, "DAI")
    one = ground.guard(debt="DAI")
    ground.approve(one, "DAI", 5)
    with pytest.raises(TransactionFailedError, match="not zero yet"):
        ground.approve(one, "DAI", 7)
    ground.first_block = ground.block() + 1
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
    (decision,) = ground.decisions()
    assert [tx.purpose for tx in decision.transactions] == ["reset_approval", "approve", "Repay"]
    assert len(ground.transactions(one)) == 3
    assert len(ground.events(one)) == 1
    assert ground.allowance(one, "DAI") == 0
    assert ground.flaws() == []


async def test_daemon__some_positions_cannot_be_helped__the_other_is(ground: Ground) -> None:
    contracts = ground.chain.contracts
    listed = ground.chain.account("listed").address
    ground.guard("idle", health="0")
    ground.guard("listed", debt="DAI")
    ground.guard("paused", debt="WBTC", wallet={"WBTC": 1})
    main = ground.guard("main")
    make_strict(ground.chain, "DAI", listed=listed)
    ground.chain.transact(
        ground.chain.account("deployer").address,
        contracts.aave.pool_configurator,
        "setReservePause",
        contracts.tokens["WBTC"].address,
        True,
    )
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
        assert len(ground.events(main)) == 1
        status = json.loads((await ground.ask("status", "--json")).output)
        notes = {one["label"]: one["note"] for one in status["positions"]}
        assert notes["idle"] == "idle: no debt"
        assert notes["listed"].startswith("refused: Repay would revert")
        assert "the pool's WBTC reserve is paused" in notes["paused"]
        assert all(ground.nonce(one) == ground.nonce(one, "pending") for one in ground.guarded)
        # Said once each, not at every block.
        assert len(running.all("plan.refused")) == 2


async def test_daemon__wallet_too_small__does_what_it_can_and_says_why_not_more(
    ground: Ground,
) -> None:
    one = ground.guard(wallet={"USDC": 500})
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        ground.chain.mine()
        refused = await running.said("plan.refused")
        await ground.pass_block(running)
        await ground.pass_block(running)
    (event,) = ground.events(one)
    assert isinstance(event, Repaid)
    assert event.amount_raw == 500 * 10**6
    assert "the reserve holds no USDC" in refused["reason"]
    assert "the reserve holds no USDC" in (await ground.ask("status", "--json")).output
    explained = await ground.ask("explain", str(refused["decision"]))
    assert "the reserve holds no USDC" in " ".join(explained.output.split())
    assert [decision.outcome for decision in ground.decisions()] == ["done", "refused"]


async def test_daemon__limit_per_day__ends_and_comes_back_a_day_later(ground: Ground) -> None:
    one = ground.guard(max_per_action_usd=300, max_per_day_usd=500)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        for _ in range(2):
            await running.said("transaction.sent", purpose="Repay")
            ground.chain.mine()
            await running.said("plan.concluded", succeeded=True)
        refused = await running.said("plan.refused")
        assert "the limit of 500 USD per day is used up" in refused["reason"]
        assert _repaid_usd(ground) <= 500
        ground.chain.mine(ground.chain.timestamp() + DAY_S + BLOCK_SECONDS)
        await running.said("transaction.sent", purpose="Repay")
        ground.chain.mine()
        await running.said("plan.concluded", succeeded=True)
    assert len(ground.events(one)) == 3
    assert 500 < _repaid_usd(ground) <= 800


async def test_daemon__probability_stays_above_its_trigger__forecast_acts_once(
    ground: Ground,
) -> None:
    # At the volatility of the last month, 80 % a year, a fall by the quarter or the third that
    # liquidates within 30 days has a probability of 10 to 30 %.
    one = ground.guard(
        health="1.30", wallet={"WETH": 10}, floor=1.05, trigger_probability=0.02, horizon="30d"
    )
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy:
        async with ground.keeper(proxy, "--live") as running:
            await running.said("plan.approved", cause="forecast")
            await running.said("transaction.sent", purpose="AddCollateral")
            await ground.until_concluded(running)
            assert await running.stop() == 0
        ground.chain.set_price("WETH", 2_250_00000000)
        # A restart does not forget it.
        async with ground.keeper(proxy, "--live") as running:
            await ground.pass_block(running)
            assert ground.health(one) < target_of(one)
            assert await _probability(ground) > 0.02
            assert len(ground.events(one)) == 1
            # Calm for a moment, and in danger again: a danger of its own.
            _lend(ground, one, "supply", 100)
            await ground.pass_block(running)
            assert await _probability(ground) < 0.02
            _lend(ground, one, "withdraw", 100)
            await running.said("plan.approved", cause="forecast")


async def test_daemon__any_block__asks_the_node_at_most_twice_before_the_broadcast(
    ground: Ground,
) -> None:
    one = ground.guard(health="1.30")
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("pass.done")
        while not proxy.recording.heads:
            await ground.pass_block(running)
        await ground.pass_block(running)
        assert proxy.recording.reads_per_block() == 1
        ground.chain.set_price("WETH", 2_100_00000000)
        await running.said("transaction.sent", purpose="Repay")
        assert proxy.recording.reads_per_block() == 2
        await ground.until_concluded(running)
        await ground.pass_block(running)
        assert proxy.recording.reads_per_block() == 2
    assert len(ground.events(one)) == 1


def _repaid_usd(ground: Ground) -> float:
    price = ground.price("USDC")
    events = [event for one in ground.guarded for event in ground.events(one)]
    return sum(
        event.amount_raw / 1e6 * price / 1e8 for event in events if isinstance(event, Repaid)
    )


async def _probability(ground: Ground) -> float:
    status = json.loads((await ground.ask("status", "--json")).output)
    return float(status["positions"][0]["breach_probability"])


def _lend(ground: Ground, one: Guarded, function: str, whole: int) -> None:
    """The owner supplies or withdraws WETH by itself."""
    contracts, account = ground.chain.contracts, one.account.address
    weth, raw = contracts.tokens["WETH"], whole * 10**18
    if function == "supply":
        ground.chain.mint("WETH", account, raw)
        ground.chain.transact(account, weth, "approve", contracts.aave.pool.address, raw)
        ground.chain.transact(account, contracts.aave.pool, function, weth.address, raw, account, 0)
    else:
        ground.chain.transact(account, contracts.aave.pool, function, weth.address, raw, account)
