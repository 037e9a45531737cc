"""`keeper act` on a local chain: shown, then done by the keeper that runs or by one for this alone."""

import asyncio
import json
from pathlib import Path

import pytest

from keeper.chain.kill_file import Order, order
from keeper.devnet.chain import LocalChain
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.recording import SEND
from keeper.devnet.views import Repaid
from tests.devnet.keeping.ground import Ground
from tests.devnet.keeping.ward import ward


@pytest.fixture
def ground(chain: LocalChain, tmp_path: Path) -> Ground:
    ground = Ground(chain=chain, folder=tmp_path)
    # Blocks come as fast as they can here, whoever is slow.
    ground.environ["KEEPER_FEES__DEADLINE_BLOCKS"] = "1000"
    return ground


async def mining(ground: Ground) -> None:
    """Blocks, for whoever waits for them."""
    while True:
        await asyncio.sleep(0.2)
        ground.chain.mine()


async def test_act__simulate__shows_before_after_fee_and_calldata_and_sends_nothing(
    ground: Ground,
) -> None:
    one = ground.guard(health="1.50")
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy:
        ground.config(proxy.http_url, None)
        done = await ground.ask("act", "repay", "--usd", "500", "--simulate", "--json")
        assert done.exit_code == 0, done.text
        assert not [post for post in proxy.recording.posts if SEND in post.methods]
        for_people = await ground.ask("act", "repay", "--usd", "500", "--simulate")
    document = json.loads(done.output)
    assert document["possible"]
    decision = document["decision"]
    assert decision["health_before"] == pytest.approx(1.50, abs=1e-3)
    assert decision["predicted_health"] > decision["health_before"]
    approve, repay = document["document"]["transactions"]
    assert repay["to"] == ground.chain.contracts.aave.pool.address
    assert repay["data"].startswith("0x573ade81")
    assert approve["gas_simulated"] > 21_000
    assert "health     1.5000 → " in for_people.output
    assert repay["data"][:60] in for_people.output
    assert ground.nonce(one, "pending") == ground.nonce(one)
    assert [path.name for path in ground.folder.iterdir()] == ["keeper.toml"]


async def test_act__no_keeper_running__one_runs_for_it_alone_and_for_no_other_position(
    ground: Ground,
) -> None:
    one = ground.guard(health="1.50")
    endangered = ground.guard("other", health="1.10")
    ground.config(ground.chain.rpc_url, None)
    blocks = asyncio.create_task(mining(ground))
    options = ("--position", "main", "--usd", "500", "--yes")
    done = await ground.ask("act", "repay", *options)
    blocks.cancel()
    assert done.exit_code == 0, done.text
    assert "done: Repay " in done.output
    (event,) = ground.events(one)
    assert isinstance(event, Repaid)
    assert ground.events(endangered) == []
    (decision,) = ground.decisions()
    assert (decision.cause, decision.outcome, decision.as_predicted) == ("owner", "done", True)


async def test_act__keeper_running__is_done_by_it(ground: Ground) -> None:
    one = ground.guard(health="1.50")
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("keeper.ready")
        blocks = asyncio.create_task(mining(ground))
        done = await ground.ask("act", "repay", "--usd", "500", "--yes")
        blocks.cancel()
        assert done.exit_code == 0, done.text
        assert "the running keeper takes it up" in done.text
        await running.said("plan.approved", cause="owner")
    assert len(ground.events(one)) == 1
    assert ground.flaws() == []


@pytest.mark.parametrize(
    ("wallet", "limit", "said"),
    [
        (300, 100_000, "the reserve holds no more USDC"),
        (100_000, 400, "the limits leave no more (max_per_action_usd"),
        (100_000, 100_000, "no more USDC is owed"),
    ],
)
async def test_act__more_than_can_be_done__tells_what_cut_it(
    ground: Ground, wallet: int, limit: int, said: str
) -> None:
    ground.guard(health="1.50", wallet={"USDC": wallet}, max_per_action_usd=limit)
    ground.config(ground.chain.rpc_url, None)
    done = await ground.ask("act", "repay", "--usd", "90000", "--simulate")
    assert done.exit_code == 0, done.text
    shown = " ".join(done.output.split())
    assert f"asked for 90,000.00 USD, cut: {said}" in shown
    done = await ground.ask("act", "repay", "--usd", "100", "--simulate")
    assert "cut:" not in done.output


async def test_act__nobody_agrees__sends_nothing(ground: Ground) -> None:
    one = ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    done = await ground.ask("act", "repay", "--usd", "500")
    assert done.exit_code == 1
    assert "nobody is there to agree; give --yes" in done.text
    assert ground.events(one) == []


async def test_act__deleverage_by_a_guardian__sells_within_the_mandate(ground: Ground) -> None:
    one = ward(ground, health="1.20")
    ground.environ["KEEPER_FEES__DEADLINE_BLOCKS"] = "1000"
    ground.config(ground.chain.rpc_url, None)
    blocks = asyncio.create_task(mining(ground))
    done = await ground.ask("act", "deleverage", "--usd", "1000", "--yes")
    blocks.cancel()
    assert done.exit_code == 0, done.text
    assert "done: Deleverage " in done.output
    (decision,) = ground.decisions()
    assert (decision.kind, decision.as_predicted) == ("Deleverage", True)
    assert decision.amount_usd == pytest.approx(1000, rel=1e-3)
    assert ground.health(one) > 12 * 10**17


async def test_act__paused__says_so_and_signs_nothing(ground: Ground) -> None:
    one = ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    order(ground.folder / "keeper.kill", Order.PAUSE)
    done = await ground.ask("act", "repay", "--usd", "500", "--yes")
    assert done.exit_code == 1
    assert "paused: nothing is signed before `keeper resume`" in done.text
    assert ground.events(one) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--usd", "-5"), "--usd: -5 is not above zero"),
        (("--usd", "5e3"), "--usd: 5e3 is in scientific notation"),
        (("--position", "mine"), "--position: no position is called mine"),
    ],
)
async def test_act__what_cannot_be_meant__is_refused(
    ground: Ground, options: tuple[str, ...], said: str
) -> None:
    ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    done = await ground.ask("act", "repay", *options)
    assert done.exit_code == 78
    assert said in done.text
