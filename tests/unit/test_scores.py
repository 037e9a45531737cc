"""Scores worked by hand, and tests of forecasts whose quality is known."""

import numpy as np
import pytest

from keeper.forecast.scores import (
    block_bands,
    brier,
    christoffersen,
    diebold_mariano,
    kupiec,
    log_loss,
    observed_over_predicted,
    reliability,
    skill,
)

RNG = np.random.default_rng(11)
P = RNG.uniform(0.0, 0.3, 400_000)
Y = (RNG.uniform(size=400_000) < P).astype(float)


def test_brier_and_log_loss__two_forecasts__are_as_worked_by_hand() -> None:
    p, y = np.array([0.8, 0.4]), np.array([1.0, 0.0])
    assert brier(p, y) == pytest.approx((0.04 + 0.16) / 2)
    assert log_loss(p, y) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert skill(0.1, 0.25) == pytest.approx(0.6)
    assert np.isnan(skill(0.1, 0.0))


def test_log_loss__what_was_called_impossible_happens__is_finite() -> None:
    assert log_loss(np.array([0.0]), np.array([1.0])) == pytest.approx(-np.log(1e-6))


def test_reliability__true_probabilities__err_by_chance_only_and_halved_ones_by_half() -> None:
    assert reliability(P, Y).error < 0.004
    assert reliability(P / 2.0, Y).error == pytest.approx(P.mean() / 2.0, rel=0.05)
    assert observed_over_predicted(P, Y) == pytest.approx(1.0, abs=0.1)
    assert observed_over_predicted(P / 2.0, Y) == pytest.approx(2.0, abs=0.1)


def test_reliability__one_constant_forecast__does_not_depend_on_the_order_of_rows() -> None:
    constant, y = np.full(1000, 0.1), np.repeat([1.0, 0.0], [100, 900])
    assert reliability(constant, y).error == pytest.approx(0.0, abs=1e-12)


def test_block_bands__true_probabilities__lie_within_them_about_as_often_as_said() -> None:
    low, high = block_bands(P, Y, np.floor(np.arange(len(P)) / 2000.0), seed=1)
    curve = reliability(P, Y)
    assert np.mean((curve.predicted >= low) & (curve.predicted <= high)) >= 0.7


def test_diebold_mariano__clear_and_no_difference__are_told_apart() -> None:
    noise = RNG.normal(size=2000)
    assert diebold_mariano(noise + 0.5, lags=5)[1] < 1e-6
    assert diebold_mariano(noise - noise.mean(), lags=5)[1] == pytest.approx(1.0)


def test_diebold_mariano__each_difference_counted_24_times__is_no_more_significant() -> None:
    noise = RNG.normal(0.1, 1.0, 200)
    once, repeated = diebold_mariano(noise, 0)[0], diebold_mariano(np.repeat(noise, 24), 47)[0]
    assert repeated == pytest.approx(once, rel=0.25)


def test_kupiec__as_many_as_said_and_three_times_as_many__are_told_apart() -> None:
    assert kupiec(np.repeat([1.0, 0.0], [50, 950]), 0.05) == pytest.approx(1.0)
    assert kupiec(np.repeat([1.0, 0.0], [150, 850]), 0.05) < 1e-6


def test_christoffersen__events_in_a_row_and_spread_out__are_told_apart() -> None:
    spread = (np.random.default_rng(3).uniform(size=1000) < 0.05).astype(float)
    assert christoffersen(np.repeat([1.0, 0.0], [50, 950])) < 1e-6
    assert christoffersen(spread) > 0.01
