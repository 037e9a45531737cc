"""First passage against values worked by hand, simulation and the properties it must have."""

from dataclasses import replace
from math import erfc, exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_ndtr

from keeper.forecast.first_passage import CLOSED_FORM, first_passage, forecast
from keeper.forecast.volatility import DAY_S, Covariance
from keeper.model.book import QUOTE, Book, Column, Floats, distance, health
from keeper.model.units import SECONDS_PER_YEAR, Address

ETH = Column(source=Address("0x0000000000000000000000000000000000000001"), label="ETH / USD")
BTC = Column(source=Address("0x0000000000000000000000000000000000000002"), label="BTC / USD")


def covariance_of(eth: float, btc: float, rho: float, *, cold_btc: bool = False) -> Covariance:
    """From volatilities per year and their correlation."""
    sigma = np.diag([0.0, eth, btc]) / sqrt(SECONDS_PER_YEAR)
    mixed = np.array([[1, 0, 0], [0, 1, rho], [0, rho, 1]], dtype=np.float64)
    return Covariance(
        per_second=sigma @ mixed @ sigma, reasons=(None, None, "unread" if cold_btc else None)
    )


def book_of(*rows: tuple[list[float], list[float]]) -> Book:
    return Book(
        C=np.array([row[0] for row in rows], dtype=np.float64),
        D=np.array([row[1] for row in rows], dtype=np.float64),
        p=np.array([1.0, 2000.0, 40000.0]),
        columns=(QUOTE, ETH, BTC),
    )


def loan(health: float) -> tuple[list[float], list[float]]:
    return [0.0, 0.8, 0.0], [1600.0 / health, 0.0, 0.0]


PERP_LONG = ([200.0 - 2000.0, 1.0, 0.0], [0.0, 0.05, 0.0])
PERP_SHORT = ([200.0 + 2000.0, -1.0, 0.0], [0.0, 0.05, 0.0])
NO_DEBT = ([0.0, 0.8, 0.0], [0.0, 0.0, 0.0])
BITCOIN_DEBT = ([0.0, 8.0, 0.0], [0.0, 0.0, 0.25])
BASKET = ([0.0, 4.0, 0.2], [13_500.0, 0.0, 0.0])


def normal_cdf(z: float) -> float:
    return 0.5 * erfc(-z / sqrt(2))


def by_hand(barrier: float, per_year: float, drift_sign: float, days: float) -> float:
    """The textbook formula with drift ±σ²/2."""
    t = days / 365
    drift = drift_sign * per_year**2 / 2
    spread = per_year * sqrt(t)
    return normal_cdf((-barrier - drift * t) / spread) + exp(
        -2 * drift * barrier / per_year**2
    ) * normal_cdf((-barrier + drift * t) / spread)


def test_forecast__loan__is_the_first_passage_of_the_price() -> None:
    found = forecast(
        book_of(loan(1.1)), covariance_of(0.9, 0.5, 0.6), horizon_s=DAY_S, monitored_every_s=0
    )
    assert found.distance == pytest.approx([log(1.1)])
    assert found.volatility_per_year == pytest.approx([0.9])
    assert found.probability == pytest.approx([by_hand(log(1.1), 0.9, -1, 1)], rel=1e-9)
    assert found.sources[found.source[0]] == CLOSED_FORM


def test_forecast__interest__is_a_drift_of_the_loan_and_of_what_a_perp_is_geared_by() -> None:
    a_day = np.array([-0.002, 0.002, -0.002]) / DAY_S
    rows = replace(book_of(loan(1.1), loan(1.1), PERP_LONG), carry=a_day)
    moves = covariance_of(0.9, 0.5, 0.6)
    found = forecast(rows, moves, horizon_s=DAY_S, monitored_every_s=0)
    sigma = np.array([0.9]) / sqrt(SECONDS_PER_YEAR)
    for n, gain in enumerate((-0.002, 0.002)):
        expected = first_passage(
            np.array([log(1.1)]),
            sigma,
            -0.5 * sigma**2 + gain / DAY_S,
            horizon_s=DAY_S,
            monitored_every_s=0,
        )
        assert found.probability[n] == pytest.approx(expected[0], rel=1e-9)
    # A margin of 200 on a notional of 2,000: ln health moves by 9 where the price moves by 1.
    assert found.carry == pytest.approx([-0.002, 0.0, -0.002 / 9])


