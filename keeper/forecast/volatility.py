"""Volatility and covariance of oracle readings, from the rounds that their feeds published.

A feed publishes when its price has moved by a threshold or a heartbeat has passed, so rounds come
irregularly and at moments chosen by the price itself. Squared returns do not mind: for a log price
X without drift, X² − ⟨X⟩ is a martingale, hence between any two stopping times
E[(X_τ' − X_τ)²] = E[⟨X⟩_τ' − ⟨X⟩_τ], and their sum estimates the quadratic variation without bias
(M. Fukasawa, Realized volatility with stochastic sampling, Stochastic Processes and their
Applications 120 (2010) 829-852; M. Fukasawa and M. Rosenbaum, Central limit theorems for realized
volatility under hitting times of an irregular grid, same journal, 122 (2012)). Dividing by the
number of rounds, or taking one return per round as one per hour, would be wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, nan, sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from keeper.forecast.names import Asset
from keeper.model.book import Column, Floats
from keeper.model.units import SECONDS_PER_YEAR, Address

HOUR_S = 3_600
DAY_S = 24 * HOUR_S
WINDOWS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)
"""A day, a week and a month, as in the heterogeneous autoregressive model (F. Corsi, A Simple
Approximate Long-Memory Model of Realized Volatility, Journal of Financial Econometrics 7 (2009))."""

MIN_ROUNDS = 12
MIN_HISTORY_S = DAY_S
MAX_AGE_S = 2 * DAY_S
"""The slowest common heartbeat is a day: a feed silent for two has stopped, it is not calm."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundSeries:
    """A feed's rounds, oldest first: Unix seconds (never falling) and natural logs of the price.

    `cold` says why there are none, if the source has none to give. `asset`: what it prices, if it
    says so.
    """

    times: NDArray[np.int64]
    log_prices: Floats
    cold: str | None = None
    asset: Asset | None = None

    @classmethod
    def of(
        cls, rounds: Iterable[tuple[int, int]], *, decimals: int, asset: Asset | None = None
    ) -> Self:
        """From (updated_at, answer) pairs, oldest first; answers must be positive."""
        pairs = tuple(rounds)
        answers = np.array([answer for _, answer in pairs], dtype=np.float64)
        return cls(
            times=np.array([time for time, _ in pairs], dtype=np.int64),
            log_prices=np.log(answers) - decimals * log(10),
            asset=asset,
        )

    def until(self, moment: float) -> Self:
        """The rounds that were published by then."""
        known = int(np.searchsorted(self.times, moment, side="right"))
        if known == len(self.times):
            return self
        return replace(self, times=self.times[:known], log_prices=self.log_prices[:known])

    @classmethod
    def without_rounds(cls, reason: str) -> Self:
        """The series of a source that has no rounds."""
        return cls(times=np.empty(0, dtype=np.int64), log_prices=np.empty(0), cold=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volatility:
    """Annualised on 365 days; nan with the reason in `cold` where history does not suffice."""

    per_year: float
    cold: str | None = None


def volatility(rounds: RoundSeries, now: int) -> Volatility:
    """√ of the mean of the realised variance rates of the last day, week and month.

    The rate of a window is Σr²/W over the rounds published within it, W reaching up to `now`. The
    interval still open at `now` needs no term of its own: over a stationary history rounds arrive
    at a rate 1/E[τ] and bring E[r²] = σ²E[τ] each, whatever instants the window is cut at. Variances
    rather than volatilities are averaged, since then a few violent hours weigh in at once. History
    that is shorter than a window stands for all of it.
    """
    reason = why_cold(rounds, now)
    if reason is not None:
        return Volatility(per_year=nan, cold=reason)
    squares = np.concatenate(([0.0, 0.0], np.cumsum(np.diff(rounds.log_prices) ** 2)))
    starts = np.maximum(now - np.array(WINDOWS_S), rounds.times[0])
    variations = squares[-1] - squares[np.searchsorted(rounds.times, starts, side="right")]
    return Volatility(per_year=sqrt(SECONDS_PER_YEAR * float(np.mean(variations / (now - starts)))))


def why_cold(rounds: RoundSeries, now: int) -> str | None:
    """What keeps any volatility from being told; None where one can be."""
    if rounds.cold is not None:
        return rounds.cold
    if len(rounds.times) < MIN_ROUNDS:
        return f"{len(rounds.times)} rounds known, {MIN_ROUNDS} needed"
    if now - int(rounds.times[0]) < MIN_HISTORY_S:
        return f"{now - int(rounds.times[0])} s of rounds known, {MIN_HISTORY_S} s needed"
    if now - int(rounds.times[-1]) > MAX_AGE_S:
        return f"no round for {now - int(rounds.times[-1])} s, {MAX_AGE_S} s allowed"
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Covariance:
    """Covariance of the log prices of a book's columns.

    `per_second` is (k, k) and positive semi-definite; the quote column and cold columns are 0 in
    it. `reasons` says of each column why it is cold, or None.
    """

    per_second: Floats
    reasons: tuple[str | None, ...]

    @property
    def cold(self) -> NDArray[np.bool_]:
        """Which columns have no volatility."""
        return np.array([reason is not None for reason in self.reasons])


def covariance(
    columns: Sequence[Column], rounds: Mapping[Address, RoundSeries], now: int
) -> Covariance:
    """Each column's own volatility, and the correlations of hourly returns over the last month;
    columns of one source move as one."""
    series = [None if column.source is None else rounds.get(column.source) for column in columns]
    known = [
        Volatility(per_year=0.0)
        if column.source is None
        else Volatility(per_year=nan, cold="its rounds have not been read")
        if own is None
        else volatility(own, now)
        for column, own in zip(columns, series, strict=True)
    ]
    sigma = np.nan_to_num([each.per_year for each in known], nan=0.0)
    moving = {
        column.source: own
        for column, own, each in zip(columns, series, sigma, strict=True)
        if own is not None and each > 0.0
    }
    factor = {source: m for m, source in enumerate(moving)}
    scale = np.zeros((len(columns), len(moving)))
    for n, column in enumerate(columns):
        if column.source in factor:
            scale[n, factor[column.source]] = sigma[n] / sqrt(SECONDS_PER_YEAR)
    return Covariance(
        per_second=scale @ correlation(list(moving.values()), now) @ scale.T,
        reasons=tuple(each.cold for each in known),
    )


def correlation(series: Sequence[RoundSeries], now: int) -> Floats:
    """Correlations of hourly returns over the last month, previous round at each hour, shrunk.

    The sample matrix on one grid is positive semi-definite, and so is its mix with the identity,
    R = (1 − λ)·sample + λ·I, with the λ that minimises the expected squared error,
    Σ Var(r_ij)/Σ r_ij² over i ≠ j (J. Schäfer and K. Strimmer, Statistical Applications in Genetics
    and Molecular Biology 4 (2005) 32), taking Var(r) = (1 − r²)²/n. A series without moves on the
    grid is uncorrelated with all others. The grid starts where the shortest history does.
    """
    k = len(series)
    start = max([now - WINDOWS_S[-1], *(int(own.times[0]) for own in series)])
    grid = np.arange(now, start - 1, -HOUR_S)[::-1]
    steps = [own.log_prices[np.searchsorted(own.times, grid, side="right") - 1] for own in series]
    returns = np.diff(np.reshape(steps, (k, len(grid))), axis=1)
    n = returns.shape[1]
    if n < 2 or k < 2:
        return np.eye(k)
    returns -= returns.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.einsum("kn,kn->k", returns, returns))
    returns /= np.where(norms > 0.0, norms, 1.0)[:, None]
    sample = returns @ returns.T
    np.fill_diagonal(sample, 0.0)
    signal = float(np.sum(sample**2))
    noise = float(np.sum((1.0 - sample**2) ** 2) - k) / n
    shrunk = sample * (1.0 - min(1.0, noise / signal)) if signal > 0.0 else sample
    np.fill_diagonal(shrunk, 1.0)
    return shrunk
