"""The ground that the daemon is tried on."""

from itertools import count
from pathlib import Path

import pytest

from keeper.devnet.chain import LocalChain
from tests.devnet.keeping.ground import Ground

_SECONDS = count(13)


@pytest.fixture
def ground(chain: LocalChain, tmp_path: Path) -> Ground:
    # Blocks of their own for each test: Anvil forgets the state of a block that it once pruned,
    # also where the same block, with the same hash, is mined again after a revert.
    chain.mine(chain.timestamp() + next(_SECONDS))
    return Ground(chain=chain, folder=tmp_path)
