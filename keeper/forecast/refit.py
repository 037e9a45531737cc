"""One pair fitted anew on its feed's own rounds: the level of its volatility, and its table.

Both are shrunk towards what was known before by the number of independent episodes, n/(n + 200) for
the new: a month says little of a day's horizon, a year much. The weights that all pairs share stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from keeper.forecast.calibration import VERSION, Calibration
from keeper.forecast.oracle_path import LogPath, extremes
from keeper.forecast.realised import (
    DAY_S,
    HORIZONS_S,
    HOUR_S,
    MIN_TARGET_S,
    WINDOWS_S,
    Variation,
    clock,
)
from keeper.forecast.tables import GRID, SHRINKAGE, Tables, beyond, tail_start
from keeper.forecast.volatility import RoundSeries
from keeper.model.book import Floats

MIN_SPAN_S: Final = 30 * DAY_S
LONGEST_S: Final = 366 * DAY_S
MAX_SILENCE_S: Final = 25 * HOUR_S
"""An episode with a longer one is left out: a gap in what is known, not a calm market."""
_WARM_UP_S: Final = 7 * DAY_S


class TooShortError(Exception):
    """There are too few rounds to fit a pair on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairFit:
    """What was fitted of one pair, on rounds from `since` to `until`, Unix seconds.

    `levels`: one per horizon; `reached`: (horizons, grid), as in `Tables`.
    """

    pair: str
    since: int
    until: int
    levels: Floats
    reached: Floats

    def over(self, calibration: Calibration) -> Calibration:
        """The calibration with this pair's part replaced."""
        levels = {**calibration.har.levels, self.pair: self.levels}
        return replace(
            calibration,
            har=replace(calibration.har, levels=levels),
            tables=Tables(reached={**calibration.tables.reached, self.pair: self.reached}),
            spans={**calibration.spans, self.pair: (self.since, self.until)},
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "version": VERSION,
            "grid": len(GRID),
            "pair": self.pair,
            "since": self.since,
            "until": self.until,
            "levels": [float(f"{level:.6g}") for level in self.levels],
            "reached": [[float(f"{p:.5g}") for p in row] for row in self.reached],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises `ValueError` for what cannot be one of this version."""
        try:
            made = (document["version"], document["grid"])
            fit = cls(
                pair=str(document["pair"]),
                since=int(document["since"]),
                until=int(document["until"]),
                levels=np.array(document["levels"], dtype=np.float64),
                reached=np.array(document["reached"], dtype=np.float64),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is not a fit ({error!r})") from error
        if made != (VERSION, len(GRID)):
            raise ValueError("it was fitted by another version")
        if fit.levels.shape != (len(HORIZONS_S),) or not np.isfinite(fit.levels).all():
            raise ValueError("its levels are not one number for each horizon")
        if fit.reached.shape != (len(HORIZONS_S), len(GRID)):
            raise ValueError("its tables have another shape")
        if not ((fit.reached >= 0.0) & (fit.reached <= 1.0)).all():
            raise ValueError("its tables hold what is no probability")
        if (np.diff(fit.reached) > _ROUNDING).any():
            raise ValueError("its tables rise with the distance")
        return fit


_ROUNDING: Final = 1e-4


def refit(calibration: Calibration, pair: str, rounds: RoundSeries, until: int) -> PairFit:
    """Fit a pair on its rounds up to `until`; what came later is not looked at.

    Raises `TooShortError` for less than thirty days.
    """
    known = rounds.until(until)
    since = int(known.times[0]) if len(known.times) else until
    if until - since < MIN_SPAN_S:
        raise TooShortError(
            f"{(until - since) / DAY_S:.1f} days of rounds known, {MIN_SPAN_S // DAY_S} needed"
        )
    path = LogPath(times=known.times.astype(np.float64), log_prices=known.log_prices)
    spent = Variation.of_rounds(path.times, path.log_prices)
    begin = np.ceil((since + _WARM_UP_S) / HOUR_S) * HOUR_S
    origins = np.arange(begin, float(until), HOUR_S, dtype=np.float64)
    rates = spent.log_rates(origins)
    whole = [_whole(path, origins, horizon, until) for horizon in HORIZONS_S]
    shares = [_share(int(mask.sum()), h) for mask, h in zip(whole, HORIZONS_S, strict=True)]
    levels = _levels(calibration, pair, spent, origins, rates, whole, shares)
    har = replace(calibration.har, levels={**calibration.har.levels, pair: levels})
    reached = np.empty((len(HORIZONS_S), len(GRID)))
    for h, horizon in enumerate(HORIZONS_S):
        at = origins[whole[h]]
        spread = np.exp(0.5 * har.log_rate(rates[whole[h]], at, horizon, pair)) * np.sqrt(horizon)
        low, high = extremes(path, at, horizon)
        prior = calibration.tables.curve(horizon, calibration.table_of(pair))
        reached[h] = _shrunk(prior, np.concatenate([-low / spread, high / spread]), shares[h])
    return PairFit(pair=pair, since=since, until=until, levels=levels, reached=reached)


def _whole(path: LogPath, origins: Floats, horizon_s: float, until: int) -> NDArray[np.bool_]:
    """Which origins' episode has ended and holds no silence."""
    long = np.diff(path.times) > MAX_SILENCE_S
    begun = np.searchsorted(path.times[:-1][long], origins + horizon_s, side="left")
    over = np.searchsorted(path.times[1:][long], origins, side="right")
    found: NDArray[np.bool_] = (begun == over) & (origins + horizon_s <= until)
    return found


def _share(episodes: int, horizon_s: float) -> float:
    n = episodes * min(1.0, HOUR_S / horizon_s)
    return n / (n + SHRINKAGE)


def _levels(
    calibration: Calibration,
    pair: str,
    spent: Variation,
    origins: Floats,
    rates: Floats,
    whole: Sequence[NDArray[np.bool_]],
    shares: Sequence[float],
) -> Floats:
    """The pair's levels, between those known before and those that its rounds show."""
    har, known = calibration.har, calibration.har.levels.get(calibration.table_of(pair))
    levels = np.empty(len(HORIZONS_S))
    for h, horizon in enumerate(HORIZONS_S):
        weight = har.weights[h]
        pull = 1.0 - float(weight[: len(WINDOWS_S)].sum())
        before = har.anchor[h] + pull * rates[:, -1].mean() if known is None else known[h]
        levels[h] = before
        if shares[h] > 0.0:
            at = origins[whole[h]]
            after = spent.log_rate_after(at, max(horizon, MIN_TARGET_S))
            told = np.hstack([rates[whole[h]], clock(at)]) @ weight
            levels[h] += shares[h] * (float(np.mean(after - told)) - before)
    return levels


def _shrunk(prior: Floats, runs: Floats, share: float) -> Floats:
    """The prior table moved towards the pair's own runs; beyond the rarest half per cent it keeps
    the prior's shape, from where the mixed one begins."""
    if share == 0.0:
        return prior
    mixed = prior + share * (beyond(np.sort(runs)) - prior)
    start, prior_start = tail_start(mixed), tail_start(prior)
    tail = np.interp(GRID * (prior_start / start), GRID, prior)
    return np.minimum.accumulate(np.where(start < GRID, tail, mixed))
