"""Reserves that several positions share: what is promised of them, and whose turn it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from keeper.chain.transactions.manager import TransactionManager
from keeper.engine.watch import Watched
from keeper.model.units import Address, Amount, mul_div_down
from keeper.model.values import Action, Option, Own, PositionId

Drawn = Mapping[tuple[Address, Address], int]
"""Raw units that others have taken, by holder and token."""
NOTHING_DRAWN: Drawn = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A position's place at a reserve that cannot save all."""

    holder: Address
    order: tuple[str, ...]
    """The positions' labels, who is saved first first."""
    left: Amount
    """For this one, after those before it."""


def holder_of(watched: Watched) -> Address:
    """Whose tokens pay for a position."""
    return watched.id.account if watched.guard is None else watched.guard.purse.holder


def reserve_usd8(options: Iterable[Option]) -> int:
    """What a position's reserve holds of all that could be paid into it, rounded down, in USD with 8
    decimals."""
    held = {option.token.address: option for option in options}
    return sum(
        mul_div_down(
            each.held.raw * each.price.value, 10**8, 10**each.price.decimals * each.token.unit
        )
        for each in held.values()
    )


class Reserves:
    """Remembers what plans under way will take: the head does not show it yet."""

    def __init__(self, watched: Sequence[Watched], transactions: TransactionManager) -> None:
        self._holders = {row.id: holder_of(row) for row in watched}
        self._transactions = transactions
        self._promised: dict[PositionId, Amount] = {}

    def promise(self, action: Action) -> None:
        """A plan was sent."""
        if not isinstance(action, Own):
            self._promised[action.position] = action.amount

    def drawn(self) -> dict[tuple[Address, Address], int]:
        """By the plans that are under way. One that is mined and waits for its depth counts still:
        rather too much than too little."""
        self._promised = {
            position: amount
            for position, amount in self._promised.items()
            if self._transactions.pending(position)
        }
        drawn: dict[tuple[Address, Address], int] = {}
        for position, amount in self._promised.items():
            key = (self._holders[position], amount.token.address)
            drawn[key] = drawn.get(key, 0) + amount.raw
        return drawn
