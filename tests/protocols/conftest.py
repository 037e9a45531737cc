"""An Aave market on the local chain, with and without a crowd in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from keeper.devnet.chain import LocalChain
from keeper.model.units import Address
from keeper.protocols import aave_v3
from tests.protocols.crowd import Member, add_priced_category, gather
from tests.protocols.reading import Reader


def discovered(chain: LocalChain) -> aave_v3.AaveMarket:
    """The local chain's market."""
    provider = chain.contracts.aave.pool_addresses_provider.address
    return Reader(chain).run(aave_v3.discover(provider, chain_id=chain.chain_id, name="aave"))


@pytest.fixture
def market(chain: LocalChain) -> aave_v3.AaveMarket:
    return discovered(chain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """210 accounts, 33 days after they took their positions."""

    market: aave_v3.AaveMarket
    members: tuple[Member, ...]

    @property
    def accounts(self) -> tuple[Address, ...]:
        return tuple(member.account for member in self.members)


@pytest.fixture(scope="module")
def crowd(shared_chain: LocalChain) -> Iterator[Crowd]:
    born = shared_chain.snapshot()
    add_priced_category(shared_chain)
    members = gather(shared_chain, size=210, seed=1)
    yield Crowd(market=discovered(shared_chain), members=members)
    shared_chain.revert(born)
