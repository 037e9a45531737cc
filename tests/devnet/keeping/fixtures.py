"""Fixtures for the tests that run the daemon."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from keeper.devnet.chain import LocalChain
from tests.devnet.keeping.ground import Ground

_SECONDS = count(13)


@pytest.fixture
def ground(chain: LocalChain, tmp_path: Path) -> Iterator[Ground]:
    """Where the daemon is tried. Whatever happens there, no action may make a position worse or do
    anything but what was predicted."""
    # Blocks of their own for each test: Anvil forgets the state of a block that it once pruned,
    # also where the same block, with the same hash, is mined again after a revert.
    chain.mine(chain.timestamp() + next(_SECONDS))
    ground = Ground(chain=chain, folder=tmp_path)
    yield ground
    if ground.journal.exists():
        assert [flaw for flaw in ground.flaws() if "could not be read again" not in flaw] == []
