"""The demo up to noon of Black Thursday: real contracts, the production daemon, both judged from
the chain."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from keeper.config import foreign_environment
from keeper.devnet.daemon import KeeperFailedError, running_keeper
from keeper.devnet.demo import Demo
from keeper.devnet.files import JOURNAL, environment, write_files
from keeper.devnet.report import Report
from keeper.devnet.scenario import packaged_scenario
from keeper.devnet.stage import Stage, staged
from keeper.devnet.story import AccountTold
from keeper.devnet.table import Moment
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.views import LIQUIDATION, REPAY, SUPPLY

NOON = 1_584_014_400
FLOOR, TARGET = 115 * 10**16, 140 * 10**16


@dataclass(frozen=True)
class Played:
    stage: Stage
    report: Report
    moments: list[Moment]
    picture: Path
    ether_before: dict[str, int]

    def spent_wei(self) -> dict[str, int]:
        after = ether(self.stage)
        return {name: before - after[name] for name, before in self.ether_before.items()}

    def told(self, name: str) -> AccountTold:
        return next(story for story in self.report.told if story.name == name)

    def logs(self, topic: str, name: str, position: int) -> list[Any]:
        """The pool's events about one twin since the scenario began."""
        account = self.stage.twins[name].address
        newest = int(self.stage.chain.rpc.call("eth_blockNumber"), 16)
        topics: list[Any] = [topic, None, None, None]
        topics[position] = "0x" + account[2:].lower().rjust(64, "0")
        found: list[Any] = self.stage.chain.rpc.call(
            "eth_getLogs",
            {
                "address": self.stage.chain.contracts.aave.pool.address,
                "topics": topics,
                "fromBlock": hex(newest - self.report.blocks + 1),
                "toBlock": "latest",
            },
        )
        return found


def ether(stage: Stage) -> dict[str, int]:
    return {
        name: int(stage.chain.rpc.call("eth_getBalance", twin.address, "latest"), 16)
        for name, twin in stage.twins.items()
    }