def test_forecast__perps__use_the_move_of_their_price_not_ln_health() -> None:
    found = forecast(
        book_of(PERP_LONG, PERP_SHORT),
        covariance_of(0.9, 0.5, 0.6),
        horizon_s=DAY_S,
        monitored_every_s=0,
    )
    fall, rise = -log(0.9 / 0.95), log(1.1 / 1.05)
    assert found.distance == pytest.approx([fall, rise])
    assert found.volatility_per_year == pytest.approx([0.9, 0.9])
    # A log price drifts by −σ²/2: towards the long's boundary, away from the short's.
    expected = [by_hand(fall, 0.9, -1, 1), by_hand(rise, 0.9, 1, 1)]
    assert found.probability == pytest.approx(expected, rel=1e-9)


def test_forecast__debt_in_bitcoin__sees_the_ratio_of_the_prices() -> None:
    # Health 16,000 / 10,000; the ratio's variance is 0.9² + 0.5² − 2 × 0.6 × 0.9 × 0.5 = 0.52.
    found = forecast(
        book_of(BITCOIN_DEBT), covariance_of(0.9, 0.5, 0.6), horizon_s=DAY_S, monitored_every_s=0
    )
    assert found.distance == pytest.approx([log(1.6)])
    assert found.volatility_per_year == pytest.approx([sqrt(0.52)])


def test_forecast__looked_at_every_hour__moves_the_barrier_away() -> None:
    found = forecast(
        book_of(loan(1.1)), covariance_of(0.9, 0.5, 0.6), horizon_s=DAY_S, monitored_every_s=3600
    )
    shifted = log(1.1) + 0.5826 * 0.9 * sqrt(1 / 8760)
    assert found.probability == pytest.approx([by_hand(shifted, 0.9, -1, 1)], rel=1e-9)


def simulated(book: Book, covariance: Covariance, *, steps: int, step_s: int, paths: int) -> Floats:
    rng = np.random.default_rng(19970716)
    root = np.linalg.cholesky(covariance.per_second[1:, 1:] + 1e-30 * np.eye(2)) * sqrt(step_s)
    drift = -0.5 * np.diag(covariance.per_second)[1:] * step_s
    moves = np.zeros((paths, 2))
    breached = np.zeros((paths, len(book.C)), dtype=np.bool_)
    for _ in range(steps):
        moves += drift + rng.normal(size=(paths, 2)) @ root.T
        prices = np.column_stack((np.ones(paths), book.p[1:] * np.exp(moves)))
        breached |= prices @ (book.C - book.D).T < 0.0
    return np.asarray(breached.mean(axis=0), dtype=np.float64)


def test_forecast__against_simulated_prices__agrees() -> None:
    bitcoin_debt = ([0.0, 5.6, 0.0], [0.0, 0.0, 0.25])
    book = book_of(loan(1.1), PERP_LONG, PERP_SHORT, bitcoin_debt, BASKET)
    covariance = covariance_of(1.2, 0.9, 0.7)
    horizon_s, paths = 5 * DAY_S, 20_000
    found = forecast(book, covariance, horizon_s=horizon_s, monitored_every_s=3600)
    seen = simulated(book, covariance, steps=120, step_s=3600, paths=paths)
    # Four standard errors; the last row's boundary is curved, of which the formula knows the
    # nearest point only.
    errors = 4 * np.sqrt(seen * (1 - seen) / paths) + [0.0, 0.0, 0.0, 0.0, 0.01]
    assert (abs(found.probability - seen) <= errors).all()
    assert seen.min() > 0.001


def test_forecast__breached_no_debt_and_still_rows__are_certain() -> None:
    still = ([150.0, 0.0, 0.0], [100.0, 0.0, 0.0])
    book = book_of(loan(1.0), loan(0.7), ([-50.0, 0.0, 0.0], [1.0, 0.0, 0.0]), NO_DEBT, still)
    found = forecast(book, covariance_of(0.9, 0.5, 0.6), horizon_s=DAY_S, monitored_every_s=0)
    assert found.probability.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert found.distance.tolist() == [0.0, 0.0, 0.0, np.inf, np.inf]
    assert not found.cold.any()


