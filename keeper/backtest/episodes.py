"""Episodes: an origin every hour, what was known there, and how far the oracle ran afterwards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from keeper.backtest.candles import NoPricesError
from keeper.backtest.history import Series
from keeper.forecast.oracle_path import LogPath, extremes, oracle_path
from keeper.forecast.realised import (
    DAY_S,
    HORIZONS_S,
    HOUR_S,
    MIN_TARGET_S,
    Variation,
    ewma_rates,
    garman_klass,
)
from keeper.model.book import Floats
from keeper.model.candles import OBSERVED, Candles

FINE_S: Final = 300
WALK: Final = 12
DRAWN_IN: Final = 1.0
"""An hourly candle holds its hour's last second of panic, which a feed that looks every few minutes
does not see. Its extremes are drawn in by σ√(5 min), σ its own Garman-Klass volatility: then the
hourly files of 2023 breach as often as the five-minute files of the same hours (Brownian motion
alone would ask for 0.58 of it, `keeper.forecast.first_passage.MONITORING_SHIFT`)."""
MAX_SILENCE_S: Final = {"CHAINLINK": 25 * HOUR_S}
"""How long observations may be silent within an episode: a feed by its own heartbeat, samples of an
index three hours. Candles may not: at most one of five minutes is missing from an episode."""
SAMPLED_S: Final = 3 * HOUR_S
BREAK_S: Final = 25 * HOUR_S
"""After a longer silence a history begins anew: what happened meanwhile is no move of one hour."""
MIN_HISTORY_S: Final = 7 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Episodes:
    """One pair and horizon, one row per origin, oldest first.

    `low` and `high`: the oracle's extremes within the horizon against its price at the origin, logs.
    `gap`: log market price less log oracle price at the origin. `log_price`: the market's there.
    `log_rates`: see `Variation`.
    `log_rate_after`: what followed, for fitting alone. `ewma`, `ranged`: variance per second, by
    exponential weights and from the last day's ranges.
    """

    origins: Floats
    low: Floats
    high: Floats
    gap: Floats
    log_price: Floats
    log_rates: Floats
    ewma: Floats
    ranged: Floats
    log_rate_after: Floats

    def __len__(self) -> int:
        return len(self.origins)

    def where(self, mask: NDArray[np.bool_]) -> Self:
        """The rows that the mask picks."""
        return type(self)(**{f.name: getattr(self, f.name)[mask] for f in fields(self)})

    def before(self, until: float, horizon_s: float) -> Self:
        """The episodes that had ended by then."""
        return self.where(self.origins + horizon_s <= until)

    def within(self, start: float, end: float, horizon_s: float) -> Self:
        """The episodes that begin at or after `start` and end by `end`."""
        return self.where((self.origins >= start) & (self.origins + horizon_s <= end))


def market_path(candles: Candles) -> LogPath:
    """The path a feed could have seen: the closes, and within candles longer than five minutes a
    walk at five-minute steps from the open to one extreme, the other and the close: the low first
    if the candle rose, the high first if it fell."""
    span = candles.ends - candles.starts
    first, high, low, last = map(np.log, (candles.open, candles.high, candles.low, candles.close))
    coarse = span > FINE_S
    pull = DRAWN_IN * np.sqrt(
        garman_klass(first, high, low, last) * FINE_S / np.where(coarse, span, np.inf)
    )
    low = np.minimum(low + pull, np.minimum(first, last))
    high = np.maximum(high - pull, np.maximum(first, last))
    rose = last >= first
    corners = np.stack([first, np.where(rose, low, high), np.where(rose, high, low), last], axis=1)
    steps = np.arange(1, WALK + 1) / WALK
    leg = np.minimum((steps * 3).astype(np.intp), 2)
    share = steps * 3 - leg
    prices = corners[:, leg] * (1.0 - share) + corners[:, leg + 1] * share
    times = candles.starts[:, None] + steps * span[:, None]
    seen = coarse[:, None] | (np.arange(1, WALK + 1) == WALK)
    return LogPath(times=times[seen], log_prices=prices[seen])


def variation(candles: Candles) -> Variation:
    """Quadratic variation: squared returns of five-minute closes and of observations; of longer
    candles the squared return from the close before to the open, and the Garman-Klass variance, or
    the squared return alone where the extremes are not known."""
    span = candles.ends - candles.starts
    coarse = span > FINE_S
    used = candles.where(coarse | (span == 0) | (candles.ends % FINE_S == 0))
    coarse = used.ends - used.starts > FINE_S
    first, high, low, last = map(np.log, (used.open, used.high, used.low, used.close))
    returns = np.diff(last, prepend=first[:1])
    ranged = coarse & ((high > np.maximum(first, last)) | (low < np.minimum(first, last)))
    within = garman_klass(first, high, low, last) + (returns - (last - first)) ** 2
    return Variation.of(used.ends.astype(np.float64), np.where(ranged, within, returns**2))


def ranges(candles: Candles) -> Variation:
    """Garman-Klass variance of every candle, however short, and the squared return between two;
    of observations, which have no range, the squared return."""
    first, high, low, last = map(np.log, (candles.open, candles.high, candles.low, candles.close))
    between = first - np.concatenate([first[:1], last[:-1]])
    within = garman_klass(first, high, low, last)
    return Variation.of(candles.ends.astype(np.float64), within + between**2)


def episodes(venues: Sequence[Series]) -> dict[int, Episodes]:
    """By horizon: at each full hour the first venue that has the whole episode without a gap, seven
    days of history before it and, below an hour, candles no longer than the horizon. Raises
    `NoPricesError` if there is none at all."""
    parts = [_of_stretch(s.venue, stretch) for s in venues for stretch in unbroken(s.candles)]
    chosen = {}
    for horizon in HORIZONS_S:
        found = [part[horizon] for part in parts if len(part[horizon])]
        if not found:
            continue
        origins = np.concatenate([part.origins for part in found])
        _, first = np.unique(origins, return_index=True)
        chosen[horizon] = Episodes(
            **{
                f.name: np.concatenate([getattr(part, f.name) for part in found])[first]
                for f in fields(Episodes)
            }
        )
    if not chosen:
        raise NoPricesError(
            f"pair {venues[0].pair}",
            "its prices hold no episode, which is some time without a gap after seven days of history",
            fix="give longer histories, or leave the pair out by --pairs",
        )
    return chosen


def unbroken(candles: Candles) -> Iterator[Candles]:
    """The stretches between silences longer than `BREAK_S`."""
    breaks = np.flatnonzero(candles.starts[1:] - candles.ends[:-1] > BREAK_S) + 1
    stretch = np.searchsorted(breaks, np.arange(len(candles)), side="right")
    for n in range(len(breaks) + 1):
        yield candles.where(stretch == n)


def _of_stretch(venue: str, candles: Candles) -> dict[int, Episodes]:
    market = market_path(candles)
    oracle = oracle_path(market)
    spent = variation(candles)
    begin = np.ceil((candles.starts[0] + MIN_HISTORY_S) / HOUR_S) * HOUR_S
    origins = np.arange(begin, candles.ends[-1], HOUR_S, dtype=np.float64)
    at = np.minimum(np.searchsorted(candles.starts, origins, side="right") - 1, len(candles) - 1)
    span = (candles.ends - candles.starts)[at]
    inside = (span > FINE_S) & (candles.starts[at] < origins) & (origins < candles.ends[at])
    everything = {
        "origins": origins,
        "gap": market.at(origins) - oracle.at(origins),
        "log_price": market.at(origins),
        "log_rates": spent.log_rates(origins),
        "ewma": ewma_rates(spent, origins) if len(origins) else origins,
        "ranged": np.exp(ranges(candles).log_rates(origins, (DAY_S,))[:, 0]),
    }
    found = {}
    for horizon in HORIZONS_S:
        low, high = extremes(oracle, origins, horizon)
        end = origins + horizon
        whole = _unsilenced(venue, candles, origins, horizon)
        whole &= ~inside & (end <= candles.ends[-1]) & (span <= horizon)
        if venue == "COINGECKO":  # sampled about once an hour
            whole &= horizon >= HOUR_S
        found[horizon] = Episodes(
            low=low,
            high=high,
            log_rate_after=spent.log_rate_after(origins, max(horizon, MIN_TARGET_S)),
            **everything,
        ).where(whole)
    return found


def _unsilenced(venue: str, candles: Candles, origins: Floats, horizon_s: int) -> NDArray[np.bool_]:
    """Whether no silence that is too long lies in the episodes, in part or whole."""
    silence = candles.starts[1:] - candles.ends[:-1]
    if venue in OBSERVED:
        long = silence > MAX_SILENCE_S.get(venue, SAMPLED_S)
    else:
        long = silence >= min(2 * FINE_S, horizon_s)
    stops, resumes = candles.ends[:-1][long], candles.starts[1:][long]
    # The silences that began before the end have all ended before the origin.
    found: NDArray[np.bool_] = np.searchsorted(
        stops, origins + horizon_s, side="left"
    ) == np.searchsorted(resumes, origins, side="right")
    return found
