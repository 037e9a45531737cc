"""Tokens that return nothing, that want an allowance of zero before another, that take a fee."""

import pytest
from eth_utils.crypto import keccak

from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.chain import VARIABLE_RATE, LocalChain
from keeper.devnet.toolchain import Toolchain
from keeper.model.units import WAD
from tests.guardian.ground import DOLLAR, USDC, Ground, ground
from tests.guardian.mocks import list_odd_token

LOCKED = "eth_call: execution reverted (code 3)"
"""The compiler's lock reverts without a reason."""


@pytest.fixture
def odd(chain: LocalChain, toolchain: Toolchain) -> Contract:
    return list_odd_token(chain, Artifacts(node_modules=toolchain.node_modules))


@pytest.fixture
def owing(chain: LocalChain, odd: Contract) -> Ground:
    """10 WETH against 16,500 of the odd token, 5,000 more of it in the owner's wallet."""
    made = ground(chain, {"WETH": 10 * WAD}, {})
    pool = chain.contracts.aave.pool
    chain.transact(
        made.owner, pool, "borrow", odd.address, 16_500 * USDC, VARIABLE_RATE, 0, made.owner
    )
    chain.transact(made.owner, odd, "mint", made.owner, 5_000 * USDC)
    made.allow(odd, 5_000 * USDC)
    return made.set_mandate(reserve=made.owner)


def test_token_like_usdt__repaid_twice__works(owing: Ground, odd: Contract) -> None:
    for _ in range(2):
        before = owing.health
        owing.send(owing.keeper, "repay", owing.market, owing.hash, odd.address, 1_000 * USDC)
        assert owing.health > before
    assert owing.balance(odd, owing.guardian.address) == 0


def test_token_with_a_fee__is_refused(owing: Ground, odd: Contract) -> None:
    owing.chain.transact(owing.owner, odd, "charge", 100)
    call = ("repay", owing.market, owing.hash, odd.address, 1_000 * USDC)
    assert owing.refusal(owing.keeper, *call) == ("TransferShort", (990 * USDC, 1_000 * USDC))


@pytest.mark.parametrize("change", [-1, 1, 5 * USDC])
def test_token_whose_balances_move_by_themselves__is_refused(
    owing: Ground, odd: Contract, change: int
) -> None:
    """With every transfer to the guardian a unit is lost, as of stETH, or some come from nowhere."""
    owing.chain.transact(owing.owner, odd, "rebase", owing.guardian.address, change)
    call = ("repay", owing.market, owing.hash, odd.address, 1_000 * USDC)
    refused = ("TransferShort", (1_000 * USDC + change, 1_000 * USDC))
    assert owing.refusal(owing.keeper, *call) == refused


def test_token_without_a_liquidation_threshold__is_no_collateral(
    owing: Ground, odd: Contract
) -> None:
    call = ("add_collateral", owing.market, owing.hash, odd.address, 1_000 * USDC)
    refusal = owing.refusal(owing.keeper, *call)
    assert refusal == ("NotCollateral", (odd.address.lower(), 0))


def test_token_that_says_no__is_refused(owing: Ground, odd: Contract) -> None:
    owing.chain.transact(owing.owner, odd, "say_no", True)
    call = ("repay", owing.market, owing.hash, odd.address, 1_000 * USDC)
    refusal = owing.refusal(owing.keeper, *call)
    assert refusal == ("TransferRefused", (odd.address.lower(), 1_000 * USDC))


@pytest.mark.parametrize(
    "function",
    [
        *("set_mandate", "revoke_mandate", "freeze", "unfreeze", "consent"),
        *("add_collateral", "repay", "deleverage", "emergency", "executeOperation"),
    ],
)
def test_token_that_calls_back_in__is_refused(owing: Ground, odd: Contract, function: str) -> None:
    """Entry points share one lock, those of the core included; callbacks were not announced."""
    guardian, anyone = owing.guardian, owing.market
    call = {
        "set_mandate": ("set_mandate", owing.market, owing.mandate.words()),
        "consent": ("consent", owing.market, DOLLAR, 0, 0),
        "add_collateral": owing.add_collateral("WETH"),
        "deleverage": owing.deleverage(),
        "repay": owing.repay("USDC"),
        "executeOperation": ("executeOperation", odd.address, 1, 0, anyone, b""),
    }.get(function, (function, owing.market))
    data = guardian.encode(*call)
    owing.chain.transact(owing.owner, odd, "call_on_transfer", guardian.address, data, False)
    refusal = owing.refusal(
        owing.keeper, "repay", owing.market, owing.hash, odd.address, 1_000 * USDC
    )
    if function == "executeOperation":
        assert refusal == ("UnexpectedCallback", (odd.address.lower(), keccak(b"")))
    else:
        assert refusal.name == LOCKED


def test_token_in_an_e_mode__without_a_threshold_of_its_own__is_repaid_but_no_collateral(
    chain: LocalChain, odd: Contract
) -> None:
    """A category lends its threshold only to what counts as collateral outside of it."""
    made = ground(
        chain,
        {"DAI": 10_000 * WAD},
        {"USDC": 9_000 * USDC},
        e_mode=1,
        slippage_calm_bps=10,
        slippage_urgent_bps=50,
    )
    made.configure("setAssetEModeCategory", odd.address, 1)
    pool = chain.contracts.aave.pool
    chain.transact(
        made.owner, pool, "borrow", odd.address, 500 * USDC, VARIABLE_RATE, 0, made.owner
    )
    made.allow(odd, 500 * USDC)
    made.set_mandate(reserve=made.owner)
    refusal = made.refusal(
        made.keeper, "add_collateral", made.market, made.hash, odd.address, 100 * USDC
    )
    assert refusal == ("NotCollateral", (odd.address.lower(), 0))
    made.send(made.keeper, "repay", made.market, made.hash, odd.address, 100 * USDC)
    assert made.balance(odd, made.owner) == 400 * USDC
