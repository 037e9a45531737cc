"""What lies ahead of a position: its chances by horizon, what each price does to it, how low it may go.

The same book, volatilities and tables as the daemon's forecast, asked about more horizons and, for
how low health may go, about other boundaries than 1: health reaches L when a book that must cover L
times as much reaches 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import expm1, sqrt
from typing import Final

import numpy as np

from keeper.engine.outlook import Outlook
from keeper.forecast.calibrated import forecast
from keeper.forecast.realised import HORIZONS_S
from keeper.model.book import Floats, health
from keeper.model.units import SECONDS_PER_YEAR

QUANTILES: Final = (0.5, 0.2, 0.05, 0.01, 0.001)
TIMES_S: Final = np.geomspace(HORIZONS_S[0], HORIZONS_S[-1], 40)
_FALLS: Final = np.concatenate([[0.0], np.geomspace(1e-4, 3.0, 160)])
"""Of ln health: as far as e^3, below which nothing of a position is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """Of a breach within one horizon. `distance_in_sigma`: of the volatility until then; None where
    nothing moves."""

    horizon_s: int
    breach_probability: float
    distance_in_sigma: float | None
    volatility_per_year: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What one oracle's price does to a position, the others standing still.

    `liquidation_price`: None where no price of it alone would do. `sensitivity`: by how many per
    cent health rises when the price rises by one. `market_over_oracle`: by what share of it the
    market's price is higher; None where no market is known.
    """

    asset: str
    price: float
    liquidation_price: float | None
    sensitivity: float
    market_over_oracle: float | None


def chances(outlook: Outlook) -> dict[int, tuple[Chance, ...]]:
    """Of every watched row that was read, by row."""
    if outlook.asked is None:
        return {}
    found: dict[int, list[Chance]] = {row: [] for row in outlook.rows.tolist()}
    for horizon_s in HORIZONS_S:
        ahead = forecast(outlook.book, outlook.asked, horizon_s=float(horizon_s))
        spread = ahead.volatility_per_year * sqrt(horizon_s / SECONDS_PER_YEAR)
        left = ahead.distance + ahead.gap + ahead.carry
        for place, row in enumerate(found):
            moves = spread[place] > 0.0 and np.isfinite(left[place])
            found[row].append(
                Chance(
                    horizon_s=horizon_s,
                    breach_probability=float(ahead.probability[place]),
                    distance_in_sigma=float(left[place] / spread[place]) if moves else None,
                    volatility_per_year=float(ahead.volatility_per_year[place]),
                )
            )
    return {row: tuple(each) for row, each in found.items()}


def exposures(outlook: Outlook, row: int) -> tuple[Exposure, ...]:
    """One for each oracle that a watched row depends on; columns of one oracle move together."""
    book, (place,) = outlook.book, np.flatnonzero(outlook.rows == row)
    covers, owes = book.C[place] * book.p, book.D[place] * book.p
    used = outlook.columns_of(row)
    of_source = {book.columns[k].source: k for k in reversed(used)}
    found = []
    for source, first in of_source.items():
        columns = [k for k in used if book.columns[k].source == source]
        net = float((covers - owes)[columns].sum())
        rest = float((covers - owes).sum()) - net
        factor = -rest / net if net else 0.0
        found.append(
            Exposure(
                asset=book.columns[first].label,
                price=float(book.p[first]),
                liquidation_price=float(book.p[first]) * factor if factor > 0.0 else None,
                sensitivity=_share(covers, columns) - _share(owes, columns),
                market_over_oracle=None if (gap := outlook.gaps[first]) is None else expm1(gap),
            )
        )
    return tuple(reversed(found))


def _share(worth: Floats, columns: Sequence[int]) -> float:
    whole = float(worth.sum())
    return float(worth[list(columns)].sum()) / whole if whole else 0.0


def fan(outlook: Outlook, row: int) -> Floats | None:
    """The lowest that health of a watched row will have been, (quantiles, times): by each of
    `TIMES_S` from now it has been at or below this with the probability of `QUANTILES`. None without
    debt or where no volatility is known."""
    places = np.flatnonzero(outlook.rows == row)
    if outlook.asked is None or not len(places):
        return None
    one = outlook.book.take(places)
    now = float(health(one)[0])
    if not now > 0.0 or outlook.forecast.cold[row]:
        return None
    levels = now * np.exp(-_FALLS)
    book = replace(one.take(np.zeros(len(levels), dtype=np.intp)), D=levels[:, None] * one.D)
    lowest = np.empty((len(QUANTILES), len(TIMES_S)))
    for n, time_s in enumerate(TIMES_S.tolist()):
        reached = forecast(book, outlook.asked, horizon_s=time_s).probability
        rarer = np.minimum.accumulate(reached)
        lowest[:, n] = np.interp(QUANTILES[::-1], rarer[::-1], levels[::-1])[::-1]
    return lowest
