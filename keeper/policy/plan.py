"""From "this position must be acted upon" to one action of an exact size, or a refusal.

Sizes are integers found with the protocol's own exact arithmetic (`predict`), never by a float.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from keeper.model.units import WAD, Amount, Price, Wad, mul_div_down, mul_div_up
from keeper.model.values import (
    Action,
    ActionKind,
    AddCollateral,
    Cause,
    Option,
    PositionId,
    PositionState,
    Repay,
)
from keeper.policy.settings import Policy

Predict = Callable[[Action], PositionState]
"""The position after an action, in exact integers."""

NO_DEBT_HEALTH = Wad(10**9 * WAD)
"""Stands for the health of a position without debt where health is compared."""

DAY_S = 24 * 3600

DUST_USD8 = 10**8
"""A protocol may round less than this to nothing, and anybody can send it to a wallet."""

_INVERSE = WAD**3
_SECANT_STEPS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One option, sized, or the reason against it."""

    kind: ActionKind
    symbol: str
    action: Action | None
    moved_usd8: int
    health_after: Wad | None
    reaches_target: bool
    rejected: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The chosen action with what it is expected to do."""

    cause: Cause
    action: Action
    moved_usd8: int
    before: PositionState
    predicted: PositionState
    reaches_target: bool
    considered: tuple[Considered, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No action is possible or allowed; `reason` says why to the owner."""

    cause: Cause
    reason: str
    before: PositionState
    considered: tuple[Considered, ...]


def usd8_up(raw: int, price: Price, unit: int) -> int:
    """The value of `raw` smallest units in USD with 8 decimals, rounded up."""
    return mul_div_up(raw * price.value, 10**8, 10**price.decimals * unit)


def raw_down(usd8: int, price: Price, unit: int) -> int:
    """The most smallest units that are worth at most `usd8`."""
    return mul_div_down(usd8 * unit, 10**price.decimals, 10**8 * price.value)


def plan(
    *,
    position: PositionState,
    cause: Cause,
    policy: Policy,
    options: Sequence[Option],
    predict: Predict,
    moved_today_usd8: int,
) -> Plan | Refused:
    """Choose the action that moves the fewest USD to reach the target; where no single one can
    reach it, the one that brings health highest. Ties go to the order of `options`.

    The size is the least that reaches the target, bounded by the reserve, the protocol's caps, the
    limit per action and what is left of the limit per day. A plan that does not strictly improve
    health is refused.
    """
    budget_usd8 = min(policy.max_per_action_usd8, policy.max_per_day_usd8 - moved_today_usd8)
    considered = tuple(
        _consider(option, position, cause, policy, predict, budget_usd8) for option in options
    )
    best = _best(considered)
    if best is None or best.action is None:
        return Refused(
            cause=cause,
            reason=_why_nothing(considered, policy, moved_today_usd8),
            before=position,
            considered=considered,
        )
    return Plan(
        cause=cause,
        action=best.action,
        moved_usd8=best.moved_usd8,
        before=position,
        predicted=predict(best.action),
        reaches_target=best.reaches_target,
        considered=considered,
    )


def _best(considered: Iterable[Considered]) -> Considered | None:
    possible = [item for item in considered if item.rejected is None]
    reaching = [item for item in possible if item.reaches_target]
    if reaching:
        return min(reaching, key=lambda item: item.moved_usd8)
    return max(possible, key=lambda item: comparable(item.health_after), default=None)


