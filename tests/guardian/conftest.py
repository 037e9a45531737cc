"""The position that most tests protect."""

import pytest

from keeper.devnet.chain import LocalChain
from keeper.model.units import WAD
from tests.guardian.ground import USDC, Ground, ground


@pytest.fixture
def made(chain: LocalChain) -> Ground:
    """10 WETH at 2,281.37 USD against 16,500 USDC: health 1.141, to be lifted to 1.4."""
    return ground(chain, {"WETH": 10 * WAD}, {"USDC": 16_500 * USDC})
