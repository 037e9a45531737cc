"""Health and breach probability of 100,000 positions over 8 columns, on one thread."""

import time
from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
from scipy.special import ndtr

from keeper.backtest.shipped import shipped
from keeper.forecast.calibrated import Asked, forecast
from keeper.forecast.first_passage import Forecast
from keeper.forecast.names import Asset
from keeper.forecast.scales import Scales
from keeper.forecast.volatility import Covariance, RoundSeries
from keeper.model.book import QUOTE, Book, Column, Floats, health
from keeper.model.units import SECONDS_PER_YEAR, Address
from tests.benchmarks.measuring import Side, take_turns
from tests.benchmarks.report import Row
from tests.benchmarks.town import DAY_S

ROWS = 100_000
ROUNDS = 15
UNIT = "M rows/s"
PRICES = np.array([1.0, 2_000.0, 40_000.0, 1.0, 1.0, 150.0, 15.0, 5.0])
VOLATILITIES = np.array([0.0, 0.8, 0.7, 0.01, 0.01, 1.1, 0.9, 0.95])
CORRELATION = 0.6
SYMBOLS = ("", "ETH", "BTC", "USDC", "DAI", "SOL", "LINK", "UNI")
NOW = 1_700_000_000
HOUR_S = 3_600
PATHS, STEPS, SIMULATED = 500, 24, 1_000
"""A Monte Carlo of hourly steps, which misses what happens between them."""


def covariance() -> Covariance:
    """Two stablecoins that move alone, five assets that move together."""
    mixed = np.full((8, 8), CORRELATION)
    mixed[3:5] = mixed[:, 3:5] = 0.0
    np.fill_diagonal(mixed, 1.0)
    sigma = VOLATILITIES / sqrt(SECONDS_PER_YEAR)
    return Covariance(per_second=sigma[:, None] * mixed * sigma, reasons=(None,) * 8)


def book(*, baskets: float) -> Book:
    """Loans of health 1.02 to 3: of one price against another, save for a share of `baskets` with
    two or three collaterals or two debts."""
    rng = np.random.default_rng(8)
    order = np.argsort(rng.random((ROWS, len(PRICES))), axis=1)
    some = rng.random(ROWS) < baskets
    collaterals = np.where(some, rng.choice([1, 2, 3], ROWS, p=[0.2, 0.6, 0.2]), 1)
    debts = np.where(some & ((collaterals == 1) | (rng.random(ROWS) < 0.2)), 2, 1)
    C, D = np.zeros((ROWS, len(PRICES))), np.zeros((ROWS, len(PRICES)))
    for nth in range(3):
        rows = np.flatnonzero(collaterals > nth)
        C[rows, order[rows, nth]] = rng.uniform(0.2, 1.0, len(rows))
        rows = np.flatnonzero(debts > nth)
        D[rows, order[rows, -1 - nth]] = rng.uniform(0.2, 1.0, len(rows))
    wanted = np.exp(rng.uniform(np.log(1.02), np.log(3.0), ROWS))
    C *= (wanted / C.sum(axis=1))[:, None] * 10_000.0 / PRICES
    D *= 10_000.0 / D.sum(axis=1)[:, None] / PRICES
    columns = (QUOTE, *(Column(source=Address(f"0x{n:040x}"), label=str(n)) for n in range(1, 8)))
    return Book(C=C, D=D, p=PRICES, columns=columns)


def with_perps(lending: Book) -> Book:
    """The same with every second row a perp of two to ten times on a price that is no stablecoin's:
    margin and entry on the constant, size on the price, maintenance of 6.25 % of the notional."""
    rng = np.random.default_rng(9)
    rows = np.arange(0, ROWS, 2)
    column = rng.choice(np.flatnonzero(VOLATILITIES > 0.1), len(rows))
    size = 10_000.0 / PRICES[column] * rng.choice([-1.0, 1.0], len(rows))
    C, D = lending.C.copy(), lending.D.copy()
    C[rows], D[rows] = 0.0, 0.0
    C[rows, column] = size
    C[rows, 0] = 10_000.0 / rng.uniform(2.0, 10.0, len(rows)) - size * PRICES[column]
    D[rows, column] = 0.0625 * np.abs(size)
    return Book(C=C, D=D, p=lending.p, columns=lending.columns)


