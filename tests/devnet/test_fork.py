"""A fork: the daemon protects on it, nothing reaches the origin, and no key of the user's is read."""

import asyncio
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from keeper.cli import main
from keeper.devnet.anvil import Anvil, AnvilOptions, running_anvil
from keeper.devnet.chain import LocalChain
from keeper.devnet.deploying import read
from keeper.devnet.fork import Fork, forked
from keeper.devnet.origin import Origin, OriginError, examined, relayed
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.rpc import Rpc
from keeper.devnet.takeover import TakeoverError, read_positions
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.views import Repaid
from keeper.engine.watch import WatchedMarket
from keeper.model.errors import TemporaryError
from keeper.model.units import Address
from keeper.protocols import aave_v3
from keeper.protocols.aave_v3 import AavePosition
from tests.devnet.keeping.ground import Ground, Guarded, target_of
from tests.devnet.keeping.process import keeper
from tests.protocols.crowd import KINDS, add_priced_category, gather

FORK_ID = 10**12 + 31337
CREDENTIALS = "hunter2hunter2"


def forked_view(chain: LocalChain, node: Any, rpc: Rpc) -> LocalChain:
    """The origin's contracts and accounts, seen through a fork's node."""
    return LocalChain(
        rpc_url=node.rpc_url,
        ws_url=node.ws_url,
        spec=replace(chain.spec, chain_id=FORK_ID),
        rpc=rpc,
        contracts=chain.contracts,
        accounts=dict(chain.accounts),
    )


def footprint(chain: LocalChain, one: Guarded) -> tuple[Any, ...]:
    """What any transaction on the chain would change: its newest block, what waits for the next,
    and the account."""
    newest = chain.rpc.call("eth_getBlockByNumber", "latest", False)["hash"]
    pool, account = chain.contracts.aave.pool, one.account.address
    return (
        newest,
        chain.rpc.call("txpool_status"),
        chain.read(pool, "getUserAccountData", account),
        chain.rpc.call("eth_getTransactionCount", account, "pending"),
    )


@contextmanager
def keeper_fork(*arguments: str, environ: dict[str, str]) -> Iterator[tuple[Any, Any]]:
    """`keeper fork --json` in a process of its own, and what it prints when it is up."""
    command = [sys.executable, "-m", "keeper", "fork", "--json", *arguments]
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environ}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line == "}\n":
                    break
            assert lines, process.stderr.read()
            yield process, json.loads("".join(lines))
        finally:
            process.terminate()


@contextmanager
def fork_of(chain: LocalChain, toolchain: Toolchain) -> Iterator[Fork]:
    with forked(asyncio.run(examined(chain.rpc_url, None)), toolchain.anvil) as fork:
        yield fork


def positions_of(
    chain: LocalChain, fork: Fork, accounts: tuple[Address, ...]
) -> list[AavePosition]:
    market = WatchedMarket(
        aave_v3,
        provider=chain.contracts.aave.pool_addresses_provider.address,
        name="aave",
        chain_id=fork.chain_id,
        accounts=accounts,
    )
    return asyncio.run(read_positions(fork.rpc_url, chain.contracts.multicall3, [market]))


def market_totals(chain: LocalChain, fork: Fork, asset: str, block: str = "latest") -> Any:
    """What a reserve holds in all: supplied, stable debt, variable debt, and what can be borrowed."""
    contracts = chain.contracts
    seen = read(
        fork.rpc, contracts.aave.reserve_data_provider, "getReserveData", asset, block=block
    )
    (token,) = (one for one in contracts.tokens.values() if one.address.lower() == asset)
    a_token = read(fork.rpc, contracts.aave.pool, "getReserveData", asset)[8]
    return (*seen[2:5], read(fork.rpc, token, "balanceOf", a_token, block=block))


# -- the daemon on a fork --------------------------------------------------------------------------


