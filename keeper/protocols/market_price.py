"""What the market pays for what an oracle prices: a Uniswap v3 pool, or a feed that is quicker.

A pool's price is that of its last trade in a block (`slot0`): it can be pushed for a block by whoever
pays for it. It is only ever taken as a warning, and a plan is sized on the oracle's price.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from keeper.abi.erc20 import DECIMALS
from keeper.abi.words import Function, split_words, word_to_address
from keeper.forecast.oracle_state import MarketPrice
from keeper.model.reading import Call, Reading, ReadingError, Returns
from keeper.model.units import Address
from keeper.protocols.chainlink import decode_latest, latest_call
from keeper.protocols.market_source import FeedMarket, MarketSource, PoolMarket

SLOT0: Final = Function("slot0()")
TOKEN0: Final = Function("token0()")
TOKEN1: Final = Function("token1()")
_Q96: Final = 2.0**96
_MOST_DECIMALS: Final = 77
"""10 to this is the largest power below 2^256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMarket:
    """A source with what of it never changes.

    `unit`: what one raw unit of the pool's token 1 for one of token 0 is as a price; `inverse`
    where the priced token is token 1. For feeds `decimals`.
    """

    source: MarketSource
    unit: float = 1.0
    inverse: bool = False
    decimals: int = 0

    @property
    def call(self) -> Call:
        """The one call of each block."""
        match self.source:
            case PoolMarket():
                return SLOT0(self.source.pool)
            case FeedMarket():
                return latest_call(self.source.market_feed)
            case _:
                assert_never(self.source)

    def price(self, returns: Returns, index: int) -> MarketPrice | None:
        """From what the call returned; None where it failed or says nothing."""
        match self.source:
            case PoolMarket():
                return self._of_pool(returns, index)
            case FeedMarket():
                latest = decode_latest(returns, index, decimals=self.decimals)
                if latest is None:
                    return None
                price = latest.price
                return MarketPrice(
                    price=price.value / 10**price.decimals, updated_at=price.updated_at
                )
            case _:
                assert_never(self.source)

    def _of_pool(self, returns: Returns, index: int) -> MarketPrice | None:
        words = split_words(returns.output(index)) if returns.ok(index) else ()
        if not words or words[0] == 0:
            return None
        price = (words[0] / _Q96) ** 2 * self.unit
        return MarketPrice(price=1.0 / price if self.inverse else price, updated_at=None)


def discover_market(source: MarketSource) -> Reading[KnownMarket]:
    """What of a source never changes. Raises `ReadingError` for what is neither pool nor feed, and
    for a pool without the priced token."""
    match source:
        case PoolMarket():
            return (yield from _discover_pool(source))
        case FeedMarket():
            returns = yield (DECIMALS(source.market_feed), latest_call(source.market_feed))
            words = split_words(returns.output(0)) if returns.ok(0) else ()
            if not words or decode_latest(returns, 1, decimals=words[0]) is None:
                raise ReadingError(f"{source.market_feed} does not answer like a feed")
            return KnownMarket(source=source, decimals=words[0])
        case _:
            assert_never(source)


def _discover_pool(source: PoolMarket) -> Reading[KnownMarket]:
    returns = yield (TOKEN0(source.pool), TOKEN1(source.pool), SLOT0(source.pool))
    if not all(returns.ok(n) and len(returns.output(n)) >= 32 for n in range(3)):
        raise ReadingError(f"{source.pool} does not answer like a Uniswap v3 pool")
    tokens = [word_to_address(returns.word(n)) for n in (0, 1)]
    if source.base not in tokens:
        raise ReadingError(f"{source.base} is neither token of the pool {source.pool}")
    returns = yield tuple(DECIMALS(token) for token in tokens)
    zero, one = (returns.word(n) for n in (0, 1))
    if max(zero, one) > _MOST_DECIMALS:
        raise ReadingError(f"a token of the pool {source.pool} has more decimals than can be")
    return KnownMarket(source=source, unit=10.0 ** (zero - one), inverse=source.base == tokens[1])


def market_prices(known: Iterable[KnownMarket]) -> Reading[Mapping[Address, MarketPrice]]:
    """By the feed whose market it is; one round trip, none where no market is known. What does not
    answer is left out."""
    sources = tuple(known)
    if not sources:
        return {}
    returns = yield tuple(each.call for each in sources)
    found = {each.source.feed: each.price(returns, n) for n, each in enumerate(sources)}
    return {feed: price for feed, price in found.items() if price is not None}
