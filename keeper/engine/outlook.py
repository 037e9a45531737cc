"""The forecast of every watched row from one snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.forecast.first_passage import Forecast, forecast
from keeper.forecast.volatility import RoundSeries, covariance
from keeper.model.book import Column, stack
from keeper.model.units import Address
from keeper.model.values import PositionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One forecast entry per watched row, and what it was made from.

    Rows that could not be read are nan and cold.
    """

    forecast: Forecast
    columns: tuple[Column, ...]
    prices: tuple[float, ...]
    why_cold: tuple[str | None, ...]
    """Of each column."""


def nothing_known(count: int) -> Outlook:
    """No forecast for any of `count` rows: only floors act."""
    return Outlook(
        forecast=Forecast(
            distance=np.full(count, np.nan),
            volatility_per_year=np.full(count, np.nan),
            probability=np.full(count, np.nan),
            cold=np.ones(count, dtype=np.bool_),
        ),
        columns=(),
        prices=(),
        why_cold=(),
    )


def look_ahead(
    snapshot: Snapshot,
    watched: Sequence[Watched],
    markets: Mapping[str, WatchedMarket],
    series: Mapping[Address, RoundSeries],
) -> Outlook:
    """All markets as one book. The oracle is taken as watched continuously: the cautious choice."""
    row_of = {row.id: place for place, row in enumerate(watched)}
    chain_id = watched[0].id.chain_id
    parts = {
        name: markets[name].adapter.book_rows(market) for name, market in snapshot.markets.items()
    }
    rows = np.array(
        [
            row_of[PositionId(chain_id=chain_id, market=name, account=account)]
            for name, part in parts.items()
            for account in part.accounts
        ],
        dtype=np.intp,
    )
    book = stack([part.book for part in parts.values()])
    sigma = covariance(book.columns, series, snapshot.head.timestamp)
    horizons_s = np.array([float(watched[row].policy.horizon_s) for row in rows])
    found = forecast(book, sigma, horizon_s=horizons_s, monitored_every_s=0.0)
    return Outlook(
        forecast=_placed(found, rows, len(watched)),
        columns=book.columns,
        prices=tuple(book.p.tolist()),
        why_cold=sigma.reasons,
    )


def _placed(found: Forecast, rows: NDArray[np.intp], count: int) -> Forecast:
    distance, volatility, probability = (np.full(count, np.nan) for _ in range(3))
    cold = np.ones(count, dtype=np.bool_)
    distance[rows] = found.distance
    volatility[rows] = found.volatility_per_year
    probability[rows] = found.probability
    cold[rows] = found.cold
    return replace(
        found,
        distance=distance,
        volatility_per_year=volatility,
        probability=probability,
        cold=cold,
    )
