"""Where the boundary of each row lies, and how the row moves towards it.

To first order ln health moves with sensitivity d: collateral weights minus debt weights. The
likeliest way for it to fall is along −Σd, so the boundary is sought there exactly, not to first
order. Where one price faces another that is their ratio, and nothing needs to be sought.
"""

from dataclasses import dataclass
from math import exp
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import FURTHEST_LOG_MOVE, Book, Floats, first_crossing

Ints = NDArray[np.intp]
NO_PAIR: Final = -1
FURTHEST: Final = exp(FURTHEST_LOG_MOVE)
_BLOCK: Final = 16_384
"""Rows at a time: their arrays then fit a processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moves:
    """One entry per row. Where health is not above 0 none has a meaning.

    `gearing`: how much ln health answers a log move towards the boundary, 1 in simple rows.
    `simple`: the whole row is one price's collateral against another's debt, or a perp's one price
    against the quote. `pair`: the column of the former × columns + that of the latter; also of other
    rows with one price that moves; else `NO_PAIR`. `rises`: the simple rows that are hurt when the
    first of their pair rises, which are shorts. `sigma` and `drift`: of the move towards the
    boundary, per √second and per second; 0 in simple rows, whose pair says it.
    """

    distance: Floats
    simple: NDArray[np.bool_]
    pair: Ints
    rises: NDArray[np.bool_]
    sigma: Floats
    drift: Floats
    gearing: Floats


def moves(book: Book, now: Floats, per_second: Floats) -> Moves:
    """`now` is the health of each row, `per_second` the covariance of the columns' log prices."""
    collaterals, collateral = _columns_used(book.C)
    debts, debt = _columns_used(book.D)
    owes_one = debts == 1
    simple = owes_one & (collaterals == 1)
    pair = np.where(simple, collateral * len(book.p) + debt, NO_PAIR)
    reach = np.where(now > 0.0, now, 1.0)
    sigma, drift, gearing = np.zeros_like(reach), np.zeros_like(reach), np.ones_like(reach)
    rises = np.zeros(len(reach), dtype=np.bool_)
    # The quote and the price that is owed: the sum of their places is the latter's.
    perp = owes_one & (collaterals == 2) & (collateral == debt) & (book.C[:, 0] != 0.0)
    perp &= now > 0.0
    rows = np.flatnonzero(perp)
    if len(rows):
        column = debt.take(rows)
        reach[rows], gearing[rows], rises[rows] = _perps(book, rows, column, now.take(rows))
        pair[rows] = column * len(book.p)
        simple |= perp
    x = np.log(reach, out=reach)
    rest = np.flatnonzero(~simple & (now > 0.0))
    for start in range(0, len(rest), _BLOCK):
        rows = rest[start : start + _BLOCK]
        x[rows], sigma[rows], drift[rows], gearing[rows] = _baskets(book, rows, per_second)
        pair[rows] = _only_mover(book, rows)
    return Moves(
        distance=x,
        simple=simple,
        pair=pair,
        rises=rises,
        sigma=sigma,
        drift=drift,
        gearing=gearing,
    )


def _only_mover(book: Book, rows: Ints) -> Ints:
    """The pair of the only price beside the quote's that a row depends on, else `NO_PAIR`."""
    used = (book.C.take(rows, axis=0) != 0.0) | (book.D.take(rows, axis=0) != 0.0)
    movers = used[:, 1:]
    one = movers.sum(axis=1) == 1
    first = movers.argmax(axis=1) + 1 if movers.shape[1] else np.zeros(len(rows), dtype=np.intp)
    return np.where(one, first * len(book.p), NO_PAIR)


def _columns_used(matrix: Floats) -> tuple[NDArray[np.uint8], Ints]:
    """Of each row, how many columns it uses and the sum of their places: that of the only one."""
    used = np.ascontiguousarray((matrix != 0.0).T).view(np.uint8)
    places = np.arange(len(used), dtype=np.min_scalar_type(len(used) ** 2))
    count = used.sum(axis=0, dtype=np.min_scalar_type(len(used)))
    return count, np.einsum("k,kn->n", places, used).astype(np.intp)


def _perps(
    book: Book, rows: Ints, column: Ints, now: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Rows that have a constant and an amount of one price, against a share of the same price: e to
    the distance and the gearing that `_baskets` would find for them, without a search, and whether a
    rise hurts them.

    With surplus = owed × (health − 1), where slope × e^±x + constant = 0 and slope + constant =
    surplus: a long (constant below 0) is hurt by a fall and a short by a rise, and e^x is
    slope/−constant = 1 − surplus/constant or its inverse, out of reach where that is not above 0.
    """
    at = rows * book.C.shape[1]
    constant = book.C.take(at)
    at += column
    owed = book.D.take(at) * book.p.take(column)
    surplus = owed * (now - 1.0)
    ratio = 1.0 - surplus / constant
    reach = np.maximum(ratio, 1.0 / ratio)
    reach[(ratio <= 0.0) | (reach > FURTHEST)] = np.inf
    reach[surplus <= 0.0] = 1.0
    owed *= now
    return reach, np.abs(constant) / owed, constant > 0.0


def _baskets(book: Book, rows: Ints, per_second: Floats) -> Floats:
    """Distance, volatility, drift and gearing of any rows of positive health, each over the columns
    it uses only: as many at a time as use the same number."""
    C, D = book.C.take(rows, axis=0), book.D.take(rows, axis=0)
    used = (C != 0.0) | (D != 0.0)
    places = np.flatnonzero(used)
    widths = np.ascontiguousarray(used.T).sum(axis=0, dtype=np.intp)
    starts = np.cumsum(widths) - widths
    pulls = book.p[:, None] * per_second
    covers_pull, owes_pull = C @ pulls, D @ pulls
    found = np.empty((4, len(rows)))
    for width in np.flatnonzero(np.bincount(widths)):
        group = np.flatnonzero(widths == width)
        at = places.take(starts.take(group) + np.arange(width)[:, None])
        columns = at - group * book.C.shape[1]
        prices = book.p.take(columns)
        found[:, group] = _basket(
            C.take(at) * prices,
            D.take(at) * prices,
            covers_pull.take(at),
            owes_pull.take(at),
            np.diag(per_second).take(columns),
        )
    return found


def _basket(
    covers: Floats, owes: Floats, covers_pull: Floats, owes_pull: Floats, variances: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """(m, n) arrays: what n rows have and owe of m columns each, times price."""
    covered, owed = covers.sum(axis=0), owes.sum(axis=0)
    d = covers / covered - owes / owed
    pull = covers_pull / covered - owes_pull / owed
    variance = np.maximum(np.einsum("mn,mn->n", pull, d), 0.0)
    # Half the absolute weights, the quote's included, is how much ln health answers a log move of
    # the exposed prices against the rest: 1 for a loan, notional/equity − 1 for a perp.
    gearing = 0.5 * np.abs(d).sum(axis=0)
    moving = variance > 0.0
    pull *= np.divide(-gearing, variance, out=np.zeros_like(variance), where=moving)
    geared = np.where(gearing > 0.0, gearing, 1.0)
    drift = np.einsum("mn,mn->n", d, variances) * -0.5 / geared
    return first_crossing(covers - owes, pull), np.sqrt(variance) / geared, drift, geared
