"""Finding and stopping the chain that is up."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.devnet.session import DevnetRunningError, announced, running, stop

UP = """
import sys
from keeper.devnet.session import announced
with announced({"rpc_url": "http://127.0.0.1:1"}):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process that announced its chain."""
    with subprocess.Popen(
        [sys.executable, "-c", UP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        yield process
        process.kill()


def test_stop__nothing_is_up__says_so() -> None:
    assert running() is None
    assert stop() is False


def test_stop__a_chain_is_up__ends_it(other: subprocess.Popen[bytes]) -> None:
    assert running() == {"pid": other.pid, "rpc_url": "http://127.0.0.1:1"}
    assert stop() is True
    assert other.wait() == -signal.SIGTERM
    assert running() is None


def test_announced__another_is_up__refuses(other: subprocess.Popen[bytes]) -> None:
    with pytest.raises(DevnetRunningError, match="keeper devnet down"), announced({}):
        pass
    assert running() is not None


def test_announced__the_last_one_was_killed__takes_its_place(
    other: subprocess.Popen[bytes],
) -> None:
    other.kill()
    other.wait()
    assert running() is None
    with announced({"rpc_url": "new"}):
        assert running() == {"pid": os.getpid(), "rpc_url": "new"}
