"""Several positions as one exposure: what hurts one and helps another, and what is left of both.

Venues liquidate each leg by itself. What is told of all together holds as far as what is spare on one
side can be brought to the other in time. Of an account with several boundaries the nearest counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, sqrt
from typing import Any, Final

import numpy as np

from keeper.engine.ahead import Chance
from keeper.engine.outlook import Outlook
from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.forecast.calibrated import forecast
from keeper.forecast.realised import HORIZONS_S
from keeper.model.book import Book, Floats, health
from keeper.model.reading import ReadingError
from keeper.model.units import SECONDS_PER_YEAR, Address

SHOCKS: Final = (-0.3, -0.2, -0.1, 0.1, 0.2, 0.3)
DOLLAR: Final = "USD"
"""What dollar coins are called (`keeper.forecast.names`): they are not shocked."""
WORTH_HEDGING: Final = 0.01
"""Of all that the legs gain and lose by: a smaller delta is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What the whole book gains per unit of an asset's price: whole tokens, and their worth in USD."""

    asset: str
    tokens: float
    worth_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shock:
    """Health of each leg, and of all as one, after one asset's price has moved alone; None where
    nothing is owed."""

    asset: str
    move: float
    healths: Mapping[str, float | None]
    joint: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """A trade that would bring a delta to zero. Nobody but the owner makes it."""

    asset: str
    side: str
    tokens: float
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Some watched rows as one exposure."""

    legs: tuple[str, ...]
    health: float | None
    chances: tuple[Chance, ...]
    deltas: tuple[Delta, ...]
    shocks: tuple[Shock, ...]
    hedges: tuple[Hedge, ...]


def together(
    rows: Sequence[int],
    watched: Sequence[Watched],
    snapshot: Snapshot,
    outlook: Outlook,
    markets: Mapping[str, WatchedMarket],
) -> Together | None:
    """None unless at least two of the rows were read and owe something."""
    places = {int(row): place for place, row in enumerate(outlook.rows.tolist())}
    legs = [row for row in rows if row in places and not isnan(_health(outlook, places[row]))]
    if outlook.asked is None or len(legs) < 2:
        return None
    book = outlook.book.take(np.array([places[row] for row in legs], dtype=np.intp))
    deltas = tuple(_deltas(legs, watched, snapshot, outlook, markets))
    labels = tuple(watched[row].label for row in legs)
    return Together(
        legs=labels,
        health=_value(health(_joint(book))[0]),
        chances=tuple(_chances(_joint(book), outlook)),
        deltas=deltas,
        shocks=tuple(
            _shock(delta.asset, move, labels, book, outlook)
            for delta in deltas
            if delta.asset != DOLLAR
            for move in SHOCKS
        ),
        hedges=tuple(_hedges(deltas, outlook, markets)),
    )


def _health(outlook: Outlook, place: int) -> float:
    return float(health(outlook.book.take(np.array([place], dtype=np.intp)))[0])


def _joint(book: Book) -> Book:
    """As one row. What interest and funding take is reckoned to what each leg has to cover with."""
    C, D = (matrix.sum(axis=0, keepdims=True) for matrix in (book.C, book.D))
    covered = book.C @ book.p
    whole = float(covered.sum())
    carry = float(covered @ book.carry) / whole if whole > 0.0 else 0.0
    return replace(book, C=C, D=D, carry=np.array([carry]))


def _chances(joint: Book, outlook: Outlook) -> list[Chance]:
    """Over correlated prices: the basket's volatility is that of what its legs leave of each."""
    if outlook.asked is None:
        return []
    asked, found = replace(outlook.asked, trigger=None), []
    for horizon_s in HORIZONS_S:
        ahead = forecast(joint, asked, horizon_s=float(horizon_s))
        spread = float(ahead.volatility_per_year[0]) * sqrt(horizon_s / SECONDS_PER_YEAR)
        left = float(ahead.distance[0] + ahead.gap[0])
        found.append(
            Chance(
                horizon_s=horizon_s,
                breach_probability=float(ahead.probability[0]),
                distance_in_sigma=left / spread if spread > 0.0 and np.isfinite(left) else None,
                volatility_per_year=float(ahead.volatility_per_year[0]),
            )
        )
    return found


def _asset(outlook: Outlook, column: int) -> str:
    """Columns of one asset share its name, whichever protocol reads its price."""
    rounds = outlook.rounds[column]
    known = None if rounds is None else rounds.asset
    return outlook.columns[column].label if known is None else known.name


def _assets(outlook: Outlook) -> dict[Address, tuple[str, float]]:
    """By feed, what it prices and at how much."""
    return {
        column.source: (_asset(outlook, k), outlook.prices[k])
        for k, column in enumerate(outlook.columns)
        if column.source is not None
    }


def _deltas(
    rows: Sequence[int],
    watched: Sequence[Watched],
    snapshot: Snapshot,
    outlook: Outlook,
    markets: Mapping[str, WatchedMarket],
) -> list[Delta]:
    assets, sums = _assets(outlook), dict[str, tuple[float, float]]()
    for row in rows:
        position: Any = snapshot.positions[row]
        if isinstance(position, ReadingError):
            continue
        adapter = markets[watched[row].id.market].adapter
        for feed, tokens in adapter.deltas(position).items():
            asset, price = assets.get(feed, (feed, 0.0))
            before = sums.get(asset, (0.0, 0.0))
            sums[asset] = before[0] + tokens, before[1] + tokens * price
    return [
        Delta(asset=asset, tokens=tokens, worth_usd=worth)
        for asset, (tokens, worth) in sums.items()
    ]


def _shock(asset: str, move: float, labels: Sequence[str], book: Book, outlook: Outlook) -> Shock:
    prices = book.p.copy()
    for k, column in enumerate(book.columns):
        if column.source is not None and _asset(outlook, k) == asset:
            prices[k] *= 1.0 + move
    after = replace(book, p=prices)
    healths = health(after)
    return Shock(
        asset=asset,
        move=move,
        healths=dict(zip(labels, map(_value, healths), strict=True)),
        joint=_value(health(_joint(after))[0]),
    )


def _hedges(
    deltas: Sequence[Delta], outlook: Outlook, markets: Mapping[str, WatchedMarket]
) -> list[Hedge]:
    assets, gross = _assets(outlook), sum(abs(delta.worth_usd) for delta in deltas)
    where = {
        assets[feed][0]: f"{symbol} of {name}"
        for name, market in markets.items()
        for feed, symbol in market.hedges.items()
        if feed in assets
    }
    return [
        Hedge(
            asset=delta.asset,
            side="sell" if delta.tokens > 0 else "buy",
            tokens=abs(delta.tokens),
            where=where[delta.asset],
        )
        for delta in deltas
        if delta.asset in where and abs(delta.worth_usd) > WORTH_HEDGING * gross
    ]


def _value(found: float | Floats) -> float | None:
    value = float(found)
    return None if isnan(value) else value
