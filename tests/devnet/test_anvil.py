"""Starting and stopping the node."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keeper.devnet.anvil import AnvilError, AnvilOptions, running_anvil
from keeper.devnet.chain import LocalChain
from keeper.devnet.deploying import read
from keeper.devnet.rpc import Rpc, RpcError
from keeper.devnet.toolchain import Toolchain

PATIENCE_MS = 30_000


def ends(pidfd: int) -> bool:
    """Wait for a process to end."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(PATIENCE_MS))


def test_running_anvil__left_by_an_error__is_stopped(toolchain: Toolchain) -> None:
    seen: list[int] = []

    def fail_while_running() -> None:
        with running_anvil(AnvilOptions(program=toolchain.anvil, timestamp=1)) as anvil:
            seen.append(os.pidfd_open(anvil.pid))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_while_running()
    assert ends(seen[0])
    os.close(seen[0])


def test_running_anvil__parent_killed__does_not_outlive_it(toolchain: Toolchain) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from keeper.devnet.anvil import AnvilOptions, running_anvil\n"
        "with running_anvil(AnvilOptions(program=Path(sys.argv[1]), timestamp=1)) as anvil:\n"
        "    print(anvil.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(toolchain.anvil)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        assert ends(pidfd)
        os.close(pidfd)


def test_running_anvil__program_that_ends_at_once__says_so(tmp_path: Path) -> None:
    program = tmp_path / "anvil"
    program.write_text("#!/bin/sh\necho no such option\nexit 2\n")
    program.chmod(0o755)
    with (
        pytest.raises(AnvilError, match="no such option"),
        running_anvil(AnvilOptions(program=program)),
    ):
        pass


def test_running_anvil__fork_of_a_local_chain__sees_its_contracts_under_its_own_chain_id(
    chain: LocalChain, toolchain: Toolchain
) -> None:
    options = AnvilOptions(program=toolchain.anvil, chain_id=31338, fork_url=chain.rpc_url)
    pool = chain.contracts.aave.pool
    with running_anvil(options) as fork, Rpc(fork.rpc_url) as rpc:
        assert int(rpc.call("eth_chainId"), 16) == 31338
        assert read(rpc, pool, "getReservesList") == chain.read(pool, "getReservesList")


def test_batch__one_request_fails__names_it(chain: LocalChain) -> None:
    with pytest.raises(RpcError, match="keeper_noSuchMethod"):
        chain.rpc.batch([("eth_chainId", ()), ("keeper_noSuchMethod", ())])


def test_call__block_hash_given__sees_that_blocks_time(chain: LocalChain) -> None:
    multicall = chain.contracts.multicall3
    then = chain.timestamp()
    pinned = chain.rpc.call("eth_getBlockByNumber", "latest", False)["hash"]
    chain.mine()
    request = {"to": multicall, "data": "0x0f28c97d"}  # getCurrentBlockTimestamp()
    assert int(chain.rpc.call("eth_call", request, {"blockHash": pinned}), 16) == then
    assert int(chain.rpc.call("eth_call", request, "latest"), 16) == then + 12
