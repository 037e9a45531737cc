"""Prices of one pair at one venue, as arrays; what a price history is made of."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Floats

ROUNDS: Final = 0
"""The step of what comes when it comes: a feed's own updates."""
OBSERVED: Final = frozenset({"COINGECKO", "CHAINLINK", "IMPLIED"})
"""Venues whose rows are observations, not intervals, though a step may be named."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PriceSource:
    """Which prices these are: of a pair such as ETH/USD, at a venue (`SPOT`: an exchange's spot
    market), every `step_s` seconds or `ROUNDS`."""

    pair: str
    venue: str
    step_s: int

    @property
    def interval_s(self) -> int:
        """How long each row lasts: 0 for observations."""
        return 0 if self.venue in OBSERVED else self.step_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candles:
    """Prices of one venue, oldest first, never overlapping. `starts` and `ends` are Unix seconds;
    equal where the row is an observation and no interval."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, mask: NDArray[np.bool_]) -> "Candles":
        """The candles that the mask picks."""
        return Candles(
            starts=self.starts[mask],
            ends=self.ends[mask],
            open=self.open[mask],
            high=self.high[mask],
            low=self.low[mask],
            close=self.close[mask],
        )