async def test_run__on_a_fork_of_another_node__protects_there_and_leaves_the_origin_alone(
    chain: LocalChain, toolchain: Toolchain, tmp_path: Path
) -> None:
    origin = Ground(chain=chain, folder=tmp_path)
    one = origin.guard(health="1.20")  # below its floor of 1.25
    before = footprint(chain, one)

    options = AnvilOptions(program=toolchain.anvil, chain_id=FORK_ID, fork_url=chain.rpc_url)
    with running_anvil(options) as node, Rpc(node.rpc_url) as rpc:
        view = forked_view(chain, node, rpc)
        ground = replace(origin, chain=view)
        async with (
            RecordingProxy(node.rpc_url, node.ws_url) as proxy,
            ground.keeper(proxy, "--live") as running,
        ):
            await running.said("keeper.ready")
            await ground.until_concluded(running)
            assert await running.stop() == 0
        (repaid,) = ground.events(one)
        assert isinstance(repaid, Repaid)
        assert ground.health(one) >= target_of(one)
        assert ground.flaws() == []

    assert footprint(chain, one) == before
    assert origin.events(one) == []


# -- the command -----------------------------------------------------------------------------------


async def test_fork__with_a_configuration__is_guarded_without_any_key_of_the_user(
    chain: LocalChain, tmp_path: Path
) -> None:
    origin = Ground(chain=chain, folder=tmp_path)
    one = origin.guard(health="1.20")
    config = origin.config(chain.rpc_url, chain.ws_url)
    # A keystore that does not exist and a key that is none: whoever reads them fails.
    config.write_text(
        config.read_text().replace("[signers.main]", '[signers.main]\nkeystore = "nowhere.json"')
    )
    user = {"KEEPER_PRIVATE_KEY": "no key", "KEEPER_STORE__PATH": str(tmp_path / "users.sqlite3")}
    before = footprint(chain, one)

    with keeper_fork("--config", str(config), "--block-time", "1", environ=user) as (fork, said):
        assert said["origin_chain_id"] == chain.chain_id
        assert said["forked_block"] == origin.block()
        assert said["chain_id"] not in {chain.chain_id, 1}
        heir = said["accounts"][one.account.address]
        assert heir != one.account.address
        folder = Path(said["config"]).parent
        assert {path.stat().st_mode & 0o077 for path in folder.glob("*.json")} == {0}

        environ = {key: value for key, value in user.items() if "KEY" not in key}
        async with keeper(
            "run", "--live", config=Path(said["config"]), environ=environ | said["environment"]
        ) as running:
            concluded = await running.said("plan.concluded")
            assert concluded["succeeded"]
            assert concluded["differences"] == []
            assert await running.stop() == 0
        with Rpc(said["rpc_url"]) as rpc:
            account = read(rpc, chain.contracts.aave.pool, "getUserAccountData", heir)
            assert account[-1] >= target_of(one)
            assert int(rpc.call("eth_chainId"), 16) == said["chain_id"]
        assert not (tmp_path / "users.sqlite3").exists()

        fork.send_signal(signal.SIGTERM)
        assert fork.wait(30) == 0
        assert fork.stderr.read() == f"keeper: the files of this run are in {folder}\n"
    assert (folder / "keeper.sqlite3").exists()
    shutil.rmtree(folder)
    with pytest.raises(ConnectionRefusedError), Rpc(said["rpc_url"]) as rpc:
        rpc.call("eth_chainId")
    assert footprint(chain, one) == before
    assert origin.events(one) == []


