"""Which calls one reading of an Aave 3.0 market makes, and where their answers stand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from keeper.abi.aave_v3 import (
    AddressesProvider,
    AToken,
    Oracle,
    Pool,
    StableDebtToken,
    VariableDebtToken,
)
from keeper.abi.erc20 import ALLOWANCE, BALANCE_OF
from keeper.abi.words import WORD
from keeper.model.reading import Call, Calls
from keeper.model.units import Address
from keeper.model.values import Purse
from keeper.protocols.aave_v3_market import AaveMarket
from keeper.protocols.aave_v3_reserve import Reserve
from keeper.protocols.errors import MarketChangedError

Ints = NDArray[np.intp]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

MARKET_HEAD = 2
"""Calls before the reserves': the pool's revision, the oracle's address."""
PER_RESERVE = 5
ACCOUNT_HEAD = 2
"""Calls of an account before its legs: its bitmap, its efficiency mode."""


class Field(IntEnum):
    """What one leg reads, in the order of its calls."""

    COLLATERAL = 0
    VARIABLE_DEBT = 1
    STABLE_PRINCIPAL = 2
    STABLE_RATE = 3
    STABLE_UPDATED_AT = 4
    WALLET = 5
    ALLOWANCE = 6
    COLLATERAL_ALLOWANCE = 7


_FOR_COLLATERAL = (Field.COLLATERAL,)
_FOR_DEBT = (
    Field.VARIABLE_DEBT,
    Field.STABLE_PRINCIPAL,
    Field.STABLE_RATE,
    Field.STABLE_UPDATED_AT,
)


def _leg_calls(reserve: Reserve, account: Address, purse: Purse) -> dict[Field, Call]:
    token = reserve.token.address
    return {
        Field.COLLATERAL: AToken.SCALED_BALANCE_OF(reserve.a_token, account),
        Field.VARIABLE_DEBT: VariableDebtToken.SCALED_BALANCE_OF(
            reserve.variable_debt_token, account
        ),
        Field.STABLE_PRINCIPAL: StableDebtToken.PRINCIPAL_BALANCE_OF(
            reserve.stable_debt_token, account
        ),
        Field.STABLE_RATE: StableDebtToken.GET_USER_STABLE_RATE(reserve.stable_debt_token, account),
        Field.STABLE_UPDATED_AT: StableDebtToken.GET_USER_LAST_UPDATED(
            reserve.stable_debt_token, account
        ),
        Field.WALLET: BALANCE_OF(token, purse.holder),
        Field.ALLOWANCE: ALLOWANCE(token, purse.holder, purse.spender),
        Field.COLLATERAL_ALLOWANCE: ALLOWANCE(reserve.a_token, account, purse.spender),
    }


@dataclass(frozen=True, slots=True, eq=False)
class AccountCalls:
    """One account's calls for one bitmap (configuration/UserConfiguration.sol: two bits for each
    reserve, borrowing below collateral)."""

    bitmap: int
    calls: Calls
    legs: tuple[tuple[int, tuple[Field, ...]], ...]
    """For each leg, the reserve's place in the market and the fields read, in order."""

    @classmethod
    def of(
        cls, market: AaveMarket, account: Address, bitmap: int, purse: Purse | None = None
    ) -> Self:
        """Without a `purse` the account pays from its own wallet. Raises `MarketChangedError` for a
        bit of a reserve that the market does not have."""
        own = Purse(holder=account, spender=market.pool)
        calls = [
            Pool.GET_USER_CONFIGURATION(market.pool, account),
            Pool.GET_USER_E_MODE(market.pool, account),
        ]
        legs = []
        unknown = bitmap
        for place, reserve in enumerate(market.reserves):
            bits = (bitmap >> 2 * reserve.index) & 3
            if bits:
                unknown ^= bits << 2 * reserve.index
                fields = (
                    (_FOR_COLLATERAL if bits & 2 else ())
                    + (_FOR_DEBT if bits & 1 else ())
                    + (Field.WALLET, Field.ALLOWANCE)
                    + ((Field.COLLATERAL_ALLOWANCE,) if purse is not None and bits & 2 else ())
                )
                possible = _leg_calls(reserve, account, purse or own)
                calls += [possible[field] for field in fields]
                legs.append((place, fields))
        if unknown:
            raise MarketChangedError(f"{market.name}: {account} uses a reserve listed since")
        return cls(bitmap, tuple(calls), tuple(legs))


