"""Callbacks that nobody asked for, and a pool and a market that do what real ones never do."""

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import LocalChain
from keeper.devnet.rpc import RpcError
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD
from tests.guardian.ground import (
    DOLLAR,
    USDC,
    WETH_USDC,
    Ground,
    Refusal,
    frames,
    ground,
    refused_with,
)
from tests.guardian.mocks import aggregate, mock

HEALTHY = 14 * WAD // 10
# 80 % liquidation threshold, 5 % bonus, 6 decimals, of category 1
WORD = 8_000 << 16 | 10_500 << 32 | 6 << 48 | 1 << 168


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


def test_guardian__asked_whose_it_is__names_the_owner(made: Ground) -> None:
    assert made.chain.read(made.guardian, "owner") == made.owner.lower()


# -- a pool that lies ----------------------------------------------------------------------------------


def hostile(made: Ground, then: str, accomplice: str = ZERO_ADDRESS) -> Contract:
    """A listed pool with a million USDC, that sells them at the oracle's price and then does this."""
    pool, weth, usdc = mock(made.chain, "FakePool"), made.token("WETH"), made.token("USDC")
    price = 10**18 * 99_984_000 * 10**12 // 2_281_37000000
    call = (weth.address, usdc.address, then, price, accomplice)
    made.chain.transact(made.owner, pool, "tell", *call)
    made.chain.transact(made.owner, usdc, "mint", pool.address, 10**6 * USDC)
    made.set_mandate(pools=(pool.address,))
    return pool


def test_swap__prices_with_18_decimals__have_the_same_price_limit(chain: LocalChain) -> None:
    """For two tokens of 18 decimals: what stands under the root must not lose its high bits."""
    made = ground(chain, {"WETH": 10 * WAD}, {"DAI": 16_500 * WAD}, limit_max=10**5 * WAD)
    pool, tokens = (
        mock(chain, "FakePool"),
        [made.token(symbol).address for symbol in ("WETH", "DAI")],
    )
    chain.transact(
        made.owner,
        pool,
        "tell",
        *tokens,
        "once",
        10**18 * DOLLAR // made.price("WETH"),
        ZERO_ADDRESS,
    )
    chain.transact(made.owner, made.token("DAI"), "mint", pool.address, 10**6 * WAD)
    made.set_mandate(pools=(pool.address,))
    *call, _, _ = made.deleverage("WETH", "DAI", most=1_000 * WAD)
    limits = []
    for scale in (1, 10**10):
        for symbol in chain.contracts.feeds:
            chain.set_price(symbol, made.price(symbol) * scale)
        unwind = (*call, [pool.address], False)
        (swap,) = frames(chain, made.guardian, made.keeper, unwind, "0x128acb08")
        limits.append(int(swap["input"][10 + 3 * 64 : 10 + 4 * 64], 16))
    assert limits[1] == pytest.approx(limits[0], rel=1e-9)


def through(made: Ground, pool: Contract, *, flash_loan: bool = False) -> tuple[Any, ...]:
    *call, _, _ = made.deleverage(most=1_000 * USDC)
    return (*call, [pool.address], flash_loan)


def test_swap_callback__once__is_what_was_asked_for(made: Ground) -> None:
    pool = hostile(made, "once")
    before = made.health
    made.send(made.keeper, *through(made, pool))
    assert made.health > before


def test_swap_callback__by_an_accomplice__is_refused(made: Ground) -> None:
    accomplice = mock(made.chain, "FakePool").address
    refusal = made.refusal(made.keeper, *through(made, hostile(made, "accomplice", accomplice)))
    assert (refusal.name, refusal.figures[0]) == ("UnexpectedCallback", accomplice.lower())


def test_swap_callback__with_other_data__is_refused(made: Ground) -> None:
    pool = hostile(made, "other data")
    refusal = made.refusal(made.keeper, *through(made, pool))
    assert refusal == ("UnexpectedCallback", (pool.address.lower(), keccak(b"other")))


@pytest.mark.parametrize("flash_loan", [False, True])
def test_swap_callback__twice__is_refused(made: Ground, flash_loan: bool) -> None:
    """After a flash loan nothing is left to be repaid: the second would only take collateral."""
    call = through(made, hostile(made, "twice"), flash_loan=flash_loan)
    assert made.refusal(made.keeper, *call).name == "UnexpectedCallback"


def test_swap_callback__left_out__is_refused_for_the_debt_that_stays(made: Ground) -> None:
    assert made.refusal(made.keeper, *through(made, hostile(made, "later"))).name == "DebtRose"


def test_swap_callback__after_the_end__is_refused(made: Ground) -> None:
    """A pool that gave its tokens away in a flash loan's unwind, and asks for the price when the
    guardian is through, in the same transaction."""
    multicall = made.chain.contracts.multicall3
    pool = hostile(made, "later")
    made.set_mandate(keeper=multicall)
    name, *arguments = through(made, pool, flash_loan=True)
    calls = [
        (made.guardian.address, True, made.guardian.encode(name, *arguments)),
        (pool.address, True, pool.encode("call_back_later")),
    ]
    unwound, asked = aggregate(made, calls)
    assert unwound[0]
    assert not asked[0]
    refused = refused_with(RpcError("aggregate3", {"data": "0x" + asked[1].hex()}))
    assert (refused.name, refused.figures[0]) == ("UnexpectedCallback", pool.address.lower())


def test_donation__to_the_guardian__does_not_pay_for_what_a_pool_kept(made: Ground) -> None:
    donor, usdc = made.chain.account("donor").address, made.token("USDC")
    made.chain.mint("USDC", donor, 500 * USDC)
    made.chain.transact(donor, usdc, "transfer", made.guardian.address, 500 * USDC)
    call = through(made, hostile(made, "short"), flash_loan=True)
    refused = ("TransferShort", (500 * USDC - 1, 500 * USDC))
    assert made.refusal(made.keeper, *call) == refused


def test_loan_callback__by_a_pool__is_refused(made: Ground) -> None:
    pool = hostile(made, "loan")
    refusal = made.refusal(made.keeper, *through(made, pool))
    assert (refusal.name, refusal.figures[0]) == ("UnexpectedCallback", pool.address.lower())


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


CATEGORY = encode(["uint256"] * 6, [32, 0, 8_000, 10_500, 0, 0])
"""An offset, then maximum LTV, threshold, bonus, price source, and where the label would be."""


@pytest.mark.parametrize("answer", [b"", CATEGORY[:128]])
def test_e_mode__category_that_cannot_be_read__is_refused(lying: Lying, answer: bytes) -> None:
    """By the compiler's own checks, which give no reason."""
    lying.tell(account(14_000, 9_000, 12444 * WAD // 10_000))
    lying.made.chain.transact(lying.made.owner, lying.market, "tell_e_mode", 1, answer)
    assert lying.refusal("repay").name == "eth_call: execution reverted (code 3)"
    lying.made.chain.transact(lying.made.owner, lying.market, "tell_e_mode", 1, CATEGORY)
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


def test_loan_callback__a_donation_in_the_loans_place__is_refused(lying: Lying) -> None:
    made, usdc = lying.made, lying.made.token("USDC")
    donor = made.chain.account("donor").address
    made.chain.mint("USDC", donor, 1_000 * USDC)
    made.chain.transact(donor, usdc, "transfer", made.guardian.address, 1_000 * USDC)
    refusal = lend(lying, made.guardian.address)
    assert refusal == ("TransferShort", (1_000 * USDC, 2_000 * USDC))


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
