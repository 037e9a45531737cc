"""The forecast of every watched row from one snapshot."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import log, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.forecast.calibrated import Asked, forecast
from keeper.forecast.calibration import Calibration
from keeper.forecast.first_passage import COLD, Forecast, first_passage
from keeper.forecast.oracle_state import MarketPrice, OracleState
from keeper.forecast.scales import Scales, named
from keeper.forecast.volatility import RoundSeries, covariance
from keeper.model.book import QUOTE, Book, Column, health, stack
from keeper.model.units import SECONDS_PER_YEAR, Address, Wad, float_from_wad
from keeper.model.values import PositionId, PositionState
from keeper.policy.tailoring import PEGGED, UNKNOWN

Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """One forecast entry per watched row, and what it was made from.

    Rows that could not be read are nan and cold.
    """

    forecast: Forecast
    book: Book
    rows: Ints
    """Which watched row each of the book's rows is: of several, the one in most danger."""
    why_cold: tuple[str | None, ...]
    """Of each column: why it is cold, or known for too short a time for the tables."""
    rounds: tuple[RoundSeries | None, ...]
    """Of each column's feed."""
    gaps: tuple[float | None, ...]
    """Log market price less log oracle price, of each column whose market is known."""
    now: int
    calibration: Calibration | None
    asked: Asked | None
    """What the forecast went by, for further questions about the same moment."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of the book."""
        return self.book.columns

    @property
    def prices(self) -> tuple[float, ...]:
        """Of each column, in the quote currency."""
        return tuple(self.book.p.tolist())

    def columns_of(self, row: int) -> tuple[int, ...]:
        """Those that a watched row depends on, the quote left out; none where it was not read."""
        at = np.flatnonzero(self.rows == row)
        used = ((self.book.C[at] != 0.0) | (self.book.D[at] != 0.0)).any(axis=0)
        return tuple(k for k in np.flatnonzero(used).tolist() if k > 0)

    def book_of(self, row: int) -> Book:
        """A watched row alone; empty where it was not read."""
        return self.book.take(np.flatnonzero(self.rows == row))

    def perp_of(self, row: int, position: PositionState) -> Book | None:
        """The rows of a perp account, in which health is not the factor by which prices may move; None
        for a loan. Only perps have terms of their own to show."""
        return self.book_of(row) if position.terms_shown else None

    def exposure(self, row: int) -> Hashable:
        """What a watched row is exposed to: changes only when that does, and is cheap."""
        at = np.flatnonzero(self.rows == row)
        used = (self.book.C[at] != 0.0).tobytes(), (self.book.D[at] != 0.0).tobytes()
        return (*used, self.columns, None if self.asked is None else self.asked.scales.assets)

    def pair_of(self, row: int, known: Sequence[str]) -> str:
        """Which of the `known` pairs a watched row's collateral and debt are, `PEGGED` where one
        keeps to the other, `UNKNOWN` where a feed does not say what it prices; else their names."""
        at = np.flatnonzero(self.rows == row)
        if self.asked is None or not len(at):
            return UNKNOWN
        scales = self.asked.scales
        covers, owes = (
            np.flatnonzero((m[at] != 0.0).any(axis=0)) for m in (self.book.C, self.book.D)
        )
        if any(k and scales.assets[k] is None for k in (*covers, *owes)):
            return UNKNOWN
        if len(covers) == len(owes) == 1:
            i, j = int(covers[0]), int(owes[0])
            for pair in known:
                if named(scales.assets, pair)[i, j]:
                    return pair
        held = scales.pegged | scales.pegged.T | scales.same
        if len(covers) and len(owes) and held[np.ix_(covers, owes)].all():
            return PEGGED
        names = (
            "+".join("USD" if (asset := scales.assets[k]) is None else asset.name for k in side)
            for side in (covers, owes)
        )
        return "/".join(names)

    def oracle(self, column: int) -> OracleState | None:
        """The feed behind a column."""
        rounds = self.rounds[column]
        return None if rounds is None else OracleState.of(rounds, self.now, self.gaps[column])

    def source_of(self, row: int) -> str:
        """What gave a row's probability."""
        place = int(self.forecast.source[row])
        return self.forecast.sources[place]

    def chances(
        self, row: int, position: PositionState, healths: Sequence[Wad | None], horizon_s: int
    ) -> list[float]:
        """Of a watched position's breach if its health were these, in one question: 0 without debt, nan
        where there is no forecast.

        A book that must cover h/H times as much has health H where it had h. Exact for what keeps
        the mix of collaterals and debts, and nearly so for what one action changes of it. A perp
        account has it with so much more margin: exact for that, and for one position made smaller.
        """
        places = np.flatnonzero(self.rows == row)
        if self.asked is None or not len(places):
            return [nan] * len(healths)
        owing = [n for n, each in enumerate(healths) if each is not None]
        wanted = np.array([float_from_wad(each) for each in healths if each is not None])
        one = self.book.take(places)
        now, book = health(one)[0], one.take(np.zeros(len(owing), dtype=np.intp))
        if self.perp_of(row, position) is not None:
            C = book.C.copy()
            C[:, 0] += (wanted - now) * (book.D @ book.p)
            book = replace(book, C=C)
        else:
            book = replace(book, D=(now / wanted)[:, None] * one.D)
        found = [0.0] * len(healths)
        asked = replace(self.asked, trigger=None)
        probability = forecast(book, asked, horizon_s=float(horizon_s)).probability
        for place, chance in zip(owing, probability.tolist(), strict=True):
            found[place] = chance
        return found

    def closed_form(self, row: int, horizon_s: float) -> float:
        """What Brownian motion of the same volatility would make of the same distance."""
        ahead = self.forecast
        sigma = ahead.volatility_per_year[[row]] / sqrt(SECONDS_PER_YEAR)
        near = ahead.distance[[row]] + ahead.gap[[row]] + ahead.carry[[row]]
        found = first_passage(
            near, sigma, -0.5 * sigma**2, horizon_s=horizon_s, monitored_every_s=0.0
        )
        return float(found[0])


