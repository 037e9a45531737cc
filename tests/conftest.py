"""Settings that every test shares, and the local chain for those that ask for it."""

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from keeper.devnet.artifacts import Artifacts
from keeper.devnet.chain import ChainSpec, LocalChain, local_chain
from keeper.devnet.perp import deploy_perp
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.toolchain import Toolchain, install

# The same examples on each run, and no verdict that depends on how busy the machine is.
settings.register_profile("keeper", deadline=None, derandomize=True)
# Whether there is a failure, not the shortest way to it: for planted defects.
settings.register_profile(
    "first-failure", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("keeper")


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """Anvil and the contracts, installed if need be."""
    return install(lambda _: None)


@pytest.fixture(scope="session")
def shared_chain(toolchain: Toolchain) -> Iterator[LocalChain]:
    """One chain for the whole session: ask for `chain` instead."""
    with local_chain(ChainSpec(), toolchain) as chain:
        yield chain


@pytest.fixture
def chain(shared_chain: LocalChain) -> Iterator[LocalChain]:
    """A local chain of real contracts, put back to its first state after each test."""
    born = shared_chain.snapshot()
    yield shared_chain
    shared_chain.revert(born)


@pytest.fixture
def perp(chain: LocalChain, toolchain: Toolchain) -> PerpMarket:
    """Perp v2 on the local chain, with an arbitrageur who can move its prices."""
    contracts = deploy_perp(chain, Artifacts(node_modules=toolchain.node_modules))
    market = PerpMarket(chain=chain, perp=contracts)
    market.fund_arbitrageur()
    return market
