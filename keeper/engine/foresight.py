"""What lies ahead of every position, for `keeper status` and the report: chances by horizon,
liquidation prices and how far the reserve goes. Pure, and slower than a pass may be."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from keeper.engine.ahead import Chance, chances, exposures
from keeper.engine.evidence import finite
from keeper.engine.outlook import Outlook
from keeper.engine.runway import Runway, runway
from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.mandate.charter import Charter
from keeper.model.reading import ReadingError
from keeper.model.units import float_from_wad
from keeper.model.values import PositionId, PositionState
from keeper.storage.prospects import Prospect


def foresee(
    snapshot: Snapshot,
    outlook: Outlook,
    watched: Sequence[Watched],
    markets: Mapping[str, WatchedMarket],
    charter_of: Callable[[PositionId], Charter | None],
) -> list[Prospect]:
    """One for each position that could be read. `charter_of`: what its guardian said."""
    by_row = chances(outlook)
    return [
        _prospect(
            snapshot,
            outlook,
            row,
            one,
            position,
            markets[one.id.market],
            charter_of(one.id),
            by_row.get(row, ()),
        )
        for row, (one, position) in enumerate(zip(watched, snapshot.positions, strict=True))
        if not isinstance(position, ReadingError)
    ]


def _prospect(
    snapshot: Snapshot,
    outlook: Outlook,
    row: int,
    watched: Watched,
    position: PositionState,
    market: WatchedMarket,
    charter: Charter | None,
    ahead: Sequence[Chance],
) -> Prospect:
    left = runway(
        position,
        watched,
        market.adapter,
        volatility_per_year=float(outlook.forecast.volatility_per_year[row]),
        book=outlook.book_of(row),
        charter=charter,
    )
    return Prospect(
        position=watched.id,
        label=watched.label,
        head_number=snapshot.head.number,
        timestamp=snapshot.head.timestamp,
        health=None if position.health is None else float_from_wad(position.health),
        breach_probability=finite(outlook.forecast.probability[row]),
        reserve_usd=0.0 if left is None else left.reserve_usd,
        debt_usd=position.debt_usd8 / 1e8,
        collateral_usd=position.collateral_usd8 / 1e8,
        document={
            "block": snapshot.head.number,
            "horizons": [
                {
                    "horizon_s": each.horizon_s,
                    "breach_probability": finite(each.breach_probability),
                }
                for each in ahead
            ],
            "assets": [
                {
                    "asset": named(each.asset),
                    "price": each.price,
                    "liquidation_price": each.liquidation_price,
                }
                for each in (exposures(outlook, row) if ahead else ())
            ],
            "reserve": None if left is None else _reserve(left),
            "margin": dict(position.terms_shown) or None,
        },
    )


def named(label: str) -> str:
    """A column's label without the addresses that make it unique."""
    return re.sub(r"\s*0x[0-9a-fA-F]{40}", "", label)


def _reserve(left: Runway) -> dict[str, Any]:
    document = asdict(left)
    document["in_deviations"] = finite(left.in_deviations)
    document["pays_all"] = left.held_down_to == 0.0
    return document
