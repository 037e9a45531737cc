"""One way to help a position, sized and priced, or the reason against it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt
from typing import assert_never

import numpy as np

from keeper.model.lifecycle import Urgency
from keeper.model.liquidity import Depth, Route
from keeper.model.units import BPS, Amount, Price, Wad, float_from_wad, mul_div_down, mul_div_up
from keeper.model.values import (
    Action,
    ActionKind,
    AddCollateral,
    AddMargin,
    Cause,
    Deleverage,
    ImpossibleActionError,
    MoveMargin,
    Option,
    Payment,
    PaymentKind,
    PositionState,
    ReducePosition,
    Reduction,
    Repay,
    Source,
    Unwind,
    Way,
)
from keeper.policy import ends
from keeper.policy.costs import Costs, GasPrice, payment_costs, reduction_costs, swap_costs
from keeper.policy.settings import Policy
from keeper.policy.size import comparable, greatest_within, least_reaching, raw_down, usd8_up
from keeper.policy.threat import Threat
from keeper.policy.worth import share_at, worth_acting

Predict = Callable[[Action], PositionState]
"""The position after an action, in exact integers."""
Objection = Callable[[Action], str | None]
"""Why the protocol would refuse an action of its size; None where it might not."""

PAYMENTS: Mapping[PaymentKind, type[Payment]] = {
    "AddCollateral": AddCollateral,
    "Repay": Repay,
    "AddMargin": AddMargin,
    "MoveMargin": MoveMargin,
}

GAS_PER_HOP = 110_000
"""Of each pool of a route beyond the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One option, sized, or the reason against it."""

    kind: ActionKind
    source: Source
    symbol: str
    route: Route | None
    action: Action | None
    moved_usd8: int
    costs: Costs | None
    health_after: Wad | None
    reaches_target: bool
    rejected: str | None
    not_worth: bool = False
    """Rejected because it would cost too much for what it spares, and for nothing else."""
    ends_at: str | None = None
    """What keeps it from being larger, to the owner; None where it is rejected."""
    slice: "Considered | None" = None
    """What to begin with where that is cheaper than all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What every option of one position is held against."""

    position: PositionState
    cause: Cause
    policy: Policy
    predict: Predict
    objection: Objection
    budget_usd8: int
    gas_price: GasPrice
    refused_below_usd8: int
    """Whoever acts for the account refuses to move less, whatever the danger."""
    threat: Threat
    loss_usd8: int
    """What one liquidation would take of the position as it stands."""


def consider(option: Way, scope: Scope) -> tuple[Considered, ...]:
    """A payment is one way; an unwind as many as there are routes, or one refusal."""
    match option:
        case Option():
            return (_possible(option, None, lambda: _payment(option, scope)),)
        case Unwind() if option.blocked is not None or not option.depths:
            why = option.blocked or (
                f"no pool that may be used gives {option.token.symbol} for {option.sells.symbol}"
            )
            return (_rejected(option, None, why),)
        case Unwind():
            return tuple(
                _possible(option, depth.route, partial(_swap, option, depth, scope))
                for depth in option.depths
            )
        case Reduction():
            return (_possible(option, None, lambda: _reduction(option, scope)),)
        case _:
            assert_never(option)


def _possible(option: Way, route: Route | None, found: Callable[[], Considered]) -> Considered:
    """What does not fit the position is no way; the others remain."""
    try:
        return found()
    except ImpossibleActionError as error:
        return _rejected(option, route, str(error))


def _payment(option: Option, scope: Scope) -> Considered:
    if option.blocked is not None:
        return _rejected(option, None, option.blocked)
    symbol = option.token.symbol
    if option.available.raw <= 0:
        return _rejected(option, None, f"the reserve holds no {symbol}")
    unit = option.token.unit
    most = min(option.available.raw, raw_down(scope.budget_usd8, option.price, unit))
    if most <= 0:
        return _rejected(option, None, "the limits leave nothing to move")
    if usd8_up(most, option.price, unit) < ends.DUST_USD8:
        return _rejected(option, None, f"the reserve holds less than a dollar of {symbol}")

    def action(raw: int) -> Payment:
        amount = Amount(raw=raw, token=option.token)
        return PAYMENTS[option.kind](position=scope.position.id, amount=amount)

    raw = _least(action, scope, most)
    chosen = action(raw)
    costs = payment_costs(chosen, option.price, scope.gas_price.usd8(option.gas))
    return _judged(
        option, None, chosen, costs, scope, ends.of_payment(option, scope.position, raw, most)
    )


def _swap(unwind: Unwind, depth: Depth, scope: Scope) -> Considered:
    """No more than keeps the price within its limit: what is beyond it is left to a later action,
    when others have brought the pools back."""

    def fair(bought: int, sold: int) -> bool:
        paid = sold * unwind.sells_price.value * 10**unwind.price.decimals * unwind.token.unit
        worth = bought * unwind.price.value * 10**unwind.sells_price.decimals * unwind.sells.unit
        return bool(paid * BPS <= worth * (BPS + unwind.slippage_limit))

    def within(raw: int) -> bool:
        sold = depth.sold(raw)
        # What is paid in all, and the price at which the last unit is bought: both are limited.
        return sold <= unwind.held.raw and fair(raw, sold) and fair(*depth.marginal(raw))

    budget = raw_down(scope.budget_usd8, unwind.price, unwind.token.unit)
    most = min(unwind.available.raw, budget, depth.deepest)
    if most <= 0:
        return _rejected(unwind, depth.route, "the limits leave nothing to move")
    most = greatest_within(within, most)
    if usd8_up(most, unwind.price, unwind.token.unit) < ends.DUST_USD8:
        return _rejected(
            unwind,
            depth.route,
            f"any amount would cost more than the {unwind.slippage_limit / 100:g} % against the "
            "oracle that are allowed now",
        )

    def action(raw: int) -> Deleverage:
        return Deleverage(
            position=scope.position.id,
            amount=Amount(raw=raw, token=unwind.token),
            sold=Amount(raw=depth.sold(raw), token=unwind.sells),
            route=depth.route,
        )

    gas_usd8 = scope.gas_price.usd8(unwind.gas + GAS_PER_HOP * (len(depth.route.hops) - 1))

    def judged(raw: int) -> Considered:
        chosen = action(raw)
        costs = swap_costs(chosen, unwind, depth.fee(chosen.sold.raw), gas_usd8)
        end = ends.of_swap(unwind, raw, most, budget=budget, deepest=depth.deepest)
        return _judged(unwind, depth.route, chosen, costs, scope, end)

    whole = _least(action, scope, most)
    found, part = judged(whole), _slice(whole, depth, unwind, gas_usd8)
    if found.rejected is not None or part >= whole or scope.threat.urgency is Urgency.URGENT:
        return found
    begun = judged(part)
    return found if begun.rejected is not None else replace(found, slice=begun)


def _reduction(reduction: Reduction, scope: Scope) -> Considered:
    """Sized at the worst quote that is allowed, so that what comes of it is no worse, and priced at
    what the pool pays. A guardian trades no more than would reach the target if the mark itself were
    paid."""
    if reduction.blocked is not None:
        return _rejected(reduction, None, reduction.blocked)
    budget = raw_down(scope.budget_usd8, reduction.price, reduction.token.unit)
    most = min(reduction.available.raw, budget)
    if most <= 0:
        return _rejected(reduction, None, "the limits leave nothing to move")

    def action(raw: int, price: Price, slippage_bps: int) -> ReducePosition:
        quote = _quote(reduction, raw, price, slippage_bps)
        return ReducePosition(
            position=scope.position.id,
            amount=Amount(raw=raw, token=reduction.token),
            quote=Amount(raw=quote, token=reduction.quote),
        )

    def at_worst(raw: int) -> ReducePosition:
        return action(raw, reduction.price, reduction.slippage_limit)

    def at_mark(raw: int) -> ReducePosition:
        return action(raw, reduction.mark_price, 0)

    whole = most
    most = _least(at_mark, scope, most, target=reduction.guardian_target)
    chosen = at_worst(_least(at_worst, scope, most))
    paid = action(chosen.amount.raw, reduction.pool_price, 0)
    if _worse(paid, chosen, is_long=reduction.is_long):
        return _rejected(
            reduction,
            None,
            f"its pool is further from the index than the {reduction.slippage_limit / 100:g} % that "
            "are allowed now, fee included",
        )
    costs = reduction_costs(paid, reduction, scope.gas_price.usd8(reduction.gas))
    end = ends.of_reduction(reduction, chosen.amount.raw, whole)
    return _judged(reduction, None, chosen, costs, scope, end)


def _worse(quoted: ReducePosition, bound: ReducePosition, *, is_long: bool) -> bool:
    shortfall = bound.quote.raw - quoted.quote.raw
    return shortfall > 0 if is_long else shortfall < 0


def _quote(reduction: Reduction, raw: int, price: Price, slippage_bps: int) -> int:
    """What a long's sale of `raw` brings, rounded up, or buying a short back costs, rounded down, at
    a price that much worse: the bound that a guardian sets."""
    scale = 10**price.decimals * reduction.token.unit
    fair = mul_div_down(raw * price.value, reduction.quote.unit, scale)
    if reduction.is_long:
        return mul_div_up(fair, BPS - slippage_bps, BPS)
    return mul_div_down(fair, BPS + slippage_bps, BPS)


def _slice(raw: int, depth: Depth, unwind: Unwind, gas_usd8: int) -> int:
    """How much of `raw` to buy at a time where pools refill between: √(2 × gas × depth), rounded
    down.

    The curve takes s²/(2 × depth) of s bought at once, so n slices of s = raw/n cost
    n × gas + raw × s/(2 × depth), least at that s. Depth is measured at `raw` itself, by what its
    curve takes beyond the price of the smallest quote: raw²/(2 × impact). Then s is
    raw × √(gas/impact), and all at once where the impact is below the gas of one more action, or gas
    costs nothing that is known.
    """
    impact_usd8 = usd8_up(depth.impact(raw), unwind.sells_price, unwind.sells.unit)
    if impact_usd8 <= gas_usd8 or gas_usd8 == 0:
        return raw
    return max(isqrt(raw * raw * gas_usd8 // impact_usd8), 1)


def _least(
    action: Callable[[int], Action], scope: Scope, most: int, target: Wad | None = None
) -> int:
    """For the policy's target, or another."""

    def health_at(raw: int) -> int:
        return comparable(scope.predict(action(raw)).health)

    now = comparable(scope.position.health)
    return least_reaching(health_at, now, target or scope.policy.target, most)


