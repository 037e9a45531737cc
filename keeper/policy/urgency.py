"""How near liquidation is, and what keeping it away is worth."""

from keeper.model.lifecycle import Urgency
from keeper.model.units import BPS, WAD, Wad
from keeper.model.values import LiquidationTerms

IMMINENT_PROBABILITY = 0.5
"""A breach within the horizon that is likelier than not."""


def urgency_of(health: Wad | None, floor: Wad, breach_probability: float | None) -> Urgency:
    """Urgent when more than half of the way from the floor to liquidation is gone, or a breach is
    likelier than not; `breach_probability` is None where there is no forecast."""
    if health is not None and 2 * (health - WAD) < floor - WAD:
        return Urgency.URGENT
    if breach_probability is not None and breach_probability > IMMINENT_PROBABILITY:
        return Urgency.URGENT
    return Urgency.ROUTINE


def liquidation_loss_usd8(debt_usd8: int, terms: LiquidationTerms) -> int:
    """What one liquidation takes from the owner beyond the debt it repays, rounded down:
    penalty × close factor × debt, and what a second kind of liquidation takes besides."""
    first = debt_usd8 * terms.close_factor * terms.liquidation_penalty // (BPS * BPS)
    return first + terms.besides_usd8
