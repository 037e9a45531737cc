"""What a position is in danger of: what a liquidation takes, and how likely it is at any health."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keeper.model.lifecycle import Urgency
from keeper.model.units import Wad
from keeper.model.values import LiquidationTerms, PositionState
from keeper.policy.costs import expected_loss_usd8
from keeper.policy.urgency import liquidation_loss_usd8

Chances = Callable[[Sequence[Wad | None]], Sequence[float]]
"""Breach probabilities of one position if its health were these; nan where there is no forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """Of one position at one head."""

    urgency: Urgency
    terms: Callable[[PositionState], LiquidationTerms]
    chances: Chances

    def loss_usd8(self, position: PositionState) -> int:
        """What one liquidation would take, rounded down; 0 without debt."""
        return liquidation_loss_usd8(position.debt_usd8, self.terms(position))

    def expected_losses_usd8(self, positions: Sequence[PositionState]) -> list[int | None]:
        """Of what the position may become: the loss × how likely it is within the horizon."""
        chances = self.chances([each.health for each in positions])
        return [
            expected_loss_usd8(self.loss_usd8(each), chance)
            for each, chance in zip(positions, chances, strict=True)
        ]
