"""A pair's oracle price on a grid of five minutes, and what a keeper could know beside it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from keeper.backtest.candles import HistoryError
from keeper.backtest.episodes import FINE_S, market_path, variation
from keeper.backtest.history import Prices, Series, series
from keeper.forecast.calibration import Calibration
from keeper.forecast.oracle_path import LogPath, oracle_path
from keeper.forecast.realised import DAY_S, HOUR_S, QUIET, Variation
from keeper.model.book import Floats

STEP_S: Final = FINE_S
LONGEST_GAP_S: Final = 25 * HOUR_S
"""A silence as long as a feed's own heartbeat, and an hour, is lived through at the last price; what
happened within a longer one nobody knows."""
_OWN_ROUNDS: Final = "CHAINLINK"


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """One venue's prices of one pair. Arrays have an entry per step of `STEP_S` from `start` (Unix
    seconds). `market`: log price; `oracle`: the price of the feed's last round. `move`: how far the market moved in the
    hour before, |log|. `spent`: the market's quadratic variation. `gaps`: spans of Unix seconds
    longer than `LONGEST_GAP_S` without a price, between the first and the last.
    """

    pair: str
    venue: str
    start: int
    market: Floats
    oracle: Floats
    move: Floats
    spent: Variation
    gaps: tuple[tuple[int, int], ...]
    files: tuple[Prices, ...]

    @property
    def grid(self) -> Floats:
        """Unix seconds of every step."""
        return self.start + STEP_S * np.arange(len(self.oracle), dtype=np.float64)

    @cached_property
    def volatility(self) -> Floats:
        """Per √second over the day before each step."""
        return np.sqrt(np.nan_to_num(self.spent.rates(self.grid, (DAY_S,))[:, 0]))

    def sigma(self, calibration: Calibration, horizon_s: float) -> Floats:
        """The volatility that is forecast at each step, per √second until the horizon."""
        rates = np.nan_to_num(self.spent.log_rates(self.grid), nan=np.log(QUIET))
        return calibration.sigma(rates, self.grid, horizon_s, self.pair)

    @property
    def end(self) -> int:
        """Of the last step."""
        return self.start + STEP_S * (len(self.oracle) - 1)

    def step(self, moment: float) -> int:
        """The step at or after a moment."""
        return -int((self.start - moment) // STEP_S)

    def has(self, begin: float, end: float) -> bool:
        """Whether there are prices of the whole span, without a gap."""
        inside = self.start <= begin and end <= self.end
        return inside and self.gap_within(begin, end) is None

    def gap_within(self, begin: float, end: float) -> tuple[int, int] | None:
        """The first gap that overlaps the span."""
        return next((gap for gap in self.gaps if gap[0] < end and gap[1] > begin), None)


def tracks(files: Sequence[Prices], pair: str) -> tuple[Track, ...]:
    """A pair's tracks, best venue first. Perpetuals, which an oracle does not follow, serve only
    where there is nothing else. Raises `HistoryError` where there are no prices of the pair."""
    spot = [f for f in files if not f.source.venue.startswith("PERP")]
    try:
        return tuple(map(track, series(spot, pair)))
    except HistoryError as error:
        if error.line is not None or len(spot) == len(files):
            raise
    return tuple(map(track, series(files, pair)))


def track(prices: Series) -> Track:
    """The market's path looked at every five minutes, and the feed's rounds along it."""
    candles = prices.candles
    path = market_path(candles)
    start = int(np.ceil(path.times[0] / STEP_S)) * STEP_S
    grid = np.arange(start, path.times[-1] + 0.5, STEP_S, dtype=np.float64)
    if not len(grid):
        raise HistoryError(f"pair {prices.pair}", "less than five minutes of prices")
    silent = np.flatnonzero(candles.starts[1:] - candles.ends[:-1] > LONGEST_GAP_S)
    found = along(prices.pair, prices.venue, start, path.at(grid), variation(candles))
    return replace(
        found,
        oracle=np.exp(path.at(grid)) if prices.venue == _OWN_ROUNDS else found.oracle,
        gaps=tuple((int(candles.ends[n]), int(candles.starts[n + 1])) for n in silent),
        files=prices.files,
    )


def along(
    pair: str, venue: str, start: int, market: Floats, spent: Variation | None = None
) -> Track:
    """A track without gaps over log prices of the market, a step apart; `spent` is their quadratic
    variation where it is known better than from these."""
    grid = start + STEP_S * np.arange(len(market), dtype=np.float64)
    rounds = oracle_path(LogPath(times=grid, log_prices=market))
    return Track(
        pair=pair,
        venue=venue,
        start=start,
        market=market,
        oracle=np.exp(rounds.at(grid)),
        move=np.abs(market - _before(market, HOUR_S)),
        spent=Variation.of(grid, np.diff(market, prepend=market[:1]) ** 2)
        if spent is None
        else spent,
        gaps=(),
        files=(),
    )


def _before(values: Floats, seconds: int) -> Floats:
    back = min(seconds // STEP_S, len(values))
    return np.concatenate([np.full(back, values[0]), values[: len(values) - back]])


def known_tracks(
    files: Sequence[Prices], pairs: Iterable[str]
) -> tuple[dict[str, tuple[Track, ...]], dict[str, str]]:
    """By pair, those that there are prices of; and why there are none of the others."""
    found: dict[str, tuple[Track, ...]] = {}
    missing: dict[str, str] = {}
    for pair in pairs:
        try:
            found[pair] = tracks(files, pair)
        except HistoryError as error:
            if error.line is not None:
                raise
            missing[pair] = error.reason
    return found, missing
