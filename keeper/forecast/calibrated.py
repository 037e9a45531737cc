"""The calibrated breach probability of every row of a book at once.

    P = table(pair, horizon)[distance/(σ·√horizon)]

with the pair's own table and volatility where one price faces another, and for baskets the pooled
table and σ² = dᵀΣd of the move towards their boundary. A pegged pair adds the jump of its peg
(`keeper.forecast.depeg`). What interest and funding will take from the distance until the horizon
counts as gone at once. Rows with a feed that is known for too short a time take the closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.forecast import first_passage
from keeper.forecast.depeg import with_jumps
from keeper.forecast.first_passage import CLOSED_FORM, COLD, Forecast, bounded, hide, uses
from keeper.forecast.moves import NO_PAIR, moves
from keeper.forecast.realised import DAY_S
from keeper.forecast.scales import Scale, Scales
from keeper.forecast.simulation import MOST_ROWS, breach_frequency
from keeper.forecast.tables import look_up
from keeper.forecast.volatility import Covariance
from keeper.model.book import Book, Floats, health
from keeper.model.units import SECONDS_PER_YEAR

SIMULATED: Final = "simulation of the last month"
BAND: Final = 3.0
_FIXED: Final = (COLD, CLOSED_FORM, SIMULATED)
_ENTRIES: Final = ("distance", "gap", "carry", "volatility_per_year", "probability")
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What there is to go by. `market_prices`: of each column what its market pays where that is
    known, else its oracle's price. `short`: for rows with a feed too young for the tables."""

    scales: Scales
    market_prices: Floats
    short: Covariance
    trigger: Floats | None = None
    """Of each row, the probability above which it acts; nan or None where none does."""


def forecast(book: Book, asked: Asked, *, horizon_s: float | Floats) -> Forecast:
    """How likely each row is to reach its boundary before `horizon_s` (> 0, one or one per row).

    A market that stands nearer to the boundary than its oracle is where the price is counted from,
    since the oracle's next round will go there.
    """
    horizons = np.unique(horizon_s).tolist()
    if len(horizons) <= 1:
        return _at(book, asked, horizons[0] if horizons else DAY_S)
    parts = []
    for horizon in horizons:
        rows = np.flatnonzero(np.asarray(horizon_s) == horizon)
        trigger = None if asked.trigger is None else asked.trigger[rows]
        parts.append((rows, _at(book.take(rows), replace(asked, trigger=trigger), horizon)))
    return _joined(parts, len(book.C))


def _at(book: Book, asked: Asked, horizon_s: float) -> Forecast:
    scales = asked.scales
    scale = scales.at(horizon_s)
    now = health(book)
    x, sigma, pair, gearing = _moves(book, now, scale)
    gap = _gap(book, now, x, asked.market_prices, scale)
    carry = np.zeros_like(x)
    near = x + gap if gap.any() else x
    if book.carry.any():
        carry = np.minimum(book.carry / gearing, 0.0) * horizon_s
        near = np.maximum(near + carry, 0.0)
    z = near / np.maximum(sigma * sqrt(horizon_s), _TINY)
    table = np.where(pair == NO_PAIR, 0, scale.table.take(pair))
    probability = look_up(scale.curves, table, z)
    jumpy = (pair != NO_PAIR) & scales.pegged.take(pair) & (near < np.inf)
    if jumpy.any():
        probability[jumpy] = with_jumps(probability[jumpy], near[jumpy], horizon_s)
    probability[near <= 0.0] = 1.0
    owes = ~np.isnan(now)
    cold = owes & uses(book, scales.cold)
    hide(cold, now, x, sigma, probability)
    found = Forecast(
        distance=x,
        gap=gap,
        carry=carry,
        volatility_per_year=sigma * sqrt(SECONDS_PER_YEAR),
        probability=probability,
        source=np.where(cold, 0, table + len(_FIXED)),
        sources=(*_FIXED, *(f"table {name}" for name in scale.tables)),
    )
    if asked.trigger is not None:
        baskets = np.where(pair == NO_PAIR, near, np.nan)
        _simulate(found, book, asked, scale, asked.trigger, baskets)
    young = np.flatnonzero(owes & ~cold & uses(book, scales.young))
    return _with_short(found, book, young, asked.short, horizon_s) if len(young) else found


def _moves(
    book: Book, now: Floats, scale: Scale
) -> tuple[Floats, Floats, NDArray[np.intp], Floats]:
    """Distance, volatility per √second, pair and gearing of every row."""
    found = moves(book, now, scale.per_second)
    sigma = np.where(found.pair == NO_PAIR, found.sigma, scale.sigma.take(found.pair))
    sigma, x = bounded(found.distance, now, sigma)
    return x, sigma, found.pair, found.gearing


def _gap(book: Book, now: Floats, x: Floats, market_prices: Floats, scale: Scale) -> Floats:
    """How much nearer to its boundary the market is than the oracle, as a number ≤ 0."""
    gap = np.zeros_like(x)
    moved = market_prices != book.p
    if not moved.any():
        return gap
    rows = np.flatnonzero((now > 1.0) & uses(book, moved) & (x < np.inf))
    there = replace(book.take(rows), p=market_prices)
    gap[rows] = np.minimum(_moves(there, health(there), scale)[0] - x[rows], 0.0)
    return gap


def _simulate(
    found: Forecast, book: Book, asked: Asked, scale: Scale, trigger: Floats, near: Floats
) -> None:
    """Put in the greater of table and simulation for the baskets (`near` is their distance, nan for
    other rows) that the table leaves short of their trigger by less than `BAND` times, the nearest
    `MOST_ROWS` of them."""
    probability = found.probability
    with np.errstate(invalid="ignore"):
        close = probability / trigger
        band = (
            (close > 1.0 / BAND) & (close <= 1.0) & (near > 0.0) & ~uses(book, asked.scales.young)
        )
    rows = np.flatnonzero(band & ~found.cold)
    if not len(rows):
        return
    rows = rows[np.argsort(-close[rows], kind="stable")][:MOST_ROWS]
    prices = asked.market_prices if found.gap[rows].any() else book.p
    simulated = breach_frequency(book.take(rows), asked.scales, scale, prices)
    greater = simulated > probability[rows]
    probability[rows[greater]] = simulated[greater]
    found.source[rows[greater]] = _FIXED.index(SIMULATED)


def _with_short(
    found: Forecast, book: Book, rows: NDArray[np.intp], short: Covariance, horizon_s: float
) -> Forecast:
    """With the closed form, from a short history, in some rows."""
    by_form = first_passage.forecast(
        book.take(rows), short, horizon_s=horizon_s, monitored_every_s=0.0
    )
    for name in (*_ENTRIES, "source"):
        getattr(found, name)[rows] = getattr(by_form, name)
    return found


def _joined(parts: Sequence[tuple[NDArray[np.intp], Forecast]], count: int) -> Forecast:
    source = np.zeros(count, dtype=np.intp)
    whole = {name: np.empty(count) for name in _ENTRIES}
    for rows, part in parts:
        source[rows] = part.source
        for name, values in whole.items():
            values[rows] = getattr(part, name)
    return Forecast(**whole, source=source, sources=parts[0][1].sources)
