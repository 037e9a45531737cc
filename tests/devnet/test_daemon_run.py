"""Starting and ending the daemon: what its users and their init system see."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from keeper.devnet.child import bound_to_parent
from keeper.devnet.proxy import Gate, RecordingProxy
from tests.devnet.keeping.gates import Hold, Outage, carries
from tests.devnet.keeping.ground import Ground
from tests.devnet.keeping.process import keeper

CONFIGURATION, TEMPORARY = 78, 75
READING, SIMULATION = "eth_call", "eth_simulateV1"
NOBODY_LISTENS = "http://127.0.0.1:9"


async def test_run__no_flags__says_what_it_would_do_and_sends_nothing(ground: Ground) -> None:
    one = ground.guard()
    config = ground.config(ground.chain.rpc_url, None)
    before = ground.nonce(one)
    process = await asyncio.create_subprocess_exec(
        *bound_to_parent(
            [sys.executable, "-m", "keeper", "run", "--once", "--config", str(config)]
        ),
        env={**os.environ, **ground.environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, logged = await process.communicate()
    assert process.returncode == 0, logged
    assert printed == b""
    assert b'"plan.approved"' in logged
    assert b'"action": "Repay ' in logged
    assert b"transaction.sent" not in logged
    assert ground.nonce(one) == ground.nonce(one, "pending") == before
    history = (await ground.ask("history")).output
    assert "Repay" in history
    assert "dry run" in history
    assert "dry run: would Repay" in (await ground.ask("status")).output


async def test_run__dry_after_a_live_run_was_killed__does_not_send_what_that_left(
    ground: Ground,
) -> None:
    one = ground.guard()
    hold = Hold(carries("eth_sendRawTransaction"))
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, hold) as proxy:
        async with ground.keeper(proxy, "--live") as killed:
            await hold.reached()
            await killed.kill()
        proxy.gate = Gate()
        async with ground.keeper(proxy) as dry:
            await ground.pass_block(dry)
            await ground.pass_block(dry)
        async with ground.keeper(proxy, "--once") as once:
            assert await once.ended() == 0
    assert ground.nonce(one) == ground.nonce(one, "pending")
    assert ground.transactions(one) == []


async def test_run__once_and_live__ends_when_what_it_sent_is_settled(ground: Ground) -> None:
    ground.settings["confirmations"] = 2
    one = ground.guard()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--once", "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        await ground.pass_block(running)
        assert running.alive
        assert not running.all("plan.concluded")
        ground.chain.mine()
        assert await running.ended() == 0
    assert len(ground.events(one)) == 1
    assert ground.open() == []
    # What lies ahead is told of the position as it left it.
    (shown,) = json.loads((await ground.ask("status", "--json")).output)["positions"]
    assert shown["ahead"]["block"] == shown["block"]


async def test_run__once_and_nothing_to_do__ends(ground: Ground) -> None:
    ground.guard(health="1.50")
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--once", "--live") as running,
    ):
        assert await running.ended() == 0
        assert len(running.all("pass.done")) == 1
    (told,) = running.all("position.watched", level="info")
    assert (told["position"], told["floor"]) == ("main", 1.25)
    assert told["health"] == pytest.approx(1.50, abs=1e-3)
    assert 0 <= told["breach_probability"] < 1
    assert told["now"].startswith("watched: health is above its floor")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
async def test_run__sigterm__ends_with_0_and_leaves_no_process(ground: Ground) -> None:
    ground.guard(health="1.50")
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("pass.done")
        assert len(running.all("position.watched")) == 1
        await ground.pass_block(running)
        assert len(running.all("position.watched")) == 1
        assert children_of(running.pid) == ""
        assert await running.stop() == 0
        assert running.all("keeper.stopped")
        assert children_of(running.pid) is None


def children_of(pid: int) -> str | None:
    """The ids of a process's children, None if there is no such process."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text() if path.exists() else None


async def test_run__sigterm_while_the_endpoint_hangs__ends_with_0(ground: Ground) -> None:
    one = ground.guard()
    hold = Hold(carries(SIMULATION))
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, hold) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await hold.reached()
        assert await running.stop() == 0
        assert running.all("keeper.stopped")
    assert ground.nonce(one) == ground.nonce(one, "pending")


async def test_run__sigterm_while_it_waits_for_the_endpoint__ends_with_0(ground: Ground) -> None:
    ground.guard()
    down = Outage(down=True)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, down) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("endpoint.down")
        assert await running.stop() == 0


async def test_run__another_keeper_uses_the_journal__is_refused(ground: Ground) -> None:
    ground.guard(health="1.50")
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as first,
    ):
        await first.said("keeper.ready")
        async with ground.keeper(proxy, "--live") as second:
            assert await second.ended() == CONFIGURATION
            assert "another keeper uses this journal" in second.log()
        # The first one is none the worse for it; killed, it leaves the journal to the next.
        await ground.pass_block(first)
        await first.kill()
        async with ground.keeper(proxy, "--live") as third:
            await third.said("keeper.ready")


async def test_run__endpoint_is_down_at_start__is_tried_until_it_answers(ground: Ground) -> None:
    one = ground.guard()
    outage = Outage(down=True)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, outage) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("endpoint.down")
        await running.said("endpoint.down")
        outage.down = False
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
    assert len(ground.events(one)) == 1


async def test_run__once_and_the_endpoint_is_down__is_temporary(ground: Ground) -> None:
    ground.guard()
    config = ground.config(NOBODY_LISTENS, None)
    async with keeper("run", "--once", config=config, environ=ground.environ) as running:
        assert await running.ended() == TEMPORARY
        assert "127.0.0.1:9 is unavailable" in running.log()
