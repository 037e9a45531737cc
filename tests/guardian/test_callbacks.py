"""Callbacks that nobody asked for, and a market that does what Aave never does."""

import pytest
from eth_utils.crypto import keccak

from keeper.devnet.chain import LocalChain
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD
from tests.guardian.ground import DOLLAR, USDC, WETH_USDC, Ground, Refusal
from tests.guardian.mocks import mock

HEALTHY = 14 * WAD // 10
# 80 % liquidation threshold, 5 % bonus, 6 decimals
WORD = 8_000 << 16 | 10_500 << 32 | 6 << 48


@pytest.mark.parametrize("who", ["thief", "keeper", "pool"])
def test_swap_callback__not_asked_for__is_refused(made: Ground, who: str) -> None:
    caller = made.pool(*WETH_USDC).address if who == "pool" else made.chain.account(who).address
    refusal = made.refusal(caller, "uniswapV3SwapCallback", 1, -1, b"data")
    assert refusal == ("UnexpectedCallback", (caller.lower(), keccak(b"data")))


def test_loan_callback__a_strangers_flash_loan__is_refused(made: Ground) -> None:
    """Anyone may ask Aave to lend to the guardian; the premium would be the guardian's loss."""
    pool, usdc = made.chain.contracts.aave.pool, made.token("USDC").address
    call = pool.encode("flashLoanSimple", made.guardian.address, usdc, USDC, b"", 0)
    thief = made.chain.account("thief").address
    refusal = made.refusal_of({"from": thief, "to": pool.address, "data": "0x" + call.hex()})
    assert refusal == ("UnexpectedCallback", (pool.address.lower(), keccak(b"")))


# -- a market that lies --------------------------------------------------------------------------------


class Lying:
    """A market that the owner gave a mandate for, with 10,000 USD of debt at health 1.12."""

    def __init__(self, made: Ground) -> None:
        self.made = made
        self.market = mock(made.chain, "FakeMarket")
        self.before = (14_000 * DOLLAR, 10_000 * DOLLAR, 0, 8_000, 0, 112 * WAD // 100)
        self.tell(self.before)
        made.fund("USDC", 10_000 * USDC)
        terms = made.mandate.words()
        made.chain.transact(made.owner, made.guardian, "set_mandate", self.market.address, terms)
        self.hash = made.chain.read(made.guardian, "status", self.market.address)[2]

    def tell(self, after: tuple[int, ...], left_over: int = 0) -> None:
        told = (self.before, after, DOLLAR, WORD, 10_000 * USDC, left_over)
        self.made.chain.transact(self.made.owner, self.market, "tell", *told)

    def call(self, function: str) -> tuple[object, ...]:
        usdc = self.made.token("USDC").address
        return (function, self.market.address, self.hash, usdc, 1_000 * USDC)

    def refusal(self, function: str) -> Refusal:
        name, *arguments = self.call(function)
        return self.made.refusal(self.made.keeper, str(name), *arguments)


@pytest.fixture
def lying(made: Ground) -> Lying:
    return Lying(made)


def account(collateral: int, debt: int, health: int) -> tuple[int, ...]:
    return (collateral * DOLLAR, debt * DOLLAR, 0, 8_000, 0, health)


# 14,000 × 0.8 / 9,000 = 1.244 after a repayment of 1,000 USD.


def test_outcome__debt_not_down_by_what_was_repaid__is_refused(lying: Lying) -> None:
    lying.tell(account(14_000, 9_001, HEALTHY))
    assert lying.refusal("repay").name == "DebtRose"


def test_outcome__collateral_gone_meanwhile__is_refused(lying: Lying) -> None:
    lying.tell(account(13_999, 9_000, HEALTHY))
    assert lying.refusal("repay").name == "CollateralFell"


def test_outcome__health_below_what_follows__is_refused(lying: Lying) -> None:
    lying.tell(account(14_000, 9_000, 124 * WAD // 100))
    assert lying.refusal("repay").name == "HealthRoseTooLittle"


def test_outcome__health_past_the_target__is_refused(lying: Lying) -> None:
    lying.tell(account(14_000, 9_000, 1415 * WAD // 1000))
    refusal = lying.refusal("repay")
    assert refusal == ("HealthAboveTarget", (1415 * WAD // 1000, 1414 * WAD // 1000))


def test_outcome__as_it_should_be__passes(lying: Lying) -> None:
    lying.tell(account(14_000, 9_000, 12444 * WAD // 10_000))
    name, *arguments = lying.call("repay")
    lying.made.send(lying.made.keeper, str(name), *arguments)


def test_rest__market_takes_less_than_it_was_given__goes_back_to_the_reserve(
    lying: Lying,
) -> None:
    made, usdc = lying.made, lying.made.token("USDC")
    lying.tell(account(14_000, 9_000, 12444 * WAD // 10_000), left_over=7 * USDC)
    purse = made.balance(usdc, made.owner)
    name, *arguments = lying.call("repay")
    made.send(made.keeper, str(name), *arguments)
    assert purse - made.balance(usdc, made.owner) == 993 * USDC
    assert made.balance(usdc, made.guardian.address) == 0
    assert made.chain.read(usdc, "allowance", made.guardian.address, lying.market.address) == 0


def lend(lying: Lying, initiator: str) -> Refusal:
    """How an unwind ends in which the market calls back, in this name, and lends nothing."""
    made = lying.made
    made.chain.transact(made.owner, lying.market, "name_initiator", initiator)
    tokens = (made.token("WETH").address, made.token("USDC").address)
    route = [made.pool(*WETH_USDC).address]
    return made.refusal(
        made.keeper,
        *("deleverage", lying.market.address, lying.hash, *tokens),
        *(1_000 * USDC, MAX_UINT256, route, True),
    )


def test_loan_callback__in_a_strangers_name__is_refused(lying: Lying) -> None:
    thief = lying.made.chain.account("thief").address
    assert lend(lying, thief) == ("ForeignFlashLoan", (thief.lower(), 1_000 * USDC))


def test_loan_callback__without_the_loan__is_refused(lying: Lying) -> None:
    refusal = lend(lying, lying.made.guardian.address)
    assert refusal == ("TransferShort", (0, 1_000 * USDC))


def test_donation__to_the_guardian__does_not_pay_for_a_shortfall(
    chain: LocalChain, lying: Lying
) -> None:
    """Balances are compared with what they were: tokens that lay there are not the action's."""
    made, usdc = lying.made, lying.made.token("USDC")
    donor = chain.account("donor").address
    chain.mint("USDC", donor, 500 * USDC)
    chain.transact(donor, usdc, "transfer", made.guardian.address, 500 * USDC)
    lying.tell(account(14_000, 9_000, 12444 * WAD // 10_000), left_over=7 * USDC)
    name, *arguments = lying.call("repay")
    made.send(made.keeper, str(name), *arguments)
    assert made.balance(usdc, made.guardian.address) == 500 * USDC
