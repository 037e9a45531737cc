"""The table's look-up, and fitting one pair anew on a year of five-minute candles, on one thread."""

import time
from math import inf
from typing import Final

import numpy as np
from scipy.special import ndtr

from keeper.backtest.calibrate import fit
from keeper.backtest.episodes import episodes
from keeper.backtest.history import Series
from keeper.backtest.shipped import shipped
from keeper.forecast.calibration import Calibration
from keeper.forecast.realised import DAY_S
from keeper.model.book import Floats
from keeper.model.candles import Candles
from tests.benchmarks.measuring import Side, take_turns
from tests.benchmarks.report import Row, times

ROWS: Final = 100_000
ROUNDS: Final = 15
STEP_S: Final = 300
CANDLES: Final = 365 * DAY_S // STEP_S
GOAL_ROWS: Final = 10.0
GOAL_MS: Final = 1_000.0
PAIR: Final = "ETH/USD"


def year() -> Series:
    """Candles of a random walk whose volatility comes and goes."""
    rng = np.random.default_rng(8)
    calm = np.repeat(np.exp(0.5 * rng.normal(size=CANDLES // 12)), 12)
    close = 2_000.0 * np.exp(np.cumsum(0.0015 * calm * rng.standard_t(4, CANDLES)))
    open_ = np.concatenate([[2_000.0], close[:-1]])
    starts = STEP_S * np.arange(CANDLES)
    return Series(
        pair=PAIR,
        venue="SPOT",
        candles=Candles(
            starts=starts,
            ends=starts + STEP_S,
            open=open_,
            high=np.maximum(open_, close),
            low=np.minimum(open_, close),
            close=close,
        ),
        files=(),
    )


def refitted(history: Series) -> Calibration:
    """From candles to volatility forecast and tables."""
    return fit({PAIR: episodes([history])}, inf, {})


def summed_and_sorted(history: Series) -> Floats:
    """What no fit can do without: variance so far, and one sort of what followed for each horizon."""
    returns = np.diff(np.log(history.candles.close))
    return np.concatenate([np.cumsum(returns**2), *(np.sort(returns[::12]) for _ in range(6))])


async def measure() -> tuple[list[Row], str]:
    """The rows of this figure, and what to know of them."""
    history, calibration = year(), shipped()
    rng = np.random.default_rng(8)
    distance, sigma = rng.uniform(0.005, 0.5, ROWS), rng.uniform(1e-5, 3e-4, ROWS)
    clock = time.thread_time
    look_up = Side(
        name="look-up",
        run=lambda: calibration.probability(distance, sigma, float(DAY_S), PAIR),
        repeats=3,
        clock=clock,
    )
    normal = Side(
        name="floor: scipy's ndtr, once per row", run=lambda: ndtr(-distance), clock=clock
    )
    fitting = Side(name="fit", run=lambda: refitted(history), clock=clock)
    floor = Side(
        name="floor: one sum and six sorts of its returns",
        run=lambda: summed_and_sorted(history),
        clock=clock,
    )
    await take_turns([look_up, normal, fitting, floor], rounds=ROUNDS)
    if not (look_up.found.min() >= 0.0 and look_up.found.max() <= 1.0):
        raise AssertionError("a probability is none")
    rate, bare = (ROWS / side.median_ms / 1e3 for side in (look_up, normal))
    return [
        Row(
            name="breach probability from the table, one pair and horizon",
            value=rate,
            unit="M rows/s",
            peer=normal.name,
            peer_value=bare,
            ratio=rate / bare,
            goal=GOAL_ROWS,
        ),
        times(
            "refit of one pair on a year of 5-minute candles",
            fitting.median_ms,
            floor.name,
            floor.median_ms,
        ),
    ], f"Refit: {CANDLES:,} candles, {GOAL_MS:,.0f} ms at most are aimed at."
