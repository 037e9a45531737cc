"""Price history: candles of exchanges and samples of indexes, beside the feeds' rounds."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.sqlite import insert

from keeper.model.candles import Candles, PriceSource
from keeper.storage.schema import candles

BATCH: Final = 2_000
"""Rows of one transaction: a keeper that runs on the same file waits for milliseconds only."""


class CandleHistory:
    """Candles by source. One that is there stays as it is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, source: PriceSource, given: Candles) -> Iterator[int]:
        """Keep candles; yields the rows of each batch once they are on disk."""
        columns = (given.starts, given.open, given.high, given.low, given.close)
        names = ("start", "open", "high", "low", "close")
        key = {"pair": source.pair, "venue": source.venue, "step_s": source.step_s}
        for begin in range(0, len(given), BATCH):
            batch = (column[begin : begin + BATCH].tolist() for column in columns)
            rows = [key | dict(zip(names, row, strict=True)) for row in zip(*batch, strict=True)]
            with self._engine.begin() as connection:
                connection.execute(insert(candles).on_conflict_do_nothing(), rows)
            yield len(rows)

    def of(self, source: PriceSource) -> Candles:
        """All there are, oldest first."""
        kept = candles.c
        query = (
            select(kept.start, kept.open, kept.high, kept.low, kept.close)
            .where(
                kept.pair == source.pair,
                kept.venue == source.venue,
                kept.step_s == source.step_s,
            )
            .order_by(kept.start)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        table = np.array([tuple(row) for row in rows], dtype=np.float64).reshape(-1, 5)
        starts = table[:, 0].astype(np.int64)
        return Candles(
            starts=starts,
            ends=starts + source.interval_s,
            open=table[:, 1],
            high=table[:, 2],
            low=table[:, 3],
            close=table[:, 4],
        )

    def sources(self) -> dict[PriceSource, tuple[int, int, int]]:
        """How many rows of each source there are, and when the first and the last begin."""
        kept = candles.c
        query = select(
            kept.pair,
            kept.venue,
            kept.step_s,
            func.count(),
            func.min(kept.start),
            func.max(kept.start),
        ).group_by(kept.pair, kept.venue, kept.step_s)
        with self._engine.connect() as connection:
            return {
                PriceSource(pair=pair, venue=venue, step_s=step_s): (rows, first, last)
                for pair, venue, step_s, rows, first, last in connection.execute(query)
            }
