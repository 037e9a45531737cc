"""Fitting the shipped calibration: histories in, volatility forecast and tables out."""

from collections.abc import Mapping

import numpy as np

from keeper.backtest.episodes import Episodes
from keeper.forecast.calibration import Calibration
from keeper.forecast.realised import HORIZONS_S, LogHar, Past
from keeper.forecast.tables import Tables
from keeper.model.book import Floats

Known = Mapping[str, Mapping[int, Episodes]]
"""Episodes by pair and horizon."""
MIN_EPISODES = 90 * 24


class TooShortError(Exception):
    """No pair has enough history for some horizon."""


def fit(known: Known, until: float, inputs: Mapping[str, str]) -> Calibration:
    """Fit on the episodes that had ended by `until`: ninety days of hourly origins or more, else the
    pair is left to the pooled table. Raises `TooShortError` if a horizon is left without any pair.
    """
    used = {
        (pair, horizon): own
        for pair, by_horizon in known.items()
        for horizon, all_of_them in by_horizon.items()
        if len(own := all_of_them.before(until, horizon)) >= MIN_EPISODES
    }
    for horizon in HORIZONS_S:
        if not any(fitted == horizon for _, fitted in used):
            raise TooShortError(
                f"no pair has {MIN_EPISODES} hourly episodes of {horizon} s: give a longer history"
            )
    har = LogHar.fit(
        {
            key: Past(
                moments=own.origins, log_rates=own.log_rates, log_rate_after=own.log_rate_after
            )
            for key, own in used.items()
        }
    )
    runs = {}
    for (pair, horizon), own in used.items():
        sigma = np.exp(0.5 * har.log_rate(own.log_rates, own.origins, horizon, pair))
        runs[pair, horizon] = runs_of(own, sigma * np.sqrt(horizon))
    spans = {
        pair: (
            int(min(own.origins[0] for (name, _), own in used.items() if name == pair)),
            int(max(own.origins[-1] + h for (name, h), own in used.items() if name == pair)),
        )
        for pair in sorted({name for name, _ in used})
    }
    return Calibration(har=har, tables=Tables.fit(runs), spans=spans, inputs=inputs)


def runs_of(own: Episodes, spread: Floats) -> Floats:
    """Every episode's furthest fall and furthest rise, in units of its spread."""
    return np.concatenate([-own.low / spread, own.high / spread])