def test_forecast__cold_column__makes_only_the_rows_that_use_it_cold() -> None:
    hopeless = ([0.0, 0.4, 0.0], [1_000.0, 0.0, 0.1])
    unused = ([0.0, 0.8, 1.0], [0.0, 0.0, 0.0])
    found = forecast(
        book_of(loan(1.1), BITCOIN_DEBT, BASKET, hopeless, unused),
        covariance_of(0.9, 0.0, 0.0, cold_btc=True),
        horizon_s=DAY_S,
        monitored_every_s=0,
    )
    assert found.cold.tolist() == [False, True, True, True, False]
    assert np.isnan(found.probability).tolist() == [False, True, True, False, False]
    assert np.isnan(found.distance).tolist() == [False, True, True, False, False]
    assert np.isnan(found.volatility_per_year).tolist() == [False, True, True, True, False]
    assert found.probability[3:].tolist() == [1.0, 0.0]


def test_forecast__horizon_towards_zero__has_no_risk_left() -> None:
    found = forecast(
        book_of(loan(1.02), PERP_LONG),
        covariance_of(0.9, 0.5, 0.6),
        horizon_s=1,
        monitored_every_s=0,
    )
    assert found.probability.tolist() == [0.0, 0.0]


def test_forecast__rows_alone_or_together__are_the_same() -> None:
    rows = (loan(1.1), PERP_LONG, BITCOIN_DEBT, NO_DEBT, BASKET)
    covariance = covariance_of(1.2, 0.9, 0.7)
    together = forecast(book_of(*rows), covariance, horizon_s=DAY_S, monitored_every_s=12)
    for n, row in enumerate(rows):
        alone = forecast(book_of(row), covariance, horizon_s=DAY_S, monitored_every_s=12)
        assert alone.probability[0] == pytest.approx(together.probability[n], rel=1e-12)


def test_forecast__a_horizon_per_row__is_used_row_by_row() -> None:
    covariance = covariance_of(0.9, 0.5, 0.6)
    horizons = np.array([1.0, 7.0]) * DAY_S
    found = forecast(
        book_of(loan(1.1), loan(1.1)), covariance, horizon_s=horizons, monitored_every_s=0
    )
    expected = [by_hand(log(1.1), 0.9, -1, days) for days in (1, 7)]
    assert found.probability == pytest.approx(expected, rel=1e-9)


probability_of = {
    "barrier": st.floats(0.001, 3.0),
    "per_year": st.floats(0.02, 8.0),
    "drift": st.floats(-3.0, 3.0),
    "horizon_s": st.floats(60.0, 30.0 * DAY_S),
    "every_s": st.floats(0.0, 3600.0),
}


def one(barrier: float, per_year: float, drift: float, horizon_s: float, every_s: float) -> float:
    found = first_passage(
        np.array([barrier]),
        np.array([per_year / sqrt(SECONDS_PER_YEAR)]),
        np.array([drift / SECONDS_PER_YEAR]),
        horizon_s=horizon_s,
        monitored_every_s=every_s,
    )
    return float(found[0])


@given(more=st.floats(1.0, 3.0), **probability_of)
def test_first_passage__any_row__is_a_probability_that_moves_the_right_way(
    more: float, barrier: float, per_year: float, drift: float, horizon_s: float, every_s: float
) -> None:
    here = one(barrier, per_year, drift, horizon_s, every_s)
    least = here * (1 - 1e-9) - 1e-300
    assert 0.0 <= here <= 1.0
    assert one(barrier / more, per_year, drift, horizon_s, every_s) >= least
    assert one(barrier, per_year, drift, horizon_s * more, every_s) >= least
    assert one(barrier, per_year, drift - (more - 1), horizon_s, every_s) >= least
    assert one(barrier, per_year, drift, horizon_s, every_s / more) >= least


