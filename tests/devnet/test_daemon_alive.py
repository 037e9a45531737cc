"""The daemon as systemd, Prometheus and its owner see it: alive, and alarmed in time."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from keeper.devnet.proxy import RecordingProxy
from tests.devnet.keeping.gates import Outage
from tests.devnet.keeping.ground import Ground
from tests.unit.test_grafana import told

CONFIGURATION = 78
WITHIN_S = 20.0
SECRET_PATH = "T0K3Nf0rTheHook9876543210"


class Hook:
    """A receiver of alerts."""

    def __init__(self) -> None:
        self.url = ""
        self._news = asyncio.Condition()
        self.bodies: list[dict[str, Any]] = []

    async def take(self, request: web.Request) -> web.Response:
        async with self._news:
            self.bodies.append(await request.json())
            self._news.notify_all()
        return web.Response()

    async def told(self, name: str, status: str = "firing") -> dict[str, Any]:
        """The first such notice."""
        async with asyncio.timeout(WITHIN_S), self._news:
            while True:
                for body in self.bodies:
                    if (body["name"], body["status"]) == (name, status):
                        return body
                await self._news.wait()


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    receiver = Hook()
    served = web.Application()
    served.add_routes([web.post(f"/{SECRET_PATH}", receiver.take)])
    runner = web.AppRunner(served)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        receiver.url = f"http://127.0.0.1:{port}/{SECRET_PATH}"
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
def port() -> int:
    """One that is free now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@asynccontextmanager
