"""Realised variance, and its forecast from the variance of the last hours, day, week and month.

Every source is reduced to one thing: the quadratic variation of the log price up to each moment.
Five-minute closes add their squared returns, hourly candles their Garman-Klass variance, a feed's
rounds their squared returns (unbiased though rounds come when the price chooses: see
`keeper.forecast.volatility`). Variance over any window is then a difference of two look-ups, and
the same forecast serves a back-test's candles and a daemon's rounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final, Self

import numpy as np

from keeper.model.book import Floats

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
WINDOWS_S: Final = (6 * HOUR_S, DAY_S, 7 * DAY_S, 30 * DAY_S)
"""Day, week and month as in the heterogeneous autoregressive model (F. Corsi, Journal of Financial
Econometrics 7 (2009) 174-196) and the last six hours. A shorter window would gain a little on
candles (3 % of skill at one hour), but a feed brings too few rounds to fill it."""
HORIZONS_S: Final = (300, 900, HOUR_S, 4 * HOUR_S, DAY_S, 7 * DAY_S)
MIN_TARGET_S: Final = HOUR_S
"""Shorter horizons take the variance rate of the next hour: that of five minutes is mostly noise."""
FEED_SHARE: Final = 0.82
"""How much of the five-minute variance of Binance's spot market the rounds of Chainlink's ETH/USD
and BTC/USD feeds on Ethereum carried, April to September 2023 (0.84 and 0.80): a feed averages
exchanges and so is rid of the bounce between bid and ask. The forecast is fitted on the former."""
QUIET: Final = 1e-8 / HOUR_S
"""Variance per second that is added before logs are taken: one basis point per √hour, so that a peg
that has not moved is calm and not infinitely so."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variation:
    """Quadratic variation of a log price from the first moment up to each, Unix seconds."""

    times: Floats
    total: Floats

    @classmethod
    def of(cls, times: Floats, increments: Floats) -> Self:
        """From the variance that each step brought by its end."""
        return cls(times=times, total=np.cumsum(increments))

    @classmethod
    def of_rounds(cls, times: Floats, log_prices: Floats) -> Self:
        """Squared returns between a feed's rounds over `FEED_SHARE`: on the scale of a market's
        five-minute closes, which is that of the fit."""
        return cls.of(times, np.diff(log_prices, prepend=log_prices[:1]) ** 2 / FEED_SHARE)

    def up_to(self, moments: Floats) -> Floats:
        """Variation of the steps that had ended by each moment."""
        place = np.searchsorted(self.times, moments, side="right") - 1
        return np.where(place >= 0, self.total[np.maximum(place, 0)], 0.0)

    def log_rates(self, moments: Floats, windows_s: Sequence[float] = WINDOWS_S) -> Floats:
        """(n, k): logs of `rates`, with `QUIET` added."""
        return np.log(self.rates(moments, windows_s) + QUIET)

    def rates(self, moments: Floats, windows_s: Sequence[float] = WINDOWS_S) -> Floats:
        """(n, k): variance per second in each window that ends at the moment. Where history is
        shorter than a window, all of it stands for the window; nan where there is none."""
        known = moments - self.times[0]
        now = self.up_to(moments)
        columns = []
        for window in windows_s:
            length = np.where(known > 0, np.minimum(window, known), np.nan)
            columns.append((now - self.up_to(moments - length)) / length)
        return np.stack(columns, axis=1)

    def log_rate_after(self, moments: Floats, horizon_s: float) -> Floats:
        """Log of the variance per second that followed each moment: what is to be forecast."""
        after = self.up_to(moments + horizon_s) - self.up_to(moments)
        return np.log(after / horizon_s + QUIET)


