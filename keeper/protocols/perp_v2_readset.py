"""The calls that read the accounts of a Perp v2 venue, kept from block to block."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from keeper.abi.erc20 import ALLOWANCE, BALANCE_OF
from keeper.abi.perp_v2 import (
    AccountBalance,
    BaseToken,
    ClearingHouse,
    CollateralManager,
    Config,
    Exchange,
    OrderBook,
    Vault,
)
from keeper.model.reading import Call, Calls
from keeper.model.units import Address
from keeper.model.values import Purse
from keeper.protocols.perp_v2_market import PerpVenue

COLLATERAL_TWAP_S: Final = 900
"""Vault.sol, _COLLATERAL_TWAP_INTERVAL."""
FUNDING_TWAP_S: Final = 900
"""ClearingHouseConfig.sol, _twapInterval as it is initialised; another one is read next time."""

VENUE_HEAD: Final = 14
PER_PERP: Final = 9
PER_MARGIN: Final = 3
ACCOUNT_HEAD: Final = 7
PER_HOLDING: Final = 3
PER_LEG: Final = 3


def venue_calls(venue: PerpVenue, twap_s: int) -> Iterator[Call]:
    """What all accounts share."""
    config, manager, vault = venue.config, venue.collateral_manager, venue.vault
    yield Config.GET_MM_RATIO(config)
    yield Config.GET_IM_RATIO(config)
    yield CollateralManager.GET_MM_RATIO_BUFFER(manager)
    yield CollateralManager.GET_DEBT_NON_SETTLEMENT_TOKEN_VALUE_RATIO(manager)
    yield Config.GET_LIQUIDATION_PENALTY_RATIO(config)
    yield Config.GET_SETTLEMENT_TOKEN_BALANCE_CAP(config)
    yield BALANCE_OF(venue.settlement.address, vault)
    yield Vault.PAUSED(vault)
    yield ClearingHouse.PAUSED(venue.clearing_house)
    yield CollateralManager.GET_MAX_COLLATERAL_TOKENS_PER_ACCOUNT(manager)
    yield Config.GET_TWAP_INTERVAL(config)
    yield Config.GET_MAX_FUNDING_RATE(config)
    yield CollateralManager.GET_LIQUIDATION_RATIO(manager)
    yield CollateralManager.GET_CL_INSURANCE_FUND_FEE_RATIO(manager)
    for perp in venue.perps:
        token = perp.token.address
        yield BaseToken.IS_OPEN(token)
        yield AccountBalance.GET_MARK_PRICE(venue.account_balance, token)
        yield BaseToken.GET_PAUSED_INDEX_PRICE(token)
        yield BaseToken.GET_CLOSED_PRICE(token)
        yield Exchange.GET_MAX_TICK_CROSSED_WITHIN_BLOCK(venue.exchange, token)
        yield Exchange.GET_SQRT_MARKET_TWAP_X96(venue.exchange, token, 0)
        yield Exchange.GET_SQRT_MARKET_TWAP_X96(venue.exchange, token, twap_s)
        yield BaseToken.GET_INDEX_PRICE(token, twap_s)
        yield BaseToken.GET_INDEX_PRICE(token, 0)
    for margin in venue.margins:
        token = margin.token.address
        yield CollateralManager.GET_COLLATERAL_CONFIG(manager, token)
        yield CollateralManager.GET_PRICE(manager, token, COLLATERAL_TWAP_S)
        yield BALANCE_OF(token, vault)


def account_calls(
    venue: PerpVenue, account: Address, legs: tuple[int, ...], purse: Purse
) -> Iterator[Call]:
    """One account's; `legs` are the places of the markets it has a position in."""
    yield AccountBalance.GET_BASE_TOKENS(venue.account_balance, account)
    yield Vault.GET_COLLATERAL_TOKENS(venue.vault, account)
    yield Vault.GET_BALANCE(venue.vault, account)
    yield AccountBalance.GET_PNL_AND_PENDING_FEE(venue.account_balance, account)
    yield CollateralManager.GET_DEBT_THRESHOLD_BY_TRADER(venue.collateral_manager, account)
    yield BALANCE_OF(venue.settlement.address, purse.holder)
    yield ALLOWANCE(venue.settlement.address, purse.holder, purse.spender)
    for margin in venue.margins:
        token = margin.token.address
        yield Vault.GET_BALANCE_BY_TOKEN(venue.vault, account, token)
        yield BALANCE_OF(token, purse.holder)
        yield ALLOWANCE(token, purse.holder, purse.spender)
    for place in legs:
        token = venue.perps[place].token.address
        yield AccountBalance.GET_ACCOUNT_INFO(venue.account_balance, account, token)
        yield OrderBook.GET_OPEN_ORDER_IDS(venue.order_book, account, token)
        yield Exchange.GET_PENDING_FUNDING_PAYMENT(venue.exchange, account, token)


@dataclass(frozen=True, slots=True, eq=False)
class ReadSet:
    """The calls for a venue and the accounts in it.

    `calls` is the same object as long as nothing changes, so that its encoding can be kept.
    """

    venue: PerpVenue
    accounts: tuple[Address, ...]
    purses: Mapping[Address, Purse]
    """Of the accounts whose reserve is not just their own wallet."""
    legs: Mapping[Address, tuple[int, ...]]
    """By account, the places of the markets that are read for it."""
    twap_s: int
    calls: Calls
    heads: Mapping[Address, int]
    """Where each account's calls begin."""

    @classmethod
    def build(
        cls,
        venue: PerpVenue,
        accounts: tuple[Address, ...],
        purses: Mapping[Address, Purse],
        legs: Mapping[Address, tuple[int, ...]],
        twap_s: int = FUNDING_TWAP_S,
    ) -> Self:
        calls, heads = list(venue_calls(venue, twap_s)), {}
        for account in accounts:
            heads[account] = len(calls)
            purse = purses.get(account) or Purse(holder=account, spender=venue.vault)
            calls += account_calls(venue, account, legs.get(account, ()), purse)
        return cls(venue, accounts, purses, legs, twap_s, tuple(calls), heads)

    def only(self, account: Address) -> "ReadSet":
        """The calls for one of the accounts. Raises `KeyError` for another."""
        legs = {account: self.legs.get(account, ())}
        if account not in self.heads:
            raise KeyError(account)
        return ReadSet.build(self.venue, (account,), self.purses, legs, self.twap_s)

    def reading(self, legs: Mapping[Address, tuple[int, ...]], twap_s: int) -> "ReadSet":
        """The same accounts with positions in these markets; this very object if they are known."""
        if twap_s == self.twap_s and all(
            legs[each] == self.legs.get(each, ()) for each in self.accounts
        ):
            return self
        return ReadSet.build(self.venue, self.accounts, self.purses, legs, twap_s)