@dataclass(frozen=True, slots=True, eq=False)
class ReadSet:
    """The calls for a market and the accounts in it, kept from block to block.

    `calls` is the same object as long as nothing changes, so that its encoding can be kept.
    """

    market: AaveMarket
    accounts: tuple[Address, ...]
    purses: Mapping[Address, Purse]
    """Of the accounts whose reserve is not just their own wallet."""
    places: Mapping[Address, int]
    account_calls: tuple[AccountCalls, ...]
    calls: Calls
    bitmaps: Bytes
    """Those whose reserves are read, as words (accounts, 32)."""
    heads: Ints
    """Where each account's calls begin (accounts,)."""
    leg_account: Ints
    leg_reserve: Ints
    leg_rows: Ints
    """Where each leg's fields stand (legs, fields); −1 where a field is not read."""

    @classmethod
    def first(
        cls, market: AaveMarket, accounts: tuple[Address, ...], purses: Mapping[Address, Purse]
    ) -> Self:
        """Before anything is known of the accounts."""
        unknown = tuple(AccountCalls.of(market, account, 0) for account in accounts)
        return cls.build(market, accounts, purses, unknown)

    @classmethod
    def build(
        cls,
        market: AaveMarket,
        accounts: tuple[Address, ...],
        purses: Mapping[Address, Purse],
        account_calls: tuple[AccountCalls, ...],
    ) -> Self:
        calls = list(_market_calls(market))
        heads, leg_account, leg_reserve, leg_rows = [], [], [], []
        for place, known in enumerate(account_calls):
            heads.append(len(calls))
            row = len(calls) + ACCOUNT_HEAD
            for reserve, fields in known.legs:
                rows = [-1] * len(Field)
                for field in fields:
                    rows[field] = row
                    row += 1
                leg_account.append(place)
                leg_reserve.append(reserve)
                leg_rows.append(rows)
            calls += known.calls
        joined = b"".join(known.bitmap.to_bytes(WORD, "big") for known in account_calls)
        return cls(
            market=market,
            accounts=accounts,
            purses=purses,
            places={account: place for place, account in enumerate(accounts)},
            account_calls=account_calls,
            calls=tuple(calls),
            bitmaps=np.frombuffer(joined, np.uint8).reshape(-1, WORD),
            heads=np.array(heads, np.intp),
            leg_account=np.array(leg_account, np.intp),
            leg_reserve=np.array(leg_reserve, np.intp),
            leg_rows=np.array(leg_rows, np.intp).reshape(-1, len(Field)),
        )

    def only(self, account: Address) -> "ReadSet":
        """The calls for one of the accounts. Raises `KeyError` for another."""
        known = self.account_calls[self.places[account]]
        return ReadSet.build(self.market, (account,), self.purses, (known,))

    def for_bitmaps(self, bitmaps: Bytes) -> "ReadSet":
        """The same accounts with these bitmaps; this very object if they are those known."""
        changed = (bitmaps != self.bitmaps).any(axis=1)
        if not changed.any():
            return self
        account_calls = list(self.account_calls)
        for place in np.flatnonzero(changed):
            bitmap = int.from_bytes(bitmaps[place].tobytes(), "big")
            account = self.accounts[place]
            account_calls[place] = AccountCalls.of(
                self.market, account, bitmap, self.purses.get(account)
            )
        return ReadSet.build(self.market, self.accounts, self.purses, tuple(account_calls))


def _market_calls(market: AaveMarket) -> Iterator[Call]:
    yield Pool.POOL_REVISION(market.pool)
    yield AddressesProvider.GET_PRICE_ORACLE(market.provider)
    for reserve in market.reserves:
        yield Pool.GET_RESERVE_DATA(market.pool, reserve.token.address)
        yield Oracle.GET_ASSET_PRICE(market.oracle, reserve.token.address)
        yield AToken.SCALED_TOTAL_SUPPLY(reserve.a_token)
        yield VariableDebtToken.SCALED_TOTAL_SUPPLY(reserve.variable_debt_token)
        yield StableDebtToken.GET_SUPPLY_DATA(reserve.stable_debt_token)
    for category in market.categories:
        yield Pool.GET_E_MODE_CATEGORY_DATA(market.pool, category.index)
        if category.price_key is not None:
            yield Oracle.GET_ASSET_PRICE(market.oracle, category.price_key)
