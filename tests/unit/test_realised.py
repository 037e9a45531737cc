"""Realised variance and its forecast, on histories whose variance is known."""

import numpy as np
import pytest

from keeper.forecast.oracle_path import LogPath, oracle_path
from keeper.forecast.realised import (
    DAY_S,
    FEED_SHARE,
    HORIZONS_S,
    HOUR_S,
    WINDOWS_S,
    LogHar,
    Past,
    Variation,
    between,
    ewma_rates,
    garman_klass,
)

PER_STEP = 0.001
STEP_S = 300


def brownian(days: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    n = days * DAY_S // STEP_S
    logs = np.cumsum(np.random.default_rng(seed).normal(0.0, PER_STEP, n))
    return STEP_S * np.arange(1.0, n + 1), logs


def test_log_rates__brownian_motion__are_its_variance_from_closes_and_from_rounds() -> None:
    times, logs = brownian(60)
    known = np.log(PER_STEP**2 / STEP_S)
    now = times[-1:]
    squared = np.diff(logs, prepend=logs[:1]) ** 2
    closes = Variation.of(times, squared).log_rates(now)
    feed = oracle_path(LogPath(times=times, log_prices=logs))
    rounds = Variation.of_rounds(feed.times, feed.log_prices).log_rates(now)
    # A month holds 8640 closes (one standard error 1.5 %) and about 1000 rounds (4.5 %).
    assert closes[0, -1] == pytest.approx(known, abs=0.06)
    assert rounds[0, -1] == pytest.approx(known - np.log(FEED_SHARE), abs=0.18)


def test_log_rates__history_shorter_than_the_window__all_of_it_stands_for_the_window() -> None:
    spent = Variation.of(np.array([0.0, HOUR_S]), np.array([0.0, 3.6e-3]))
    (rates,) = spent.log_rates(np.array([HOUR_S]), (HOUR_S, DAY_S))
    assert np.exp(rates).tolist() == pytest.approx([1e-6, 1e-6], rel=1e-4)
    assert np.isnan(spent.log_rates(np.array([0.0]))).all()


def test_garman_klass__a_brownian_day__has_its_variance() -> None:
    steps = np.random.default_rng(2).normal(0.0, 0.001, (2000, 2000)).cumsum(axis=1)
    known = 2000 * 0.001**2
    measured = garman_klass(
        np.zeros(2000),
        np.maximum(steps.max(axis=1), 0),
        np.minimum(steps.min(axis=1), 0),
        steps[:, -1],
    )
    # Looked at 2000 times, a range is a little short of the continuous one.
    assert measured.mean() == pytest.approx(known, rel=0.06)


def test_ewma_rates__variance_doubles__half_the_way_in_eleven_days() -> None:
    # 0.94^11.2 = 0.5
    hours = np.arange(1.0, 24 * 71 + 1)
    spent = Variation.of(hours * HOUR_S, np.where(hours <= 24 * 60, 1.0, 2.0) * HOUR_S)
    rates = ewma_rates(spent, hours[24 * 7 :] * HOUR_S)
    assert rates[24 * 53 - 1] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(2.0 - 0.94**11, rel=1e-6)


def test_ewma_rates__what_comes_later__changes_nothing_before() -> None:
    hours = np.arange(1.0, 24 * 60 + 1)
    spent = Variation.of(hours * HOUR_S, np.random.default_rng(2).uniform(0.0, 1.0, len(hours)))
    moments = hours[24 * 7 :] * HOUR_S
    assert ewma_rates(spent, moments[:9]).tolist() == ewma_rates(spent, moments)[:9].tolist()


def past(level: float, seed: int) -> Past:
    """What follows is the mean of the day's and the month's log rate, plus a quarter, plus noise."""
    rng = np.random.default_rng(seed)
    moments = HOUR_S * np.arange(4000.0)
    rates = level + rng.normal(0.0, 1.0, (4000, len(WINDOWS_S)))
    after = 0.5 * rates[:, 1] + 0.5 * rates[:, 3] + 0.25 + rng.normal(0.0, 0.5, 4000)
    return Past(moments=moments, log_rates=rates, log_rate_after=after)


def test_log_har__a_law_it_can_express__is_found_for_known_and_unknown_pairs() -> None:
    pasts = {
        (pair, horizon): past(level, seed)
        for seed, (pair, level) in enumerate({"A/USD": -16.0, "B/USD": -20.0}.items())
        for horizon in HORIZONS_S
    }
    har = LogHar.fit(pasts)
    rates = np.array([[-18.0, -17.0, -18.0, -19.0]])
    expected = 0.5 * -17.0 + 0.5 * -19.0 + 0.25
    for pair in ("A/USD", "B/USD", "new/USD", None):
        assert har.log_rate(rates, np.zeros(1), 2 * HOUR_S, pair)[0] == pytest.approx(
            expected, abs=0.1
        )
    again = LogHar.from_json(har.to_json())
    assert again.log_rate(rates, np.zeros(1), 900, "A/USD") == pytest.approx(
        har.log_rate(rates, np.zeros(1), 900, "A/USD"), abs=1e-3
    )


@pytest.mark.parametrize(
    ("horizon_s", "low", "share"), [(60, 0, 0.0), (3600, 2, 0.0), (7200, 2, 0.5), (10**7, 4, 1.0)]
)
def test_between__horizons__are_spaced_by_the_log_of_time(
    horizon_s: int, low: int, share: float
) -> None:
    earlier, later, of_later = between(horizon_s)
    assert (earlier, later) == (low, low + 1)
    assert of_later == pytest.approx(share)
