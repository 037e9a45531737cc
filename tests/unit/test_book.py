"""Worked by hand: one loan, perps of both sides, baskets, debt in a volatile asset."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model.book import QUOTE, Book, Column, Floats, distance, health, stack
from keeper.model.units import Address

ETH = Column(source=Address("0x0000000000000000000000000000000000000001"), label="ETH / USD")
BTC = Column(source=Address("0x0000000000000000000000000000000000000002"), label="BTC / USD")
FALL = np.array([0.0, -1.0, 0.0])


def book_of(
    *rows: tuple[list[float], list[float]], p: tuple[float, ...] = (1, 2000, 40000)
) -> Book:
    return Book(
        C=np.array([row[0] for row in rows], dtype=np.float64),
        D=np.array([row[1] for row in rows], dtype=np.float64),
        p=np.array(p, dtype=np.float64),
        columns=(QUOTE, ETH, BTC)[: len(p)],
    )


def loan(eth: float, usd: float) -> tuple[list[float], list[float]]:
    """ETH collateral counted at 80 %, a debt of `usd` dollars."""
    return [0.0, 0.8 * eth, 0.0], [usd, 0.0, 0.0]


def perp(size: float, margin: float, entry: float = 2000.0) -> tuple[list[float], list[float]]:
    """`size` ETH bought (sold if negative) at `entry`, maintenance margin 5 % of the notional."""
    return [margin - size * entry, size, 0.0], [0.0, 0.05 * abs(size), 0.0]


def health_after(book: Book, direction: Floats, x: Floats) -> Floats:
    moved = [
        health(replace(book, p=book.p * np.exp(direction * x_row)))[n] for n, x_row in enumerate(x)
    ]
    return np.array(moved)


def test_health__loan_and_perps__as_worked_by_hand() -> None:
    # 10 ETH × 2000 × 0.8 = 16,000 against 10,000. Ten-fold long and short: 200 margin for 2,000
    # notional, 5 % maintenance = 100.
    book = book_of(loan(10, 10_000), perp(1, 200), perp(-1, 200))
    assert health(book) == pytest.approx([1.6, 2.0, 2.0], abs=1e-12)


def test_health__no_debt__is_nan() -> None:
    assert np.isnan(health(book_of(loan(10, 0)))).all()


def test_health__perp_without_equity__is_negative() -> None:
    assert health(book_of(perp(1, 200), p=(1, 1700, 40000)))[0] == pytest.approx(-100 / 85)


def test_distance__loan_against_dollars__is_ln_health() -> None:
    assert distance(book_of(loan(10, 10_000)), FALL)[0] == pytest.approx(log(1.6), abs=1e-12)


def test_distance__ten_fold_long__is_a_fall_of_5_3_percent() -> None:
    # margin + (p − 2000) = 0.05 p  ⇒  p = 1800 / 0.95, a fall of 5.26 %, though ln(health) = 0.69.
    assert 1 - exp(-distance(book_of(perp(1, 200)), FALL)[0]) == pytest.approx(1 - 0.9 / 0.95)


def test_distance__ten_fold_short__is_a_rise_of_4_8_percent() -> None:
    # 200 − (p − 2000) = 0.05 p  ⇒  p = 2200 / 1.05.
    assert exp(distance(book_of(perp(-1, 200)), -FALL)[0]) == pytest.approx(1.1 / 1.05)
    assert distance(book_of(perp(-1, 200)), FALL)[0] == np.inf


def test_distance__debt_in_bitcoin__depends_on_the_ratio_of_the_prices() -> None:
    # 10 ETH at 80 % against 0.2 BTC: 16,000 / 8,000 = 2. A fall of ETH by a with a rise of BTC by b
    # reaches the boundary at a + b = ln 2; BTC alone rises ln 2; both together never.
    book = book_of(*[([0.0, 8.0, 0.0], [0.0, 0.0, 0.2])] * 3)
    directions = np.array([[0, -0.75, 0.25], [0, 0, 1], [0, -1, -1]], dtype=np.float64)
    assert distance(book, directions) == pytest.approx([log(2), log(2), np.inf])


def test_distance__basket_with_mixed_debt__health_there_is_one() -> None:
    # 5 ETH and 0.5 BTC at 80 % = 24,000 against 12,000 USD and 0.1 BTC = 16,000; BTC falls half as
    # fast as ETH: 8000 e^-x + 12000 e^-x/2 = 12000. With y = e^-x/2: y = (−3 + √33) / 4.
    book = book_of(([0.0, 4.0, 0.4], [12_000.0, 0.0, 0.1]))
    direction = np.array([0.0, -1.0, -0.5])
    x = distance(book, direction)
    assert x[0] == pytest.approx(-2 * log((33**0.5 - 3) / 4), abs=1e-12)
    assert health_after(book, direction, x) == pytest.approx([1.0], abs=1e-12)


def test_distance__at_or_below_one__is_zero() -> None:
    book = book_of(loan(10, 16_000), loan(10, 17_000), perp(1, 50), perp(1, -300))
    assert distance(book, FALL).tolist() == [0.0, 0.0, 0.0, 0.0]


def test_distance__no_debt_or_no_way_there__is_infinite() -> None:
    stable_only = ([500.0, 0.0, 0.0], [400.0, 0.0, 0.0])
    book = book_of(loan(10, 0), stable_only, ([9_000.0, 1.0, 0.0], [8_000.0, 0.0, 0.0]))
    assert distance(book, FALL).tolist() == [np.inf, np.inf, np.inf]


hundredths = st.integers(0, 5_000).map(lambda hundredths: hundredths / 100)
weights = st.lists(hundredths, min_size=3, max_size=3)
moves = st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=2)


@given(st.lists(st.tuples(weights, weights, moves), min_size=1, max_size=6))
def test_distance__any_loans__is_a_root_without_an_earlier_one_on_a_grid(
    rows: list[tuple[list[float], list[float], list[float]]],
) -> None:
    book = book_of(*[(c, d) for c, d, _ in rows], p=(1, 1.5, 3))
    direction = np.array([[0.0, *m] for _, _, m in rows])
    x = distance(book, direction)
    now = health(book)
    assert (x[now <= 1] == 0).all()
    assert np.isinf(x[np.isnan(now)]).all()
    for n in np.flatnonzero(np.isfinite(x) & (now > 1)):
        prices = book.p * np.exp(np.outer(np.linspace(0, x[n], 50), direction[n]))
        surplus = prices @ (book.C[n] - book.D[n])
        size = (prices @ (book.C[n] + book.D[n])).max()
        assert abs(surplus[-1]) <= 1e-9 * size
        assert (surplus[:-1] > -1e-9 * size).all()


def test_book__first_column_not_the_quote__is_refused() -> None:
    with pytest.raises(ValueError, match="first being the quote currency"):
        book_of(loan(10, 1), p=(2, 2000, 40000))


def test_book__carry__goes_with_its_rows() -> None:
    book = Book(C=np.ones((3, 1)), D=np.ones((3, 1)), p=np.ones(1), columns=(QUOTE,))
    assert book.carry.tolist() == [0.0, 0.0, 0.0]
    book = replace(book, carry=np.array([1.0, 2.0, 3.0]))
    assert book.take(np.array([2, 0, 2])).carry.tolist() == [3.0, 1.0, 3.0]
    assert stack([book, book]).carry.tolist() == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="shape"):
        replace(book, carry=np.ones(2))


def test_book__arrays__cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        book_of(loan(10, 1)).C[0, 0] = 1.0


def test_stack__two_books_sharing_a_reading__becomes_one_column() -> None:
    first = Book(
        C=np.array([[0.0, 8.0]]),
        D=np.array([[9_000.0, 0.0]]),
        p=np.array([1.0, 2_000.0]),
        columns=(QUOTE, ETH),
    )
    second = Book(
        C=np.array([[0.0, 1.0, 0.0], [100.0, 0.0, 2.0]]),
        D=np.array([[0.0, 0.0, 12.0], [0.0, 0.0, 1.0]]),
        p=np.array([1.0, 40_000.0, 2_000.0]),
        columns=(QUOTE, BTC, ETH),
    )
    book = stack([first, second])
    assert book.columns == (QUOTE, ETH, BTC)
    assert book.p.tolist() == [1.0, 2_000.0, 40_000.0]
    # 8 × 2000 / 9000; 40000 / (12 × 2000); (100 + 2 × 2000) / 2000.
    assert health(book) == pytest.approx([16 / 9, 5 / 3, 2.05])


def test_stack__no_books__has_the_quote_and_no_rows() -> None:
    book = stack([])
    assert book.columns == (QUOTE,)
    assert book.C.shape == (0, 1)


def test_stack__one_column_twice_in_a_book__counts_both() -> None:
    # 8 ETH and 2 ETH of another token with the same feed, against 9,000 + 1,000 dollars of two.
    dollar = Column(source=Address("0x0000000000000000000000000000000000000003"), label="USD")
    twice = Book(
        C=np.array([[0.0, 8.0, 2.0, 0.0, 0.0]]),
        D=np.array([[0.0, 0.0, 0.0, 9_000.0, 1_000.0]]),
        p=np.array([1.0, 2_000.0, 2_000.0, 1.0, 1.0]),
        columns=(QUOTE, ETH, ETH, dollar, dollar),
    )
    book = stack([twice])
    assert book.columns == (QUOTE, ETH, dollar)
    assert health(book) == pytest.approx([2.0])


def test_stack__one_reading_with_two_prices__stays_two_columns() -> None:
    one, other = (
        Book(
            C=np.array([[0.0, 1.0]]),
            D=np.array([[1_000.0, 0.0]]),
            p=np.array([1.0, price]),
            columns=(QUOTE, ETH),
        )
        for price in (2_000.0, 2_001.0)
    )
    book = stack([one, other])
    assert book.columns == (QUOTE, ETH, ETH)
    assert health(book) == pytest.approx([2.0, 2.001])
