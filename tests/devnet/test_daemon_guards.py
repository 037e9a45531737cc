"""Oracles and chains in doubt: nothing is swapped, the owner is told, and payments go on."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from keeper.devnet.chain import LocalChain
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.views import Repaid
from tests.devnet.keeping.ground import Ground, target_of
from tests.devnet.keeping.process import Keeper
from tests.devnet.keeping.ward import Ward, ward
from tests.devnet.support import uptime_feed, write_round

DAY_S = 24 * 3600
FALL = 2_100_00000000
"""About 8 % below where the chain begins: health 1.30 becomes 1.197."""
POOL_FIRST = {"sources": '["pool", "wallet"]'}

Fault = Callable[[LocalChain], None]


def fall(chain: LocalChain) -> None:
    chain.set_price("WETH", FALL)


def stale(chain: LocalChain) -> None:
    """The fall is a day old when its block comes."""
    now = chain.timestamp() + 12
    chain.send_price("WETH", FALL, now)
    chain.mine(now + DAY_S)


def _configured(function: str, chain: LocalChain) -> None:
    chain.transact(
        chain.account("deployer").address,
        chain.contracts.aave.pool_configurator,
        function,
        chain.contracts.tokens["WETH"].address,
        True,
    )


def paused(chain: LocalChain) -> None:
    _configured("setReservePause", chain)
    fall(chain)


def frozen(chain: LocalChain) -> None:
    _configured("setReserveFreeze", chain)
    fall(chain)


def _owner(ground: Ground, health: str = "1.30") -> Ward:
    """Without a doubt it would be unwound on the pool; with one, the wallet pays."""
    return ward(ground, health=health, wallet={"USDC": 5_000}, further=POOL_FIRST)


@pytest.mark.parametrize(
    ("fault", "alert"),
    [(stale, "oracle.stale"), (paused, "reserve.paused"), (frozen, "reserve.frozen")],
)
async def test_daemon__price_or_reserve_in_doubt__pays_in_but_does_not_swap(
    ground: Ground, fault: Fault, alert: str
) -> None:
    one = _owner(ground)
    async with _running(ground) as (running, _):
        await ground.pass_block(running)
        fault(ground.chain)
        await running.said("alert.raised", alert=alert)
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
    _only_repaid(ground, one)


async def test_daemon__price_jumps_down__pays_in_but_does_not_swap(ground: Ground) -> None:
    # A quarter off takes health 1.60 to 1.20.
    one = _owner(ground, health="1.60")
    async with _running(ground) as (running, proxy):
        await ground.pass_block(running)
        # Until now the pools were looked at for the first time.
        proxy.recording.posts.clear()
        ground.chain.set_price("WETH", ground.price("WETH") * 3 // 4)
        await running.said("alert.raised", alert="oracle.jumped")
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
        assert proxy.recording.reads_per_block() <= 2
    _only_repaid(ground, one)


async def test_daemon__price_ten_times_as_high__waits_and_pays_in_once_it_falls(
    ground: Ground,
) -> None:
    one = _owner(ground)
    async with _running(ground) as (running, _):
        await ground.pass_block(running)
        ground.chain.set_price("WETH", 10 * FALL)
        await running.said("alert.raised", alert="oracle.jumped")
        await ground.pass_block(running)
        assert ground.events(one) == []
        fall(ground.chain)
        await running.said("alert.resolved", alert="oracle.jumped")
        await ground.until_concluded(running)
    assert ground.health(one) >= target_of(one)


@pytest.mark.parametrize("answer", [0, -FALL])
async def test_daemon__price_not_positive__alerts_and_pays_for_whom_it_does_not_concern(
    ground: Ground, answer: int
) -> None:
    one = _owner(ground)
    async with _running(ground) as (running, _):
        await ground.pass_block(running)
        ground.chain.set_price("WBTC", answer)
        fall(ground.chain)
        await ground.until_concluded(running)
        assert ground.health(one) >= target_of(one)
        assert running.all("alert.raised", alert="oracle.not_positive") == []
        ground.chain.set_price("WETH", answer)
        await running.said("alert.raised", alert="oracle.not_positive")
        fall(ground.chain)
        await running.said("alert.resolved", alert="oracle.not_positive")


@pytest.mark.parametrize(
    ("answer", "for_s", "alert"),
    [(1, 5 * 3600, "sequencer.down"), (0, 600, "sequencer.grace")],
)
async def test_daemon__sequencer_down_or_just_back__pays_in_but_does_not_swap(
    ground: Ground, answer: int, for_s: int, alert: str
) -> None:
    one = _owner(ground, health="1.20")
    uptime = uptime_feed(ground.chain)
    write_round(ground.chain, uptime, answer, ground.chain.timestamp() - for_s)
    ground.settings["sequencer_feed"] = uptime.address
    async with _running(ground) as (running, _):
        await running.said("alert.raised", alert=alert)
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
        write_round(ground.chain, uptime, 0, ground.chain.timestamp() - 3600)
        await running.said("alert.resolved", alert=alert)
    _only_repaid(ground, one)


@asynccontextmanager
async def _running(ground: Ground) -> AsyncIterator[tuple[Keeper, RecordingProxy]]:
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        yield running, proxy


def _only_repaid(ground: Ground, one: Ward) -> None:
    """From the wallet: the collateral is all there."""
    events = ground.events(one)
    assert events
    assert all(isinstance(event, Repaid) for event in events)
    assert ground.health(one) >= target_of(one)
    assert {each.kind for each in ground.decisions() if each.kind} == {"Repay"}