def test_fork__of_an_older_block__is_as_the_chain_was_and_moves_nothing(
    chain: LocalChain, tmp_path: Path
) -> None:
    one = Ground(chain=chain, folder=tmp_path).guard()
    pool, account = chain.contracts.aave.pool, one.account.address
    number, was = (
        int(chain.rpc.call("eth_blockNumber"), 16),
        chain.read(pool, "getUserAccountData", account),
    )
    chain.set_price("WETH", 1_000_00000000)

    url = chain.rpc_url.replace("http://", f"http://{CREDENTIALS}:{CREDENTIALS}@")
    with keeper_fork("--rpc", url, "--block", str(number), environ={}) as (fork, said):
        assert said["forked_block"] == number
        assert "config" not in said
        assert CREDENTIALS not in json.dumps(said)
        with Rpc(said["rpc_url"]) as rpc:
            assert read(rpc, pool, "getUserAccountData", account) == was
            # What the node tells everybody who asks, and what `ps` shows of it.
            assert chain.rpc_url not in json.dumps(rpc.call("anvil_nodeInfo"))
        node = subprocess.run(
            ["ps", "-ww", "--ppid", str(fork.pid), "-o", "args="],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--fork-url http://127.0.0.1:" in node.stdout
        assert CREDENTIALS not in node.stdout


def test_fork__node_that_is_killed__ends_the_command(chain: LocalChain) -> None:
    with keeper_fork("--rpc", chain.rpc_url, environ={}) as (fork, _):
        (node,) = Path(f"/proc/{fork.pid}/task/{fork.pid}/children").read_text().split()
        os.kill(int(node), signal.SIGKILL)
        assert fork.wait(30) == 1
        assert fork.stderr.read() == "keeper: the fork's node ended by itself\n"


def test_failure__node_that_missed_a_state__asks_for_an_archive_or_another_try() -> None:
    with tempfile.TemporaryFile() as log, Rpc("http://127.0.0.1:1") as rpc:
        log.write(b"BlockOutOfRangeError: block height is 2683 but requested was 2538")
        log.flush()
        node = Anvil(pid=1, port=1, log=log)
        origin = Origin(url="http://127.0.0.1:1", chain_id=1, block=2538)
        failure = Fork(
            rpc_url="", ws_url="", chain_id=FORK_ID, origin=origin, node=node, rpc=rpc
        ).failure()
    assert isinstance(failure, TemporaryError)
    assert "no longer keeps the state of block 2538: fork from an archive" in str(failure)


def test_relay__anything_but_a_read__does_not_reach_the_origin(chain: LocalChain) -> None:
    before = chain.rpc.call("eth_blockNumber")
    with relayed(chain.rpc_url) as url:
        with Rpc(url) as rpc:
            assert rpc.call("eth_blockNumber") == before
        for method in ("evm_mine", "eth_sendTransaction", "anvil_setBalance"):
            with Rpc(url) as rpc, pytest.raises(ConnectionResetError):
                rpc.call(method)
    assert chain.rpc.call("eth_blockNumber") == before


# -- taking positions over -------------------------------------------------------------------------


def test_take_over__positions_of_every_kind__are_the_same_to_the_last_unit(
    chain: LocalChain, toolchain: Toolchain
) -> None:
    add_priced_category(chain)
    members = gather(chain, len(KINDS), seed=7)
    pool, accounts = chain.contracts.aave.pool, tuple(member.account for member in members)
    with fork_of(chain, toolchain) as fork:
        assets = read(fork.rpc, pool, "getReservesList")
        was = {one: read(fork.rpc, pool, "getUserAccountData", one) for one in accounts}
        totals = [market_totals(chain, fork, asset) for asset in assets]
        positions = positions_of(chain, fork, accounts)
        heirs = fork.take_over(positions)

        # The last block lets time go on again; until the one before it stood still.
        newest = int(fork.rpc.call("eth_blockNumber"), 16)
        then = hex(newest - 1)
        for one in accounts:
            heir = heirs[one].address
            assert read(fork.rpc, pool, "getUserAccountData", heir, block=then) == was[one]
            left = read(fork.rpc, pool, "getUserAccountData", one, block=then)
            assert left[:2] == (0, 0)
        after = positions_of(chain, fork, tuple(Address(heirs[one].address) for one in accounts))
        for before, position in zip(positions, after, strict=True):
            assert [leg.wallet for leg in position.legs] == [leg.wallet for leg in before.legs]
            assert position.e_mode == before.e_mode
        assert [market_totals(chain, fork, asset, block=then) for asset in assets] == totals


def test_take_over__a_paused_market__says_what_refused(
    chain: LocalChain, toolchain: Toolchain, tmp_path: Path
) -> None:
    one = Ground(chain=chain, folder=tmp_path).guard()
    admin = chain.account("deployer").address
    chain.transact(admin, chain.contracts.aave.pool_configurator, "setPoolPause", True)
    with fork_of(chain, toolchain) as fork:
        positions = positions_of(chain, fork, (one.account.address,))
        with pytest.raises(TakeoverError, match="RESERVE_PAUSED"):
            fork.take_over(positions)


# -- wrong input -----------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """The exit code of `keeper fork` and what it says on standard error."""
    terminated = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["keeper", "fork", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert CREDENTIALS not in said.err
        assert isinstance(ended.value.code, int)
        return ended.value.code, " ".join(said.err.replace("│", "").split())

    yield run
    signal.signal(signal.SIGTERM, terminated)


class Website(BaseHTTPRequestHandler):
    """Answers as a web server that knows nothing of JSON-RPC; its path names the status."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0]
        self.send_response(int(path.split("/")[1]))
        self.end_headers()
        self.wfile.write(
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"bad key"}}'
            if path.endswith("refuse")
            else b"<html>"
        )

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def website() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Website) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://user:{CREDENTIALS}@127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("/200", 78, "no JSON-RPC endpoint answers there (HTTP status 200) why: "),
        ("/404", 78, "no JSON-RPC endpoint answers there (HTTP status 404) why: "),
        ("/200/refuse", 78, "eth_chainId is refused: bad key why: "),
        ("/429", 75, "is unavailable: HTTP status 429"),
        ("/503", 75, "is unavailable: HTTP status 503"),
    ],
)
def test_fork__endpoint_that_is_none__is_named_without_its_credentials(
    told: Any, website: str, path: str, code: int, message: str
) -> None:
    ended, said = told("--rpc", f"{website}{path}?key={CREDENTIALS}")
    assert ended == code
    assert message in said
    assert "127.0.0.1:" in said


def test_fork__endpoint_that_is_down__is_75(told: Any) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as unused:
        port = unused.server_address[1]
    code, said = told("--rpc", f"http://127.0.0.1:{port}/{CREDENTIALS}")
    assert code == 75
    assert said.startswith(f"keeper: 127.0.0.1:{port} is unavailable: connection refused: ")
    assert CREDENTIALS not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --rpc, or --config with an endpoint in it"),
        (["--rpc", "ws://127.0.0.1:1"], "Invalid value for '--rpc': this is not a URL of http"),
        (["--rpc", "http://127.0.0.1:1", "--block", "-1"], "Invalid value for '--block'"),
        (["--rpc", "http://127.0.0.1:1", "--block-time", "0"], "Invalid value for '--block-time'"),
    ],
)
def test_fork__wrong_usage__is_2(told: Any, arguments: list[str], message: str) -> None:
    code, said = told(*arguments)
    assert code == 2
    assert message in said


def test_fork__block_that_is_not_there_yet__names_the_newest(told: Any, chain: LocalChain) -> None:
    newest = int(chain.rpc.call("eth_blockNumber"), 16)
    code, said = told("--rpc", chain.rpc_url, "--block", str(newest + 1))
    assert code == 78
    assert f"has no such block yet why: its newest is {newest} fix: give an older" in said


def test_fork__block_whose_state_is_gone__asks_for_an_archive(told: Any, chain: LocalChain) -> None:
    newest = int(chain.rpc.call("eth_blockNumber"), 16)
    chain.rpc.call("anvil_mine", hex(300))
    code, said = told("--rpc", chain.rpc_url, "--block", str(newest))
    assert code == 78
    assert "does not have the state of this block" in said
    assert "or the URL of an archive node" in said


def test_examined__no_block_asked_for__is_the_newest(chain: LocalChain) -> None:
    origin = asyncio.run(examined(chain.rpc_url, None))
    assert (origin.chain_id, hex(origin.block)) == (
        chain.chain_id,
        chain.rpc.call("eth_blockNumber"),
    )
    with pytest.raises(OriginError):
        asyncio.run(examined(chain.rpc_url, origin.block + 1))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("id", "keeper.toml:2: chain.id: the node answers for chain 31337, not 1 why: "),
        ("market", ":18: markets.aave.pool_addresses_provider: there is no contract at 0x"),
        ("multicall", ": chain.multicall: there is no contract at 0x"),
        ("not a provider", "no PoolAddressesProvider answers there why: "),
    ],
)
def test_fork__configuration_for_something_else__is_78_at_its_line(
    told: Any, chain: LocalChain, tmp_path: Path, key: str, message: str
) -> None:
    ground = Ground(chain=chain, folder=tmp_path)
    one = ground.guard()
    config = ground.config(chain.rpc_url, None)
    provider = chain.contracts.aave.pool_addresses_provider.address
    text = config.read_text()
    match key:
        case "id":
            text = text.replace(f"id = {chain.chain_id}", "id = 1")
        case "market":
            text = text.replace(provider, one.account.address)
        case "multicall":
            chain.rpc.call("anvil_setCode", chain.contracts.multicall3, "0x")
        case _:
            text = text.replace(provider, chain.contracts.aave.pool.address)
    config.write_text(text)
    code, said = told("--config", str(config))
    assert code == 78
    assert message in said
    assert " fix: " in said
