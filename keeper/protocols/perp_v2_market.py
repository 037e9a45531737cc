"""A Perp v2 deployment found from its ClearingHouse, and the refusal of any other version.

The contracts carry no version number. A deployment is known by the getters of 2.8.4 that it must
have; that its arithmetic is the same is held against its own getter in every reading.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from keeper.abi.erc20 import DECIMALS, SYMBOL, decode_symbol
from keeper.abi.perp_v2 import (
    AccountBalance,
    BaseToken,
    ClearingHouse,
    CollateralManager,
    Config,
    Exchange,
    MarketRegistry,
    PriceFeed,
    Vault,
)
from keeper.abi.words import split_words, word_to_address
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.reading import Call, Reading, ReadingError
from keeper.model.units import Address, Token
from keeper.model.values import NOTHING_LISTED, Listed

SUPPORTED_VERSION = "2.8.4"
BASE_TOKENS = "base_tokens"
COLLATERAL_TOKENS = "collateral_tokens"
_BASE_DECIMALS = 18


class UnsupportedVenueError(ReadingError, ConfigurationError):
    """What the settings name is not, or is not part of, a venue whose arithmetic is known exactly."""

    def __init__(self, where: str, what: str, why: str, fix: str) -> None:
        ConfigurationError.__init__(self, Problem(where=where, what=what, why=why, fix=fix))


@dataclass(frozen=True, slots=True, kw_only=True)
class Perp:
    """One market of the venue."""

    token: Token
    """The virtual base token, of which a position holds a signed amount."""
    pool: Address
    price_feed: Address
    """The venue's reader of `aggregator`."""
    aggregator: Address
    """Chainlink's feed, whose rounds are the index."""
    fee_ratio: int
    """Of the quote that is traded, in millionths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginToken:
    """A token that counts as margin beside the settlement token."""

    token: Token
    price_feed: Address
    aggregator: Address | None
    """Chainlink's feed behind it, where the venue's reader names one."""
    price_decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpVenue:
    """What stays the same from block to block; refreshed by discovering it again."""

    chain_id: int
    name: str
    clearing_house: Address
    vault: Address
    exchange: Address
    order_book: Address
    account_balance: Address
    config: Address
    delegate_approval: Address
    collateral_manager: Address
    settlement: Token
    quote: Token
    perps: tuple[Perp, ...]
    margins: tuple[MarginToken, ...]


def price_sources(market: PerpVenue) -> tuple[Address, ...]:
    """The feeds behind its prices."""
    margins = (margin.aggregator for margin in market.margins)
    found = (*(perp.aggregator for perp in market.perps), *margins)
    return tuple(dict.fromkeys(each for each in found if each is not None))


def contracts(market: PerpVenue) -> tuple[Address, ...]:
    """What an account trusts: the venue's own contracts and those that read its prices."""
    return (
        *(market.clearing_house, market.vault, market.exchange, market.order_book),
        *(market.account_balance, market.config, market.collateral_manager),
        *(each for perp in market.perps for each in (perp.token.address, perp.price_feed)),
        *(margin.price_feed for margin in market.margins),
    )


def hedges(market: PerpVenue) -> dict[Address, str]:
    """By the feed behind its index, each market's symbol."""
    return {perp.aggregator: perp.token.symbol for perp in market.perps}


def derived_tokens(market: PerpVenue) -> dict[Address, str]:
    """The venue's virtual tokens, each with what it is: nobody holds or pays with one."""
    virtual = (*(perp.token for perp in market.perps), market.quote)
    return {token.address: f"a virtual token of {market.name}, {token.symbol}" for token in virtual}


def discover(
    provider: Address, *, chain_id: int, name: str, listed: Listed = NOTHING_LISTED
) -> Reading[PerpVenue]:
    """The deployment behind a ClearingHouse, with the markets and margin tokens that the settings
    list, in five round trips.

    Raises `UnsupportedVenueError` where the contracts are not those of 2.8.4, or do not know what
    is listed.
    """
    returns = yield (
        ClearingHouse.GET_VAULT(provider),
        ClearingHouse.GET_EXCHANGE(provider),
        ClearingHouse.GET_ORDER_BOOK(provider),
        ClearingHouse.GET_ACCOUNT_BALANCE(provider),
        ClearingHouse.GET_CLEARING_HOUSE_CONFIG(provider),
        ClearingHouse.GET_DELEGATE_APPROVAL(provider),
        ClearingHouse.GET_QUOTE_TOKEN(provider),
    )
    if not returns.has_word().all():
        raise no_venue(f"[markets.{name}] ClearingHouse {provider}")
    vault, exchange, book, balance, config, approval, quote = (
        word_to_address(returns.word(index)) for index in range(7)
    )
    returns = yield (
        Vault.GET_SETTLEMENT_TOKEN(vault),
        Vault.GET_COLLATERAL_MANAGER(vault),
        Exchange.GET_MARKET_REGISTRY(exchange),
        Config.GET_MARK_PRICE_CONFIG(config),
        SYMBOL(quote),
    )
    if not returns.has_word().all() or returns.word(1) == 0:
        raise _unknown_version(provider, name)
    settlement, manager, registry = (word_to_address(returns.word(index)) for index in range(3))
    quote_token = Token(
        address=quote, symbol=decode_symbol(returns.output(4)), decimals=_BASE_DECIMALS
    )
    returns = yield (SYMBOL(settlement), DECIMALS(settlement))
    dollars = Token(
        address=settlement, symbol=decode_symbol(returns.output(0)), decimals=returns.word(1)
    )
    perps = yield from _perps(provider, name, balance, registry, listed.get(BASE_TOKENS, ()))
    margins = yield from _margins(name, manager, listed.get(COLLATERAL_TOKENS, ()))
    return PerpVenue(
        chain_id=chain_id,
        name=name,
        clearing_house=provider,
        vault=vault,
        exchange=exchange,
        order_book=book,
        account_balance=balance,
        config=config,
        delegate_approval=approval,
        collateral_manager=manager,
        settlement=dollars,
        quote=quote_token,
        perps=perps,
        margins=margins,
    )


