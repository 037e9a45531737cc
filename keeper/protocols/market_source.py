"""Where the market's own price of what an oracle prices can be read."""

from dataclasses import dataclass

from keeper.model.units import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMarket:
    """A Uniswap v3 pool of `base`, which `feed` prices, against the feed's quote currency."""

    feed: Address
    pool: Address
    base: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedMarket:
    """Another feed of the same price as `feed`'s."""

    feed: Address
    market_feed: Address


MarketSource = PoolMarket | FeedMarket
