"""The forecasts that are compared: the daemon's, its challengers and the baselines."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import log
from typing import Final

import numpy as np

from keeper.backtest.calibrate import MIN_EPISODES, Known, fit_tables
from keeper.backtest.episodes import Episodes
from keeper.forecast.calibration import Calibration
from keeper.forecast.first_passage import first_passage
from keeper.forecast.realised import DAY_S, HOUR_S
from keeper.forecast.tables import Tables
from keeper.model.book import Floats

DEFAULT: Final = "table_log_har"
"""The one the daemon uses: running-minimum table on the log-HAR volatility."""
CLIMATOLOGY: Final = "climatology"
GARCH: Final = "gjr_garch_t"
SEEN_EVERY_S: Final = 300.0
"""The closed form is given the looks that the modelled path has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """Episodes of one pair and horizon, of which it is asked whether this health is lost; and all
    of the pair's."""

    pair: str
    horizon_s: int
    health: float
    asked: Episodes
    whole: Episodes

    @property
    def distance(self) -> float:
        """The log of the health: how far the price may fall."""
        return log(self.health)


Model = Callable[[Question], Floats]


def models(calibration: Calibration, known: Known, until: float) -> dict[str, Model]:
    """By name, the default first. Those that are themselves fitted only where `known` goes back
    far enough before `until`, GJR-GARCH-t only where the package `arch` is installed."""

    def climatology(q: Question) -> float:
        return calibration.frequency(q.pair, q.horizon_s, q.health)

    chosen: dict[str, Model] = {
        DEFAULT: lambda q: calibration.probability(
            np.full(len(q.asked), q.distance), _sigma(calibration, q), q.horizon_s, q.pair
        ),
        "table_log_har_gap": lambda q: calibration.probability(
            q.distance + q.asked.gap, _sigma(calibration, q), q.horizon_s, q.pair
        ),
        CLIMATOLOGY: lambda q: np.full(len(q.asked), climatology(q)),
        "climatology_running": lambda q: _running(q, climatology(q)),
        "brownian_30d": lambda q: _brownian(q, np.exp(0.5 * q.asked.log_rates[:, -1])),
        "riskmetrics": lambda q: _brownian(q, np.sqrt(q.asked.ewma)),
        "brownian_log_har": lambda q: _brownian(q, _sigma(calibration, q)),
    }
    for name, variance in ALTERNATIVES.items():
        tables = fit_tables(known, until, _fixed(variance))
        if tables is not None:
            chosen[name] = _tabled(tables, variance)
    if find_spec("arch") is not None and all(_long_enough(of, until) for of in known.values()):
        from keeper.backtest.garch import daily_variances

        variances = {pair: daily_variances(of, until) for pair, of in known.items()}
        chosen[GARCH] = lambda q: _brownian(q, _garch(variances, q))
    return chosen


def left_out(chosen: Mapping[str, Model]) -> Iterator[str]:
    """Which of the models are not among the chosen, and why."""
    for name in (*ALTERNATIVES, GARCH):
        if name not in chosen:
            missing = name == GARCH and find_spec("arch") is None
            yield f"{name}, " + (
                "for which keeper is to be installed with its extra `research`"
                if missing
                else "for which the prices do not go back far enough before the fit's end"
            )


def _long_enough(of: Mapping[int, Episodes], until: float) -> bool:
    return HOUR_S in of and len(of[HOUR_S].before(until, HOUR_S)) >= MIN_EPISODES


Variance = Callable[[Episodes], Floats]
ALTERNATIVES: Final[Mapping[str, Variance]] = {
    "table_ewma": lambda own: own.ewma,
    "table_garman_klass": lambda own: own.ranged,
}
"""The same tables on a volatility that is measured and not forecast; variance per second."""


def _fixed(variance: Variance) -> Callable[[Episodes, str, int], Floats]:
    return lambda own, _pair, _horizon: np.sqrt(variance(own))


def _tabled(tables: Tables, variance: Variance) -> Model:
    return lambda q: tables.probability(
        np.full(len(q.asked), q.distance), np.sqrt(variance(q.asked)), q.horizon_s, q.pair
    )


def _sigma(calibration: Calibration, q: Question) -> Floats:
    return calibration.sigma(q.asked.log_rates, q.asked.origins, q.horizon_s, q.pair)


def _brownian(q: Question, sigma: Floats) -> Floats:
    return first_passage(
        np.full(len(q.asked), q.distance),
        sigma,
        -0.5 * sigma**2,
        horizon_s=q.horizon_s,
        monitored_every_s=SEEN_EVERY_S,
    )


def _running(q: Question, before: float) -> Floats:
    """The frequency among all episodes of the pair that had ended by each origin; `before` until one
    has."""
    happened = np.cumsum(q.whole.low <= -q.distance)
    ended = np.searchsorted(q.whole.origins + q.horizon_s, q.asked.origins, side="right")
    frequency = np.full(len(ended), before)
    np.divide(happened[ended - 1], ended, out=frequency, where=ended > 0)
    return frequency


def _garch(variances: Mapping[str, tuple[Floats, Floats]], q: Question) -> Floats:
    """Per √second: of the next day at the last midnight, and over longer horizons as many days."""
    midnights, by_days = variances[q.pair]
    place = np.searchsorted(midnights, q.asked.origins, side="right") - 1
    days = max(1, round(q.horizon_s / DAY_S))
    rates: Floats = by_days[np.maximum(place, 0), :days].mean(axis=1) / DAY_S
    return np.sqrt(rates)


def hours(seconds: float) -> str:
    """A horizon as people say it."""
    if seconds < HOUR_S:
        return f"{seconds / 60:g} min"
    return f"{seconds / HOUR_S:g} h" if seconds <= DAY_S else f"{seconds / DAY_S:g} d"