@pytest.fixture(scope="module")
def played(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("demo")
    scenario = packaged_scenario("black-thursday").model_copy(update={"end": NOON})
    moments: list[Moment] = []
    with staged(scenario, toolchain) as stage:
        demo = Demo(
            scenario=scenario,
            stage=stage,
            write=partial(write_files, stage),
            folder=folder,
            environ=foreign_environment(),
            show=moments.append,
        )
        ether_before = ether(stage)
        report = asyncio.run(demo.play())
        demo.draw(folder / "demo.png", report)
        yield Played(stage, report, moments, folder / "demo.png", ether_before)


def test_play__forecast_twin__survives_for_less_than_the_unprotected_loses(
    played: Played,
) -> None:
    assert played.report.problems() == []
    assert played.told("unprotected").liquidations
    assert played.told("forecast").liquidations == ()
    assert 0 < played.told("forecast").cost_usd8 < played.told("unprotected").loss_usd8


def test_play__forecast_twin__acts_on_the_forecast_above_its_floor(played: Played) -> None:
    acts = [act for act in played.told("forecast").actions if act.cause == "forecast"]
    assert acts
    assert all(act.health_before > FLOOR for act in acts)
    for act in acts:
        assert act.health_after == pytest.approx(TARGET, rel=1e-4)
        assert act.health_after is not None
        assert act.health_after >= TARGET


def test_play__actions_and_liquidations__are_the_chains_events(played: Played) -> None:
    for name in played.stage.twins:
        told = played.told(name)
        supplies = played.logs(SUPPLY, name, 2)
        # The liquidator's repayments are no Repay events of Aave 3.0: all of these are the keeper's.
        repayments = played.logs(REPAY, name, 2)
        sent = {log["transactionHash"] for log in supplies + repayments}
        assert sent == {action.transaction for action in told.actions}
        assert len(told.liquidations) == len(played.logs(LIQUIDATION, name, 3))


def test_play__costs__are_what_the_twins_ether_paid(played: Played) -> None:
    for name, spent_wei in played.spent_wei().items():
        # Every price of the scenario until noon lies between 120 and 195 USD.
        assert spent_wei * 120 <= played.told(name).cost_usd8 * 10**10 <= spent_wei * 195
        assert bool(spent_wei) == bool(played.told(name).actions)


def test_play__proxy__saw_at_most_two_reads_per_block_and_every_broadcast(
    played: Played,
) -> None:
    assert 1 <= played.report.reads_per_block <= 2
    assert len(played.report.head_to_broadcast_ms) >= len(played.told("forecast").actions)
    assert all(ms > 0 for ms in played.report.head_to_broadcast_ms)


def test_play__shown__until_the_last_block_with_probabilities(played: Played) -> None:
    last = played.moments[-1]
    assert last.block == last.blocks == played.report.blocks
    assert last.breach_probabilities.keys() == {"fixed", "forecast"}
    assert played.picture.read_bytes().startswith(b"\x89PNG")


async def test_running_keeper__cannot_start__says_why_from_its_log(tmp_path: Path) -> None:
    config = tmp_path / "keeper.toml"
    config.write_text("[chain]\nid = 1\n")
    environ = {**foreign_environment(), **environment()}
    async with running_keeper(config, tmp_path / "keeper.sqlite3", environ) as keeper:
        with pytest.raises(KeeperFailedError, match=r"(?s)ended with 78.*keeper\.toml"):
            await keeper.ready({"forecast"})


def next_block(ws_url: str) -> dict[str, Any]:
    """The first that is mined from now on."""
    subscribe = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
    with connect(ws_url) as socket:
        socket.send(json.dumps(subscribe))
        socket.recv(timeout=30)
        block: dict[str, Any] = json.loads(socket.recv(timeout=30))["params"]["result"]
    return block


def test_devnet_up__waiting__mines_blocks_and_its_config_is_what_the_keeper_runs_with(
    tmp_path: Path,
) -> None:
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    keeper = [sys.executable, "-m", "keeper"]
    with subprocess.Popen(
        [*keeper, "devnet", "up", "--wait", "120", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    ) as up:
        try:
            assert up.stdout
            text = ""
            while not text.endswith("\n}\n"):
                text += up.stdout.readline()
            told = json.loads(text)
            assert told.keys() >= {
                *("rpc_url", "ws_url", "chain_id", "accounts", "contracts", "config")
            }
            once = subprocess.run(
                [*keeper, "run", "--once", "--config", told["config"]],
                env={**environ, **told["environment"]},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert once.returncode == 0, once.stderr
            status = subprocess.run(
                [*keeper, "status", "--json", "--config", told["config"]],
                env=environ,
                capture_output=True,
                timeout=60,
                check=True,
            )
            labels = {one["label"] for one in json.loads(status.stdout)["positions"]}
            assert labels == {"fixed", "forecast"}
            # A keeper that is started meanwhile sees blocks, or it would call itself blind.
            mined_at = int(next_block(told["ws_url"])["timestamp"], 16)
            assert mined_at < packaged_scenario("black-thursday").start
            # The drill plays the demo's own policies, on a fork of it.
            drill = subprocess.run(
                [
                    *(*keeper, "drill", "--json", "--config", told["config"]),
                    *("--drop", "40", "--over", "2m"),
                ],
                env=environ,
                capture_output=True,
                timeout=120,
                check=False,
            )
            assert drill.stdout, drill.stderr
            rehearsed = {one["label"]: one for one in json.loads(drill.stdout)["positions"]}
            # Health 1.50 would fall to 0.90.
            assert rehearsed.keys() == {"fixed", "forecast"}
            assert rehearsed["forecast"]["verdict"] == "saved"
            assert rehearsed["forecast"]["actions"] >= 1
            subprocess.run([*keeper, "devnet", "down"], env=environ, timeout=60, check=True)
            assert up.wait(timeout=30) == 0
        finally:
            up.kill()
    # A keeper has written there: its journal outlives the chain.
    folder = Path(told["config"]).parent
    assert (folder / JOURNAL).exists()
    shutil.rmtree(folder)
