"""What a replay comes to: a row per policy and group, and how sure the difference of two is."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from keeper.backtest.positions import Positions
from keeper.backtest.replay import Replayed
from keeper.backtest.terms import CLOSE_FACTOR
from keeper.forecast.realised import DAY_S
from keeper.model.book import Floats
from keeper.policy.worth import GUARD_SHARE, worth_acting

POOLED: Final = "pooled"
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy over one group of episodes. Costs in USD. `economic_liquidated_share`: of the
    episodes that are worth protecting, those liquidated. `worsened`: episodes in which an action
    lowered health, or that were liquidated although doing nothing would not have been.
    `needless_actions`: those in episodes that doing nothing would have survived."""

    policy: str
    group: str
    episodes: int
    mean_usd: float
    p95_usd: float
    p99_usd: float
    cvar99_usd: float
    liquidated_share: float
    economic_liquidated_share: float
    worsened: int
    actions: int
    needless_actions: int
    default: bool

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def groups(positions: Positions) -> dict[str, Mask]:
    """All episodes together, then each pair's."""
    pairs = np.array(positions.pairs)
    everyone = {POOLED: np.ones(len(positions), dtype=np.bool_)}
    return everyone | {pair: pairs == pair for pair in dict.fromkeys(positions.pairs)}


def rows(positions: Positions, replayed: Replayed, idle: Replayed, default: str) -> Iterator[Row]:
    """`idle`: the same episodes under the policy that does nothing."""
    economic, doomed = worth_protecting(positions), idle.liquidations[0] > 0
    for group, mask in groups(positions).items():
        for n, policy in enumerate(replayed.policies):
            cost, liquidated = replayed.cost_usd[n][mask], (replayed.liquidations[n] > 0)[mask]
            worse = (replayed.lowered[n] | ((replayed.liquidations[n] > 0) & ~doomed))[mask]
            counted = liquidated[economic[mask]]
            yield Row(
                policy=policy,
                group=group,
                episodes=int(mask.sum()),
                mean_usd=float(cost.mean()),
                p95_usd=float(np.quantile(cost, 0.95)),
                p99_usd=float(np.quantile(cost, 0.99)),
                cvar99_usd=tail_mean(cost),
                liquidated_share=float(liquidated.mean()),
                economic_liquidated_share=float(counted.mean()) if len(counted) else 0.0,
                worsened=int(worse.sum()),
                actions=int(replayed.actions[n][mask].sum()),
                needless_actions=int(replayed.actions[n][mask & ~doomed].sum()),
                default=policy == default,
            )


def worth_protecting(positions: Positions) -> Mask:
    """Whether calm gas alone costs no more than `GUARD_SHARE` of the liquidation loss at the start."""
    debt_usd = positions.debt * positions.quote_usd
    loss = positions.term("penalty") * CLOSE_FACTOR * debt_usd
    return worth_acting(positions.gas_usd, loss, GUARD_SHARE)


def tail_mean(cost: Floats, share: float = 0.01) -> float:
    """CVaR: the mean of the dearest hundredth, of one episode at least."""
    count = max(1, ceil(share * len(cost)))
    return float(np.sort(cost)[-count:].mean())


BLOCK_S: Final = 30 * DAY_S
RESAMPLES: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A policy's cost less another's, as shares of the other's: what was found, and the middle 90 %
    of block bootstraps."""

    mean: tuple[float, float, float]
    cvar99: tuple[float, float, float]


def difference(cost: Floats, other: Floats, starts: Floats, *, seed: int) -> Difference:
    """Paired: both on the same episodes, resampled in blocks of thirty days of their starts, all pairs
    of a block together since they fall together."""
    block = ((starts - starts.min()) // BLOCK_S).astype(np.intp)
    members = [np.flatnonzero(block == n) for n in np.unique(block)]
    random = np.random.default_rng([seed, 11])
    found = []
    for _ in range(RESAMPLES):
        picked = np.concatenate(
            [members[n] for n in random.integers(0, len(members), len(members))]
        )
        found.append(_shares(cost[picked], other[picked]))
    low, high = np.nanquantile(np.array(found), [0.05, 0.95], axis=0)
    mean, tail = _shares(cost, other)
    return Difference(
        mean=(mean, float(low[0]), float(high[0])), cvar99=(tail, float(low[1]), float(high[1]))
    )


def _shares(cost: Floats, other: Floats) -> tuple[float, float]:
    mean, tail = float(other.mean()), tail_mean(other)
    return (
        float(cost.mean()) / mean - 1.0 if mean > 0.0 else float("nan"),
        tail_mean(cost) / tail - 1.0 if tail > 0.0 else float("nan"),
    )


def by_year(positions: Positions) -> Mapping[str, Mask]:
    """Episodes by the year they start in."""
    years = (positions.starts / (365.2425 * DAY_S) + 1970).astype(np.intp)
    return {str(year): years == year for year in np.unique(years).tolist()}
