"""The rounds that a price feed would have published along a market's path.

A feed publishes when the price has moved by its deviation threshold since its last round, or when
its heartbeat has passed since then. Health moves only at rounds, hence a breach is one of the
oracle's path and not of the market's.
"""

from dataclasses import dataclass
from math import log1p
from typing import Final

import numpy as np

from keeper.model.book import Floats

DEVIATION: Final = 0.005
HEARTBEAT_S: Final = 3_600
"""As Chainlink's feeds of ETH and BTC in dollars on mainnet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogPath:
    """Natural logs of a price at Unix seconds that never go back."""

    times: Floats
    log_prices: Floats

    def at(self, moments: Floats) -> Floats:
        """The last log price at or before each moment; nan before the first."""
        place = np.searchsorted(self.times, moments, side="right") - 1
        return np.where(place >= 0, self.log_prices[np.maximum(place, 0)], np.nan)


def oracle_path(
    market: LogPath, *, deviation: float = DEVIATION, heartbeat_s: float = HEARTBEAT_S
) -> LogPath:
    """The rounds of a feed that looks at every point of the market's path, the first one included."""
    up, down = log1p(deviation), log1p(-deviation)
    times, logs = market.times.tolist(), market.log_prices.tolist()
    rounds = []
    highest, lowest, due = -np.inf, np.inf, -np.inf
    for n, price in enumerate(logs):
        if price >= highest or price <= lowest or times[n] >= due:
            rounds.append(n)
            highest, lowest, due = price + up, price + down, times[n] + heartbeat_s
    return LogPath(times=market.times[rounds], log_prices=market.log_prices[rounds])


def extremes(path: LogPath, origins: Floats, horizon_s: float) -> tuple[Floats, Floats]:
    """Lowest and highest log price among the points after each origin and up to its horizon, less
    the log price at the origin. Both 0 where the path has no point there; nan before its first."""
    first = np.searchsorted(path.times, origins, side="right")
    last = np.searchsorted(path.times, origins + horizon_s, side="right")
    none = first == last
    bounds = np.stack([np.where(none, 0, first), np.where(none, 1, last)], axis=1).ravel()
    logs = np.append(path.log_prices, 0.0)  # a bound may be one past the last point
    start = path.at(origins)
    low = np.minimum.reduceat(logs, bounds)[::2]
    high = np.maximum.reduceat(logs, bounds)[::2]
    return np.where(none, start, low) - start, np.where(none, start, high) - start
