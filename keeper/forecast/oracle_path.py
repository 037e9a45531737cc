"""The rounds that a price feed would have published along a market's path.

A feed publishes when the price has moved by its deviation threshold since its last round, or when
its heartbeat has passed since then. Health moves only at rounds, hence a breach is one of the
oracle's path and not of the market's.
"""

from dataclasses import dataclass
from math import log1p
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Floats

DEVIATION: Final = 0.005
HEARTBEAT_S: Final = 3_600
"""Chainlink's ETH/USD and BTC/USD feeds on mainnet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogPath:
    """Natural logs of a price at moments that never go back, Unix seconds."""

    times: NDArray[np.float64]
    log_prices: Floats

    def at(self, moments: Floats) -> Floats:
        """The last log price at or before each moment; nan before the first."""
        place = np.searchsorted(self.times, moments, side="right") - 1
        return np.where(place >= 0, self.log_prices[np.maximum(place, 0)], np.nan)


def oracle_path(
    market: LogPath, *, deviation: float = DEVIATION, heartbeat_s: float = HEARTBEAT_S
) -> LogPath:
    """The rounds of a feed that looks at every point of the market's path."""
    up, down = log1p(deviation), log1p(-deviation)
    times, logs = market.times.tolist(), market.log_prices.tolist()
    rounds = [0]
    last, due = logs[0], times[0] + heartbeat_s
    highest, lowest = last + up, last + down
    for n, price in enumerate(logs):
        if price >= highest or price <= lowest or times[n] >= due:
            rounds.append(n)
            due = times[n] + heartbeat_s
            highest, lowest = price + up, price + down
    chosen = np.array(rounds[1:] if rounds[1:2] == [0] else rounds)
    return LogPath(times=market.times[chosen], log_prices=market.log_prices[chosen])


def extremes(path: LogPath, origins: Floats, horizon_s: float) -> tuple[Floats, Floats]:
    """Lowest and highest log price among the points after each origin, up to its horizon, against
    the price at the origin; 0 where the path has no point there, nan where it has not begun."""
    first = np.searchsorted(path.times, origins, side="right")
    last = np.searchsorted(path.times, origins + horizon_s, side="right")
    none = first == last
    bounds = np.stack([np.where(none, 0, first), np.where(none, 1, last)], axis=1).ravel()
    logs = np.append(path.log_prices, 0.0)
    start = path.at(origins)
    lows = np.minimum.reduceat(logs, bounds)[::2]
    highs = np.maximum.reduceat(logs, bounds)[::2]
    return np.where(none, 0.0, lows) - np.where(none, 0.0, start), np.where(none, 0.0, highs) - np.where(none, 0.0, start)
