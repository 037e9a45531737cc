"""The market's own prices beside the oracles', one call each in a pass's first round trip."""

from collections.abc import Mapping, Sequence

import structlog

from keeper.chain.reader import Reader
from keeper.forecast.oracle_state import MarketPrice
from keeper.model.reading import Reading, ReadingError
from keeper.model.units import Address
from keeper.model.values import Head
from keeper.protocols.market_price import (
    KnownMarket,
    discover_market,
    market_prices,
)
from keeper.protocols.market_source import MarketSource

log = structlog.get_logger()


class MarketPrices:
    """The configured sources. One that cannot be read is left out, and tried again by `load`."""

    def __init__(self, *, reader: Reader, sources: Sequence[MarketSource] = ()) -> None:
        self._reader = reader
        self._sources = tuple(sources)
        self._known: dict[MarketSource, KnownMarket] = {}

    async def load(self, head: Head) -> None:
        """Read what never changes of the sources that are not known yet.

        Raises `EndpointUnavailableError`."""
        missing = [source for source in self._sources if source not in self._known]
        values, _ = await self._reader.read(
            [discover_market(source) for source in missing], at=head.hash
        )
        for source, found in zip(missing, values, strict=True):
            if isinstance(found, ReadingError):
                log.warning("market_price.unreadable", feed=source.feed, reason=str(found))
            else:
                self._known[source] = found

    def latest(self) -> Reading[Mapping[Address, MarketPrice]]:
        """By the feed whose market it is."""
        return market_prices(self._known.values())
