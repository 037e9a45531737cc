"""The daemon over a chain in memory: starts, passes, survives, stops."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from keeper import admission, app, watching
from keeper.chain import pool
from keeper.chain.l1_fees import GAS_PRICE_ORACLE
from keeper.chain.rpc import EndpointUnavailableError, Request
from keeper.chain.settings import (
    MULTICALL3,
    BreakerSettings,
    ChainSettings,
    EndpointSettings,
    FeeSettings,
    LocalKeySettings,
    Use,
)
from keeper.config.document import Document
from keeper.config.settings import MarketSettings, PositionSettings, Settings
from keeper.engine.engine import Engine
from keeper.engine.reporting import PassReport
from keeper.model.errors import ConfigurationError, TemporaryError
from keeper.model.units import Wei
from keeper.model.values import Head
from keeper.protocols.registry import PROTOCOLS
from keeper.service.passes import UNFORESEEN_IN_A_ROW
from keeper.service.settings import ServiceSettings
from keeper.service.stopping import FINISH_S
from keeper.storage.views import DecisionView, history
from tests.unit.fake_node import ALICE_KEY
from tests.unit.fake_rpc import FakeRpc, address, head_at, header, refused
from tests.unit.toy_chain import (
    ALICE,
    DEADLINE_BLOCKS,
    FLOOR_ONLY,
    GWEI,
    USD8,
    Account,
    ToyChain,
)
from tests.unit.toy_protocol import CHAIN_ID, Toy, market_address


class Chain(ToyChain):
    """Mines `blocks` blocks when a pass is over."""

    def __init__(self) -> None:
        super().__init__("toy")
        self.blocks = 1
        self.passes: asyncio.Queue[Head] = asyncio.Queue()
        account = Account(updated_at=self.head.timestamp)
        self.state.accounts[market_address("toy"), ALICE.address] = account
        calls = self.node.rpc.answers["eth_call"]
        self.node.rpc.answers |= {
            # What a market is seen from, before it is watched.
            "eth_call": lambda call, *at: (
                "0x" + 64 * "1" if call["to"] == market_address("toy") else calls(call, *at)
            ),
            "eth_getBlockByNumber": self._block,
            "eth_chainId": lambda: hex(CHAIN_ID),
            "eth_getCode": lambda who, _: "0x" if who == GAS_PRICE_ORACLE else "0x6080",
            "anvil_nodeInfo": dict,
        }

    def _block(self, which: str, _: bool) -> Any:
        return header(self.head if which == "latest" else head_at(int(which, 16)))

    def pass_over(self, head: Head) -> None:
        self.passes.put_nowait(head)
        for _ in range(self.blocks):
            self.mine()

    async def passed(self, times: int) -> None:
        """Wait for that many passes."""
        for _ in range(times):
            await self.passes.get()


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    """Where the daemon's endpoint is, with the toy protocol under the real one's name."""
    chain = Chain()
    real = Engine.run_pass

    async def run_pass(self: Engine, head: Head, *, planning: bool = True) -> PassReport:
        report = await real(self, head, planning=planning)
        chain.pass_over(head)
        return report

    monkeypatch.setattr(Engine, "run_pass", run_pass)
    monkeypatch.setattr(pool, "Rpc", lambda *_, **__: chain.node.rpc)
    monkeypatch.setitem(PROTOCOLS, "aave_v3", Toy())
    return chain


class NeverAnswers(FakeRpc):
    """Tells its chain, takes what else is posted and lets the caller wait."""

    async def call(self, method: str, *params: Any) -> Any:
        self._post(Request(method=method, params=params))
        if method == "eth_chainId":
            return hex(CHAIN_ID)
        await asyncio.Event().wait()
        return None


def fail_passes(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int = 1
) -> None:
    """Let the first passes fail."""
    real = Engine.run_pass
    left = [error] * times

    async def run_pass(self: Engine, head: Head, *, planning: bool = True) -> PassReport:
        if left:
            chain.pass_over(head)
            raise left.pop()
        return await real(self, head, planning=planning)

    monkeypatch.setattr(Engine, "run_pass", run_pass)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        rules={},
        policy_files={},
        chain=ChainSettings(
            chain_id=CHAIN_ID,
            endpoints=(EndpointSettings(name=None, url="http://node"),),
            poll_interval_s=0.001,
            confirmations=2,
            multicall=MULTICALL3,
        ),
        store_path=tmp_path / "journal.sqlite3",
        fees=FeeSettings(
            max_fee_wei=Wei(100 * GWEI),
            min_priority_fee_wei=Wei(1),
            deadline_blocks=DEADLINE_BLOCKS,
        ),
        log_level="info",
        service=ServiceSettings(
            http_port=0,
            blind_after_s=45,
            stall_after_s=45,
            min_gas_wei=0,
        ),
        breakers=BreakerSettings(
            kill_file=tmp_path / "keeper.kill",
            quarantine_after_reverts=3,
            quarantine_s=3600,
            max_transactions_per_hour=60,
            max_spend_per_day_wei=Wei(10**18),
        ),
        systemd_socket=None,
        policies={"fixed": FLOOR_ONLY},
        markets={
            "toy": MarketSettings(name="toy", protocol="aave_v3", entry=market_address("toy"))
        },
        market_prices=(),
        signers={
            "alice": LocalKeySettings(
                name="alice",
                keystore=None,
                keystore_password=None,
                private_key=SecretStr("0x" + ALICE_KEY.hex()),
            )
        },
        positions=(
            PositionSettings(
                label="main",
                market="toy",
                account=ALICE.address,
                policy="fixed",
                signer="alice",
            ),
        ),
        mandates={},
        document=Document(path=Path("keeper.toml"), text="", values={}, environ={}),
    )


def only(settings: Settings) -> DecisionView:
    (decided,) = history(settings.store_path)
    return decided


# -- once ----------------------------------------------------------------------------------------


async def test_run__once_in_danger__tells_what_it_would_do_and_ends(
    chain: Chain, settings: Settings
) -> None:
    chain.market().price_usd8 = 1_850 * USD8
    await app.run(settings, once=True, live=False)
    assert only(settings).outcome == "dry run"
    assert chain.node.raws == []


async def test_run__once_live__ends_when_what_it_sent_is_deep_enough(
    chain: Chain, settings: Settings
) -> None:
    chain.market().price_usd8 = 1_850 * USD8
    await app.run(settings, once=True, live=True)
    decided = only(settings)
    assert (decided.outcome, decided.as_predicted) == ("done", True)
    assert len(chain.node.raws) == 2


async def test_run__ends_while_a_slow_endpoint_is_sent_to__leaves_no_task_behind(
    chain: Chain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = {"http://node": chain.node.rpc, "http://slow": NeverAnswers({})}
    monkeypatch.setattr(pool, "Rpc", lambda url, **_: nodes[url])
    slow = EndpointSettings(name="slow", url="http://slow", use=Use.SEND)
    endpoints = (*settings.chain.endpoints, slow)
    settings = replace(settings, chain=replace(settings.chain, endpoints=endpoints))
    chain.market().price_usd8 = 1_850 * USD8
    before = asyncio.all_tasks()
    await app.run(settings, once=True, live=True)
    assert only(settings).outcome == "done"
    assert len(nodes["http://slow"].sent("eth_sendRawTransaction")) == 2
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_run__once_with_nothing_to_do__leaves_no_task_behind(
    chain: Chain, settings: Settings
) -> None:
    before = asyncio.all_tasks()
    await app.run(settings, once=True, live=True)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert history(settings.store_path) == []


async def test_run__once_and_the_pass_fails__is_temporary(
    chain: Chain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_passes(chain, monkeypatch, EndpointUnavailableError("node is unavailable: timed out"))
    with pytest.raises(TemporaryError, match="timed out"):
        await app.run(settings, once=True, live=False)


# -- the chain contradicts the settings ----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "answer", "what"),
    [
        ("eth_chainId", lambda: "0x1", "answers for chain 1, not 31337"),
        ("eth_getCode", lambda *_: "0x", "no contract at"),
    ],
)
async def test_run__chain_contradicts_the_settings__is_refused(
    chain: Chain, settings: Settings, method: str, answer: Any, what: str
) -> None:
    chain.node.rpc.answers[method] = answer
    with pytest.raises(ConfigurationError, match=what):
        await app.run(settings, once=False, live=False)
    assert not settings.store_path.exists()


async def test_run__live_with_a_key_of_another_account__is_refused(
    chain: Chain, settings: Settings
) -> None:
    stranger = LocalKeySettings(
        name="alice",
        keystore=None,
        keystore_password=None,
        private_key=SecretStr("0x" + "77" * 32),
    )
    object.__setattr__(settings, "signers", {"alice": stranger})
    await app.run(settings, once=True, live=False)  # which needs no key
    with pytest.raises(ConfigurationError, match="belongs to"):
        await app.run(settings, once=True, live=True)


@pytest.mark.parametrize(("answer", "local"), [(dict, True), (refused("anvil_nodeInfo"), False)])
async def test_checked__node_info__tells_a_local_chain_by_its_node(
    chain: Chain, settings: Settings, answer: Any, local: bool
) -> None:
    chain.node.rpc.answers["anvil_nodeInfo"] = answer
    assert await admission.checked(chain.node.rpc, settings) is local


# -- until stopped -------------------------------------------------------------------------------


async def stopped(task: asyncio.Task[None], number: int = signal.SIGTERM) -> None:
    """As an operator stops it."""
    os.kill(os.getpid(), number)
    await task


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run__stopped_by_a_signal__ends_cleanly(
    chain: Chain, settings: Settings, number: int
) -> None:
    before = asyncio.all_tasks()
    with capture_logs() as logs:
        running = asyncio.create_task(app.run(settings, once=False, live=True))
        await chain.passed(3)
        await stopped(running, number)
    events = [line["event"] for line in logs if line["event"].startswith("keeper.")]
    # What the kill file says is confirmed once a second, which may or may not come in between.
    stations = [event for event in events if event != "keeper.ordered"]
    assert stations == ["keeper.ready", "keeper.stopping", "keeper.stopped"]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert not settings.store_path.with_name("journal.sqlite3-wal").exists()


async def test_run__stopped_twice__ends_at_once_though_a_pass_does_not_end(
    chain: Chain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def endless(*_: Any, **__: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Engine, "run_pass", endless)
    running = asyncio.create_task(app.run(settings, once=False, live=True))
    await begun.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    # The first is taken before the second comes: one process holds no two of a kind at once.
    await asyncio.sleep(0)
    async with asyncio.timeout(FINISH_S / 2):
        await stopped(running)


async def test_run__pass_fails__the_next_block_is_passed_over_all_the_same(
    chain: Chain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_passes(chain, monkeypatch, EndpointUnavailableError("node is unavailable"), times=2)
    chain.market().price_usd8 = 1_850 * USD8
    with capture_logs() as logs:
        running = asyncio.create_task(app.run(settings, once=False, live=True))
        await chain.passed(8)
        await stopped(running)
    assert [line["reason"] for line in logs if line["event"] == "pass.failed"] == [
        "node is unavailable"
    ] * 2
    assert only(settings).outcome == "done"


async def test_run__bug_in_a_pass__the_next_block_is_passed_over_all_the_same(
    chain: Chain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_passes(chain, monkeypatch, ZeroDivisionError("a bug"), times=UNFORESEEN_IN_A_ROW - 1)
    chain.market().price_usd8 = 1_850 * USD8
    with capture_logs() as logs:
        running = asyncio.create_task(app.run(settings, once=False, live=True))
        await chain.passed(8)
        await stopped(running)
    broken = [line for line in logs if line["event"] == "pass.broken"]
    assert [line["log_level"] for line in broken] == ["error"] * (UNFORESEEN_IN_A_ROW - 1)
    assert only(settings).outcome == "done"


async def test_run__bug_in_pass_after_pass__ends_the_daemon_with_it(
    chain: Chain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd starts it anew: state that nobody foresaw is not passed over again and again."""
    fail_passes(chain, monkeypatch, ZeroDivisionError("a bug"), times=UNFORESEEN_IN_A_ROW)
    with pytest.raises(ZeroDivisionError):
        await app.run(settings, once=False, live=False)


async def test_run__bug_in_the_only_pass__ends_with_it(
    chain: Chain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_passes(chain, monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        await app.run(settings, once=True, live=False)


async def test_run__blocks_between_two_passes__are_told(chain: Chain, settings: Settings) -> None:
    chain.blocks = 3
    with capture_logs() as logs:
        running = asyncio.create_task(app.run(settings, once=False, live=False))
        await chain.passed(3)
        await stopped(running)
    missed = [line["count"] for line in logs if line["event"] == "heads.missed"]
    assert missed[:2] == [2, 2]


def test_watched_markets__several_positions_in_one__are_read_together(settings: Settings) -> None:
    (first,) = settings.positions
    second = PositionSettings(
        label="two", market="toy", account=address("b2"), policy="fixed", signer="alice"
    )
    object.__setattr__(settings, "positions", (first, second))
    (market,) = watching.watched_markets(settings)
    assert (market.name, market.accounts) == ("toy", (ALICE.address, address("b2")))
