"""Whether runs as rare as the table says come as often, and not in flocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from keeper.backtest.calibrate import Known
from keeper.backtest.episodes import Episodes
from keeper.forecast.calibration import Calibration
from keeper.forecast.realised import HOUR_S
from keeper.forecast.scores import christoffersen, kupiec
from keeper.model.book import Floats

RATES: Final = (0.01, 0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Falls beyond what the table gives the probability `rate`, over episodes that do not overlap."""

    pair: str
    horizon_s: int
    rate: float
    n: int
    hits: int
    kupiec_p: float
    christoffersen_p: float


def coverage(
    known: Known, calibration: Calibration, *, start: float, end: float, horizons: tuple[int, ...]
) -> Iterator[Coverage]:
    """Kupiec's test of the rate and Christoffersen's of independence, by pair, horizon and rate."""
    for pair, by_horizon in known.items():
        for horizon in horizons:
            if horizon not in by_horizon:
                continue
            chance = rarity(
                by_horizon[horizon].within(start, end, horizon), calibration, pair, horizon
            )
            for rate in RATES:
                hits = (chance <= rate).astype(np.float64)
                yield Coverage(
                    pair=pair,
                    horizon_s=horizon,
                    rate=rate,
                    n=len(hits),
                    hits=int(hits.sum()),
                    kupiec_p=kupiec(hits, rate),
                    christoffersen_p=christoffersen(hits),
                )


def rarity(own: Episodes, calibration: Calibration, pair: str, horizon: int) -> Floats:
    """The probability that the table gave to each fall at least as far as the one that came: uniform
    if it is right (probability integral transform). What fell by less than the table's first step,
    or never, is spread over the span that they share. Of origins one horizon apart, so that no two
    episodes overlap."""
    alone = own.where(own.origins % max(horizon, HOUR_S) == 0)
    sigma = calibration.sigma(alone.log_rates, alone.origins, horizon, pair)
    chance = calibration.probability(np.maximum(-alone.low, 0.0), sigma, horizon, pair)
    least = float(calibration.tables.curve(horizon, calibration.table_of(pair))[1])
    small = chance > least
    chance[small] = least + (1.0 - least) * (np.arange(small.sum()) + 0.5) / max(small.sum(), 1)
    return chance
