"""A rule for many positions: a few numbers, and how they are fitted to each position.

A floor and a target are set for a volatile price, a position that starts above the target, and a
response within a minute. Each position is given its own from them (`tailored`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from types import MappingProxyType
from typing import Literal

import numpy as np

from keeper.model.book import Floats
from keeper.policy.decide import Triggers
from keeper.policy.worth import GUARD_SHARE

KEPT_MARGIN = 0.9
"""Of the margin that a position starts with, what is kept where that is less than the floor asks."""
Means = Literal["reserve first", "pool only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Holds 1 < floor < target.

    `guard_share`: see `keeper.policy.worth`; None acts whatever it costs. `trigger_probability`
    within `horizon_s` tightens the floor and never loosens it.
    """

    floor: float
    target: float
    guard_share: float | None = GUARD_SHARE
    trigger_probability: float | None = None
    horizon_s: int = 86_400
    guard_steepness: float = 0.0
    """How much dearer an action may be the nearer to liquidation: see `keeper.policy.worth.share_at`.
    Of a correlated pair it is divided by its `pair_share`."""
    jump_after_s: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """How far prices jump (log) within a response of so many seconds; the floor rises by what
    a slower response adds to the quickest. Empty: the floor is the same for all."""
    rare_jump_after_s: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """The same for jumps that are rarer still: the room that a position which starts below its floor
    is given at least. Empty: no floor is scaled to a start, since nothing tells how far that may go."""
    pair_share: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Of a correlated pair, how far it jumps as a share of how far all pairs do. 1 for others."""
    scaled_to_start: bool = True
    """Whether the floor of a position that starts below it lies below its start, as far as
    `rare_jump_after_s` allows."""
    by_pair: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    """Floor and target of some pairs, in place of the common ones."""
    means: Means = "reserve first"
    swap_fee_share: float | None = None
    """Of what is sold, in place of the pool's fee."""
    service_fee_share: float = 0.0
    """Of what is moved."""
    least_debt_usd: float = 0.0
    """Positions of less debt are not served."""

    def __post_init__(self) -> None:
        pairs = [(self.floor, self.target), *self.by_pair.values()]
        if not all(1.0 < floor < target < 100.0 for floor, target in pairs):
            raise ValueError("a rule needs 1 < floor < target < 100")
        if self.guard_share is not None and not 0.0 < self.guard_share <= 10.0:
            raise ValueError("guard_share must lie in (0, 10]")
        if self.trigger_probability is not None and not 0.0 < self.trigger_probability < 1.0:
            raise ValueError("trigger_probability must lie in (0, 1)")
        if not 0.0 <= self.guard_steepness <= 100.0:
            raise ValueError("guard_steepness must lie in [0, 100]")
        if not all(0.0 < share <= 1.0 for share in self.pair_share.values()):
            raise ValueError("every pair_share must lie in (0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tailored:
    """What `decide` and sizing take, one entry per position."""

    triggers: Triggers
    target: Floats
    pair_share: Floats


def tailored(rule: Rule, pairs: list[str], health_start: Floats, latency_s: Floats) -> Tailored:
    """Floor and target of each position.

    With F and T the rule's floor (raised by latency, see `Rule.jump_after_s`) and target, and s the
    pair's share of the pooled jumps,

        target = 1 + (T − 1)·s        floor = 1 + min((F − 1)·s, 0.9·(health_start − 1))

    so that a correlated pair is given as much room as it needs, and a position that starts below
    the floor is left alone until a tenth of its margin is gone, and then restored like any other. But
    no floor is scaled down below exp(j·s), j being a rare jump within the response
    (`Rule.rare_jump_after_s`): a position that starts below that is helped at once. So one that is
    first seen in the middle of a crash has the room to be helped before the next jump liquidates it.
    """
    own = [rule.by_pair.get(pair, (rule.floor, rule.target)) for pair in pairs]
    floor, target = np.array(own, dtype=np.float64).reshape(-1, 2).T
    rise = _rise(rule, latency_s)
    share = np.array([rule.pair_share.get(pair, 1.0) for pair in pairs])
    margin = (floor * rise - 1.0) * share
    target = 1.0 + (target * rise - 1.0) * share
    if rule.scaled_to_start and rule.rare_jump_after_s:
        kept = KEPT_MARGIN * np.maximum(health_start - 1.0, 0.0)
        jump = np.expm1(_jump(rule.rare_jump_after_s, latency_s) * share)
        margin = np.minimum(margin, np.maximum(kept, jump))
    trigger = nan if rule.trigger_probability is None else rule.trigger_probability
    return Tailored(
        triggers=Triggers(
            floor=1.0 + margin,
            trigger_probability=np.full(len(pairs), trigger),
            forecast_below=target,
        ),
        target=target,
        pair_share=share,
    )


def _rise(rule: Rule, latency_s: Floats) -> Floats:
    """exp(jump within the latency − jump within the shortest one known)."""
    known = rule.jump_after_s
    rise: Floats = np.exp(_jump(known, latency_s) - (known[min(known)] if known else 0.0))
    return rise


def _jump(known: Mapping[int, float], latency_s: Floats) -> Floats:
    """Linear between the latencies that are known, and as the square root of time beyond the longest;
    0 where none is."""
    if not known:
        return np.zeros_like(latency_s)
    seconds, jumps = np.array(sorted(known.items()), dtype=np.float64).T
    beyond = np.sqrt(np.maximum(latency_s / seconds[-1], 1.0))
    found: Floats = np.interp(latency_s, seconds, jumps) * beyond
    return found
