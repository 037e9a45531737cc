"""Unit tests reach no network: an attempt to connect fails the test that makes it."""

import socket
from types import SimpleNamespace
from typing import NoReturn

import pytest


class SocketUsedError(Exception):
    """A unit test tried to open a connection."""


@pytest.fixture(autouse=True)
def _no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: socket.socket, address: object) -> NoReturn:
        raise SocketUsedError(f"a unit test tried to connect to {address!r}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


@pytest.fixture(autouse=True)
def _own_runtime_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where signers are locked: tests that run side by side use the same ones."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    home = tmp_path_factory.mktemp("home")
    user = SimpleNamespace(pw_dir=str(home))
    monkeypatch.setattr("keeper.storage.ownership.pwd.getpwuid", lambda _: user)
