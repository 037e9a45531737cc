"""The modelled feed: which rounds it publishes, and how far they run."""

import numpy as np
import pytest

from keeper.forecast.oracle_path import LogPath, extremes, oracle_path


def path(times: list[float], prices: list[float]) -> LogPath:
    return LogPath(times=np.array(times), log_prices=np.log(prices))


def test_oracle_path__small_moves_within_the_hour__publish_nothing() -> None:
    # 0.4 % up is below the threshold, 0.6 % below the last round publishes, and so does the hour.
    market = path([0, 60, 120, 3720, 3780], [100, 100.4, 99.4, 99.5, 99.6])
    rounds = oracle_path(market)
    assert rounds.times.tolist() == [0, 120, 3720]
    assert np.exp(rounds.log_prices).tolist() == pytest.approx([100, 99.4, 99.5])


def test_extremes__rounds_after_the_origin__count_up_to_the_horizon_and_no_further() -> None:
    rounds = path([0, 100, 200, 300], [100, 90, 110, 50])
    low, high = extremes(rounds, np.array([0.0, 100.0, 150.0, 300.0]), 100.0)
    # from 100: 110 at 200 is the only round; from 150 also, against 90; after 300 there is none.
    assert np.exp(low).tolist() == pytest.approx([0.9, 110 / 90, 110 / 90, 1.0])
    assert np.exp(high).tolist() == pytest.approx([0.9, 110 / 90, 110 / 90, 1.0])


def test_extremes__before_the_first_round__are_unknown() -> None:
    low, high = extremes(path([10], [100]), np.array([5.0]), 10.0)
    assert np.isnan(low).all()
    assert np.isnan(high).all()
