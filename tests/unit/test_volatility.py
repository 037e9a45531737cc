"""Volatility from irregular rounds, against processes whose volatility is known."""

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.forecast.volatility import (
    DAY_S,
    HOUR_S,
    Covariance,
    RoundSeries,
    correlation,
    covariance,
    volatility,
)
from keeper.model.book import QUOTE, Column, Floats
from keeper.model.units import SECONDS_PER_YEAR, Address

MONTH_S = 30 * DAY_S
ETH = Column(source=Address("0x0000000000000000000000000000000000000001"), label="ETH / USD")
BTC = Column(source=Address("0x0000000000000000000000000000000000000002"), label="BTC / USD")
USDC = Column(source=Address("0x0000000000000000000000000000000000000003"), label="USDC / USD")


def brownian(rng: np.random.Generator, per_year: float, *, duration_s: int, step_s: int) -> Floats:
    """Log prices every `step_s` seconds, from 0."""
    steps = rng.normal(0.0, per_year * sqrt(step_s / SECONDS_PER_YEAR), duration_s // step_s)
    return np.concatenate(([0.0], np.cumsum(steps)))


def published(path: Floats, *, step_s: int, threshold: float, heartbeat_s: int) -> RoundSeries:
    """The rounds of a feed that publishes on a deviation of `threshold` or after `heartbeat_s`."""
    kept, last = [0], float(path[0])
    for n, level in enumerate(path.tolist()):
        if abs(level - last) >= threshold or (n - kept[-1]) * step_s >= heartbeat_s:
            kept.append(n)
            last = level
    return RoundSeries(times=np.array(kept, dtype=np.int64) * step_s, log_prices=path[kept])


@pytest.mark.parametrize("per_year", [0.25, 0.8, 2.5])
def test_volatility__brownian_path_published_by_deviation__is_recovered(per_year: float) -> None:
    # The mean of three windows is noisy in one month (a day of 0.5 % moves at 25 % a year is some
    # 30 rounds), so 60 months are averaged: unbiased means within three standard errors.
    rng = np.random.default_rng(20100216)
    variances = []
    for _ in range(60):
        path = brownian(rng, per_year, duration_s=MONTH_S, step_s=60)
        rounds = published(path, step_s=60, threshold=0.005, heartbeat_s=HOUR_S)
        variances.append(volatility(rounds, MONTH_S).per_year ** 2)
    error = float(np.std(variances)) / sqrt(len(variances))
    assert np.mean(variances) == pytest.approx(per_year**2, abs=3 * error)
    assert error < 0.03 * per_year**2


def test_volatility__one_squared_return_an_hour__is_its_annualised_root() -> None:
    # ±1 % each hour: 0.0001 × 8,760 hours = 0.876 a year.
    prices = np.where(np.arange(721) % 2 == 0, 0.0, 0.01)
    rounds = RoundSeries(times=np.arange(721, dtype=np.int64) * HOUR_S, log_prices=prices)
    assert volatility(rounds, MONTH_S).per_year == pytest.approx(sqrt(0.876))


def test_volatility__three_hours_of_crash__rises_by_half_at_once_and_calms_down_later() -> None:
    rng = np.random.default_rng(20200312)
    calm = brownian(rng, 0.6, duration_s=MONTH_S, step_s=60)
    crash = calm[-1] + brownian(rng, 5.0, duration_s=3 * HOUR_S, step_s=60)[1:]
    after = crash[-1] + brownian(rng, 0.6, duration_s=MONTH_S, step_s=60)[1:]
    path = np.concatenate((calm, crash, after))
    ends = [MONTH_S, MONTH_S + 3 * HOUR_S, 2 * MONTH_S + 3 * HOUR_S]
    before, during, later = (
        volatility(
            published(path[: end // 60 + 1], step_s=60, threshold=0.005, heartbeat_s=HOUR_S), end
        ).per_year
        for end in ends
    )
    assert during > 1.5 * before
    assert later == pytest.approx(before, rel=0.2)


def test_volatility__quiet_since_the_last_round__falls_with_the_open_interval() -> None:
    moves = RoundSeries(
        times=np.arange(49, dtype=np.int64) * HOUR_S,
        log_prices=np.where(np.arange(49) % 2 == 0, 0.0, 0.01),
    )
    at_once, a_day_later = (volatility(moves, 48 * HOUR_S + s).per_year for s in (0, DAY_S))
    # The last day is empty and both longer windows hold 48 moves in 72 hours: (0 + 2/3 + 2/3) / 3.
    assert a_day_later == pytest.approx(at_once * sqrt(4 / 9))


def test_volatility__constant_price__is_zero_and_not_cold() -> None:
    rounds = RoundSeries.of(((n * HOUR_S, 10**8) for n in range(100)), decimals=8)
    found = volatility(rounds, 100 * HOUR_S)
    assert found.per_year == 0.0
    assert found.cold is None


@pytest.mark.parametrize(
    ("times", "now", "reason"),
    [
        ([], DAY_S, "0 rounds known, 12 needed"),
        (range(0, 11 * HOUR_S, HOUR_S), 2 * DAY_S, "11 rounds known, 12 needed"),
        (range(0, 12 * HOUR_S, HOUR_S), 12 * HOUR_S, "43200 s of rounds known, 86400 s needed"),
        (range(0, 30 * HOUR_S, HOUR_S), 6 * DAY_S, "no round for 414000 s, 172800 s allowed"),
    ],
)
def test_volatility__too_little_history__is_cold_with_the_reason(
    times: range | list[int], now: int, reason: str
) -> None:
    found = volatility(RoundSeries.of([(time, 10**8) for time in times], decimals=8), now)
    assert np.isnan(found.per_year)
    assert found.cold == reason


def test_round_series__answers__become_logs_of_prices() -> None:
    rounds = RoundSeries.of([(1, 2000 * 10**8), (2, 1)], decimals=8)
    assert rounds.log_prices == pytest.approx([log(2000), -8 * log(10)])


def hourly(returns: Floats) -> RoundSeries:
    return RoundSeries(
        times=np.arange(len(returns) + 1, dtype=np.int64) * HOUR_S,
        log_prices=np.concatenate(([0.0], np.cumsum(returns))),
    )


def test_correlation__two_related_assets__is_recovered_from_their_own_rounds() -> None:
    rng = np.random.default_rng(7)
    shared, own = (brownian(rng, 0.8, duration_s=MONTH_S, step_s=60) for _ in range(2))
    series = [
        published(path, step_s=60, threshold=0.005, heartbeat_s=HOUR_S)
        for path in (shared, 0.8 * shared + 0.6 * own)
    ]
    # Rounds up to an hour old lower it somewhat below 0.8.
    assert 0.65 < correlation(series, MONTH_S)[0, 1] < 0.85


def test_correlation__unrelated_and_constant_series__shrinks_towards_none() -> None:
    rng = np.random.default_rng(8)
    found = correlation([hourly(rng.normal(size=720)), hourly(np.zeros(720))], MONTH_S)
    assert (found == np.eye(2)).all()
    found = correlation([hourly(rng.normal(size=720)) for _ in range(2)], MONTH_S)
    assert abs(found[0, 1]) < 0.05


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 8), st.integers(24, 200))
def test_correlation__any_series__is_positive_semi_definite(seed: int, k: int, hours: int) -> None:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(k, k)) @ rng.normal(size=(k, hours))
    found = correlation([hourly(row) for row in mixed], hours * HOUR_S)
    assert np.linalg.eigvalsh(found).min() > -1e-12
    assert (np.diag(found) == 1.0).all()
    assert (abs(found) <= 1.0 + 1e-12).all()


