"""The core under a guardian for another protocol: what it holds, it holds there too."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import LocalChain
from keeper.devnet.rpc import RpcError
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD, Address
from tests.guardian.ground import DOLLAR, USDC, Mandate, Refusal, refused_with
from tests.guardian.mocks import mock


@dataclass(slots=True, kw_only=True)
class Other:
    """1,100 dollars of margin where 1,000 are required, and 5,000 in the owner's wallet."""

    chain: LocalChain
    guardian: Contract
    ledger: Contract
    owner: Address
    keeper: Address
    mandate: Mandate
    hash: bytes = b""

    def set_mandate(self, **changes: Any) -> None:
        self.mandate = replace(self.mandate, **changes)
        self.send(self.owner, "set_mandate", self.ledger.address, self.mandate.words())
        self.hash = self.chain.read(self.guardian, "status", self.ledger.address)[2]

    def send(self, sender: Address, function: str, *arguments: object) -> None:
        self.chain.transact(sender, self.guardian, function, *arguments)

    def add(self, most: int = MAX_UINT256) -> None:
        self.send(self.keeper, "add_margin", self.ledger.address, self.hash, most)

    def refusal(self, sender: Address | None = None, carried: bytes | None = None) -> Refusal:
        data = self.guardian.encode(
            "add_margin", self.ledger.address, carried or self.hash, MAX_UINT256
        )
        request = {
            "from": sender or self.keeper,
            "to": self.guardian.address,
            "data": "0x" + data.hex(),
        }
        with pytest.raises(RpcError) as caught:
            self.chain.rpc.call("eth_call", request, "latest")
        return refused_with(caught.value)

    @property
    def margin(self) -> int:
        return int(self.chain.read(self.ledger, "margin", self.owner))


@pytest.fixture
def other(chain: LocalChain) -> Other:
    usdc, owner = chain.contracts.tokens["USDC"], chain.account("owner").address
    keeper = chain.account("keeper").address
    ledger = mock(chain, "Ledger", usdc.address)
    guardian = mock(chain, "LedgerGuardian", owner)
    chain.mint("USDC", owner, 6_100 * USDC)
    chain.transact(owner, usdc, "approve", ledger.address, 1_100 * USDC)
    chain.transact(owner, ledger, "deposit_for", owner, 1_100 * USDC)
    chain.transact(owner, ledger, "require", owner, 1_000 * USDC)
    chain.transact(owner, usdc, "approve", guardian.address, 5_000 * USDC)
    made = Other(
        chain=chain,
        guardian=guardian,
        ledger=ledger,
        owner=owner,
        keeper=keeper,
        mandate=Mandate(keeper=keeper, reserve=owner, max_hops=0),
    )
    made.set_mandate()
    return made


def test_core__another_protocols_action__is_sized_by_target_and_limit(other: Other) -> None:
    other.set_mandate(limit_max=200 * DOLLAR, limit_per_second=0)
    other.add(120 * USDC)
    assert other.margin == 1_220 * USDC
    other.add()
    assert other.margin == 1_300 * USDC
    other.chain.transact(other.owner, other.ledger, "require", other.owner, 1_200 * USDC)
    assert other.refusal() == ("LimitReached", (0, 50 * DOLLAR))
    other.set_mandate(cooldown_s=1)
    assert other.refusal().name == "LimitReached"
    other.set_mandate(limit_max=260 * DOLLAR)
    other.add()
    assert other.margin == 1_360 * USDC


def test_core__another_protocols_action__reaches_the_target(other: Other) -> None:
    other.add()
    assert other.margin == 1_400 * USDC
    assert other.refusal() == ("HealthTooHigh", (14 * WAD // 10, 125 * WAD // 100))
    usdc = other.chain.contracts.tokens["USDC"]
    assert other.chain.read(usdc, "balanceOf", other.guardian.address) == 0


def test_core__another_protocols_action__obeys_key_hash_freeze_and_consent(other: Other) -> None:
    market, stranger = other.ledger.address, other.chain.account("stranger").address
    assert other.refusal(stranger).name == "NotKeeper"
    old = other.hash
    other.set_mandate(cooldown_s=600)
    assert other.refusal(carried=old).name == "StaleMandate"
    other.add(60 * USDC)
    assert other.refusal().name == "CoolingDown"
    other.set_mandate(cooldown_s=0, reserve=stranger)
    assert other.refusal() == ("ConsentMissing", (stranger.lower(), 0))
    other.send(other.owner, "freeze", market)
    assert other.refusal().name == "MarketFrozen"
    other.send(other.owner, "unfreeze", market)
    other.send(other.owner, "revoke_mandate", market)
    assert other.refusal().name == "UnknownMarket"
