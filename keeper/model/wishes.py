"""What an owner wishes the keeper to do now, by hand."""

from dataclasses import dataclass
from typing import Literal

from keeper.model.values import PositionId

Verb = Literal["topup", "repay", "deleverage"]
PATIENCE_S = 120.0
"""A wish that no pass has looked at for so long is not meant any more: prices have moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One action, sized by the keeper when it comes to it: up to the policy's target, or to `usd8`
    US dollars with 8 decimals whatever health that leads to. The policy's limits hold for both."""

    id: int
    position: PositionId
    verb: Verb
    token: str | None
    """What is paid in, or the debt that is paid back, by its symbol or address; None leaves it to
    the keeper."""
    usd8: int | None