def _judged(
    option: Way,
    route: Route | None,
    action: Action,
    costs: Costs,
    scope: Scope,
    ends_at: str,
) -> Considered:
    after = scope.predict(action).health
    moved = usd8_up(action.amount.raw, option.price, option.token.unit)
    if (refused := scope.objection(action)) is not None:
        return _rejected(option, route, refused)
    if comparable(after) <= comparable(scope.position.health):
        return _rejected(option, route, "would not improve health")
    if moved < scope.refused_below_usd8:
        return _rejected(
            option,
            route,
            f"{moved / 1e8:.2f} USD would be moved, and the mandate refuses less than "
            f"{scope.refused_below_usd8 / 1e8:.2f} (ActionTooSmall)",
        )
    reaches = comparable(after) >= scope.policy.target
    least_usd8 = scope.policy.min_action_usd8
    # A small position below its floor is saved by a small action.
    if moved < least_usd8 and not (scope.cause == "floor" and reaches):
        return _rejected(
            option,
            route,
            f"{moved / 1e8:.2f} USD would be moved, less than min_action_usd = "
            f"{least_usd8 / 1e8:.2f}",
        )
    found = Considered(
        kind=kind_of(option),
        source=_source(option),
        symbol=option.token.symbol,
        route=route,
        action=action,
        moved_usd8=moved,
        costs=costs,
        health_after=after,
        reaches_target=reaches,
        rejected=None,
        ends_at=ends_at,
    )
    reason = not_worth(costs, scope.loss_usd8, scope.policy, scope.position.health)
    return found if reason is None else replace(found, rejected=reason, not_worth=True)


