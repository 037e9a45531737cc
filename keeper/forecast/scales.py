"""What the calibrated forecast of one moment looks things up in: volatilities, correlations, tables.

Each feed's variance rates of the last hours, day, week and month come from its own rounds. A pair
of columns has those of its ratio, r_i + r_j − 2·ρ·√(r_i·r_j), ρ the correlation of hourly returns
over the last month; from them the log-HAR forecast gives its volatility, at the pair's own level
where that was fitted, and the pair's table or the pooled one its probability. Baskets take the
covariance that the feeds' own volatilities and ρ make.

From the rounds of Chainlink's ETH/USD and BTC/USD feeds of May to December 2023 the volatility of
ETH/BTC came out 1.11 times that of five-minute closes: rounds lag by up to an hour, so that ρ is
somewhat too low. It errs to the careful side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.forecast.calibration import Calibration
from keeper.forecast.names import PEGS, Asset
from keeper.forecast.realised import DAY_S, QUIET, WINDOWS_S, Variation
from keeper.forecast.tables import POOLED
from keeper.forecast.volatility import RoundSeries, correlation, why_cold
from keeper.model.book import Column, Floats
from keeper.model.units import Address

MIN_HISTORY_S: Final = 7 * DAY_S
"""As the episodes had on which the tables were fitted; with less, the closed form serves."""
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scale:
    """One horizon. `sigma`[i, j]: volatility per √second of column i's price in column j's.

    `per_second`: covariance of the columns. `table`[i, j]: the place among `tables` of the pair's."""

    horizon_s: float
    sigma: Floats
    per_second: Floats
    table: NDArray[np.intp]
    tables: tuple[str, ...]
    curves: Floats
    """See `Tables.dense`: one row for each of `tables`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scales:
    """The columns of a book at one moment. Entries of cold and young columns have no meaning.

    `reasons` says of each column why it is cold or young, or None. `pegged`[i, j]: the value of
    column i is meant to keep to column j's, and could fall off.
    """

    now: float
    calibration: Calibration
    columns: tuple[Column, ...]
    warm_rounds: tuple[RoundSeries | None, ...]
    """Of each column that is neither cold nor young nor the quote, up to now."""
    assets: tuple[Asset | None, ...]
    log_rates: Floats
    """(k, k, windows): of each pair's ratio."""
    correlation: Floats
    same: Flags
    """(k, k): which columns are one reading, and cold, young or without a source."""
    cold: Flags
    young: Flags
    """Known for too short a time for the tables."""
    reasons: tuple[str | None, ...]
    pegged: Flags

    @classmethod
    def of(
        cls,
        columns: Sequence[Column],
        series: Mapping[Address, RoundSeries],
        calibration: Calibration,
        now: int,
    ) -> "Scales":
        """From what is known of every feed at `now`; later rounds are not looked at."""
        own = [
            None if column.source is None or column.source not in series
            else series[column.source].until(now)
            for column in columns
        ]  # fmt: skip
        cold = tuple(
            None if c.source is None
            else "its rounds have not been read" if rounds is None
            else why_cold(rounds, now)
            for c, rounds in zip(columns, own, strict=True)
        )  # fmt: skip
        young = tuple(
            None if why is not None or rounds is None else _why_young(rounds, now)
            for why, rounds in zip(cold, own, strict=True)
        )
        moving = {
            c.source: rounds
            for c, rounds, why, short in zip(columns, own, cold, young, strict=True)
            if rounds is not None and why is None and short is None
        }
        place = {source: m for m, source in enumerate(moving)}
        at = np.array([place.get(c.source, len(place)) for c in columns], dtype=np.intp)
        rates = np.vstack(
            [*(_rates(rounds, now) for rounds in moving.values()), np.zeros(len(WINDOWS_S))]
        )[at]
        mixed: Floats = np.eye(len(place) + 1)
        mixed[:-1, :-1] = correlation(list(moving.values()), now) if moving else 0.0
        rho = mixed[np.ix_(at, at)]
        assets = tuple(None if rounds is None else rounds.asset for rounds in own)
        return cls(
            now=now,
            calibration=calibration,
            columns=tuple(columns),
            warm_rounds=tuple(None if c.source is None else moving.get(c.source) for c in columns),
            assets=assets,
            log_rates=_ratio_rates(rates, rho),
            correlation=rho,
            same=at[:, None] == at,
            cold=np.array([why is not None for why in cold]),
            young=np.array([why is not None for why in young]),
            reasons=tuple(why or short for why, short in zip(cold, young, strict=True)),
            pegged=_pegged(assets),
        )

    def at(self, horizon_s: float) -> Scale:
        """For one horizon."""
        k, cal = len(self.assets), self.calibration
        moments = np.full(k * k, self.now)
        flat = self.log_rates.reshape(k * k, -1)
        sigma = cal.sigma(flat, moments, horizon_s).reshape(k, k)
        names = (POOLED, *(name for name in cal.tables.reached if name != POOLED))
        table = np.zeros((k, k), dtype=np.intp)
        for n, name in enumerate(names[1:], start=1):
            of_pair = named(self.assets, name)
            if of_pair.any():
                own = self.log_rates[of_pair]
                sigma[of_pair] = cal.sigma(own, moments[: len(own)], horizon_s, name)
                table[of_pair] = n
        sigma[self.same] = 0.0
        scale = sigma[:, 0]
        return Scale(
            horizon_s=horizon_s,
            sigma=sigma,
            per_second=scale[:, None] * self.correlation * scale,
            table=table,
            tables=names,
            curves=np.stack([cal.tables.dense(horizon_s, name) for name in names]),
        )


