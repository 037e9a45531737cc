"""Prices and positions that are small enough to be worked by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keeper.backtest.positions import Positions, Row, placed
from keeper.backtest.tracks import STEP_S, Track, along

START = 1_600_000_200  # a multiple of 300
QUIET_STEPS = 24


def track(prices: Sequence[float], pair: str = "ETH/USD", *, days: int = 2) -> Track:
    """Two quiet hours at 2,000 dollars, then one price a step, then the last one for `days`."""
    whole = [2_000.0] * QUIET_STEPS + list(prices) + [prices[-1]] * (288 * days)
    return along(pair, "SPOT", START, np.log(np.array(whole, dtype=np.float64)))


def row(**given: Any) -> Row:
    """A loan of 10,000 dollars against ether at health 1.25, its feed's last quiet round ahead:
    10,000 × 1.25 / 2,000 / 0.8 = 7.8125 ether count 80 %."""
    usual: dict[str, Any] = {
        "place": "p.csv:2",
        "pair": "ETH/USD",
        "collateral_amount": 7.8125,
        "debt_amount": 10_000.0,
        "health_start": 1.25,
        "gas_usd": 10.0,
        "latency_min": 1.0,
        "reserve_share": 1.0,
        "start": START + STEP_S * (QUIET_STEPS - 1),
    }
    return Row(**usual | given)


def one(prices: Sequence[float], **given: Any) -> Positions:
    """That loan over these prices, from the last quiet round on."""
    own = track(prices, given.get("pair", "ETH/USD"))
    return placed([row(**given)], {own.pair: (own,)}, end=own.end)
