"""What a keeper does through the guardian, on the real Aave and the real pools."""

import pytest

from keeper.devnet.chain import LocalChain
from keeper.model.units import WAD
from tests.guardian.ground import Ground, ground, mandate_hash

USDC = 10**6
BTC = 10**8


@pytest.fixture
def made(chain: LocalChain) -> Ground:
    """10 WETH at 2,281.37 USD against 16,500 USDC: health 1.141, to be lifted to 1.4."""
    return ground(chain, {"WETH": 10 * WAD}, {"USDC": 16_500 * USDC})


def fund(made: Ground, symbol: str, amount: int) -> None:
    """The owner is its own reserve."""
    made.chain.mint(symbol, made.owner, amount)
    made.allow(made.token(symbol), amount)
    made.set_mandate(reserve=made.owner)


def test_mandate_hash__by_the_documented_formula__is_the_contracts(made: Ground) -> None:
    assert made.hash == mandate_hash(made, nonce=1)


def test_repay__enough_reserve__restores_the_target(made: Ground) -> None:
    fund(made, "USDC", 10_000 * USDC)
    made.send(made.keeper, *made.repay("USDC"))
    assert made.health == pytest.approx(made.mandate.target, rel=1e-6)


def test_add_collateral__enough_reserve__restores_the_target(made: Ground) -> None:
    fund(made, "WETH", 10 * WAD)
    made.send(made.keeper, *made.add_collateral("WETH"))
    assert made.health == pytest.approx(made.mandate.target, rel=1e-6)


@pytest.mark.parametrize("flash_loan", [False, True])
def test_deleverage__one_pool__restores_the_target_less_the_cost(
    made: Ground, flash_loan: bool
) -> None:
    before = made.health
    made.send(made.keeper, *made.deleverage(flash_loan=flash_loan))
    assert made.mandate.target * 0.998 < made.health <= made.mandate.target
    assert made.health > before