def garman_klass(open_: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
    """Variance of one candle from the logs of its prices: ½(h − l)² − (2 ln 2 − 1)(c − o)²
    (M. Garman and M. Klass, Journal of Business 53 (1980) 67-78), never negative."""
    return 0.5 * (high - low) ** 2 - (2.0 * log(2.0) - 1.0) * (close - open_) ** 2


def ewma_rates(variation: Variation, moments: Floats, *, daily_decay: float = 0.94) -> Floats:
    """Variance per second by exponential weights, 0.94 a day (J.P. Morgan and Reuters, RiskMetrics
    Technical Document, 4th ed. 1996), over variation by the hour. `moments` are one hour apart; what
    came in the month before the first one is where it starts from."""
    hourly = np.diff(variation.up_to(np.concatenate([moments[:1] - HOUR_S, moments])))
    decay = daily_decay ** (HOUR_S / DAY_S)
    rates = np.empty(len(moments))
    level = HOUR_S * float(variation.rates(moments[:1], WINDOWS_S[-1:])[0, 0])
    for n, value in enumerate(hourly.tolist()):
        level = decay * level + (1.0 - decay) * value
        rates[n] = level / HOUR_S
    return rates


def clock(moments: Floats) -> Floats:
    """(n, 5): two harmonics of the hour of the day, and whether it is Saturday or Sunday, UTC."""
    angle = 2.0 * np.pi * (moments % DAY_S) / DAY_S
    weekend = (moments // DAY_S + 4) % 7  # 1970-01-01 was a Thursday: Sunday is 0
    return np.stack(
        [
            np.sin(angle),
            np.cos(angle),
            np.sin(2.0 * angle),
            np.cos(2.0 * angle),
            ((weekend == 0) | (weekend == 6)).astype(np.float64),
        ],
        axis=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """One pair's history for one horizon: what was known at each moment and what followed."""

    moments: Floats
    log_rates: Floats
    log_rate_after: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogHar:
    """Forecast of the log variance rate: weights that all pairs share, and a level.

    `weights` is (horizons, windows + 5), over the log rates of `WINDOWS_S` and `clock`; they sum to
    less than one over the rates, and the level makes up for the rest. It is half the pair's own over
    all years, to which it may return, and half that of the last month, `anchor` + (1 − Σ weights) ×
    its rate, since years differ more than a level of all of them can follow. A pair without a level
    of its own takes the latter alone.
    """

    weights: Floats
    levels: Mapping[str, Floats]
    anchor: Floats

    @classmethod
    def fit(cls, pasts: Mapping[tuple[str, int], Past]) -> Self:
        """Least squares within pairs: each pair's means are taken out, so that the weights tell how
        a pair's variance moves and not how pairs differ. Keys are pair and horizon; every horizon of
        `HORIZONS_S` must have some pair."""
        pairs = sorted({pair for pair, _ in pasts})
        weights, anchors = [], []
        levels = {pair: np.full(len(HORIZONS_S), np.nan) for pair in pairs}
        for h, horizon in enumerate(HORIZONS_S):
            own = {pair: pasts[pair, horizon] for pair in pairs if (pair, horizon) in pasts}
            known = {p: np.hstack([past.log_rates, clock(past.moments)]) for p, past in own.items()}
            x = np.vstack([known[p] - known[p].mean(axis=0) for p in own])
            y = np.concatenate([o.log_rate_after - o.log_rate_after.mean() for o in own.values()])
            weight = np.linalg.lstsq(x, y)[0]
            months = []
            for pair, past in own.items():
                levels[pair][h] = past.log_rate_after.mean() - known[pair].mean(axis=0) @ weight
                months.append(float(past.log_rates[:, -1].mean()))
            pull = 1.0 - weight[: len(WINDOWS_S)].sum()
            anchors.append(
                np.mean([levels[p][h] - pull * m for p, m in zip(own, months, strict=True)])
            )
            weights.append(weight)
        return cls(weights=np.array(weights), levels=levels, anchor=np.array(anchors))

    def log_rate(
        self, log_rates: Floats, moments: Floats, horizon_s: float, pair: str | None = None
    ) -> Floats:
        """Expected log variance per second from each moment to the horizon, between the fitted
        horizons linear in the log of time and beyond them as at the nearest."""
        low, high, share = between(horizon_s)
        near, far = (self._at(h, log_rates, moments, pair) for h in (low, high))
        mixed: Floats = (1.0 - share) * near + share * far
        return mixed

    def _at(self, h: int, log_rates: Floats, moments: Floats, pair: str | None) -> Floats:
        weight = self.weights[h]
        own = self.levels.get(pair or "")
        pull = 1.0 - weight[: len(WINDOWS_S)].sum()
        level: Floats = self.anchor[h] + pull * log_rates[:, -1]
        if own is not None and not np.isnan(own[h]):
            level = 0.5 * (level + own[h])
        moved: Floats = np.hstack([log_rates, clock(moments)]) @ weight
        return level + moved

    def to_json(self) -> dict[str, Any]:
        """As plain values; levels that are not known are null."""
        return {
            "weights": rounded(self.weights),
            "levels": {pair: rounded(level) for pair, level in self.levels.items()},
            "anchor": rounded(self.anchor),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            weights=np.array(document["weights"], dtype=np.float64),
            levels={p: np.array(v, dtype=np.float64) for p, v in document["levels"].items()},
            anchor=np.array(document["anchor"], dtype=np.float64),
        )


def between(horizon_s: float) -> tuple[int, int, float]:
    """The two fitted horizons around one and the share of the later, linear in the log of time."""
    logs = np.log(HORIZONS_S)
    place = float(np.interp(log(horizon_s), logs, np.arange(len(logs))))
    low = min(int(place), len(logs) - 2)
    return low, low + 1, place - low


def rounded(values: Floats) -> list[Any]:
    """As plain values of six digits, for JSON; nan is null."""
    rows = [
        [None if np.isnan(v) else float(f"{v:.6g}") for v in row] for row in np.atleast_2d(values)
    ]
    return rows if values.ndim == 2 else rows[0]
