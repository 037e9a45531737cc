"""The book: every position as one row of two matrices over one vector of oracle readings.

    health = (C @ p) / (D @ p)        liquidatable when health < 1

Floats live here, for forecasts and ranking only; what is shown, sent or compared with the chain is
computed in exact integers elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from keeper.model.units import Address

Floats = NDArray[np.float64]

FURTHEST_LOG_MOVE = 40.0
"""No price moves by a factor of e^40: a boundary beyond it is unreachable."""

_TINY = 1e-9
_MAX_STEPS = 100
_TOLERANCE = 1e-13
_FLAT = 1e-12
"""A slope that leads nowhere, for its speed: the search then goes as far as it may."""
_KEPT = 0.7
"""The arrays shrink to the rows still searched when these fall below this share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One oracle reading. Column 0 has no source: it is the quote currency, whose price is 1."""

    source: Address | None
    label: str
    """Names the reading among all of a chain: two that may differ never share it."""


QUOTE = Column(source=None, label="quote")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Book:
    """`C[n, k]` is what counts for row n per unit of column k's price, `D[n, k]` what it must cover.

    `p[k]` are prices in the quote currency, with `p[0] == 1`, so that constants are a column.
    Lending: C = amount × liquidation threshold, D = debt amount. Perp: C = size on the price column
    and margin − size × entry − fees on the constant, D = maintenance margin rate × |size|.
    `carry[n]` is what the log of health gains per second while prices stand still, from interest and
    funding at the moment's rates; 0 where nobody says. The arrays are read-only views.
    """

    C: Floats
    D: Floats
    p: Floats
    columns: tuple[Column, ...]
    carry: Floats = field(default_factory=lambda: np.zeros(()))

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
        object.__setattr__(self, "carry", np.broadcast_to(self.carry, len(self.C)))
        for name in ("C", "D", "p", "carry"):
            view = np.asarray(getattr(self, name), dtype=np.float64).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def take(self, rows: NDArray[np.intp]) -> Self:
        """The book of these rows, in this order; a row may come several times."""
        return replace(
            self,
            C=self.C.take(rows, axis=0),
            D=self.D.take(rows, axis=0),
            carry=self.carry.take(rows),
        )


def stack(books: Sequence[Book]) -> Book:
    """All rows in one book. A column that several books have at the same price becomes one; at
    different prices it stays several, so that each row keeps the price that its market uses."""
    readings = [list(zip(book.columns, book.p.tolist(), strict=True)) for book in books]
    columns = dict.fromkeys([(QUOTE, 1.0), *(each for several in readings for each in several)])
    at = {reading: k for k, reading in enumerate(columns)}
    C, D = (np.zeros((sum(len(book.C) for book in books), len(at))) for _ in range(2))
    row = 0
    for book, several in zip(books, readings, strict=True):
        rows = slice(row, row := row + len(book.C))
        for k, reading in enumerate(several):
            # Added up: a book may have one column twice, and neither must be lost.
            C[rows, at[reading]] += book.C[:, k]
            D[rows, at[reading]] += book.D[:, k]
    return Book(
        C=C,
        D=D,
        p=np.array([price for _, price in at]),
        columns=tuple(column for column, _ in at),
        carry=np.concatenate([np.zeros(0), *(book.carry for book in books)]),
    )


def carry_between(
    now: tuple[Floats, Floats], later: tuple[Floats, Floats], prices: Floats, elapsed_s: float
) -> Floats:
    """`Book.carry` from the matrices C and D now and after a while of interest and funding, at the
    same prices; 0 where nothing is exposed."""
    (covered, owed), (covers, owes) = ([each @ prices for each in both] for both in (now, later))
    exposed = (covered > 0.0) & (owed > 0.0)
    one = np.ones_like(covered)
    grown = np.divide(covers, covered, out=one.copy(), where=exposed)
    grown /= np.divide(owes, owed, out=one, where=exposed)
    return np.asarray(np.log(np.maximum(grown, _TINY)) / elapsed_s, dtype=np.float64)


def health(book: Book) -> Floats:
    """Health of each row; nan where there is nothing to cover (D @ p == 0): no debt, no risk.

    May be negative for a perp whose equity is gone.
    """
    covered, owed = book.C @ book.p, book.D @ book.p
    return covered / np.where(owed > 0.0, owed, np.nan)


def distance(book: Book, direction: Floats) -> Floats:
    """The smallest x ≥ 0 at which the prices p × exp(x × direction) make health 1, for each row.

    `direction` is (k,) or (n, k), towards danger, with 0 for the quote column. With one entry of
    −1, x is the fall of that log price. 0 where health is 1 or below already (equity ≤ 0 included);
    inf where the boundary cannot be reached this way, or there is no debt.

    Of several crossings the first is meant; one that health crosses back within a step of the
    search may be missed, which takes three or more prices moving at different speeds.
    """
    net = (book.C - book.D) * book.p
    found = first_crossing(net.T, np.broadcast_to(direction, net.shape).T)
    return np.where(book.D @ book.p > 0.0, found, np.inf)


def against(book: Book) -> Floats:
    """The direction, one entry per row and column, in which every price moves against its row by the
    same factor."""
    towards: Floats = -np.sign((book.C - book.D) * book.p)
    towards[:, 0] = 0.0
    return towards


def room(book: Book, wanted: float) -> Floats:
    """The factor by which all prices may move against each row before its health is 1, were its health
    `wanted` by quote added to it or taken; inf where no move does that."""
    C = book.C.copy()
    C[:, 0] += wanted * (book.D @ book.p) - book.C @ book.p
    row = replace(book, C=C)
    found: Floats = np.exp(distance(row, against(row)))
    return found


def health_with_room(book: Book, factor: float) -> Floats:
    """The inverse of `room`: each row's health, were quote added to it or taken until all prices must
    move against it by this factor to make its health 1."""
    moved = (book.C - book.D) * book.p * factor ** against(book)
    found: Floats = (book.C @ book.p - moved.sum(axis=1)) / (book.D @ book.p)
    return found


def first_crossing(net: Floats, towards: Floats) -> Floats:
    """The smallest x ≥ 0 at which Σ net × exp(x × towards) is 0 or less, for each column of the
    two (m, n) arrays: the surplus that m prices give n rows, and where the prices move.

    inf where there is none within `FURTHEST_LOG_MOVE` of any price; for the rest see `distance`.
    """
    surplus, speed = net.sum(axis=0), np.abs(towards).max(axis=0)
    found = np.where(surplus > 0.0, np.inf, 0.0)
    rows = np.flatnonzero((surplus > 0.0) & (net.min(axis=0) < 0.0) & (speed > 0.0))
    if len(rows) < len(speed):
        net, towards, speed = (each.take(rows, axis=-1) for each in (net, towards, speed))
    gains = np.maximum(net, 0.0)
    found[rows] = _search(gains, gains - net, towards, speed)
    return found


def _search(gains: Floats, losses: Floats, towards: Floats, speed: Floats) -> Floats:
    """Where g(x) = ln Σ gains·exp(x·towards) − ln Σ losses·exp(x·towards) falls to 0.

    g is exactly linear when one price faces another, so Newton's first step is then the answer.
    Elsewhere its steps are kept inside the bracket [low, high], else halved. g'' is a difference of
    two variances of numbers within ±speed, so |g''| ≤ speed², and a step leaves an error of at most
    ½·speed²·step²/|g'|: the search ends with the step that leaves less than the tolerance.
    """
    found, furthest = np.full_like(speed, np.inf), FURTHEST_LOG_MOVE / speed
    rows = np.arange(len(speed))
    x, low, high = np.zeros_like(speed), np.zeros_like(speed), np.full_like(speed, np.inf)
    up, down = gains, losses
    for _ in range(_MAX_STEPS):
        level, fall = _level_and_fall(up, down, towards)
        healthy = level > 0.0
        low, high = np.where(healthy, x, low), np.where(healthy, high, x)
        step = level / np.maximum(fall, _FLAT * speed)
        after = x + step
        beyond = healthy & (x >= furthest)
        left = speed * step
        left *= left
        done = beyond | (left <= 2.0 * _TOLERANCE * fall)
        if len(gains) == 2:
            done[:] = True
        found[rows] = np.where(beyond | (after > furthest), np.inf, after)
        going = np.flatnonzero(~done)
        if not len(going):
            break
        reach = np.minimum(np.where(low > 0.0, 4.0 * low, furthest), furthest)
        np.minimum(after, reach, out=after)
        outside = (high < np.inf) & ~((after > low) & (after < high))
        x = np.where(outside, 0.5 * (low + high), after)
        if len(going) < _KEPT * len(x):
            rows = rows.take(going)
            x, low, high, speed, furthest = (
                each.take(going) for each in (x, low, high, speed, furthest)
            )
            gains, losses, towards = (each.take(going, axis=1) for each in (gains, losses, towards))
        up = towards * x
        np.exp(up, out=up)
        down = losses * up
        up *= gains
    return found


def _level_and_fall(gains: Floats, losses: Floats, towards: Floats) -> tuple[Floats, Floats]:
    """g and −g'."""
    up, down = gains.sum(axis=0), losses.sum(axis=0)
    fall = np.einsum("mn,mn->n", losses, towards) / down
    fall -= np.einsum("mn,mn->n", gains, towards) / up
    return np.log(np.divide(up, down, out=up), out=up), fall
