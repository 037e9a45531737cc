"""Scores of probability forecasts against what happened, and whether a difference is more than luck.

Forecasts `p` in [0, 1], outcomes `y` in {0, 1}. Episodes that begin an hour apart overlap, so the
tests take sums over origins in time order and allow for their correlation.
"""

from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import chi2

from keeper.model.book import Floats

Places = NDArray[np.intp]
BINS: Final = 20
LEAST: Final = 1e-6
"""Probabilities are kept this far from 0 and 1 in the log score: an event that was called
impossible costs 13.8 and not infinity."""


def brier(p: Floats, y: Floats) -> float:
    """Mean squared error of the probability."""
    return float(np.mean((p - y) ** 2))


def log_loss(p: Floats, y: Floats) -> float:
    """Mean −ln of the probability given to what happened."""
    safe = np.clip(p, LEAST, 1.0 - LEAST)
    return float(-np.mean(np.where(y > 0.5, np.log(safe), np.log1p(-safe))))


def skill(loss: float, reference: float) -> float:
    """1 − loss/reference: 0 is no better than the reference, 1 perfect; nan without a reference."""
    return 1.0 - loss / reference if reference > 0.0 else nan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability:
    """Equal-count bins of rising forecasts: mean forecast, observed frequency, episodes."""

    predicted: Floats
    observed: Floats
    counts: Floats

    @property
    def error(self) -> float:
        """Σ n·|observed − predicted| / Σ n."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.counts))


def bins_of(p: Floats, bins: int = BINS) -> tuple[Places, Places]:
    """The order that sorts the forecasts, and the bin of each place in it."""
    order = np.argsort(p, kind="stable")
    return order, np.arange(len(p)) * bins // max(len(p), 1)


def reliability(p: Floats, y: Floats, bins: int = BINS) -> Reliability:
    """Equal forecasts cannot be told apart, so each has the mean outcome of all that equal it:
    otherwise the order of the rows would decide which bin an event falls into."""
    _, same, counts = np.unique(p, return_inverse=True, return_counts=True)
    shared = (np.bincount(same, weights=y) / counts)[same]
    order, bin_of = bins_of(p, bins)
    n = np.bincount(bin_of).astype(np.float64)
    return Reliability(
        predicted=np.bincount(bin_of, weights=p[order]) / n,
        observed=np.bincount(bin_of, weights=shared[order]) / n,
        counts=n,
    )


def observed_over_predicted(p: Floats, y: Floats, low: float = 0.01, high: float = 0.05) -> float:
    """Events among forecasts in [low, high) over the sum of those forecasts; nan without any."""
    among = (p >= low) & (p < high)
    return float(y[among].sum() / p[among].sum()) if among.any() else nan


def diebold_mariano(differences: Floats, lags: int) -> tuple[float, float]:
    """t statistic and two-sided p-value of a mean of loss differences in time order, its variance
    by Newey and West with the given lags (F. Diebold and R. Mariano, Journal of Business & Economic
    Statistics 13 (1995) 253-263). Positive: the first forecast loses more."""
    n = len(differences)
    if n < 3:
        return nan, nan
    centred = differences - differences.mean()
    lags = min(lags, n - 2)
    variance = float(centred @ centred)
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    if variance <= 0.0:
        return nan, nan
    t = float(differences.mean()) * n / sqrt(variance)
    return t, float(2.0 * ndtr(-abs(t)))


def kupiec(hits: Floats, rate: float) -> float:
    """p-value of the likelihood ratio that independent events come at this rate (P. Kupiec, Journal
    of Derivatives 3 (1995) 73-84)."""
    n, k = len(hits), float(hits.sum())
    if n == 0:
        return nan
    ratio = 2.0 * (_likelihood(n - k, k, k / n) - _likelihood(n - k, k, rate))
    return float(chi2.sf(max(ratio, 0.0), 1))


def christoffersen(hits: Floats) -> float:
    """p-value of the likelihood ratio that an event is as likely after an event as after none
    (P. Christoffersen, International Economic Review 39 (1998) 841-862); nan without events."""
    before, after = hits[:-1], hits[1:]
    if not (0 < hits.sum() < len(hits)):
        return nan
    counts = [[float(np.sum((before == i) & (after == j))) for j in (0, 1)] for i in (0, 1)]
    (calm, first), (last, again) = counts
    overall = (first + again) / max(len(after), 1)
    apart = sum(_likelihood(no, yes, yes / (no + yes)) for no, yes in counts if no + yes)
    return float(
        chi2.sf(max(2.0 * (apart - _likelihood(calm + last, first + again, overall)), 0.0), 1)
    )


def _likelihood(no: float, yes: float, rate: float) -> float:
    terms = ((no, 1.0 - rate), (yes, rate))
    return sum(
        count * float(np.log(chance)) for count, chance in terms if count and not isnan(chance)
    )


def block_bands(
    p: Floats, y: Floats, blocks: Floats, *, seed: int, draws: int = 200
) -> tuple[Floats, Floats]:
    """5 % and 95 % of each bin's observed frequency when whole blocks (their numbers from 0) are
    drawn with replacement: episodes within a block stay together."""
    order, bin_of = bins_of(p)
    block = blocks[order].astype(np.intp)
    shape = (int(blocks.max()) + 1, BINS)
    cell = block * BINS + bin_of
    events = np.bincount(cell, weights=y[order], minlength=shape[0] * BINS).reshape(shape)
    counts = np.bincount(cell, minlength=shape[0] * BINS).reshape(shape).astype(np.float64)
    rng = np.random.default_rng(seed)
    picked = rng.multinomial(shape[0], np.full(shape[0], 1.0 / shape[0]), size=draws)
    drawn = picked @ counts
    share = np.divide(picked @ events, drawn, out=np.full(drawn.shape, nan), where=drawn > 0)
    low, high = np.nanquantile(share, [0.05, 0.95], axis=0)
    return low, high
