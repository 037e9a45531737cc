"""The price history of the store as commands use it: what is there, and adding to it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from sqlalchemy import Engine

from keeper.model.candles import ROUNDS, Candles, PriceSource
from keeper.model.units import Address
from keeper.storage.candles import CandleHistory
from keeper.storage.database import open_beside, open_for_reading
from keeper.storage.pair_fits import PairFits
from keeper.storage.prices import HeldRounds, PriceHistory
from keeper.storage.starts import Starts
from keeper.storage.store import Store, running

FEED_VENUE = "CHAINLINK"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrices:
    """Prices of one source that the store holds; `first` and `last` in Unix seconds."""

    source: PriceSource
    name: str
    rows: int
    first: int
    last: int
    load: Callable[[], Candles] = field(repr=False)
    chain_id: int | None = None
    feed: Address | None = None

    def candles(self) -> Candles:
        """All of them, oldest first."""
        return self.load()

    def sha256(self) -> str:
        """Of times and prices."""
        held = self.load()
        columns = (held.starts, held.open, held.high, held.low, held.close)
        return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


class PriceStore:
    """Price history in the journal's file, to which a keeper may be writing at the same time, and what
    else a forecast goes by."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rounds = PriceHistory(engine)
        self.candles = CandleHistory(engine)
        self.pair_fits = PairFits(engine)
        self.starts = Starts(engine)

    @classmethod
    def to_add(cls, path: Path) -> Self:
        """Create or migrate the file unless a keeper runs on it. Raises `DatabaseUnusableError`."""
        if not running(path):
            Store(path).close()
        return cls(open_beside(path))

    @classmethod
    def to_read(cls, path: Path) -> Self:
        """Raises `DatabaseUnusableError`, also where there is no file."""
        return cls(open_for_reading(path))

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def held(self) -> list[StoredPrices]:
        """Every source, feeds first."""
        return [*map(self._of_feed, self.rounds.feeds()), *self._of_candles()]

    def _of_feed(self, held: HeldRounds) -> StoredPrices:
        return StoredPrices(
            source=PriceSource(pair=held.pair or held.feed, venue=FEED_VENUE, step_s=ROUNDS),
            name=" ".join(filter(None, (held.pair, held.feed, f"on chain {held.chain_id}"))),
            rows=held.rounds,
            first=held.first,
            last=held.last,
            load=lambda: self._rounds(held.chain_id, held.feed),
            chain_id=held.chain_id,
            feed=held.feed,
        )

    def _rounds(self, chain_id: int, feed: Address) -> Candles:
        rounds = self.rounds.since(chain_id, feed, 0)
        # Of several in one second the last one stood.
        at = {each.price.updated_at: each.price for each in rounds}
        times = np.array(list(at), dtype=np.int64)
        prices = np.array([price.value / 10**price.decimals for price in at.values()])
        return Candles(starts=times, ends=times, open=prices, high=prices, low=prices, close=prices)

    def _of_candles(self) -> list[StoredPrices]:
        def loader(source: PriceSource) -> Callable[[], Candles]:
            return lambda: self.candles.of(source)

        return [
            StoredPrices(
                source=source,
                name=f"{source.pair} {source.venue} {source.step_s} s",
                rows=rows,
                first=first,
                last=last,
                load=loader(source),
            )
            for source, (rows, first, last) in self.candles.sources().items()
        ]