def not_worth(costs: Costs, loss_usd8: int, policy: Policy, health: Wad | None) -> str | None:
    """Why an action costs too much for what it spares; None if it is worth it (`worth_acting`).
    `loss_usd8`: what one liquidation would take now."""
    share = policy.guard_share
    if policy.guard_steepness > 0.0 and health is not None:
        now, steepness = np.array(float_from_wad(health)), np.array(policy.guard_steepness)
        share = float(share_at(now, np.array(share), steepness))
    if worth_acting(costs.cash_usd8, loss_usd8, share):
        return None
    return (
        f"not worth it: it would cost {costs.cash_usd8 / 1e8:,.2f} USD, more than "
        f"{share:.3g} × the {loss_usd8 / 1e8:,.2f} USD that a liquidation would take "
        "(guard_share)"
    )


def _rejected(option: Way, route: Route | None, reason: str) -> Considered:
    return Considered(
        kind=kind_of(option),
        source=_source(option),
        symbol=option.token.symbol,
        route=route,
        action=None,
        moved_usd8=0,
        costs=None,
        health_after=None,
        reaches_target=False,
        rejected=reason,
    )


def kind_of(option: Way) -> ActionKind:
    """Of the action that it would come to."""
    match option:
        case Option():
            return option.kind
        case Unwind():
            return "Deleverage"
        case Reduction():
            return "ReducePosition"
        case _:
            assert_never(option)


def _source(option: Way) -> Source:
    return option.source if isinstance(option, Option) else "pool"
