"""A Safe 1.4.1 of two signers owns a position, gives the mandate and takes it back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from eth_account import Account

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.devnet.accounts import DevAccount
from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.chain import VARIABLE_RATE, LocalChain
from keeper.devnet.toolchain import Toolchain
from keeper.model.units import WAD, Address
from tests.devnet.support import create
from tests.guardian.ground import DOLLAR, USDC, Ground, Mandate, deploy


@dataclass(frozen=True, slots=True, kw_only=True)
class Safe:
    """The Safe, and those who sign for it."""

    chain: LocalChain
    contract: Contract
    signers: Sequence[DevAccount]

    def do(self, target: Contract, function: str, *arguments: object) -> None:
        """A transaction that both signed, sent by somebody without any right."""
        call = (target.address, 0, target.encode(function, *arguments), 0, 0, 0, 0)
        parties = (ZERO_ADDRESS, ZERO_ADDRESS)
        nonce = self.chain.read(self.contract, "nonce")
        digest = self.chain.read(self.contract, "getTransactionHash", *call, *parties, nonce)
        signatures = b"".join(
            bytes(Account.unsafe_sign_hash(digest, signer.private_key).signature)
            for signer in sorted(self.signers, key=lambda signer: int(signer.address, 16))
        )
        sender = self.chain.account("relayer").address
        self.chain.transact(sender, self.contract, "execTransaction", *call, *parties, signatures)


@pytest.fixture
def safe(chain: LocalChain, toolchain: Toolchain) -> Safe:
    artifacts = Artifacts(node_modules=toolchain.node_modules)
    singleton = create(chain, artifacts.safe("Safe"))
    factory = create(chain, artifacts.safe("proxies/SafeProxyFactory"))
    signers = [chain.account("first signer"), chain.account("second signer")]
    setup = singleton.encode(
        "setup",
        *([signer.address for signer in signers], 2, ZERO_ADDRESS, b""),
        *(ZERO_ADDRESS, ZERO_ADDRESS, 0, ZERO_ADDRESS),
    )
    made = (singleton.address, setup, 0)
    address: Any = chain.read(factory, "createProxyWithNonce", *made)
    chain.transact(signers[0].address, factory, "createProxyWithNonce", *made)
    contract = Contract(address=address, interface=singleton.interface)
    return Safe(chain=chain, contract=contract, signers=signers)


@pytest.fixture
def guarded(chain: LocalChain, safe: Safe) -> Ground:
    """The Safe's 10 WETH against 16,500 USDC, and a mandate that the Safe signed."""
    owner, admin = safe.contract.address, chain.account("deployer").address
    pool, weth = chain.contracts.aave.pool, chain.contracts.tokens["WETH"]
    usdc = chain.contracts.tokens["USDC"]
    chain.transact(admin, weth, "mint", owner, 10 * WAD)
    safe.do(weth, "approve", pool.address, 10 * WAD)
    safe.do(pool, "supply", weth.address, 10 * WAD, owner, 0)
    safe.do(pool, "borrow", usdc.address, 16_500 * USDC, VARIABLE_RATE, 0, owner)
    keeper = chain.account("keeper").address
    made = Ground(
        chain=chain,
        owner=Address(owner),
        keeper=keeper,
        guardian=deploy(chain, Address(owner)),
        mandate=Mandate(
            keeper=keeper,
            reserve=Address(owner),
            collaterals=(weth.address,),
            pools=(chain.contracts.uniswap.pools["WETH", "USDC", 500].address,),
        ),
    )
    safe.do(made.a_token("WETH"), "approve", made.guardian.address, 4 * WAD)
    safe.do(usdc, "approve", made.guardian.address, 1_000 * USDC)
    safe.do(made.guardian, "set_mandate", made.market, made.mandate.words())
    made.hash = made.status()[2]
    return made


def test_safe__gives_a_mandate__is_protected_by_repay_and_deleverage(guarded: Ground) -> None:
    guarded.send(guarded.keeper, *guarded.repay("USDC"))
    assert guarded.balance(guarded.token("USDC"), guarded.owner) == 15_500 * USDC
    before = guarded.health
    guarded.send(guarded.keeper, *guarded.deleverage())
    assert before < guarded.health
    assert guarded.health > guarded.mandate.target * 0.998


def test_safe__takes_its_mandate_back__is_left_alone(guarded: Ground, safe: Safe) -> None:
    safe.do(guarded.guardian, "revoke_mandate", guarded.market)
    assert guarded.refusal(guarded.keeper, *guarded.deleverage()).name == "UnknownMarket"


def test_safe__one_signer_alone__changes_nothing(guarded: Ground, safe: Safe) -> None:
    signer = safe.signers[0].address
    words = guarded.changed(limit_max=10**9 * DOLLAR).words()
    refusal = guarded.refusal(signer, "set_mandate", guarded.market, words)
    assert refusal == ("NotOwner", (signer.lower(), guarded.owner.lower()))
