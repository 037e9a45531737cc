"""Fitting the shipped calibration: histories in, volatility forecast and tables out."""

from collections.abc import Callable, Mapping

import numpy as np

from keeper.backtest.candles import HistoryError
from keeper.backtest.episodes import Episodes
from keeper.forecast.calibration import HEALTHS, Calibration
from keeper.forecast.realised import HORIZONS_S, LogHar, Past
from keeper.forecast.tables import POOLED, Tables
from keeper.model.book import Floats

Known = Mapping[str, Mapping[int, Episodes]]
"""Episodes by pair and horizon."""
Asked = Mapping[tuple[str, int], tuple[Episodes, int]]
Sigma = Callable[[Episodes, str, int], Floats]
"""Volatility per √second of a pair's episodes over a horizon."""
MIN_EPISODES = 90 * 24


def fit(known: Known, until: float, inputs: Mapping[str, str]) -> Calibration:
    """Fit on the episodes that had ended by `until`: ninety days of hourly origins or more, else the
    pair is left to the pooled table. A horizon that no pair has (those below an hour, of hourly
    prices) takes the law of the next longer one, in units of σ̂√T; or of the longest there is. Raises
    `HistoryError` if no pair has enough history.
    """
    used = _used(known, until)
    if not used:
        raise HistoryError(
            "the price files",
            "no pair has ninety days of hourly episodes before the fit ends",
            fix="give longer histories or a later end",
        )
    asked = _asked(used)
    har = LogHar.fit(
        {
            key: Past(
                moments=own.origins, log_rates=own.log_rates, log_rate_after=own.log_rate_after
            )
            for key, (own, _) in asked.items()
        }
    )

    def sigma(own: Episodes, pair: str, horizon: int) -> Floats:
        return np.exp(0.5 * har.log_rate(own.log_rates, own.origins, horizon, pair))

    spans = {
        pair: (
            int(min(own.origins[0] for (name, _), own in used.items() if name == pair)),
            int(max(own.origins[-1] + h for (name, h), own in used.items() if name == pair)),
        )
        for pair in sorted({name for name, _ in used})
    }
    return Calibration(
        har=har,
        tables=_tables(asked, sigma),
        climatology=_climatology(known, until),
        spans=spans,
        inputs=inputs,
    )


def fit_tables(known: Known, until: float, sigma: Sigma) -> Tables | None:
    """The tables alone, for another volatility; None where there is too little history."""
    used = _used(known, until)
    return _tables(_asked(used), sigma) if used else None


def _climatology(known: Known, until: float) -> dict[str, Floats]:
    """How often the episodes that had ended by then breached, by pair and over all of them."""
    made = {pair: np.full((len(HORIZONS_S), len(HEALTHS)), np.nan) for pair in (*known, POOLED)}
    distances = np.log(HEALTHS)
    for h, horizon in enumerate(HORIZONS_S):
        lows = {
            pair: of[horizon].before(until, horizon).low
            for pair, of in known.items()
            if horizon in of
        }
        everyone = np.concatenate([*lows.values(), np.empty(0)])
        for pair, low in (*lows.items(), (POOLED, everyone)):
            if len(low):
                made[pair][h] = (low[:, None] <= -distances).mean(axis=0)
    return made


def _used(known: Known, until: float) -> Mapping[tuple[str, int], Episodes]:
    return {
        (pair, horizon): own
        for pair, by_horizon in known.items()
        for horizon, all_of_them in by_horizon.items()
        if len(own := all_of_them.before(until, horizon)) >= MIN_EPISODES
    }


def _asked(used: Mapping[tuple[str, int], Episodes]) -> Asked:
    """The episodes that stand for each pair and horizon, and how long they are: those of the horizon
    itself, else of the next longer one, else of the longest."""
    fitted = {horizon for _, horizon in used}
    source = {
        horizon: min((each for each in fitted if each >= horizon), default=max(fitted))
        for horizon in HORIZONS_S
    }
    return {
        (pair, horizon): (used[pair, source[horizon]], source[horizon])
        for horizon in HORIZONS_S
        for pair in dict.fromkeys(name for name, _ in used)
        if (pair, source[horizon]) in used
    }


def _tables(asked: Asked, sigma: Sigma) -> Tables:
    return Tables.fit(
        {
            (pair, horizon): runs_of(own, sigma(own, pair, horizon) * np.sqrt(length))
            for (pair, horizon), (own, length) in asked.items()
        }
    )


def runs_of(own: Episodes, spread: Floats) -> Floats:
    """Every episode's furthest fall and furthest rise, in units of its spread."""
    return np.concatenate([-own.low / spread, own.high / spread])
