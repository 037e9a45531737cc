"""What a demo ends with: the figures, and whether the keeper did what it is for."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from keeper.devnet.story import AccountTold, ActionTold
from keeper.devnet.twins import TWINS, Twin
from keeper.model.units import WAD, Address, Wad

OVERSHOOT = Fraction("1.01")
"""An action may restore at most this many times its target: more would be locked up for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTold:
    """What the keeper's own key turned out to be good for, where guardians act."""

    address: Address
    tokens: tuple[str, ...]
    """What its account holds besides ether, at the end: symbols, or addresses of what has none."""
    approvals: int
    """Of how many tokens it let anybody take its own, or anybody let it take theirs."""
    counterparties: tuple[Address, ...]
    """Whom it ever sent a transaction to, and what it ever deployed."""
    guardians: tuple[Address, ...]

    def problems(self) -> list[str]:
        """Where it is more than gas money and a way to the guardians."""
        strangers = sorted(set(self.counterparties) - set(self.guardians))
        return [
            *(f"the keeper's account holds {symbol}" for symbol in self.tokens),
            *(["an allowance was given by the keeper's account or to it"] * bool(self.approvals)),
            *(f"the keeper's account called {each}, which is no guardian" for each in strangers),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A finished demo."""

    scenario: str
    calm: bool
    """Whether success is that nothing happened."""
    blocks: int
    told: tuple[AccountTold, ...]
    reads_per_block: int
    broadcasts: int
    """Transactions that the keeper sent, mined or not."""
    head_to_broadcast_ms: tuple[float, ...]
    late_beats: int
    """Blocks that were mined late because the machine was busy."""
    targets: Mapping[str, Fraction] = field(default_factory=lambda: targets(TWINS))
    """Health that an action restores, by guarded twin."""
    owed: str = "debt"
    """What the market calls the size of a position: a perp has a notional."""
    key: KeyTold | None = None
    """None in direct mode, where the keeper has the accounts' own keys."""

    def problems(self) -> list[str]:
        """Why the demo failed; empty when it is a success."""
        found = self._problems_in_calm() if self.calm else self._problems_in_crash()
        return found if self.key is None else [*found, *self.key.problems()]

    def _problems_in_calm(self) -> list[str]:
        found = [
            f"the {story.name} twin was liquidated {len(story.liquidations)} times in a calm market"
            for story in self.told
            if story.liquidations
        ]
        if self.broadcasts:
            found.append(f"{self.broadcasts} transactions were sent, although nobody was in danger")
        return found

    def _problems_in_crash(self) -> list[str]:
        twins = {story.name: story for story in self.told}
        unprotected, forecast = twins["unprotected"], twins["forecast"]
        found = []
        if not unprotected.liquidations:
            found.append("the unprotected twin was not liquidated: the scenario shows nothing")
        if forecast.liquidations:
            found.append(f"the forecast twin was liquidated {len(forecast.liquidations)} times")
        if forecast.cost_usd8 >= unprotected.loss_usd8:
            found.append(
                f"protecting the forecast twin cost {forecast.cost_usd8 / 1e8:.2f} USD, "
                f"not less than the unprotected twin's loss of {unprotected.loss_usd8 / 1e8:.2f}"
            )
        found += [
            f"{action.kind} in block {action.block} took the forecast twin's health to "
            f"{_health(action.health_after)}, more than 1 % above its target"
            for action in forecast.actions
            if _overshoots(action, self.targets["forecast"])
        ]
        return found

    def document(self) -> dict[str, Any]:
        """The figures as plain values, money in USD."""
        latencies = [action.latency_blocks for story in self.told for action in story.actions]
        return {
            "scenario": self.scenario,
            "blocks": self.blocks,
            "accounts": [_account(story) for story in self.told],
            "reads_per_block": self.reads_per_block,
            "broadcasts": self.broadcasts,
            "head_to_broadcast_ms": _percentiles(self.head_to_broadcast_ms),
            "latency_blocks": _percentiles(latencies),
            "late_blocks": self.late_beats,
            "keeper": None if self.key is None else asdict(self.key),
        }


def targets(twins: Sequence[Twin]) -> dict[str, Fraction]:
    """Of the twins that are guarded, by name."""
    return {twin.name: Fraction(twin.policy.target) for twin in twins if twin.policy is not None}


def floors(twins: Sequence[Twin]) -> dict[str, Fraction]:
    """Of the twins that are guarded, by name."""
    return {twin.name: Fraction(twin.policy.floor) for twin in twins if twin.policy is not None}


def _overshoots(action: ActionTold, target: Fraction) -> bool:
    if action.swap_usd8 < 0:
        return False  # the pool paid more than the oracle's price: what that gained is no overshoot
    return action.health_after is None or action.health_after > target * OVERSHOOT * WAD


def _account(story: AccountTold) -> dict[str, Any]:
    return {
        "name": story.name,
        "liquidations": len(story.liquidations),
        "loss_usd": story.loss_usd8 / 1e8,
        "actions": [
            {
                "kind": action.kind,
                "cause": action.cause,
                "block": action.block,
                "health_before": _health(action.health_before),
                "health_after": _health(action.health_after),
                "amount_usd": action.amount_usd8 / 1e8,
                "cost_usd": action.cost_usd8 / 1e8,
                "latency_blocks": action.latency_blocks,
                "transaction": action.transaction,
            }
            for action in story.actions
        ],
        "cost_usd": story.cost_usd8 / 1e8,
        "min_health": _health(story.min_health),
        "debt_start_usd": story.debt_start_usd8 / 1e8,
        "debt_end_usd": story.debt_end_usd8 / 1e8,
    }


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(values, (50, 95)).tolist()
    return {"p50": round(p50, 3), "p95": round(p95, 3)}


def _health(health: Wad | None) -> float | None:
    return None if health is None else health / WAD
