"""Choosing a policy's few numbers on the past: history itself, histories resampled, and shocks.

Every candidate is replayed on the same episodes of three sets of paths, beside the incumbent. What
is worse than it in the tail of any of them is out; of the rest the one wins whose mean and tail are
lowest over all three. So a rule that is good on the one past that happened and bad on those that
might have is not chosen, and where nothing is better the incumbent stays.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Final

import numpy as np

from keeper.backtest.positions import Known, Positions, drawn, placed
from keeper.backtest.replay import replay
from keeper.backtest.resample import cut, resampled, stressed
from keeper.backtest.tally import tail_mean, worth_protecting
from keeper.backtest.tracks import STEP_S, Track
from keeper.forecast.realised import DAY_S
from keeper.model.book import Floats
from keeper.policy.rule import Rule

INCUMBENT: Final = Rule(floor=1.25, target=1.40)
FLOORS: Final = (1.20, 1.25, 1.30)
ROOMS: Final = (0.15, 0.20, 0.25, 0.35, 0.50)
"""Target less floor."""
GUARDS: Final = ((1.0, 8.0), (1.0, 10.0), (1.0, 12.0), (2.0, 12.0), (2.0, 14.0), (3.0, 16.0))
"""Share and steepness: see `keeper.policy.worth.share_at`."""
TUNED_FLOORS: Final = (1.05, 1.10, 1.15, 1.20, 1.25, 1.30)
TUNED_ROOMS: Final = (0.10, 0.15, 0.20, 0.30)
NEARLY: Final = 0.02
"""Of the incumbent's cost: differences that another draw of positions turns round."""
PER_PAIR: Final = 300
RESAMPLED_S: Final = 4 * 365 * DAY_S
JUMP_RARITY: Final = 1e-4
"""Of the moments of history, after how many a fall is at least as deep as a jump is said to be."""
DAY_STEPS: Final = DAY_S // STEP_S
RARE_JUMP: Final = 1e-5
"""The same for what a position that starts below its floor must survive: of a pair's history of three
years the three worst moments."""
LATENCIES_S: Final = (60, 300, 900)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of one candidate on one set of paths, as multiples of the incumbent's."""

    mean: float
    cvar99: float
    economic: float
    """Share of the episodes worth protecting that were liquidated, less the incumbent's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`rule` is the winner, `candidates` how many there were beside the incumbent."""

    rule: Rule
    stays: bool
    candidates: int
    scores: Mapping[str, Score]


def pair_shares(known: Known) -> Mapping[str, float]:
    """Of each pair of two cryptocurrencies: how deep it falls within a day at `JUMP_RARITY`, as a
    share of what all dollar pairs together do, in hundredths rounded up, 1 at most."""
    dollars = [pair for pair in known if pair.endswith("/USD")]
    if not dollars:
        return MappingProxyType({})
    everyone = np.concatenate([falls(known[pair][0], DAY_STEPS) for pair in dollars])
    pooled = float(np.quantile(everyone, 1.0 - JUMP_RARITY))
    return MappingProxyType(
        {
            pair: min(1.0, float(np.ceil(100.0 * _jump(own[0], DAY_STEPS) / pooled)) / 100.0)
            for pair, own in known.items()
            if pair not in dollars
        }
    )


