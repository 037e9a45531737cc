"""What an owner would have to pay into a position for it to reach its target."""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.model.units import Amount, Wad
from keeper.model.values import Action, Option, PaymentKind, PositionState
from keeper.policy.consider import PAYMENTS, Predict
from keeper.policy.size import comparable, least_reaching, raw_down

MOST_FACTOR = 10
"""Of all that a position has and owes: no target that may be set needs more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """One payment that would do alone."""

    kind: PaymentKind
    amount: Amount

    def __str__(self) -> str:
        verb = "repay" if self.kind == "Repay" else "add"
        return f"{verb} {self.amount}"


def needed(
    position: PositionState, options: Sequence[Option], predict: Predict, target: Wad
) -> tuple[Needed, ...]:
    """For each kind of payment that the protocol takes now the least amount, to the smallest unit,
    after which health is at `target`; whoever's money it is. In the order of `options`."""
    found: dict[tuple[PaymentKind, str], Needed] = {}
    debt_usd8 = position.debt_usd8
    added_usd8 = MOST_FACTOR * (position.collateral_usd8 + debt_usd8)
    for option in options:
        if option.blocked is not None or (option.kind, option.token.address) in found:
            continue

        def paid(raw: int, option: Option = option) -> Action:
            amount = Amount(raw=raw, token=option.token)
            return PAYMENTS[option.kind](position=position.id, amount=amount)

        def health_at(raw: int, option: Option = option) -> int:
            return comparable(predict(paid(raw, option)).health)

        most_usd8 = debt_usd8 if option.kind == "Repay" else added_usd8
        most = raw_down(most_usd8, option.price, option.token.unit)
        if most <= 0 or health_at(most) < target:
            continue
        raw = least_reaching(health_at, comparable(position.health), target, most)
        found[option.kind, option.token.address] = Needed(
            kind=option.kind, amount=Amount(raw=raw, token=option.token)
        )
    return tuple(found.values())
