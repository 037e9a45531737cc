"""Paths that were not, made of those that were: blocks of history in another order, and shocks."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from keeper.backtest.tracks import STEP_S, Track, along
from keeper.forecast.realised import DAY_S, HOUR_S
from keeper.model.book import Floats

Known = Mapping[str, Sequence[Track]]
BLOCK_S: Final = 5 * DAY_S
SHOCK_EVERY_S: Final = 45 * DAY_S
STAND_IN: Final = "ETH/USD"


def cut(known: Known, start: float, end: float) -> dict[str, tuple[Track, ...]]:
    """Each pair's best track between two moments, those without a day of it left out; gaps are
    closed at the last price."""
    found: dict[str, tuple[Track, ...]] = {}
    for pair, tracks in known.items():
        for track in tracks:
            first = max(track.step(start), 0)
            last = min(track.step(end), len(track.market))
            if (last - first) * STEP_S >= DAY_S:
                begin = track.start + STEP_S * first
                found[pair] = (along(pair, track.venue, begin, track.market[first:last]),)
                break
    return found


def resampled(known: Known, *, seed: int, length_s: float) -> dict[str, tuple[Track, ...]]:
    """Blocks of five days, the same for all pairs, so that their jumps stay shared. A pair without
    prices in a block takes the moves of ether in dollars, a pair of two cryptocurrencies none."""
    random = np.random.default_rng([seed, 5])
    longest = max((of[0] for of in known.values()), key=lambda track: len(track.market))
    blocks = int(length_s // BLOCK_S)
    size = BLOCK_S // STEP_S
    begins = longest.start + STEP_S * random.integers(0, len(longest.market) - size, blocks)
    made: dict[str, tuple[Track, ...]] = {}
    for pair, (track, *_) in known.items():
        stands_in = known.get(STAND_IN, (longest,))[0] if pair.endswith("/USD") else None
        moves = np.concatenate([_moves(track, stands_in, b, size) for b in begins.tolist()])
        level = track.market[-1]
        made[pair] = (along(pair, "RESAMPLED", longest.start, level + np.cumsum(moves)),)
    return made


def _moves(track: Track, stands_in: Track | None, begin: int, size: int) -> Floats:
    for source in (track, stands_in):
        if source is None:
            continue
        first = source.step(begin)
        if first >= 1 and first + size <= len(source.market):
            return np.diff(source.market[first - 1 : first + size])
    return np.zeros(size)


def _shock(n: int) -> tuple[Floats, Floats]:
    """Seconds and log shifts. Even: rounds of −15 % and back, twice, as feeds reported on
    2025-10-10. Odd: a bar of −13 %, a tenth more within the hour, and a day to come back."""
    if n % 2 == 0:
        down = np.log(0.85)
        times = [0, 300, 600, 900, 1_200, 13 * HOUR_S]
        return np.array(times, dtype=np.float64), np.array([0, down, 0, down, 0.5 * down, 0])
    bar = np.log(0.87)
    times = [0, 300, HOUR_S, DAY_S]
    return np.array(times, dtype=np.float64), np.array([0, bar, bar + np.log(0.9), 0])


def stressed(
    known: Known, share: Mapping[str, float], *, seed: int
) -> dict[str, tuple[Track, ...]]:
    """History with a shock to all pairs at once every 45 days, a correlated pair's by its share."""
    random = np.random.default_rng([seed, 7])
    begin = min(of[0].start for of in known.values())
    end = max(of[0].end for of in known.values())
    whens = begin + np.arange(SHOCK_EVERY_S, end - begin, SHOCK_EVERY_S)
    whens = STEP_S * (whens // STEP_S) + STEP_S * random.integers(-1_000, 1_000, len(whens))
    made: dict[str, tuple[Track, ...]] = {}
    for pair, (track, *_) in known.items():
        grid = track.start + STEP_S * np.arange(len(track.market), dtype=np.float64)
        shift = np.zeros(len(grid))
        for n, when in enumerate(whens.tolist()):
            times, logs = _shock(n)
            shift += np.interp(grid - when, times, logs)
        moved = track.market + share.get(pair, 1.0) * shift
        made[pair] = (along(pair, "STRESSED", track.start, moved),)
    return made
