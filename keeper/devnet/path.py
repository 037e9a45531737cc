"""A scenario's path: one time, one price per asset and one gas price per block, from a seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from math import ceil
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from keeper.devnet.feeds import DECIMALS, Round, is_due
from keeper.devnet.scenario import AssetPath, Scenario
from keeper.model.units import SECONDS_PER_YEAR

PAST_STEP_S = 300
"""How finely the time before the start is sampled for the rounds that a feed is born with."""
GWEI = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one block stands for."""

    timestamp: int
    prices: Mapping[str, float]
    """USD per whole token, by symbol."""
    gas_price_wei: int


def block_times(scenario: Scenario) -> tuple[int, ...]:
    """The blocks' times, from `start` to the last that is not later than `end`.

    A block never jumps over the moment at which the spacing changes.
    """
    times = [scenario.start]
    steps = [*scenario.block_seconds, (scenario.end + 1, 1)]
    for (begin, spacing), (until, _) in pairwise(steps):
        if times[-1] < begin <= scenario.end:
            times.append(begin)
        times.extend(range(times[-1] + spacing, min(until, scenario.end + 1), spacing))
    return tuple(times)


def ticks(scenario: Scenario) -> tuple[Tick, ...]:
    """The scenario block by block; the same scenario always gives the same ticks."""
    times = block_times(scenario)
    prices = {symbol: _prices(scenario, symbol, times) for symbol in scenario.assets}
    gas_times, gas_gwei = zip(*scenario.gas.knots, strict=True)
    gas = np.interp(times, gas_times, gas_gwei)
    return tuple(
        Tick(
            timestamp=at,
            prices={symbol: float(path[i]) for symbol, path in prices.items()},
            gas_price_wei=round(gas[i] * GWEI),
        )
        for i, at in enumerate(times)
    )


def endless(path: Sequence[Tick]) -> Iterator[Tick]:
    """The path, then its last tick again and again, as far apart as the last two."""
    yield from path
    spacing = path[-1].timestamp - path[-2].timestamp
    for at in count(path[-1].timestamp + spacing, spacing):
        yield replace(path[-1], timestamp=at)


def waiting(path: Sequence[Tick], now: int, wait_s: int, every_s: int) -> tuple[Tick, ...]:
    """What is mined in `wait_s` of the wall clock, about every `every_s`, before the path begins: its
    first tick, at times spread evenly from the chain's `now` to the path's start, which are limited.
    """
    room_s = path[0].timestamp - now
    blocks = min(ceil(wait_s / every_s), room_s - 1)
    return tuple(
        replace(path[0], timestamp=now + room_s * (n + 1) // (blocks + 1)) for n in range(blocks)
    )


def past_rounds(scenario: Scenario, symbol: str, until: int) -> tuple[Round, ...]:
    """The rounds that an asset's feed published from its first knot to `until`.

    The last, at `until`, is the scenario's first price, so that the scenario starts from there.
    """
    first = scenario.assets[symbol].knots[0][0]
    times = (*range(first, until, PAST_STEP_S), scenario.start)
    *prices, start_price = _prices(scenario, symbol, times).tolist()
    rounds: list[Round] = []
    for at, price in zip(times, prices, strict=False):
        if not rounds or is_due(rounds[-1], price, at):
            rounds.append(Round(round(price * 10**DECIMALS), at))
    return (*rounds, Round(round(start_price * 10**DECIMALS), until))


def _prices(scenario: Scenario, symbol: str, times: tuple[int, ...]) -> NDArray[np.float64]:
    """The price at each of `times`: the knots joined by a Brownian bridge of the log price.

    With B a Brownian motion of the given volatility and ~B the straight line through B at the
    knots, log p(t) = line through the knots' log prices + B(t) - ~B(t).
    """
    asset = scenario.assets[symbol]
    knot_times = np.array([at for at, _ in asset.knots])
    logs = np.log([price for _, price in asset.knots])
    grid = np.union1d(knot_times, times)
    seeds = (scenario.seed, crc32(symbol.encode()), times[0])
    steps = np.random.default_rng(seeds).standard_normal(len(grid) - 1)
    spread = _volatility(asset, grid[:-1]) * np.sqrt(np.diff(grid) / SECONDS_PER_YEAR)
    walk = np.concatenate(([0.0], np.cumsum(spread * steps)))
    at_knots = walk[np.searchsorted(grid, knot_times)]
    bridge = walk - np.interp(grid, knot_times, at_knots)
    path = np.exp(np.interp(grid, knot_times, logs) + bridge)
    return np.asarray(path[np.searchsorted(grid, times)], dtype=np.float64)


def _volatility(asset: AssetPath, times: NDArray[np.int64]) -> NDArray[np.float64]:
    begins, values = zip(*asset.volatility_per_year, strict=True)
    return np.asarray(values)[np.searchsorted(begins, times, side="right") - 1]
