"""One row that acts, and the plan for it: by the account itself, or within what its guardian's
mandate leaves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from keeper.chain.transactions.seams import Stake
from keeper.engine.guarding import Guarding
from keeper.engine.reserves import Drawn, holder_of
from keeper.engine.watch import Adapter, Watched
from keeper.engine.wishing import wished_options, wished_policy
from keeper.mandate import guardian
from keeper.model.reading import ReadingError
from keeper.model.units import Address, Amount, Wad
from keeper.model.values import Cause, Head, Option, PositionState, Way
from keeper.model.wishes import Wish
from keeper.policy.costs import GasPrice
from keeper.policy.plan import Plan, Refused, plan
from keeper.policy.threat import Threat

NO_UNWIND = "Deleverage: only a guardian may sell collateral for debt (`guardian`)"
NO_REDUCTION = "ReducePosition: only a guardian may make a position smaller (`guardian`)"


NO_SUCH = "the position has neither such a debt nor such a collateral"
NO_PERP_DEBT = "a perp account has no debt to pay back: `keeper act topup` adds margin"
AT_TARGET = "health is at its target: say how much is to be moved (--usd)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row that acts, with all that its plan depends on."""

    row: int
    watched: Watched
    position: PositionState
    """With the interest of the time until which an action may be mined."""
    cause: Cause
    adapter: Adapter
    head: Head
    stake: Stake
    threat: Threat
    gas_price: GasPrice
    moved_today_usd8: int
    surviving: Wad
    swaps_blocked: str | None
    quarantined: str | None
    wish: Wish | None = None
    """The owner's, where it is one that acts."""


def plan_for(case: Case, guarding: Guarding, drawn: Drawn) -> Plan | Refused:
    """`drawn`: what others take of the reserves."""
    watched, position, policy = case.watched, case.position, case.watched.policy
    refused_below_usd8 = 0
    if case.quarantined is not None:
        return _refused(case, case.quarantined)
    options: Sequence[Way] = case.adapter.options(position)
    if watched.guard is not None and position.health is not None:
        try:
            charter = guarding.charter(watched.id)
        except ReadingError as error:
            return _refused(case, f"the mandate cannot be read: {error}")
        reason = guardian.objection(
            watched.guard,
            charter,
            account=watched.id.account,
            health=position.health,
            now=case.head.timestamp,
            until=position.timestamp,
        )
        if reason is not None or charter.mandate is None:
            return _refused(case, str(reason))
        options = guarding.options(watched.guard, position, case.swaps_blocked)
        refused_below_usd8 = charter.mandate.min_action
        policy = replace(
            policy,
            target=min(policy.target, charter.mandate.target),
            max_per_action_usd8=min(policy.max_per_action_usd8, charter.available),
        )
    if case.wish is not None:
        options, policy = (
            wished_options(case.wish, options),
            wished_policy(case.wish, policy, guarded=watched.guard is not None),
        )
        if not options:
            return _refused(case, _nothing_meant(case, case.wish))
        if position.health is not None and position.health >= policy.target:
            return _refused(case, AT_TARGET)
    holder = holder_of(watched)
    chosen = plan(
        position=position,
        cause=case.cause,
        policy=policy,
        options=[_left(option, holder, drawn) for option in options],
        predict=lambda action: case.adapter.predict(action, position, position.timestamp),
        objection=lambda action: case.adapter.objection(action, position),
        moved_today_usd8=case.moved_today_usd8,
        gas_price=case.gas_price,
        threat=case.threat,
        surviving=case.surviving,
        refused_below_usd8=refused_below_usd8,
    )
    if isinstance(chosen, Plan) or chosen.not_worth or watched.guard is not None:
        return chosen
    return replace(chosen, reason="; ".join((chosen.reason, *_for_a_guardian(case))))


def _nothing_meant(case: Case, wish: Wish) -> str:
    is_perp = bool(case.adapter.reductions(case.position))
    match wish.verb:
        case "deleverage":
            return NO_REDUCTION if is_perp else NO_UNWIND
        case "repay" if is_perp:
            return NO_PERP_DEBT
        case _:
            return NO_SUCH


def _for_a_guardian(case: Case) -> Iterator[str]:
    """What else there would be."""
    if case.adapter.unwinds(case.position):
        yield NO_UNWIND
    if case.adapter.reductions(case.position):
        yield NO_REDUCTION


def _left(option: Way, holder: Address, drawn: Drawn) -> Way:
    """A payment with what others leave of the reserve."""
    if not isinstance(option, Option) or option.source == "spare":
        return option
    left = option.held.raw - drawn.get((holder, option.token.address), 0)
    return replace(
        option, available=Amount(raw=max(min(option.available.raw, left), 0), token=option.token)
    )


def _refused(case: Case, reason: str) -> Refused:
    return Refused(cause=case.cause, reason=reason, before=case.position, considered=())
