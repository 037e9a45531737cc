"""The daemon is started in the middle of a crash, with a preset: judged by the chain's events."""

from typing import Any

import pytest

from keeper.devnet.aave import STABLECOINS_CATEGORY
from keeper.devnet.chain import BLOCK_SECONDS, SECOND_IN_BLOCK, LocalChain
from keeper.devnet.liquidator import Liquidator
from keeper.devnet.market import STRIKE_GAS
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.views import Liquidated, Repaid
from tests.devnet.keeping.ground import POLICY, Ground, Guarded

BALANCED: dict[str, Any] = {"preset": "balanced", "floor": None, "target": None}
ROUNDS = (0.99, 0.93, 0.93)
"""Of the price before: an eighth within three blocks."""


def say_nothing(chain: LocalChain, symbol: str) -> None:
    """The token's feed does not tell any more what it prices."""
    feed = chain.contracts.feeds[symbol]
    # Where the contract keeps its description's length.
    chain.rpc.call("anvil_setStorageAt", feed.address, "0x1", "0x" + "00" * 32)
    chain.mine()
    assert chain.read(feed, "description") == ""


def fall(ground: Ground, liquidator: Liquidator, factor: float) -> int:
    """One block: the feed's round, the liquidator right behind it, everybody else after; its
    number."""
    chain = ground.chain
    now = chain.timestamp() + BLOCK_SECONDS
    chain.send_price("WETH", int(ground.price("WETH") * factor), now)
    sender, target = chain.account("liquidator").address, liquidator.contract.address
    for strike in liquidator.strikes():
        chain.send(sender, target, strike, fees=SECOND_IN_BLOCK, gas=STRIKE_GAS)
    return chain.mine(now)


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize(("opened", "seen"), [("1.15", 1.06), ("1.20", 1.10)])
async def test_daemon__preset_started_in_mid_crash__saves_what_goes_on_falling(
    ground: Ground, opened: str, seen: float, described: bool
) -> None:
    chain = ground.chain
    one = ground.guard("main", health=opened, **BALANCED)
    alone = ground.guard("alone", health=opened)
    ground.guarded.remove(alone)
    if not described:
        say_nothing(chain, "WETH")
    liquidator = Liquidator(
        rpc=chain.rpc, pool=chain.contracts.aave.pool.address, contract=chain.contracts.liquidator
    )
    fall(ground, liquidator, seen / float(opened))
    assert ground.health(one) / 1e18 == pytest.approx(seen, abs=1e-3)
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("pass.done")
        fitted = running.all("policy.fitted")[-1]
        assert fitted["health_at_start"] == pytest.approx(seen, abs=1e-3)
        assert fitted["floor"] >= 1.083
        for factor in ROUNDS:
            await running.said("pass.done", block=fall(ground, liquidator, factor))
        assert running.all("plan.concluded", succeeded=True)
    assert [event for event in ground.events(alone) if isinstance(event, Liquidated)]
    assert all(isinstance(event, Repaid) for event in ground.events(one))
    assert ground.events(one)
    assert ground.health(one) > 1.083 * 10**18


async def test_daemon__preset_and_a_loop_in_an_efficiency_mode__leaves_its_leverage(
    ground: Ground,
) -> None:
    # Nothing but its liquidation threshold of 97.5 % tells that the pair is correlated.
    chain = ground.chain
    account = chain.account("loop")
    chain.open_position(
        account.address,
        collateral={"USDC": 100_000 * 10**6},
        debt={"DAI": 90_000 * 10**18},
        e_mode=STABLECOINS_CATEGORY,
    )
    say_nothing(chain, "USDC")
    policy = {key: value for key, value in {**POLICY, **BALANCED}.items() if value is not None}
    one = Guarded(label="loop", account=account, policy=policy)
    ground.guarded.append(one)
    ground.environ["KEEPER_SIGNERS__LOOP__PRIVATE_KEY"] = account.private_key
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        fitted = await running.said("policy.fitted", pair="pegged")
        await ground.pass_block(running)
    # 1 + 0.25 × 0.16 and 1 + 0.40 × 0.16.
    assert (fitted["floor"], fitted["target"]) == pytest.approx((1.04, 1.064))
    assert ground.decisions() == []
