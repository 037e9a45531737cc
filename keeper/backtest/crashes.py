"""The deepest falls in some prices, and how low a position may start to live through them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from keeper.backtest.fitting import falls
from keeper.backtest.lanes import Rules
from keeper.backtest.ledger import Events
from keeper.backtest.positions import Known, Row, placed
from keeper.backtest.replay import replay
from keeper.backtest.terms import terms
from keeper.backtest.tracks import STEP_S, Track
from keeper.forecast.realised import DAY_S
from keeper.model.book import Floats

MOST: Final = 8
APART_S: Final = 14 * DAY_S
BEFORE_S: Final = DAY_S
LASTS_S: Final = 6 * DAY_S
HEALTHS: Final = np.round(np.arange(1.02, 2.005, 0.01), 2)
DEBT_USD: Final = 100_000.0
NAMES: Final = {
    "2020-03-12": "Black Thursday",
    "2021-05-19": "19 May 2021",
    "2021-12-04": "4 December 2021",
    "2022-05-11": "UST",
    "2022-06-13": "3AC",
    "2022-11-09": "FTX",
    "2024-08-05": "5 August 2024",
    "2025-10-10": "10 October 2025",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crash:
    """The deepest day within two weeks: of the dollar pair that fell the most, from `begin` (Unix
    seconds) by the share `fall`."""

    name: str
    track: Track
    begin: float
    fall: float


def crashes(known: Known, start: float, end: float) -> list[Crash]:
    """The `MOST` deepest, oldest first."""
    found: list[tuple[float, float, Track]] = []
    for pair, own in known.items():
        if not pair.endswith("/USD"):
            continue
        for track in own[:1]:
            depth = falls(track, DAY_S // STEP_S)
            grid = track.grid[: len(depth)]
            inside = (grid >= start + BEFORE_S) & (grid + LASTS_S <= end)
            left = np.where(inside, depth, 0.0)
            for _ in range(MOST):
                deepest = int(np.argmax(left)) if len(left) else 0
                if not len(left) or left[deepest] <= 0.0:
                    break
                found.append((float(left[deepest]), float(grid[deepest]), track))
                left[np.abs(grid - grid[deepest]) < APART_S] = 0.0
    chosen: list[tuple[float, float, Track]] = []
    for depth_found, when, track in sorted(found, key=lambda each: -each[0]):
        apart = all(abs(when - other) >= APART_S for _, other, _ in chosen)
        clear = track.gap_within(when - BEFORE_S, when + LASTS_S) is None
        if apart and clear and len(chosen) < MOST:
            chosen.append((depth_found, when, track))
    return [
        Crash(name=_name(when), track=track, begin=when, fall=1.0 - float(np.exp(-depth_found)))
        for depth_found, when, track in sorted(chosen, key=lambda each: each[1])
    ]


def _name(when: float) -> str:
    days = [datetime.fromtimestamp(when + n * DAY_S, UTC).date().isoformat() for n in (0, 1)]
    return next((NAMES[day] for day in days if day in NAMES), days[0])


def _positions(crash: Crash, healths: Floats, *, latency_min: float) -> list[Row]:
    begin = STEP_S * np.floor((crash.begin - BEFORE_S) / STEP_S)
    price = float(crash.track.oracle[crash.track.step(begin)])
    counts = terms(crash.track.pair).threshold * price
    return [
        Row(
            place=f"{crash.name} at health {health:g}",
            pair=crash.track.pair,
            collateral_amount=health * DEBT_USD / counts,
            debt_amount=DEBT_USD,
            health_start=health,
            gas_usd=20.0,
            latency_min=latency_min,
            reserve_share=0.25,
            start=begin,
        )
        for health in healths.tolist()
    ]


def lowest_survivors(
    crash: Crash, known: Known, rules: Rules, *, seed: int, latency_min: float = 5.0
) -> Mapping[str, float | None]:
    """By policy the lowest health a day before the crash from which on up nobody is liquidated: a
    debt of 100,000 dollars with a quarter of it in reserve, gas 20 dollars. None: not even at 2."""
    rows = _positions(crash, HEALTHS, latency_min=latency_min)
    book = placed(rows, known, end=crash.begin + LASTS_S)
    found = replay(book, rules, seed=seed)
    lowest: dict[str, float | None] = {}
    for policy, counts in zip(found.policies, found.liquidations, strict=True):
        lost = np.flatnonzero(counts > 0)
        first = int(lost[-1]) + 1 if len(lost) else 0
        lowest[policy] = float(HEALTHS[first]) if first < len(HEALTHS) else None
    return lowest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HealthPath:
    """How one position fared under one policy; `events` are its own."""

    policy: str
    times: Floats
    health: Floats
    events: Events


def health_paths(
    crash: Crash, known: Known, rules: Rules, *, seed: int, health: float = 1.5
) -> Sequence[HealthPath]:
    """One position of `lowest_survivors` under every policy."""
    rows = _positions(crash, np.array([health]), latency_min=5.0)
    book = placed(rows, known, end=crash.begin + LASTS_S)
    found = replay(book, rules, seed=seed)
    first, count = int(book.first[0]), int(book.steps[0]) + 1
    price = crash.track.oracle[first : first + count]
    times = crash.track.grid[first : first + count]
    return [
        _path(policy, times, price, found.events.where(found.events.policy == n), health)
        for n, policy in enumerate(found.policies)
    ]


def _path(policy: str, times: Floats, price: Floats, own: Events, health: float) -> HealthPath:
    """Between two events health follows the price."""
    ratio = np.full(len(times), health / price[0])
    for when, at, after in zip(own.time, own.price, own.health_after, strict=True):
        ratio[times > when] = after / at
    return HealthPath(policy=policy, times=times, health=ratio * price, events=own)
