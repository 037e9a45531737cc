"""From "this position must be acted upon" to one action of an exact size, or a refusal.

Sizes are integers found with the protocol's own exact arithmetic (`predict`), never by a float.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import exp, isfinite, sqrt

from keeper.model.book import Book, health_with_room
from keeper.model.units import SECONDS_PER_YEAR, WAD, Amount, Wad, wad_from_fraction_up
from keeper.model.values import (
    Action,
    Cause,
    Deleverage,
    PositionState,
    ReducePosition,
    Way,
)
from keeper.policy.consider import Considered, Objection, Predict, Scope, consider
from keeper.policy.costs import Costs, GasPrice
from keeper.policy.settings import Policy
from keeper.policy.size import comparable
from keeper.policy.threat import Threat

DAY_S = 24 * 3600

SMALLER_PERCENT = (90, 80)
"""Tried beside an unwind's own size: the pools may have become thinner since they were asked."""

RESPONSE_DEVIATIONS = 4.0
"""Standard deviations of a move within the response window that a partial payment must survive:
jumps are fatter than the normal law, of which 4 leave out 1 in 30,000."""

HARDLY = 10
"""Anybody can send a few dollars to an account that is its own reserve. If they came first, each
gift would hold up the unwind of a large position for a mandate's cooldown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The chosen action with what it is expected to do."""

    cause: Cause
    action: Action
    smaller: tuple[Action, ...]
    """To be tried in its place, in this order, where the node refuses it."""
    moved_usd8: int
    before: PositionState
    predicted: PositionState
    reaches_target: bool
    considered: tuple[Considered, ...]
    costs: Costs
    slice: bool = False
    """Only the beginning, the rest being left to later blocks."""
    others: "tuple[Plan, ...]" = ()
    """Every other way, the best first, to be tried where the node refuses this one at every size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No action is possible or allowed; `reason` says why to the owner."""

    cause: Cause
    reason: str
    before: PositionState
    considered: tuple[Considered, ...]
    not_worth: bool = False
    """All that could be done would cost too much for what it spares."""


def surviving_health(volatility_per_year: float, response_s: int, perp: Book | None = None) -> Wad:
    """The least health that no usual move within the response window brings to 1:
    exp(`RESPONSE_DEVIATIONS` × σ × √T), rounded up; 1 where the volatility is unknown (nan). Of a perp
    account, `perp` its rows of the book, the health that leaves its prices as much room."""
    if not isfinite(volatility_per_year):
        return Wad(WAD)
    move = RESPONSE_DEVIATIONS * volatility_per_year * sqrt(response_s / SECONDS_PER_YEAR)
    factor = exp(min(move, 20.0))
    rooms = [] if perp is None else health_with_room(perp, factor).tolist()
    return wad_from_fraction_up(Fraction(max(filter(isfinite, rooms), default=factor)))


