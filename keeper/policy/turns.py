"""Whose turn it is at a reserve that several positions share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from keeper.model.units import Address, Amount
from keeper.model.values import PositionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one position would take of a reserve, and what that spares its owner."""

    position: PositionId
    holder: Address
    """Whose tokens the reserve is."""
    amount: Amount
    held: Amount
    """What the reserve holds of it."""
    moved_usd8: int
    spared_usd8: int
    """Expected liquidation loss before less after."""


def short_of(claims: Iterable[Claim]) -> frozenset[Address]:
    """The reserves that hold too little of some token for all that is claimed of it."""
    claimed: dict[tuple[Address, Address], tuple[int, int]] = {}
    for claim in claims:
        key = (claim.holder, claim.amount.token.address)
        before, _ = claimed.get(key, (0, 0))
        claimed[key] = (before + claim.amount.raw, claim.held.raw)
    return frozenset(holder for (holder, _), (all_of, held) in claimed.items() if all_of > held)


def in_turn(claims: Sequence[Claim]) -> list[Claim]:
    """Where a reserve cannot save all, first whom a dollar of it spares the most expected loss;
    equals in the order given.

    The reserve is what is scarce: filled by the highest gain per unit it spares the most in all,
    up to the last one, which may get less than it asks for. Whom it cannot save any more takes
    nothing (`surviving_health`).
    """
    return sorted(claims, key=lambda claim: -Fraction(claim.spared_usd8, max(claim.moved_usd8, 1)))