def test_covariance__quote_known_and_unread_columns__zero_known_and_cold() -> None:
    alternating = np.where(np.arange(721) % 2 == 0, 0.0, 0.01)
    rounds = {
        address: RoundSeries(times=np.arange(721, dtype=np.int64) * HOUR_S, log_prices=prices)
        for address, prices in (
            (Address("0x0000000000000000000000000000000000000001"), alternating),
            (Address("0x0000000000000000000000000000000000000002"), -2 * alternating),
        )
    }
    found: Covariance = covariance((QUOTE, ETH, BTC, USDC), rounds, MONTH_S)
    per_hour = found.per_second * HOUR_S
    # 1 % and 2 % an hour, exactly opposed.
    expected = np.zeros((4, 4))
    expected[1:3, 1:3] = [[1e-4, -2e-4], [-2e-4, 4e-4]]
    assert per_hour == pytest.approx(expected, abs=1e-12)
    assert found.reasons == (None, None, None, "its rounds have not been read")
    assert found.cold.tolist() == [False, False, False, True]


def test_covariance__source_without_rounds__is_cold_with_its_reason() -> None:
    source = Address("0x0000000000000000000000000000000000000001")
    found = covariance((QUOTE, ETH), {source: RoundSeries.without_rounds("no rounds here")}, 0)
    assert found.reasons == (None, "no rounds here")


def test_covariance__two_columns_of_one_source__move_as_one() -> None:
    # 300 hours of chance, so that a sample correlation would be shrunk below 1.
    moves = np.cumsum(np.random.default_rng(7).normal(scale=0.01, size=300))
    source = Address("0x0000000000000000000000000000000000000001")
    rounds = {source: RoundSeries(times=np.arange(300, dtype=np.int64) * HOUR_S, log_prices=moves)}
    again = Column(source=source, label="the same for another asset")
    found = covariance((QUOTE, ETH, again), rounds, 299 * HOUR_S).per_second
    assert found[1, 1] == found[1, 2] == found[2, 2] > 0.0
