"""Fitting the shipped calibration: histories in, volatility forecast and tables out."""

from collections.abc import Mapping

import numpy as np

from keeper.backtest.candles import HistoryError
from keeper.backtest.episodes import Episodes
from keeper.forecast.calibration import Calibration
from keeper.forecast.realised import HORIZONS_S, LogHar, Past
from keeper.forecast.tables import Tables
from keeper.model.book import Floats

Known = Mapping[str, Mapping[int, Episodes]]
"""Episodes by pair and horizon."""
MIN_EPISODES = 90 * 24


def fit(known: Known, until: float, inputs: Mapping[str, str]) -> Calibration:
    """Fit on the episodes that had ended by `until`: ninety days of hourly origins or more, else the
    pair is left to the pooled table. A horizon that no pair has (those below an hour, of hourly
    prices) takes the law of the next longer one, in units of σ̂√T; or of the longest there is. Raises
    `HistoryError` if no pair has enough history.
    """
    used = {
        (pair, horizon): own
        for pair, by_horizon in known.items()
        for horizon, all_of_them in by_horizon.items()
        if len(own := all_of_them.before(until, horizon)) >= MIN_EPISODES
    }
    if not used:
        raise HistoryError(
            "the price files",
            "no pair has ninety days of hourly episodes before the fit ends",
            fix="give longer histories or a later end",
        )
    source = _sources({horizon for _, horizon in used})
    asked = {
        (pair, horizon): used[pair, source[horizon]]
        for horizon in HORIZONS_S
        for pair in known
        if (pair, source[horizon]) in used
    }
    har = LogHar.fit(
        {
            key: Past(
                moments=own.origins, log_rates=own.log_rates, log_rate_after=own.log_rate_after
            )
            for key, own in asked.items()
        }
    )
    runs = {}
    for (pair, horizon), own in asked.items():
        sigma = np.exp(0.5 * har.log_rate(own.log_rates, own.origins, horizon, pair))
        runs[pair, horizon] = runs_of(own, sigma * np.sqrt(source[horizon]))
    spans = {
        pair: (
            int(min(own.origins[0] for (name, _), own in used.items() if name == pair)),
            int(max(own.origins[-1] + h for (name, h), own in used.items() if name == pair)),
        )
        for pair in sorted({name for name, _ in used})
    }
    return Calibration(har=har, tables=Tables.fit(runs), spans=spans, inputs=inputs)


def _sources(fitted: set[int]) -> dict[int, int]:
    """The horizon that stands for each: itself, else the next longer, else the longest."""
    return {
        horizon: min((each for each in fitted if each >= horizon), default=max(fitted))
        for horizon in HORIZONS_S
    }


def runs_of(own: Episodes, spread: Floats) -> Floats:
    """Every episode's furthest fall and furthest rise, in units of its spread."""
    return np.concatenate([-own.low / spread, own.high / spread])