async def systemd(folder: Path) -> AsyncIterator[socket.socket]:
    """The datagram socket that systemd would listen to."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(folder / "notify"))
        listener.setblocking(False)
        yield listener


async def heard(listener: socket.socket, *lines: str) -> list[str]:
    """What came until each of these lines came."""
    loop, missing, found = asyncio.get_running_loop(), set(lines), list[str]()
    async with asyncio.timeout(WITHIN_S):
        while missing:
            found += (await loop.sock_recv(listener, 4096)).decode().split("\n")
            missing -= set(found)
    return found


async def asked(port: int, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_run__under_systemd__says_ready_then_feeds_and_says_stopping(
    ground: Ground, tmp_path: Path
) -> None:
    ground.guard(health="1.50")
    async with systemd(tmp_path) as listener:
        ground.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        async with (
            RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
            ground.keeper(proxy, "--live") as running,
        ):
            await running.said("pass.done")
            assert await heard(listener, "READY=1", "WATCHDOG=1")
            assert await running.stop() == 0
            assert "STOPPING=1" in await heard(listener, "STOPPING=1")


async def test_run__endpoint_goes_down__alarm_is_raised_then_over_and_no_secret_is_told(
    ground: Ground, hook: Hook, port: int, tmp_path: Path
) -> None:
    one = ground.guard(health="1.50")
    ground.service.update(http_port=port, blind_after="2s", stall_after="2s")
    ground.environ["KEEPER_WEBHOOK_URL"] = hook.url
    outage = Outage(down=False)
    async with systemd(tmp_path) as listener:
        ground.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        async with (
            RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, outage) as proxy,
            ground.keeper(proxy, "--live") as running,
        ):
            await ground.pass_block(running)
            status, text = await asked(port, "/healthz")
            assert (status, json.loads(text)["status"]) == (200, "ok")
            outage.down = True
            told = await hook.told("keeper.blind")
            assert told["severity"] == "critical"
            status, text = await asked(port, "/healthz")
            assert status == 503
            assert json.loads(text)["reasons"][0]["name"] == "keeper.blind"
            # From here on the watchdog starves: nothing that was said before is in the socket.
            await asyncio.to_thread(_drain, listener)
            with pytest.raises(BlockingIOError):
                listener.recv(4096)
            outage.down = False
            await ground.pass_block(running)
            await hook.told("keeper.blind", "resolved")
            await heard(listener, "WATCHDOG=1")
            _, metrics = await asked(port, "/metrics")
            assert await running.stop() == 0
    said = running.text + running.output + metrics + json.dumps(hook.bodies)
    assert SECRET_PATH not in said
    assert one.account.private_key.removeprefix("0x") not in said


def _drain(listener: socket.socket) -> None:
    while True:
        try:
            listener.recv(4096)
        except BlockingIOError:
            return


async def test_run__metrics__tell_of_positions_blocks_and_passes(ground: Ground, port: int) -> None:
    ground.guard(health="1.50")
    ground.service.update(http_port=port)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy) as running,
    ):
        block = await ground.pass_block(running)
        _, text = await asked(port, "/metrics")
        figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        assert float(figures["keeper_block_number"]) == block
        assert float(figures['keeper_position_health{position="main"}']) == pytest.approx(
            ground.health(ground.guarded[0]) / 10**18, rel=1e-6
        )
        assert float(figures['keeper_position_readable{position="main"}']) == 1
        assert float(figures['keeper_passes_total{outcome="done"}']) >= 1
        assert float(figures["keeper_pass_round_trips"]) >= 1
        assert float(figures["keeper_pass_duration_seconds_count"]) >= 1
        # Whatever the dashboard and the alarms refer to is told from the start.
        served = set(re.findall(r"^# TYPE (\S+) ", text, flags=re.MULTILINE))
        for name in told():
            assert {name, re.sub("_(bucket|sum|count)$", "", name)} & served, name


async def test_run__port_is_taken__is_refused_with_the_fix(ground: Ground) -> None:
    ground.guard(health="1.50")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        ground.service.update(http_port=taken.getsockname()[1])
        async with (
            RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
            ground.keeper(proxy) as running,
        ):
            assert await running.ended() == CONFIGURATION
            assert "cannot be had" in running.text
            assert "another http_port" in running.text


async def test_run__kill_file__nothing_is_signed_while_it_exists_and_protection_resumes(
    ground: Ground, hook: Hook
) -> None:
    one = ground.guard()
    before = ground.nonce(one)
    kill = ground.folder / "keeper.kill"
    kill.touch()
    ground.environ["KEEPER_WEBHOOK_URL"] = hook.url
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        assert str(kill) in (await hook.told("keeper.paused"))["text"]
        for _ in range(3):
            await ground.pass_block(running)
        assert ground.nonce(one, "pending") == before
        assert running.all("plan.refused")
        assert "keeper.kill exists" in (await ground.ask("status", "--json")).output
        kill.unlink()
        await ground.until_concluded(running)
        await hook.told("keeper.paused", "resolved")
    assert len(ground.events(one)) == 1


async def test_pause_and_resume__with_a_keeper_and_without__hold_and_are_confirmed(
    ground: Ground,
) -> None:
    one = ground.guard()
    before = ground.nonce(one)
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy:
        ground.config(proxy.http_url, None)
        assert "no keeper is running" in (await ground.ask("pause")).output
        async with ground.keeper(proxy, "--live") as running:
            await running.said("keeper.ordered", order="pause")
            for _ in range(3):
                await ground.pass_block(running)
            assert ground.nonce(one, "pending") == before
            told = json.loads((await ground.ask("status", "--json")).output)
            assert (told["running"], told["live"], told["order"]) == (True, True, "pause")
            for command in ("resume", "pause", "pause", "resume"):
                done = await ground.ask(command)
                assert done.exit_code == 0, done.text
                said = f"confirmed by the running keeper (process {running.pid}) at "
                assert said in done.output
            await ground.until_concluded(running)
    assert len(ground.events(one)) == 1


async def test_kill__keeper_is_running__it_ends_and_starts_only_after_resume(
    ground: Ground,
) -> None:
    one = ground.guard()
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy:
        async with ground.keeper(proxy, "--live") as running:
            await running.said("transaction.sent")
            killed = await ground.ask("kill")
            assert "confirmed: the keeper has ended" in killed.output
            assert "signed before, and may still be mined:" in killed.output
            assert await running.ended() == 0
        shown = " ".join((await ground.ask("status")).output.split())
        assert "KILLED since" in shown
        assert "no keeper starts before `keeper resume`" in shown
        sent = ground.nonce(one, "pending")
        async with ground.keeper(proxy, "--live") as again:
            assert await again.ended() == 78
            assert "this keeper was killed by its owner" in again.text
        assert ground.nonce(one, "pending") == sent
        resumed = await ground.ask("resume")
        assert "no keeper is running: start it" in resumed.output
        async with ground.keeper(proxy, "--live") as again:
            await ground.until_concluded(again)
    assert len(ground.events(one)) == 1
