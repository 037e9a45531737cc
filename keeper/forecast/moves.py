"""Where the boundary of each row lies, and how the row moves towards it.

To first order ln health moves with sensitivity d: collateral weights minus debt weights. The
likeliest way for it to fall is along −Σd, so the boundary is sought there exactly, not to first
order. Where one price faces another that is their ratio, and nothing needs to be sought.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Book, Floats, first_crossing

Ints = NDArray[np.intp]
NO_PAIR: Final = -1
_BLOCK: Final = 16_384
"""Rows at a time: their arrays then fit a processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moves:
    """One entry per row. Where health is not above 0 none has a meaning.

    `simple`: the whole row is one price's collateral against another's debt. `pair`: the column of
    the former × columns + that of the latter; of rows with one price that moves (a perp) that
    price's against the quote; else `NO_PAIR`. `sigma` and `drift`: of the move towards the boundary,
    per √second and per second; 0 in simple rows, whose pair says it.
    """

    distance: Floats
    simple: NDArray[np.bool_]
    pair: Ints
    sigma: Floats
    drift: Floats


def moves(book: Book, now: Floats, per_second: Floats) -> Moves:
    """`now` is the health of each row, `per_second` the covariance of the columns' log prices."""
    collateral, has_one = _only_column(book.C)
    debt, owes_one = _only_column(book.D)
    simple = has_one & owes_one
    pair = np.where(simple, collateral * len(book.p) + debt, NO_PAIR)
    x = np.log(np.where(now > 0.0, now, 1.0))
    sigma, drift = np.zeros_like(x), np.zeros_like(x)
    rest = np.flatnonzero(~simple & (now > 0.0))
    for start in range(0, len(rest), _BLOCK):
        rows = rest[start : start + _BLOCK]
        x[rows], sigma[rows], drift[rows] = _baskets(book, rows, per_second)
        pair[rows] = _only_mover(book, rows)
    return Moves(distance=x, simple=simple, pair=pair, sigma=sigma, drift=drift)


def _only_mover(book: Book, rows: Ints) -> Ints:
    """The pair of the only price beside the quote's that a row depends on, else `NO_PAIR`."""
    used = (book.C.take(rows, axis=0) != 0.0) | (book.D.take(rows, axis=0) != 0.0)
    movers = used[:, 1:]
    one = movers.sum(axis=1) == 1
    first = movers.argmax(axis=1) + 1 if movers.shape[1] else np.zeros(len(rows), dtype=np.intp)
    return np.where(one, first * len(book.p), NO_PAIR)


def _only_column(matrix: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The column of each row's only entry (else 0), and which rows have just one."""
    used = np.ascontiguousarray((matrix != 0.0).T).view(np.uint8)
    width = np.min_scalar_type(len(used))
    only = used.sum(axis=0, dtype=width) == 1
    places = np.arange(len(used), dtype=width)
    return np.einsum("k,kn->n", places, used) * only.astype(np.intp), only


def _baskets(book: Book, rows: Ints, per_second: Floats) -> tuple[Floats, Floats, Floats]:
    """Distance, volatility and drift of any rows of positive health, each over the columns it uses
    only: as many at a time as use the same number."""
    C, D = book.C.take(rows, axis=0), book.D.take(rows, axis=0)
    used = (C != 0.0) | (D != 0.0)
    places = np.flatnonzero(used)
    widths = np.ascontiguousarray(used.T).sum(axis=0, dtype=np.intp)
    starts = np.cumsum(widths) - widths
    pulls = book.p[:, None] * per_second
    covers_pull, owes_pull = C @ pulls, D @ pulls
    found = np.empty((3, len(rows)))
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
    return found[0], found[1], found[2]


def _basket(
    covers: Floats, owes: Floats, covers_pull: Floats, owes_pull: Floats, variances: Floats
) -> tuple[Floats, Floats, Floats]:
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
    return first_crossing(covers - owes, pull), np.sqrt(variance) / geared, drift
