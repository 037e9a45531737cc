"""How far a price runs within a horizon, in units of its forecast volatility: an empirical table.

For every past hour the furthest fall of the oracle's log price within the horizon was divided by
σ̂√T. Sorted, these are a first-passage law that needs no model of the price: the probability that a
boundary at distance d is reached is the share of them beyond d/(σ̂√T). It holds the fat tails, the
feed's thresholds and the errors of σ̂ itself, all of which the Brownian formula leaves out.

Falls and rises are pooled and one table serves both: told apart, the trend of the years they were
fitted on would be taken for a forecast. A pair's own table is shrunk towards all pairs'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from keeper.forecast.realised import HORIZONS_S, HOUR_S, between
from keeper.model.book import Floats

POOLED: Final = "pooled"
GRID: Final = np.concatenate(
    [np.arange(0.0, 4.0, 0.05), np.arange(4.0, 10.0, 0.25), np.geomspace(10.0, 80.0, 25)]
)
"""Distances, in σ̂√T, at which the tables are kept."""
STEP: Final = 0.05
"""Of the dense tables: every distance of `GRID` up to 10 is a multiple of it."""
TAIL: Final = 0.005
SHRINKAGE: Final = 200.0
"""A pair's table weighs n/(n + 200) against the pooled one, n its independent episodes: chosen on
2020 and 2021, fitted on the years before each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Probability at each distance of `GRID`: (horizons, grid) by pair, and for any pair `POOLED`."""

    reached: Mapping[str, Floats]

    @classmethod
    def fit(cls, runs: Mapping[tuple[str, int], Floats]) -> Self:
        """From the furthest falls and rises in units of σ̂√T, two per hourly origin, by pair and
        horizon. Every horizon of `HORIZONS_S` must have some pair."""
        pairs = sorted({pair for pair, _ in runs})
        reached = {pair: np.empty((len(HORIZONS_S), len(GRID))) for pair in (*pairs, POOLED)}
        for h, horizon in enumerate(HORIZONS_S):
            own = {pair: np.sort(runs[pair, horizon]) for pair in pairs if (pair, horizon) in runs}
            shares = {pair: beyond(run) for pair, run in own.items()}
            weights = np.sqrt([len(run) for run in own.values()])
            everyone = np.average(list(shares.values()), axis=0, weights=weights)
            tail = _Tail.fit(own, everyone)
            reached[POOLED][h] = tail.beyond(everyone)
            for pair in pairs:
                share = everyone
                if pair in own:
                    n = 0.5 * len(own[pair]) * min(1.0, HOUR_S / horizon)
                    share = everyone + n / (n + SHRINKAGE) * (shares[pair] - everyone)
                reached[pair][h] = tail.beyond(share)
        return cls(reached=reached)

    def probability(
        self, distance: Floats, sigma: Floats | float, horizon_s: float, pair: str | None = None
    ) -> Floats:
        """That a boundary `distance` (log) away is reached within the horizon; sigma per √second
        over that horizon. 1 at or past the boundary, 0 at infinity or where nothing moves."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = distance / (sigma * np.sqrt(horizon_s))
        probability: Floats = np.interp(z, GRID, self.curve(horizon_s, pair))
        probability[z == np.inf] = 0.0
        probability[distance <= 0.0] = 1.0
        return probability

    def curve(self, horizon_s: float, pair: str | None = None) -> Floats:
        """The table of one horizon, mixed from the two fitted ones around it."""
        table = self.reached.get(pair or POOLED, self.reached[POOLED])
        low, high, share = between(horizon_s)
        mixed: Floats = (1.0 - share) * table[low] + share * table[high]
        return mixed

    def dense(self, horizon_s: float, pair: str | None = None) -> Floats:
        """The same at distances `STEP` apart up to the grid's end, then two zeros: see `look_up`."""
        at = np.arange(round(float(GRID[-1]) / STEP) + 1) * STEP
        return np.append(np.interp(at, GRID, self.curve(horizon_s, pair)), [0.0, 0.0])

    def to_json(self) -> dict[str, Any]:
        """As plain values: `GRID` belongs to the code, hence is written and compared."""
        return {
            "grid": [float(f"{z:.6g}") for z in GRID],
            "reached": {
                pair: [[float(f"{p:.5g}") for p in row] for row in table]
                for pair, table in self.reached.items()
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises `ValueError` for a table of another grid."""
        if len(document["grid"]) != len(GRID) or not np.allclose(document["grid"], GRID, rtol=1e-5):
            raise ValueError("the tables were fitted for another grid: fit them again")
        return cls(reached={pair: np.array(rows) for pair, rows in document["reached"].items()})


def look_up(curves: Floats, table: NDArray[np.intp] | int, z: Floats) -> Floats:
    """Probability at distances z ≥ 0 in σ̂√T, each from its own row of `curves` (`Tables.dense`):
    a multiplication finds the place, where `np.interp` would search for it."""
    width = curves.shape[1]
    at = np.minimum(z * (1.0 / STEP), width - 2.0)
    place = at.astype(np.intp)
    at -= place
    place += np.asarray(table) * width
    flat = curves.ravel()
    low = flat.take(place)
    place += 1
    high: Floats = flat.take(place)
    high -= low
    high *= at
    high += low
    return high


def beyond(run: Floats) -> Floats:
    """Share of a sorted run at or beyond each distance of the grid."""
    return 1.0 - np.searchsorted(run, GRID, side="left") / len(run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tail:
    """Generalised Pareto beyond the rarest half per cent, its scale in units of where that begins."""

    shape: float
    scale: float

    @classmethod
    def fit(cls, runs: Mapping[str, Floats], everyone: Floats) -> Self:
        """Probability-weighted moments (J. Hosking and J. Wallis, Technometrics 29 (1987) 339-349)
        of all pairs' excesses; the shape kept in [0, ½]: no upper end, and a finite variance."""
        start = tail_start(everyone)
        excess = np.sort(np.concatenate([run[run > start] - start for run in runs.values()]))
        if len(excess) < 20:
            return cls(shape=0.0, scale=1.0 / 3.0)
        rank = (np.arange(len(excess)) + 0.65) / len(excess)
        mean, weighted = excess.mean(), float(np.mean(excess * (1.0 - rank)))
        shape = float(np.clip(2.0 - mean / (mean - 2.0 * weighted), 0.0, 0.5))
        return cls(shape=shape, scale=float(mean * (1.0 - shape)) / start)

    def beyond(self, share: Floats) -> Floats:
        """The shares with those below `TAIL` replaced."""
        start = tail_start(share)
        over = np.maximum(GRID / start - 1.0, 0.0) / self.scale
        fitted = (
            np.exp(-over) if self.shape < 1e-6 else (1.0 + self.shape * over) ** (-1.0 / self.shape)
        )
        return np.where(start < GRID, TAIL * fitted, share)


def tail_start(share: Floats) -> float:
    """The distance beyond which lies the share `TAIL`."""
    return float(np.interp(-TAIL, -share, GRID))
