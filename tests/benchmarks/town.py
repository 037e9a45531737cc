"""A thousand accounts with real positions on the local chain, one of which needs protection."""

from collections.abc import Iterator
from dataclasses import dataclass

from keeper.abi.aave_v3 import Pool
from keeper.abi.erc20 import APPROVE
from keeper.abi.words import MAX_UINT256
from keeper.chain.header import decode_head
from keeper.devnet.aave import RESERVES
from keeper.devnet.accounts import DevAccount
from keeper.devnet.chain import BLOCK_GAS_LIMIT, VARIABLE_RATE, LocalChain
from keeper.devnet.deployment import raw_amount
from keeper.model.units import BPS, Address
from keeper.model.values import Head
from tests.protocols.crowd import BORROW, MINT, Sent, send_all

PEOPLE = 1_000
ENDANGERED = 617
"""Whose health the fall takes below the floor; somewhere in the middle."""
FALL_PERCENT = 12
HEALTH_PERCENT = 128
DAY_S = 24 * 3600
_ONE = 10**8
VOLATILE = ("WETH", "WBTC")
_ANSWERS = {"WETH": 2_000 * _ONE, "WBTC": 40_000 * _ONE, "USDC": _ONE, "DAI": _ONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One account and what it uses."""

    account: DevAccount
    collaterals: tuple[str, ...]
    debts: tuple[str, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every reserve it uses."""
        return tuple(dict.fromkeys((*self.collaterals, *self.debts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Everyone, on a chain that stands still."""

    chain: LocalChain
    homes: tuple[Home, ...]
    calm: Head
    """Before the fall."""
    head: Head
    """After it; the chain stands still there."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of everyone, in order."""
        return tuple(home.account.address for home in self.homes)

    @property
    def endangered(self) -> DevAccount:
        """The one that needs protection."""
        return self.homes[ENDANGERED].account


def settle(chain: LocalChain) -> Town:
    """Seven in ten have one collateral and one debt, two have two collaterals, one two of each."""
    for symbol, answer in _ANSWERS.items():
        chain.set_price(symbol, answer)
    homes = tuple(_home(chain, number) for number in range(PEOPLE))
    pool, bank = chain.contracts.aave.pool.address, chain.account("bank").address
    sent: list[Sent] = []
    for symbol in _ANSWERS:
        token = chain.contracts.tokens[symbol].address
        sent.append((bank, token, MINT.encode(bank, raw_amount(symbol, 10**9, _ANSWERS[symbol]))))
        sent.append((bank, token, APPROVE.encode(pool, MAX_UINT256)))
    for number, home in enumerate(homes):
        sent += _supplies(chain, number, home)
    endangered = homes[ENDANGERED].account.address
    for symbol in homes[ENDANGERED].symbols:
        token = chain.contracts.tokens[symbol].address
        reserve = raw_amount(symbol, 100_000, _ANSWERS[symbol])
        sent.append((endangered, token, MINT.encode(endangered, reserve)))
        sent.append((endangered, token, APPROVE.encode(pool, MAX_UINT256)))
    chain.rpc.call("evm_setBlockGasLimit", hex(10**12))
    send_all(chain, sent)
    send_all(chain, [one for n, home in enumerate(homes) for one in _borrowings(chain, n, home)])
    chain.rpc.call("evm_setBlockGasLimit", hex(BLOCK_GAS_LIMIT))
    chain.mine(chain.timestamp() + DAY_S // 2)
    for symbol, answer in _ANSWERS.items():
        chain.set_price(symbol, answer)
    calm = _head(chain)
    for symbol in VOLATILE:
        chain.set_price(symbol, _ANSWERS[symbol] * (100 - FALL_PERCENT) // 100)
    return Town(chain=chain, homes=homes, calm=calm, head=_head(chain))


def _head(chain: LocalChain) -> Head:
    return decode_head(chain.rpc.call("eth_getBlockByNumber", "latest", False))


def _home(chain: LocalChain, number: int) -> Home:
    first, second = ("WETH", "WBTC") if number % 2 else ("WBTC", "WETH")
    owed, owed_too = ("USDC", "DAI") if number % 3 else ("DAI", "USDC")
    both = number % 10
    return Home(
        account=chain.account(f"home {number}"),
        collaterals=(first, second) if both < 3 else (first,),
        debts=(owed, owed_too) if both < 1 else (owed,),
    )


def _worth(number: int) -> int:
    """Dollars of each collateral."""
    return 10_000 + 37 * number


def _supplies(chain: LocalChain, number: int, home: Home) -> Iterator[Sent]:
    """By the bank, on behalf of the account."""
    pool, bank = chain.contracts.aave.pool.address, chain.account("bank").address
    for symbol in home.collaterals:
        token = chain.contracts.tokens[symbol].address
        amount = raw_amount(symbol, _worth(number), _ANSWERS[symbol]) + number
        yield bank, pool, Pool.SUPPLY.encode(token, amount, home.account.address, 0)


def _borrowings(chain: LocalChain, number: int, home: Home) -> Iterator[Sent]:
    pool, account = chain.contracts.aave.pool.address, home.account.address
    counted = sum(
        _worth(number) * RESERVES[symbol].liquidation_threshold // BPS
        for symbol in home.collaterals
    )
    health_percent = HEALTH_PERCENT if number == ENDANGERED else 170 + number % 130
    for symbol in home.debts:
        token = chain.contracts.tokens[symbol].address
        usd = counted * 100 // health_percent // len(home.debts)
        amount = raw_amount(symbol, usd, _ANSWERS[symbol])
        yield account, pool, BORROW.encode(token, amount, VARIABLE_RATE, 0, account)