def jumps(known: Known, rarity: float = JUMP_RARITY) -> Mapping[int, float]:
    """How deep dollar pairs together fall, at this rarity, within each response and the five minutes
    that it takes to see it: over all of history alike, so that a calm year does not lower it."""
    dollars = [own[0] for pair, own in known.items() if pair.endswith("/USD")]

    def deepest(latency_s: int) -> float:
        everyone = [falls(track, 1 + latency_s // STEP_S) for track in dollars]
        return round(float(np.quantile(np.concatenate(everyone), 1.0 - rarity)), 4)

    return MappingProxyType({latency: deepest(latency) for latency in LATENCIES_S})


def _jump(track: Track, steps: int) -> float:
    return float(np.quantile(falls(track, steps), 1.0 - JUMP_RARITY))


def falls(track: Track, steps: int) -> Floats:
    """From every step, how deep (log) the oracle's price falls within so many more."""
    logs = np.log(track.oracle)
    lowest = logs.copy()
    reach = 1
    # Minima over windows of doubling length, then of the length asked for.
    while 2 * reach <= steps + 1:
        lowest = np.minimum(lowest[: len(lowest) - reach], lowest[reach:])
        reach *= 2
    rest = steps + 1 - reach
    lowest = np.minimum(lowest[: len(lowest) - rest], lowest[rest:]) if rest else lowest
    fallen: Floats = logs[: len(lowest)] - lowest
    return fallen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """Paths to choose on, by name, with the positions drawn on them."""

    sets: Mapping[str, Positions]
    share: Mapping[str, float]
    jumps: Mapping[int, float]
    rare_jumps: Mapping[int, float]

    def fitted(self, rule: Rule) -> Rule:
        """With what is known of pairs and jumps."""
        return replace(rule, pair_share=self.share, rare_jump_after_s=self.rare_jumps)

    @property
    def episodes(self) -> int:
        """Of all sets."""
        return sum(map(len, self.sets.values()))


def ground(known: Known, *, start: float, until: float, seed: int) -> Ground:
    """From prices up to `until` alone."""
    past = cut(known, start, until)
    share = pair_shares(past)
    paths = {
        "history": past,
        "resampled": resampled(past, seed=seed, length_s=RESAMPLED_S),
        "stressed": stressed(past, share, seed=seed),
    }
    sets = {}
    for name, own in paths.items():
        end = max(of[0].end for of in own.values())
        rows = drawn(own, start=0.0, end=end, seed=seed, per_pair=PER_PAIR)
        sets[name] = placed(rows, own, end=end)
    return Ground(sets=sets, share=share, jumps=jumps(past), rare_jumps=jumps(past, RARE_JUMP))


def candidates(where: Ground) -> Iterator[Rule]:
    """Every combination of floor, room and guard; the floor rises with the response by the pooled
    jumps."""
    for floor, room, (share, steepness) in product(FLOORS, ROOMS, GUARDS):
        yield where.fitted(
            Rule(
                floor=floor,
                target=round(floor + room, 4),
                guard_share=share,
                guard_steepness=steepness,
                jump_after_s=where.jumps,
            )
        )


def choose(where: Ground, *, seed: int, told: Callable[[int], None]) -> Choice:
    """The winner, or the incumbent."""
    incumbent = where.fitted(INCUMBENT)
    tried = list(candidates(where))
    scores = _scores(where, [incumbent, *tried], seed=seed, told=told)
    sound = [
        n
        for n in range(1, len(tried) + 1)
        if all(s.cvar99 <= 1.0 and s.economic <= 0.0 and s.mean <= 1.0 for s in scores[n].values())
    ]
    badness = {n: _badness(scores[n].values()) for n in sound}
    least = min(badness.values(), default=0.0)
    near = [n for n in sound if badness[n] <= least + NEARLY]
    best = min(near, key=lambda n: (tried[n - 1].target, badness[n]), default=0)
    return Choice(
        rule=([incumbent, *tried])[best],
        stays=best == 0,
        candidates=len(tried),
        scores=scores[best],
    )


def _badness(scores: Iterable[Score]) -> float:
    return float(np.mean([0.5 * (score.mean + score.cvar99) for score in scores]))


def _scores(
    where: Ground, rules: Sequence[Rule], *, seed: int, told: Callable[[int], None]
) -> list[Mapping[str, Score]]:
    """Of every rule on every set, against the first rule."""
    found: list[dict[str, Score]] = [{} for _ in rules]
    for name, positions in where.sets.items():
        run = replay(positions, {str(n): r for n, r in enumerate(rules)}, seed=seed, told=told)
        economic = worth_protecting(positions)
        mean = run.cost_usd.mean(axis=1)
        tail = np.array([tail_mean(cost) for cost in run.cost_usd])
        lost = (run.liquidations[:, economic] > 0).mean(axis=1)
        for n in range(len(rules)):
            found[n][name] = Score(
                mean=float(mean[n] / mean[0]),
                cvar99=float(tail[n] / tail[0]),
                economic=float(lost[n] - lost[0]),
            )
    return list(found)


def tuned(where: Ground, *, seed: int, told: Callable[[int], None]) -> tuple[Rule, Rule, int]:
    """What tuning a fixed rule without a guard on the past itself comes to: one floor and target for
    all pairs, those of every pair, and of how many they were chosen. The lowest mean plus CVaR99,
    each as a multiple of the grid's lowest."""
    positions = where.sets["history"]
    grid = [
        Rule(floor=f, target=round(f + room, 4), guard_share=None, scaled_to_start=False)
        for f, room in product(TUNED_FLOORS, TUNED_ROOMS)
    ]
    run = replay(positions, {str(n): r for n, r in enumerate(grid)}, seed=seed, told=told)
    pairs = np.array(positions.pairs)

    def best(cost: Floats) -> Rule:
        mean = cost.mean(axis=1)
        tail = np.array([tail_mean(each) for each in cost])
        badness = mean / max(mean.min(), 1e-9) + tail / max(tail.min(), 1e-9)
        return grid[int(np.argmin(badness))]

    everywhere = best(run.cost_usd)
    own = {pair: best(run.cost_usd[:, pairs == pair]) for pair in dict.fromkeys(positions.pairs)}
    by_pair = replace(
        everywhere, by_pair=MappingProxyType({p: (r.floor, r.target) for p, r in own.items()})
    )
    return everywhere, by_pair, len(grid)