def no_venue(where: str) -> UnsupportedVenueError:
    """Where the contract that is named lacks the getters of a ClearingHouse."""
    return UnsupportedVenueError(
        where,
        "no ClearingHouse of Perp v2 answers there",
        "getVault() or another of its getters failed",
        "check the address and the chain",
    )


def _unknown_version(house: Address, name: str) -> UnsupportedVenueError:
    return UnsupportedVenueError(
        f"[markets.{name}] ClearingHouse {house}",
        f"it is not Perp v2 {SUPPORTED_VERSION}: its contracts lack getters of that version",
        "every version values accounts in its own way; with another one's arithmetic health would "
        "be wrong",
        "take the market out of the configuration, or use a version of keeper that knows it",
    )


def _perps(
    house: Address, name: str, balance: Address, registry: Address, tokens: tuple[Address, ...]
) -> Reading[tuple[Perp, ...]]:
    if not tokens:
        return ()
    returns = yield tuple(
        call
        for token in tokens
        for call in (
            MarketRegistry.HAS_POOL(registry, token),
            MarketRegistry.GET_POOL(registry, token),
            BaseToken.GET_PRICE_FEED(token),
            SYMBOL(token),
            AccountBalance.GET_MARK_PRICE(balance, token),
            MarketRegistry.GET_FEE_RATIO(registry, token),
        )
    )
    for place, token in enumerate(tokens):
        known = returns.has_word()[6 * place] and returns.word(6 * place) != 0
        if not known:
            raise UnsupportedVenueError(
                f"[markets.{name}] {BASE_TOKENS}",
                f"{token} is not a market of this venue",
                "its MarketRegistry has no pool for that base token",
                "write the base tokens that the accounts trade, as AccountBalance.getBaseTokens "
                "lists them",
            )
        if not returns.has_word()[6 * place + 1 : 6 * place + 6].all():
            raise _unknown_version(house, name)
    symbols = [decode_symbol(returns.output(6 * place + 3)) for place in range(len(tokens))]
    pools = [word_to_address(returns.word(6 * place + 1)) for place in range(len(tokens))]
    feeds = [word_to_address(returns.word(6 * place + 2)) for place in range(len(tokens))]
    fees = [returns.word(6 * place + 5) for place in range(len(tokens))]
    returns = yield tuple(map(PriceFeed.GET_CHAINLINK_PRICE_FEED_V3, feeds))
    if not returns.has_word().all():
        raise _unknown_version(house, name)
    readers = [word_to_address(returns.word(place)) for place in range(len(tokens))]
    returns = yield tuple(map(PriceFeed.GET_AGGREGATOR, readers))
    if not returns.has_word().all():
        raise _unknown_version(house, name)
    return tuple(
        Perp(
            token=Token(address=token, symbol=symbols[place], decimals=_BASE_DECIMALS),
            pool=pools[place],
            price_feed=feeds[place],
            aggregator=word_to_address(returns.word(place)),
            fee_ratio=fees[place],
        )
        for place, token in enumerate(tokens)
    )


def _margins(
    name: str, manager: Address, tokens: tuple[Address, ...]
) -> Reading[tuple[MarginToken, ...]]:
    if not tokens:
        return ()
    returns = yield tuple(_margin_calls(manager, tokens))
    for place, token in enumerate(tokens):
        if returns.word(5 * place) == 0:
            raise UnsupportedVenueError(
                f"[markets.{name}] {COLLATERAL_TOKENS}",
                f"{token} is not accepted as margin by this venue",
                "its CollateralManager does not know that token; the settlement token need not be "
                "listed",
                "write tokens for which CollateralManager.isCollateral is true",
            )
    known = returns
    feeds = [
        word_to_address(split_words(known.output(5 * place + 1))[0]) for place in range(len(tokens))
    ]
    returns = yield tuple(map(PriceFeed.GET_AGGREGATOR, feeds))
    named = returns.has_word()
    return tuple(
        MarginToken(
            token=Token(
                address=token,
                symbol=decode_symbol(known.output(5 * place + 3)),
                decimals=known.word(5 * place + 4),
            ),
            price_feed=feeds[place],
            aggregator=word_to_address(returns.word(place)) if named[place] else None,
            price_decimals=known.word(5 * place + 2),
        )
        for place, token in enumerate(tokens)
    )


def _margin_calls(manager: Address, tokens: tuple[Address, ...]) -> Iterator[Call]:
    for token in tokens:
        yield CollateralManager.IS_COLLATERAL(manager, token)
        yield CollateralManager.GET_COLLATERAL_CONFIG(manager, token)
        yield CollateralManager.GET_PRICE_FEED_DECIMALS(manager, token)
        yield SYMBOL(token)
        yield DECIMALS(token)