@given(more=st.floats(1.0, 3.0), **probability_of)
def test_first_passage__more_volatility__is_more_risk_when_continuously_watched(
    more: float, barrier: float, per_year: float, drift: float, horizon_s: float, every_s: float
) -> None:
    here = one(barrier, per_year, abs(drift), horizon_s, 0.0)
    assert one(barrier, per_year * more, abs(drift), horizon_s, 0.0) >= here * (1 - 1e-9) - 1e-300


amounts = st.floats(0.01, 100.0)
columns = st.permutations([0, 1, 2])
shares = st.floats(0.0, 0.98)
perps = st.tuples(st.sampled_from([1.0, -1.0]), st.floats(0.06, 0.9), st.floats(0.005, 0.05))


def one_against_one(collateral: int, debt: int, owed: float) -> tuple[list[float], list[float]]:
    """A dollar's worth of one column at `owed` dollars' worth of another."""
    covered, owes = [0.0] * 3, [0.0] * 3
    prices = (1.0, 2000.0, 40000.0)
    covered[collateral], owes[debt] = 1 / prices[collateral], owed / prices[debt]
    return covered, owes


def perp(side: float, margin: float, maintenance: float) -> tuple[list[float], list[float]]:
    """A dollar's notional of ETH, its margin and maintenance margin as shares of it."""
    return [margin - side, side / 2000.0, 0.0], [0.0, maintenance / 2000.0, 0.0]


def in_general(book: Book, covariance: Covariance) -> tuple[Floats, Floats]:
    """Distance and volatility by the search along −Σd, whatever the row."""
    moved = covariance.per_second
    d = book.C * book.p / (book.C @ book.p)[:, None] - book.D * book.p / (book.D @ book.p)[:, None]
    variance = np.einsum("nk,kl,nl->n", d, moved, d)
    gearing = 0.5 * np.abs(d).sum(axis=1)
    direction = -(d @ moved) * (gearing / variance)[:, None]
    return distance(book, direction), np.sqrt(variance * SECONDS_PER_YEAR) / gearing


@given(
    loans=st.lists(st.tuples(columns, shares.filter(lambda s: s > 0.01)), min_size=1, max_size=5),
    margins=st.lists(perps, min_size=1, max_size=5),
    baskets=st.lists(st.lists(amounts, min_size=3, max_size=3), max_size=5),
    rho=st.floats(-0.9, 0.9),
)
def test_forecast__any_rows__equals_the_general_search(
    loans: list[tuple[list[int], float]],
    margins: list[tuple[float, float, float]],
    baskets: list[list[float]],
    rho: float,
) -> None:
    rows = [one_against_one(places[0], places[1], owed) for places, owed in loans]
    rows += [perp(*each) for each in margins]
    rows += [([0.0, eth, btc / 20], [usd, 0.0, 0.01]) for usd, eth, btc in baskets]
    book, covariance = book_of(*rows), covariance_of(0.9, 0.5, rho)
    found = forecast(book, covariance, horizon_s=DAY_S, monitored_every_s=12)
    expected, volatility = in_general(book, covariance)
    assert found.volatility_per_year == pytest.approx(volatility, rel=1e-12)
    alive = health(book) > 1
    assert found.distance[alive] == pytest.approx(expected[alive], rel=1e-12, abs=1e-12)


@given(**{**probability_of, "drift": st.floats(-300.0, 300.0)})
def test_first_passage__any_drift__equals_the_formula_in_logs(
    barrier: float, per_year: float, drift: float, horizon_s: float, every_s: float
) -> None:
    sigma, mu = per_year / sqrt(SECONDS_PER_YEAR), drift / SECONDS_PER_YEAR
    b = barrier + 0.5826 * sigma * sqrt(every_s)
    spread = sigma * sqrt(horizon_s)
    straight = exp(log_ndtr((-b - mu * horizon_s) / spread))
    reflected = exp(log_ndtr((-b + mu * horizon_s) / spread) - 2 * mu * b / sigma**2)
    expected = pytest.approx(min(straight + reflected, 1.0), rel=1e-9, abs=1e-290)
    assert one(barrier, per_year, drift, horizon_s, every_s) == expected
