"""First passage of health through 1, in closed form, for every row of a book at once.

The log prices of the columns are taken as Brownian motions with covariance Σ and prices without
expected return (a log price drifts by −½ its variance). The move towards the boundary
(`keeper.forecast.moves`) is then a Brownian motion on a line, whose first passage has a closed form.
Interest and funding add their drift.

Real prices have fatter tails: measured on crypto pairs, events that this puts at 1-5 % happen
1.2 to 2.8 times as often. Hence it is the forecast of a cold start only.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from keeper.forecast.moves import moves
from keeper.forecast.volatility import Covariance
from keeper.model.book import Book, Floats, health
from keeper.model.units import SECONDS_PER_YEAR

MONITORING_SHIFT: Final = 0.5826
"""−ζ(½)/√(2π): a barrier looked at every dt is crossed as one further away by this × σ√dt, watched
continuously (M. Broadie, P. Glasserman and S. Kou, A Continuity Correction for Discrete Barrier
Options, Mathematical Finance 7 (1997) 325-349)."""

COLD: Final = "cold"
CLOSED_FORM: Final = "closed form, uncalibrated"
_STEEP: Final = 30.0
"""e^30 × the smallest float is still nothing: below it the plain product loses no digit that counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast:
    """One entry per row of the book.

    `distance`: log price move to the boundary along the likeliest direction, the exposed prices
    moving against the others (one collateral against one debt: the log of their price ratio).
    0 at or past the boundary, inf without debt or without anything that moves. `gap`: what a market
    ahead of its oracle takes from it, never positive; `carry`: what interest and funding take from it
    until the horizon, never positive. The probability is about distance + gap + carry; the closed
    form's about distance, with interest and funding, gained or lost, as a drift.
    `volatility_per_year`: of that move; 0 without debt or equity. `probability` that health touches
    1 before the horizon.
    `source`: which of `sources` gave it. Where that is `COLD`, a feed the row depends on has no
    volatility: distance, volatility and probability are nan, save that a row at or past its boundary
    has distance 0 and probability 1.
    """

    distance: Floats
    gap: Floats
    carry: Floats
    volatility_per_year: Floats
    probability: Floats
    source: NDArray[np.intp]
    sources: tuple[str, ...] = (COLD, CLOSED_FORM)

    @property
    def cold(self) -> NDArray[np.bool_]:
        """Which rows have no forecast."""
        found: NDArray[np.bool_] = self.source == 0
        return found


def forecast(
    book: Book, covariance: Covariance, *, horizon_s: float | Floats, monitored_every_s: float
) -> Forecast:
    """How likely each row is to reach its boundary before `horizon_s` (> 0, one or one per row),
    being looked at every `monitored_every_s` seconds; 0 for continuously, the cautious choice.

    A row without debt has probability 0, one whose prices do not move 0 as well.
    """
    now = health(book)
    found = moves(book, now, covariance.per_second)
    variances = np.diag(covariance.per_second)
    of_ratio = np.maximum(variances[:, None] + variances - 2.0 * covariance.per_second, 0.0)
    pair = np.where(found.simple, found.pair, 0)
    sigma = np.where(found.simple, np.sqrt(of_ratio).take(pair), found.sigma)
    drift = np.where(found.simple, (0.5 * (variances - variances[:, None])).take(pair), found.drift)
    np.negative(drift, out=drift, where=found.rises)
    sigma, x = bounded(found.distance, now, sigma)
    accrued = book.carry / found.gearing
    drift += accrued
    probability = first_passage(
        x, sigma, drift, horizon_s=horizon_s, monitored_every_s=monitored_every_s
    )
    cold = ~np.isnan(now) & uses(book, covariance.cold)
    hide(cold, now, x, sigma, probability)
    return Forecast(
        distance=x,
        gap=np.zeros_like(x),
        carry=np.minimum(accrued * horizon_s, 0.0),
        volatility_per_year=sigma * sqrt(SECONDS_PER_YEAR),
        probability=probability,
        source=np.where(cold, 0, 1),
    )


def bounded(distance: Floats, now: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Volatility and distance of every row: 0 at or past the boundary, inf where there is no debt
    or nothing moves."""
    sigma = np.where(now > 0.0, sigma, 0.0)
    edge = np.where(now <= 1.0, 0.0, np.inf)
    return sigma, np.where((now > 1.0) & (sigma > 0.0), distance, edge)


def uses(book: Book, columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows depend on one of the columns."""
    used = (book.C[:, columns] != 0.0) | (book.D[:, columns] != 0.0)
    found: NDArray[np.bool_] = used.any(axis=1)
    return found


def hide(
    cold: NDArray[np.bool_], now: Floats, distance: Floats, sigma: Floats, probability: Floats
) -> None:
    """Turn into nan, in place, what is not known of cold rows."""
    if cold.any():
        unknown = cold & (now > 1.0)
        probability[unknown], distance[unknown] = np.nan, np.nan
        sigma[cold] = np.nan


def first_passage(
    barrier: Floats,
    sigma: Floats,
    drift: Floats,
    *,
    horizon_s: float | Floats,
    monitored_every_s: float,
) -> Floats:
    """P(min over t ≤ T of drift·t + sigma·W_t ≤ −barrier); sigma per √second, drift per second.

    Φ((−b − μT)/(σ√T)) + exp(−2μb/σ²)·Φ((−b + μT)/(σ√T)) with b = barrier + the monitoring shift
    (Borodin and Salminen, Handbook of Brownian Motion, 2.1.2.4); the second term in logs where its
    factors may overflow and underflow. 1 where barrier is 0, else 0 where sigma is 0.
    """
    moving = (barrier > 0.0) & (barrier < np.inf) & (sigma > 0.0)
    spread = np.where(moving, sigma * np.sqrt(horizon_s), 1.0)
    b = np.where(moving, barrier, 0.0) / spread
    b += MONITORING_SHIFT * np.sqrt(monitored_every_s / horizon_s)
    carried = drift * horizon_s / spread
    exponent = -2.0 * b * carried
    towards = carried - b
    carried += b
    reflected = ndtr(towards)
    steep = exponent > _STEEP
    if steep.any():
        reflected[steep] = np.exp(log_ndtr(towards[steep]) + exponent[steep])
        exponent[steep] = 0.0
    reflected *= np.exp(exponent, out=exponent)
    probability = ndtr(np.negative(carried, out=carried))
    probability += reflected
    np.minimum(probability, 1.0, out=probability)
    return np.where(moving, probability, np.where(barrier > 0.0, 0.0, 1.0))