def named(assets: Sequence[Asset | None], pair: str) -> Flags:
    """(k, k): where column i against column j is the pair, or its inverse. Column 0 is the quote."""
    base, _, quote = pair.partition("/")
    names = np.array([asset.name if asset else "" for asset in assets], dtype=object)
    quotes = np.array([asset.quote if asset else "" for asset in assets], dtype=object)
    one_way = (names == base)[:, None] & (names == quote) & (quotes[:, None] == quotes)
    one_way[:, 0] |= (names == base) & (quotes == quote)
    both: Flags = one_way | one_way.T
    return both


def _ratio_rates(rates: Floats, rho: Floats) -> Floats:
    """Logs of the variance rates of every column's price in every other's."""
    from_both = rates[:, None] + rates[None, :]
    shared = 2.0 * rho[:, :, None] * np.sqrt(rates[:, None] * rates[None, :])
    found: Floats = np.log(np.maximum(from_both - shared, 0.0) + QUIET)
    return found


def _rates(rounds: RoundSeries, now: int) -> Floats:
    spent = Variation.of_rounds(rounds.times.astype(np.float64), rounds.log_prices)
    found: Floats = spent.rates(np.array([float(now)]))[0]
    return found


def _why_young(rounds: RoundSeries, now: int) -> str | None:
    known = now - int(rounds.times[0])
    if known >= MIN_HISTORY_S:
        return None
    return f"{known / DAY_S:.1f} days of rounds known, {MIN_HISTORY_S // DAY_S} needed"


def _pegged(assets: Sequence[Asset | None]) -> Flags:
    """Column i is pegged, and column j is its anchor or keeps to the same one."""
    symbols = np.array([asset.symbol if asset else "" for asset in assets], dtype=object)
    anchors = np.array([asset.anchor if asset else "" for asset in assets], dtype=object)
    quotes = np.array([asset.quote if asset else "" for asset in assets], dtype=object)
    floats = np.array([asset is not None and asset.symbol in PEGS for asset in assets])
    found: Flags = floats[:, None] & (anchors[:, None] == anchors) & (symbols[:, None] != symbols)
    found[:, 0] |= floats & (anchors == quotes)
    return found
