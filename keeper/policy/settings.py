"""What the owner asks for, per policy."""

from dataclasses import dataclass

from keeper.model.units import Wad

GUARD_SHARE = 0.4
"""So an action may come in vain three times in five before it costs more than it spares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When to act, how far to go, and how much may be moved.

    Holds 1 < floor < target and floor <= max_health_to_act. USD limits carry 8 decimals and
    count the value moved, not its cost; caps written with more decimals are rounded down.
    """

    name: str
    floor: Wad
    trigger_probability: float | None
    """Breach probability within `horizon_s` that acts; None: only the floor acts."""
    horizon_s: int
    target: Wad
    max_health_to_act: Wad
    max_per_action_usd8: int
    max_per_day_usd8: int
    min_action_usd8: int
    guard_share: float = GUARD_SHARE
    """Of what a liquidation would take: the most that an action may cost in cash."""
    guard_steepness: float = 0.0
    """How much that share falls with health: see `keeper.policy.worth.share_at`."""
    cooldown_s: int = 0
    """After an action, so long nothing follows that is not urgent: pools refill, feeds report."""
    response_s: int = 60
    """From an oracle's round until an action has its effect."""