def nothing_known(count: int) -> Outlook:
    """No forecast for any of `count` rows: only floors act."""
    none = Book(C=np.empty((0, 1)), D=np.empty((0, 1)), p=np.ones(1), columns=(QUOTE,))
    return Outlook(
        forecast=_blank(count, (COLD,)),
        book=none,
        rows=np.empty(0, dtype=np.intp),
        why_cold=(None,),
        rounds=(None,),
        gaps=(None,),
        now=0,
        calibration=None,
        asked=None,
    )


def look_ahead(
    snapshot: Snapshot,
    watched: Sequence[Watched],
    markets: Mapping[str, WatchedMarket],
    series: Mapping[Address, RoundSeries],
    calibration: Calibration,
    market_prices: Mapping[Address, MarketPrice] | None = None,
) -> Outlook:
    """All markets as one book. `market_prices`: by the feed that prices the same."""
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
    now = snapshot.head.timestamp
    paid = {label: price for m in snapshot.markets.values() for label, price in m.paid().items()}
    gaps = [
        log(paid[column.label] / price)
        if column.label in paid
        else _gap(column, series, market_prices or {}, now)
        for column, price in zip(book.columns, book.p.tolist(), strict=True)
    ]
    scales = Scales.of(book.columns, series, calibration, now)
    asked = Asked(
        scales=scales,
        market_prices=book.p * np.exp([gap or 0.0 for gap in gaps]),
        short=covariance(book.columns, series, now),
    )
    found = forecast(
        book,
        asked,
        horizon_s=np.array([float(watched[row].policy.horizon_s) for row in rows]),
    )
    if len(np.unique(rows)) < len(rows):
        worst = _worst(found, rows)
        found, rows = _chosen(found, worst), rows[worst]
        book = book.take(worst)
    return Outlook(
        forecast=_placed(found, rows, len(watched)),
        book=book,
        rows=rows,
        why_cold=scales.reasons,
        rounds=tuple(
            None if column.source is None else series.get(column.source) for column in book.columns
        ),
        gaps=tuple(gaps),
        now=now,
        calibration=calibration,
        asked=asked,
    )


def _gap(
    column: Column,
    series: Mapping[Address, RoundSeries],
    market_prices: Mapping[Address, MarketPrice],
    now: int,
) -> float | None:
    """Log market price less the log of the feed's latest round."""
    if column.source is None or column.source not in market_prices or column.source not in series:
        return None
    return market_prices[column.source].gap(series[column.source], now)


def _worst(found: Forecast, rows: Ints) -> Ints:
    """Of each position's rows the one in most danger: its boundary is the position's."""
    probability = np.nan_to_num(found.probability, nan=-1.0)
    order = np.lexsort((found.distance + found.gap, -probability, rows))
    return order[np.unique(rows[order], return_index=True)[1]]


def _chosen(found: Forecast, places: Ints) -> Forecast:
    parts = {
        field.name: getattr(found, field.name)[places]
        for field in fields(Forecast)
        if field.name != "sources"
    }
    return replace(found, **parts)


def _placed(found: Forecast, rows: Ints, count: int) -> Forecast:
    whole = _blank(count, found.sources)
    for field in fields(Forecast):
        if field.name != "sources":
            getattr(whole, field.name)[rows] = getattr(found, field.name)
    return whole


def _blank(count: int, sources: tuple[str, ...]) -> Forecast:
    distance, volatility, probability = (np.full(count, np.nan) for _ in range(3))
    return Forecast(
        distance=distance,
        gap=np.zeros(count),
        carry=np.zeros(count),
        volatility_per_year=volatility,
        probability=probability,
        source=np.zeros(count, dtype=np.intp),
        sources=sources,
    )
