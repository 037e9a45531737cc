"""What a feed's rounds tell of its rule."""

import numpy as np
import pytest

from keeper.forecast.oracle_path import LogPath, oracle_path
from keeper.forecast.oracle_state import OracleState
from keeper.forecast.volatility import RoundSeries

DAY_S = 86_400


def rounds(*, deviation: float, heartbeat_s: int, days: int = 30) -> RoundSeries:
    rng = np.random.default_rng(9)
    n = days * DAY_S // 60
    market = LogPath(
        times=np.arange(n, dtype=np.float64) * 60.0,
        log_prices=np.cumsum(rng.normal(0.0, 0.8 / np.sqrt(525_600), n)),
    )
    path = oracle_path(market, deviation=deviation, heartbeat_s=heartbeat_s)
    return RoundSeries(times=path.times.astype(np.int64), log_prices=path.log_prices)


@pytest.mark.parametrize(
    ("deviation", "heartbeat_s"), [(0.005, 3_600), (0.02, 86_400), (0.01, 7_200)]
)
def test_oracle_state__modelled_feed__its_rule_is_learned(
    deviation: float, heartbeat_s: int
) -> None:
    known = rounds(deviation=deviation, heartbeat_s=heartbeat_s)
    state = OracleState.of(known, int(known.times[-1]) + 100)
    assert state is not None
    assert state.since_round_s == 100
    assert state.deviation == pytest.approx(deviation, rel=0.15)
    assert state.heartbeat_s == pytest.approx(heartbeat_s, rel=0.05)


@pytest.mark.parametrize(
    ("waited_s", "gap", "due"),
    [(100, None, False), (100, 0.004, False), (100, -0.006, True), (4_000, None, True)],
)
def test_round_is_due__market_moved_or_heartbeat_passed__is_told(
    waited_s: int, gap: float | None, due: bool
) -> None:
    known = rounds(deviation=0.005, heartbeat_s=3_600)
    state = OracleState.of(known, int(known.times[-1]) + waited_s, gap)
    assert state is not None
    assert state.round_is_due is due


def test_oracle_state__few_rounds__tells_no_rule() -> None:
    few = RoundSeries(times=np.arange(5, dtype=np.int64) * 3_600, log_prices=np.zeros(5))
    state = OracleState.of(few, 4 * 3_600)
    assert state is not None
    assert (state.deviation, state.heartbeat_s, state.round_is_due) == (None, None, False)
    assert OracleState.of(RoundSeries.without_rounds("a stub"), 0) is None
