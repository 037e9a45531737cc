"""The book: every position as one row of two matrices over one vector of oracle readings.

    health = (C @ p) / (D @ p)        liquidatable when health < 1

Floats live here, for forecasts and ranking only; what is shown, sent or compared with the chain is
computed in exact integers elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from keeper.model.units import Address

Floats = NDArray[np.float64]

FURTHEST_LOG_MOVE = 40.0
"""No price moves by a factor of e^40: a boundary beyond it is unreachable."""

_MAX_STEPS = 100
_TOLERANCE = 1e-13


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One oracle reading. Column 0 has no source: it is the quote currency, whose price is 1."""

    source: Address | None
    label: str


QUOTE = Column(source=None, label="quote")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Book:
    """`C[n, k]` is what counts for row n per unit of column k's price, `D[n, k]` what it must cover.

    `p[k]` are prices in the quote currency, with `p[0] == 1`, so that constants are a column.
    Lending: C = amount × liquidation threshold, D = debt amount. Perp: C = size on the price column
    and margin − size × entry − fees on the constant, D = maintenance margin rate × |size|.
    The arrays are read-only views.
    """

    C: Floats
    D: Floats
    p: Floats
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        k = len(self.columns)
        if self.C.ndim != 2 or self.C.shape != self.D.shape or self.C.shape[1:] != (k,):
            raise ValueError(
                f"book: C {self.C.shape} and D {self.D.shape} must both be (rows, {k} columns)"
            )
        if self.p.shape != (k,) or k == 0 or self.p[0] != 1.0 or self.columns[0].source is not None:
            raise ValueError(
                f"book: p {self.p.shape} must hold one price for each of {k} columns, the first "
                "being the quote currency at 1 without a source"
            )
        for name in ("C", "D", "p"):
            view = np.asarray(getattr(self, name), dtype=np.float64).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def at(self, prices: Floats) -> Self:
        """The same positions at other prices."""
        return type(self)(C=self.C, D=self.D, p=prices, columns=self.columns)


def stack(books: Sequence[Book]) -> Book:
    """All rows in one book. A column that several books have, one oracle reading, becomes one.

    Raises `ValueError` if two books of the same block give one column different prices.
    """
    columns = tuple(dict.fromkeys([QUOTE, *(c for book in books for c in book.columns)]))
    place = {column: k for k, column in enumerate(columns)}
    p = np.full(len(columns), np.nan)
    p[0] = 1.0
    C, D = (np.zeros((sum(len(book.C) for book in books), len(columns))) for _ in range(2))
    row = 0
    for book in books:
        at = [place[column] for column in book.columns]
        if not (np.isnan(p[at]) | (p[at] == book.p)).all():
            raise ValueError("two books give one oracle reading different prices")
        p[at] = book.p
        C[row : row + len(book.C), at] = book.C
        D[row : row + len(book.D), at] = book.D
        row += len(book.C)
    return Book(C=C, D=D, p=p, columns=columns)


def health(book: Book) -> Floats:
    """Health of each row; nan where there is nothing to cover (D @ p == 0): no debt, no risk.

    May be negative for a perp whose equity is gone.
    """
    covered, owed = book.C @ book.p, book.D @ book.p
    return np.divide(covered, owed, out=np.full_like(owed, np.nan), where=owed > 0.0)


def distance(book: Book, direction: Floats) -> Floats:
    """The smallest x ≥ 0 at which the prices p × exp(x × direction) make health 1, for each row.

    `direction` is (k,) or (n, k), towards danger, with 0 for the quote column. With one entry of
    −1, x is the fall of that log price. 0 where health is 1 or below already (equity ≤ 0 included);
    inf where the boundary cannot be reached this way, or there is no debt.

    Of several crossings the first is meant; one that health crosses back within a step of the
    search may be missed, which takes three or more prices moving at different speeds.
    """
    net = (book.C - book.D) * book.p
    surplus = net.sum(axis=1)
    gains, losses = np.maximum(net, 0.0), np.maximum(-net, 0.0)
    towards = np.broadcast_to(direction, net.shape)
    speed = np.abs(towards).max(axis=1)
    owes = book.D @ book.p > 0.0
    found = np.where((surplus > 0.0) | ~owes, np.inf, 0.0)
    rows = np.flatnonzero(owes & (surplus > 0.0) & (losses.max(axis=1) > 0.0) & (speed > 0.0))
    found[rows] = _first_crossing(
        gains[rows], losses[rows], towards[rows], FURTHEST_LOG_MOVE / speed[rows]
    )
    return found


def _first_crossing(gains: Floats, losses: Floats, towards: Floats, furthest: Floats) -> Floats:
    """Where g(x) = ln Σ gains·exp(x·towards) − ln Σ losses·exp(x·towards) falls to 0, row by row.

    g is exactly linear when one price faces another (a loan, a perp), so Newton's first step is
    then the answer; elsewhere its steps are kept inside the bracket [low, high], else halved.
    """
    found = np.full(len(gains), np.inf)
    rows = np.arange(len(gains))
    x, low, high = np.zeros(len(rows)), np.zeros(len(rows)), np.full(len(rows), np.inf)
    for _ in range(_MAX_STEPS):
        level, slope = _level_and_slope(gains, losses, towards, x)
        healthy = level > 0.0
        low, high = np.where(healthy, x, low), np.where(healthy, high, x)
        step = np.divide(level, -slope, out=np.full_like(x, np.inf), where=slope < 0.0)
        beyond = healthy & (x >= furthest)
        done = beyond | (np.abs(step) <= _TOLERANCE * np.maximum(x, 1.0))
        found[rows] = np.where(beyond, np.inf, x)
        going = ~done
        if not going.any():
            break
        reach = np.minimum(np.where(low > 0.0, 4.0 * low, furthest), furthest)
        after = np.minimum(x + step, reach)
        outside = np.isfinite(high) & ~((after > low) & (after < high))
        x = np.where(outside, 0.5 * (low + high), after)
        rows, x, low, high = rows[going], x[going], low[going], high[going]
        gains, losses, towards = gains[going], losses[going], towards[going]
        furthest = furthest[going]
    return found


def _level_and_slope(
    gains: Floats, losses: Floats, towards: Floats, x: Floats
) -> tuple[Floats, Floats]:
    moved = np.exp(towards * x[:, None])
    up, down = np.einsum("nk,nk->n", gains, moved), np.einsum("nk,nk->n", losses, moved)
    moved *= towards
    rising = np.einsum("nk,nk->n", gains, moved) / up
    return np.log(up / down), rising - np.einsum("nk,nk->n", losses, moved) / down
