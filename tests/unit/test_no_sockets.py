"""The guard that keeps unit tests off the network."""

import socket

import pytest

from tests.unit.conftest import SocketUsedError


def test_unit_test__connecting__is_refused() -> None:
    with socket.socket() as client, pytest.raises(SocketUsedError):
        client.connect(("127.0.0.1", 9))