def asked(watched: Book) -> Asked:
    """A month of hourly rounds of every price, moving as `covariance` says."""
    rng = np.random.default_rng(8)
    hours = 31 * 24
    moves = rng.multivariate_normal(np.zeros(8), covariance().per_second * HOUR_S, size=hours)
    series = {
        column.source: RoundSeries(
            times=NOW - HOUR_S * np.arange(hours, -1, -1, dtype=np.int64),
            log_prices=np.concatenate(([0.0], np.cumsum(moves[:, k]))),
            asset=Asset.of(f"{SYMBOLS[k]} / USD"),
        )
        for k, column in enumerate(watched.columns)
        if column.source is not None
    }
    return Asked(
        scales=Scales.of(watched.columns, series, shipped(), NOW),
        market_prices=watched.p,
        short=Covariance(per_second=covariance().per_second, reasons=(None,) * 8),
    )


def ours(watched: Book, known: Asked) -> tuple[Floats, Forecast]:
    """Health, and distance, volatility and calibrated probability within a day."""
    return health(watched), forecast(watched, known, horizon_s=float(DAY_S))


def simulated(watched: Book, moves: Covariance) -> Floats:
    """Breach frequencies of the first rows over common paths of all prices."""
    rng = np.random.default_rng(8)
    values, vectors = np.linalg.eigh(moves.per_second)
    root = vectors * np.sqrt(np.maximum(values, 0.0) * DAY_S / STEPS)
    steps = rng.normal(size=(STEPS, PATHS, len(PRICES))) @ root.T
    steps -= 0.5 * np.diag(moves.per_second) * DAY_S / STEPS
    prices = PRICES * np.exp(np.cumsum(steps, axis=0))
    net = (watched.C - watched.D)[:SIMULATED].T
    breached = np.zeros((PATHS, SIMULATED), dtype=np.bool_)
    for now in prices:
        breached |= now @ net < 0.0
    return np.asarray(breached.mean(axis=0), dtype=np.float64)


async def measure() -> tuple[list[Row], str]:
    """The rows of this figure, and what to know of them."""
    moves = covariance()
    pairs, mixed = book(baskets=0.0), book(baskets=0.25)
    known = asked(pairs)
    arguments = -np.abs(np.random.default_rng(8).normal(scale=8.0, size=ROWS))

    def timed(name: str, run: Callable[[], Any]) -> Side:
        return Side(name=name, run=run, repeats=3, clock=time.thread_time)

    keeper = timed("one price against another", lambda: ours(pairs, known))
    baskets = timed("a quarter of them baskets", lambda: ours(mixed, known))
    perps = with_perps(pairs)
    both = timed("every second one a perp", lambda: ours(perps, known))
    floor = timed("floor: scipy's ndtr, once per row", lambda: ndtr(arguments))
    paths = timed(f"NumPy Monte Carlo, {PATHS} paths", lambda: simulated(pairs, moves))
    await take_turns([keeper, baskets, both, floor, paths], rounds=ROUNDS)
    near = keeper.found[1].probability[:SIMULATED] - paths.found
    if np.abs(near).max() > 0.15:
        raise AssertionError("the simulation and the tables speak of different risks")

    peer = SIMULATED / paths.median_ms / 1e3
    bare = ROWS / floor.median_ms / 1e3
    rows = []
    for side in (keeper, baskets):
        name = f"health and breach probability of 100,000 rows: {side.name}"
        rate = ROWS / side.median_ms / 1e3
        rows += [_row(name, rate, paths.name, peer, goal=10.0), _row(name, rate, floor.name, bare)]
    rate, alone = (ROWS / side.median_ms / 1e3 for side in (both, keeper))
    name = f"health and breach probability of 100,000 rows: {both.name}"
    rows.append(_row(name, rate, "the lending rows alone", alone, goal=0.8 * alone))
    return rows, (
        "Forecast: 8 columns, one thread, by that thread's own time, from the calibrated tables. Each "
        "basket needs a root of a sum of exponentials first."
    )


def _row(name: str, rate: float, peer: str, peer_rate: float, goal: float | None = None) -> Row:
    return Row(
        name=name,
        value=rate,
        unit=UNIT,
        peer=peer,
        peer_value=peer_rate,
        ratio=rate / peer_rate,
        goal=goal,
    )