def _consider(
    option: Option,
    position: PositionState,
    cause: Cause,
    policy: Policy,
    predict: Predict,
    budget_usd8: int,
) -> Considered:
    def rejected(reason: str) -> Considered:
        return Considered(
            kind=option.kind,
            symbol=option.token.symbol,
            action=None,
            moved_usd8=0,
            health_after=None,
            reaches_target=False,
            rejected=reason,
        )

    if option.blocked is not None:
        return rejected(option.blocked)
    if option.available.raw <= 0:
        return rejected(f"the reserve holds no {option.token.symbol}")
    unit = option.token.unit
    most = min(option.available.raw, raw_down(budget_usd8, option.price, unit))
    if most <= 0:
        return rejected("the limits leave nothing to move")
    if usd8_up(most, option.price, unit) < DUST_USD8:
        return rejected(f"the reserve holds less than a dollar of {option.token.symbol}")

    def health_at(raw: int) -> int:
        return comparable(predict(_action(option, position.id, raw)).health)

    raw = least_reaching(health_at, comparable(position.health), policy.target, most)
    action = _action(option, position.id, raw)
    after = predict(action).health
    moved = usd8_up(raw, option.price, unit)
    if comparable(after) <= comparable(position.health):
        return rejected("would not improve health")
    reaches = comparable(after) >= policy.target
    # A small position below its floor is saved by a small action.
    if moved < policy.min_action_usd8 and not (cause == "floor" and reaches):
        return rejected(
            f"{moved / 1e8:.2f} USD would be moved, less than min_action_usd = "
            f"{policy.min_action_usd8 / 1e8:.2f}"
        )
    return Considered(
        kind=option.kind,
        symbol=option.token.symbol,
        action=action,
        moved_usd8=moved,
        health_after=after,
        reaches_target=reaches,
        rejected=None,
    )


def least_reaching(health_at: Callable[[int], int], now: int, target: int, most: int) -> int:
    """The least amount in [1, most] with `health_at(amount) >= target`, or `most` if none does.

    `health_at` must not fall with the amount. Integer secant steps come next to the answer in a
    handful of calls; galloping from there brackets it, and bisection ends at the exact unit.
    """

    def gap_at(raw: int) -> int:
        # Debt over collateral is linear in a repayment and nearly so in added collateral.
        return goal - _INVERSE // max(health_at(raw), 1)

    goal = _INVERSE // target
    low, high = 0, most
    before, gap_before = 0, goal - _INVERSE // max(now, 1)
    guess, gap = most, gap_at(most)
    if gap < 0:
        return most
    for _ in range(_SECANT_STEPS):
        if gap == gap_before:
            break
        after = guess - gap * (guess - before) // (gap - gap_before)
        if not low < after < high:
            break
        before, gap_before, guess, gap = guess, gap, after, gap_at(after)
        low, high = (after, high) if gap < 0 else (low, after)
        if abs(guess - before) <= 1:
            break
    reach = 1
    while high - low > reach:
        # Whichever end the last step moved is next to the answer: walk away from it.
        probe = low + reach if guess == low else high - reach
        reaches = gap_at(probe) >= 0
        low, high = (low, probe) if reaches else (probe, high)
        if reaches is (guess == low):
            break
        guess, reach = probe, 2 * reach
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if gap_at(middle) < 0 else (low, middle)
    return high


def _action(option: Option, position: PositionId, raw: int) -> Action:
    amount = Amount(raw=raw, token=option.token)
    match option.kind:
        case "AddCollateral":
            return AddCollateral(position=position, amount=amount)
        case "Repay":
            return Repay(position=position, amount=amount)


def comparable(health: Wad | None) -> int:
    """Health as a number that orders positions, those without debt above all others."""
    return NO_DEBT_HEALTH if health is None else min(health, NO_DEBT_HEALTH)


def _why_nothing(considered: Sequence[Considered], policy: Policy, moved_today_usd8: int) -> str:
    if policy.max_per_day_usd8 - moved_today_usd8 < max(policy.min_action_usd8, 1):
        return (
            f"the limit of {policy.max_per_day_usd8 / 1e8:,.0f} USD per day is used up "
            "(max_per_day_usd)"
        )
    if not considered:
        return "the account has neither debt to repay nor collateral to add to"
    return "; ".join(f"{item.kind} {item.symbol}: {item.rejected}" for item in considered)
