"""Starts and stops an Anvil node as a child of this process."""

import http.client
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from keeper.devnet.child import bound_to_parent
from keeper.devnet.rpc import Rpc

HISTORY_BLOCKS = 128
"""States kept, as a full node does. Anvil would write older ones to disk, 2 MB a block, for ever."""

_LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.01
_PORT_ATTEMPTS = 5


class AnvilError(Exception):
    """Anvil could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnvilOptions:
    """How a node starts. Blocks are mined on request only."""

    program: Path
    chain_id: int = 31337
    timestamp: int | None = None
    """Unix seconds of the genesis block; None for a fork, which continues its origin's time."""
    base_fee_wei: int = 10**9
    """Base fee of the first block; later blocks follow EIP-1559 unless set one by one."""
    gas_limit: int = 30_000_000
    """Per block; a fork has its origin's."""
    fork_url: str | None = None
    fork_block: int | None = None
    """The newest of the origin's blocks that the fork has; None for the newest there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anvil:
    """A running node."""

    pid: int
    port: int
    log: IO[bytes] = field(repr=False)

    @property
    def rpc_url(self) -> str:
        """HTTP endpoint."""
        return f"http://{_LOOPBACK}:{self.port}"

    @property
    def ws_url(self) -> str:
        """WebSocket endpoint."""
        return f"ws://{_LOOPBACK}:{self.port}"

    def said(self) -> str:
        """What it wrote so far."""
        # The node writes at the offset that it shares with this file: it must not move.
        log = self.log.fileno()
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")


@contextmanager
def running_anvil(options: AnvilOptions) -> Iterator[Anvil]:
    """A node on a free loopback port, stopped on leaving.

    The kernel kills it when the thread that entered this context ends, however it ends: enter it
    from a thread that lives as long as the chain is needed. Raises `AnvilError`.
    """
    with tempfile.TemporaryFile() as log:
        process, port = _start(options, log)
        try:
            yield Anvil(pid=process.pid, port=port, log=log)
        finally:
            _stop(process)


def _start(options: AnvilOptions, log: IO[bytes]) -> tuple[subprocess.Popen[bytes], int]:
    output = ""
    for _ in range(_PORT_ATTEMPTS):
        port = _free_port()
        process = subprocess.Popen(  # noqa: S603 - our own launcher and a program we located
            bound_to_parent(_command(options, port)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this process, which stops the node in its turn
        )
        if _answers(process, port):
            return process, port
        _stop(process)
        log.seek(0)
        output = log.read().decode(errors="replace").strip()
        if "Address already in use" not in output:
            break
    raise AnvilError(f"{options.program} did not start: {output[-2000:]}")


def _command(options: AnvilOptions, port: int) -> list[str]:
    command = [
        str(options.program),
        "--quiet",
        *("--host", _LOOPBACK),
        *("--port", str(port)),
        *("--chain-id", str(options.chain_id)),
        *("--accounts", "1"),
        *("--order", "fees"),
        *("--prune-history", str(HISTORY_BLOCKS)),
        "--no-mining",
        "--auto-impersonate",
        "--no-request-size-limit",
    ]
    if options.fork_url is not None:
        command += ["--fork-url", options.fork_url, "--no-storage-caching"]
        if options.fork_block is not None:
            command += ["--fork-block-number", str(options.fork_block)]
        return command
    command += ["--block-base-fee-per-gas", str(options.base_fee_wei)]
    command += ["--gas-limit", str(options.gas_limit)]
    if options.timestamp is not None:
        command += ["--timestamp", str(options.timestamp)]
    return command


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the node answers; False if it ended or stayed silent too long."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with Rpc(f"http://{_LOOPBACK}:{port}") as rpc:
                rpc.call("anvil_nodeInfo")
        except (OSError, http.client.HTTPException):
            time.sleep(_POLL_S)
        else:
            return process.poll() is None
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
