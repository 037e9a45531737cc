"""What a decision was made on, for `keeper explain`: the block, the position, the forecast."""

from datetime import UTC, datetime
from math import expm1, isfinite, sqrt
from typing import Any, Final

import numpy as np

from keeper.engine.outlook import Outlook
from keeper.engine.watch import Watched
from keeper.model.book import health
from keeper.model.units import SECONDS_PER_YEAR
from keeper.model.values import Head, PositionState

MISCALIBRATION: Final = (
    "on the same volatility, what it put at 1 to 5 % in 2022 and 2023 came true 2.4 times as often "
    "within 1 h, 1.7 times within 4 h and within 24 h"
)
"""Of the closed form, as `keeper forecast score` measured it."""


def inputs(head: Head, position: PositionState, outlook: Outlook) -> dict[str, Any]:
    return {
        "block": head.number,
        "block_hash": head.hash,
        "timestamp": head.timestamp,
        "base_fee_gwei": head.base_fee_wei / 1e9,
        "collateral_usd": position.collateral_usd8 / 1e8,
        "debt_usd": position.debt_usd8 / 1e8,
        **position.terms_shown,
        "oracle_prices_usd": {
            column.label: price
            for column, price in zip(outlook.columns, outlook.prices, strict=True)
            if column.source is not None
        },
    }


def terms(row: int, outlook: Outlook) -> list[dict[str, Any]]:
    """What health is made of: of each oracle, in USD, what counts for the position and what it must
    cover. Each moves with its price; their sums divided are the health. Of a position of several
    boundaries, the nearest's; nothing where there is no forecast."""
    places, book = np.flatnonzero(outlook.rows == row), outlook.book
    if not len(places):
        return []
    nearest = np.argmin(health(book.take(places)))
    place = places[nearest]
    return [
        {
            "asset": book.columns[k].label,
            "feed": book.columns[k].source,
            "price": float(book.p[k]),
            "covers_usd": float(book.C[place, k] * book.p[k]),
            "owes_usd": float(book.D[place, k] * book.p[k]),
        }
        for k in (0, *outlook.columns_of(row))
    ]


def forecast(row: int, watched: Watched, outlook: Outlook) -> dict[str, Any]:
    """What gave the probability: table, volatility, horizon, distance and the oracles' state."""
    ahead, horizon_s = outlook.forecast, watched.policy.horizon_s
    used = outlook.columns_of(row)
    spread = ahead.volatility_per_year[row] * sqrt(horizon_s / SECONDS_PER_YEAR)
    left = ahead.distance[row] + ahead.gap[row] + ahead.carry[row]
    return {
        "breach_probability": finite(ahead.probability[row]),
        "horizon_s": horizon_s,
        "from": outlook.source_of(row),
        "calibration": _calibration(outlook, row),
        "distance": finite(ahead.distance[row]),
        "oracle_gap": float(ahead.gap[row]),
        "carry": float(ahead.carry[row]),
        "distance_in_sigma": finite(left / spread) if spread > 0.0 else None,
        "volatility_per_year": finite(ahead.volatility_per_year[row]),
        "closed_form": {
            "breach_probability": finite(outlook.closed_form(row, horizon_s)),
            "uncalibrated": MISCALIBRATION,
        },
        "oracles": [_oracle(outlook, column) for column in used],
        "cold": {
            outlook.columns[column].label: reason
            for column in used
            if (reason := outlook.why_cold[column]) is not None
        },
    }


def _calibration(outlook: Outlook, row: int) -> str | None:
    """The days of the prices that the row's table was fitted on, or all tables where it is no
    pair's own."""
    if outlook.calibration is None:
        return None
    spans = outlook.calibration.spans
    pair = outlook.source_of(row).removeprefix("table ")
    first = min(since for since, _ in spans.values())
    since, until = spans.get(pair, (first, outlook.calibration.until))
    return f"fitted on prices from {_day(since)} to {_day(until)}"


def _day(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


def _oracle(outlook: Outlook, column: int) -> dict[str, Any]:
    state = outlook.oracle(column)
    found: dict[str, Any] = {"price": outlook.columns[column].label}
    if state is None:
        return found
    return found | {
        "market_over_oracle": None if state.gap is None else expm1(state.gap),
        "since_round_s": state.since_round_s,
        "deviation": state.deviation,
        "heartbeat_s": state.heartbeat_s,
        "round_is_due": state.round_is_due,
    }


def finite(value: float) -> float | None:
    """JSON and the database know neither nan nor infinity."""
    return float(value) if isfinite(value) else None