def plan(
    *,
    position: PositionState,
    cause: Cause,
    policy: Policy,
    options: Sequence[Way],
    predict: Predict,
    moved_today_usd8: int,
    gas_price: GasPrice,
    threat: Threat,
    surviving: Wad,
    objection: Objection = lambda _: None,
    refused_below_usd8: int = 0,
) -> Plan | Refused:
    """The first source that can help, in the order in which `options` names them; of its ways to
    reach the target the one of the least total cost, ties going to the order of `options`. What is
    worth less than it costs (`worth_acting`) is no way.

    Where a source cannot reach the target it does what it can, and the next one follows after it;
    but if that ends below the middle between floor and target, and a later source reaches the
    target at once, that one is taken: two actions are two blocks in danger, and in a fall the pools
    that are within their limits now may not be so in the next block. The same where a later source
    cannot reach it either, but gains more than `HARDLY` times as much. A payment from a reserve that
    leaves health below `surviving` would be lost with the position: then that reserve is kept, and
    the next source is asked. Where no source is left, an unwind that reaches less is better than
    none.

    The size is the least that reaches the target, bounded by the reserve, the protocol's caps, the
    limit per action and what is left of the limit per day. Where an unwind may take its time it
    begins with a slice. A plan that does not strictly improve health is refused, and so is one of
    less than `refused_below_usd8`.
    """
    scope = Scope(
        position=position,
        cause=cause,
        policy=policy,
        predict=predict,
        objection=objection,
        budget_usd8=min(policy.max_per_action_usd8, policy.max_per_day_usd8 - moved_today_usd8),
        gas_price=gas_price,
        refused_below_usd8=refused_below_usd8,
        threat=threat,
        loss_usd8=threat.loss_usd8(position),
    )
    considered = _with_losses_left(
        [
            _unless_in_vain(each, surviving)
            for option in options
            for each in consider(option, scope)
        ],
        scope,
    )
    ranked = _ranked(
        considered, comparable(position.health), Wad((policy.floor + policy.target) // 2)
    )
    if not ranked:
        return Refused(
            cause=cause,
            reason=_why_nothing(considered, policy, moved_today_usd8),
            before=position,
            considered=considered,
            not_worth=any(item.not_worth for item in considered),
        )
    best, *others = (_planned(item, considered, scope, surviving) for item in ranked)
    return replace(best, others=tuple(others))


def _planned(
    item: Considered, considered: tuple[Considered, ...], scope: Scope, surviving: Wad
) -> Plan:
    """A way, or its slice where the position survives that, as a plan."""
    part = item.slice
    if part is not None and comparable(part.health_after) >= surviving:
        item = part
    assert item.action is not None
    assert item.costs is not None
    return Plan(
        cause=scope.cause,
        action=item.action,
        smaller=_smaller(item.action),
        moved_usd8=item.moved_usd8,
        before=scope.position,
        predicted=scope.predict(item.action),
        reaches_target=item.reaches_target,
        considered=considered,
        costs=item.costs,
        slice=item is part,
    )


def _with_losses_left(found: Sequence[Considered], scope: Scope) -> tuple[Considered, ...]:
    """All options, their slices too, with the expected liquidation loss that they leave."""
    listed = [item for each in found for item in (each, each.slice) if item is not None]
    sized = [item for item in listed if item.action is not None]
    after = [scope.predict(item.action) for item in sized if item.action is not None]
    losses = scope.threat.expected_losses_usd8(after) if after else []
    left = {id(item): loss for item, loss in zip(sized, losses, strict=True)}

    def told(item: Considered) -> Considered:
        return replace(
            item,
            costs=item.costs and replace(item.costs, loss_left_usd8=left.get(id(item))),
            slice=item.slice and told(item.slice),
        )

    return tuple(map(told, found))


def _unless_in_vain(item: Considered, surviving: Wad) -> Considered:
    if (
        item.rejected is not None
        or item.reaches_target
        or item.source == "pool"
        or comparable(item.health_after) >= surviving
    ):
        return item
    return replace(
        item,
        rejected="all that can be moved brings health to "
        f"{comparable(item.health_after) / WAD:.4f}, which the next minutes may take below 1: the "
        "reserve would be lost with the position",
    )


def _ranked(considered: Iterable[Considered], now: int, enough: Wad) -> list[Considered]:
    """Each is the best of what those before it leave."""
    left, ranked = list(considered), list[Considered]()
    while (best := _best(left, now, enough)) is not None:
        ranked.append(best)
        left = [item for item in left if item is not best]
    return ranked


def _best(considered: Iterable[Considered], now: int, enough: Wad) -> Considered | None:
    """`now`: the health. `enough`: the health at which a source that does not reach the target need
    not be passed over for one that does more."""
    possible = [item for item in considered if item.rejected is None]
    if not possible:
        return None
    first = [item for item in possible if item.source == possible[0].source]
    best = _best_of(first)
    if best.reaches_target or comparable(best.health_after) >= enough:
        return best
    later = [item for item in possible if item.reaches_target]
    if later:
        return _best_of([item for item in later if item.source == later[0].source])
    furthest = _best_of(possible)
    if comparable(furthest.health_after) - now > HARDLY * (comparable(best.health_after) - now):
        return furthest
    return best


def _best_of(items: Sequence[Considered]) -> Considered:
    """The cheapest that reaches the target, or else the one that comes nearest to it."""
    reaching = [item for item in items if item.reaches_target]
    if reaching:
        return min(reaching, key=_total_usd8)
    return max(items, key=lambda item: (comparable(item.health_after), -_total_usd8(item)))


def _total_usd8(item: Considered) -> int:
    return 0 if item.costs is None else item.costs.total_usd8


def _smaller(action: Action) -> tuple[Action, ...]:
    match action:
        case Deleverage():
            return tuple(
                replace(action, amount=_part(action.amount, each), sold=_part(action.sold, each))
                for each in SMALLER_PERCENT
            )
        case ReducePosition():
            return tuple(
                replace(action, amount=_part(action.amount, each), quote=_part(action.quote, each))
                for each in SMALLER_PERCENT
            )
        case _:
            return ()


def _part(amount: Amount, percent: int) -> Amount:
    return Amount(raw=amount.raw * percent // 100, token=amount.token)


def _why_nothing(considered: Sequence[Considered], policy: Policy, moved_today_usd8: int) -> str:
    if policy.max_per_day_usd8 - moved_today_usd8 < max(policy.min_action_usd8, 1):
        return (
            f"the limit of {policy.max_per_day_usd8 / 1e8:,.0f} USD per day is used up "
            "(max_per_day_usd)"
        )
    if dear := [item for item in considered if item.not_worth]:
        return str(min(dear, key=_total_usd8).rejected)
    if not considered:
        return "the account has neither debt to repay nor collateral to add to"
    return "; ".join(
        f"{item.kind} {item.symbol}{f' by {item.route}' if item.route else ''}: {item.rejected}"
        for item in considered
    )
