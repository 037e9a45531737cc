"""What is read from the local chain at each block, and the events of the lending pool in it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from keeper.abi.words import split_words, word_to_address
from keeper.model.units import Address, Wad, Wei

# contracts_abi/guardian/aave_guardian.vy.
DELEVERAGED = (
    "0x"
    + keccak(
        text="Deleveraged(address,address,address,address,uint256,uint256,uint256,uint256,uint256)"
    ).hex()
)

# Signatures: Aave v3.0, IPool.sol of @aave/core-v3 1.19.3.
SUPPLY = "0x" + keccak(text="Supply(address,address,address,uint256,uint16)").hex()
BORROW = "0x" + keccak(text="Borrow(address,address,address,uint256,uint8,uint256,uint16)").hex()
REPAY = "0x" + keccak(text="Repay(address,address,address,uint256,bool)").hex()
LIQUIDATION = (
    "0x"
    + keccak(text="LiquidationCall(address,address,address,uint256,uint256,address,bool)").hex()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplied:
    """Collateral came in for `account`."""

    transaction: str
    account: Address
    asset: Address
    amount_raw: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaid:
    """Debt of `account` was paid back."""

    transaction: str
    account: Address
    asset: Address
    amount_raw: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidated:
    """A liquidator repaid debt of `account` and seized collateral for it."""

    transaction: str
    account: Address
    collateral_asset: Address
    seized_raw: int
    debt_asset: Address
    repaid_raw: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """Collateral that a guardian sold to repay its owner's debt."""

    transaction: str
    guardian: Address
    asset: Address
    amount_raw: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposited:
    """Margin came into the perp account of `account`."""

    transaction: str
    account: Address
    asset: Address
    amount_raw: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """A liquidator took a perp position of `account` over, who paid a penalty for it."""

    transaction: str
    account: Address
    notional_usd8: int
    penalty_usd8: int


PoolEvent = Supplied | Repaid | Liquidated


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """The guardian of `account` made its perp position smaller by `size_raw`, which was worth
    `worth_usd8` at the index, for `quote_usd8`."""

    transaction: str
    account: Address
    size_raw: int
    worth_usd8: int
    quote_usd8: int
    health_before: Wad
    health_after: Wad | None
    """None if no position is left."""


PerpEvent = Deposited | Reduced | TakenOver


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """`Pool.getUserAccountData` of one account; of a perp account equity and notional."""

    collateral_usd8: int
    debt_usd8: int
    liquidation_threshold_bps: int
    health: Wad | None
    """None without debt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """What one transaction cost its sender in gas."""

    transaction: str
    sender: Address
    to: Address | None
    """None for a deployment."""
    wei: Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockView:
    """One block, after all its transactions."""

    number: int
    timestamp: int
    gas_price_wei: int
    market_price: float
    """WETH in USD at the pool."""
    prices_usd8: Mapping[Address, int]
    """The oracle's price of each reserve."""
    accounts: Mapping[Address, AccountView]
    events: tuple[PoolEvent | PerpEvent, ...]
    sales: tuple[Sold, ...]
    fees: tuple[Fee, ...]


def decode_account(output: bytes) -> AccountView:
    """The six words of `getUserAccountData`; health is 2^256 - 1 without debt."""
    collateral, debt, _, threshold, _, health = split_words(output)
    return AccountView(
        collateral_usd8=collateral,
        debt_usd8=debt,
        liquidation_threshold_bps=threshold,
        health=Wad(health) if debt else None,
    )


def pool_events(receipts: Iterable[Mapping[str, Any]], pool: Address) -> tuple[PoolEvent, ...]:
    """The pool's supplies, repayments and liquidations, in the order of the block."""
    return tuple(
        event
        for receipt in receipts
        for log in receipt["logs"]
        if word_to_address(int(log["address"], 16)) == pool
        for event in _decoded(log)
    )


def guardian_sales(receipts: Iterable[Mapping[str, Any]]) -> tuple[Sold, ...]:
    """What guardians sold, whoever they belong to."""
    return tuple(
        Sold(
            transaction=log["transactionHash"],
            guardian=word_to_address(int(log["address"], 16)),
            asset=word_to_address(int(log["topics"][2], 16)),
            amount_raw=split_words(bytes.fromhex(log["data"][2:]))[2],
        )
        for receipt in receipts
        for log in receipt["logs"]
        if log["topics"] and log["topics"][0] == DELEVERAGED
    )


def paid_fees(receipts: Iterable[Mapping[str, Any]]) -> tuple[Fee, ...]:
    """Gas used times the price paid, of every transaction, also of one that reverted."""
    return tuple(
        Fee(
            transaction=receipt["transactionHash"],
            sender=word_to_address(int(receipt["from"], 16)),
            to=word_to_address(int(receipt["to"], 16)) if receipt.get("to") else None,
            wei=Wei(int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)),
        )
        for receipt in receipts
    )


def _decoded(log: Mapping[str, Any]) -> Iterator[PoolEvent]:
    transaction = log["transactionHash"]
    topic, *indexed = log["topics"]
    addresses = [word_to_address(int(word, 16)) for word in indexed]
    words = split_words(bytes.fromhex(log["data"][2:]))
    if topic == SUPPLY:
        yield Supplied(
            transaction=transaction, account=addresses[1], asset=addresses[0], amount_raw=words[1]
        )
    elif topic == REPAY:
        yield Repaid(
            transaction=transaction, account=addresses[1], asset=addresses[0], amount_raw=words[0]
        )
    elif topic == LIQUIDATION:
        yield Liquidated(
            transaction=transaction,
            account=addresses[2],
            collateral_asset=addresses[0],
            seized_raw=words[1],
            debt_asset=addresses[1],
            repaid_raw=words[0],
        )
