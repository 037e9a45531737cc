"""A plan for one row: by the account itself, or within what its guardian's mandate leaves."""

from collections.abc import Sequence
from dataclasses import replace

from keeper.engine.guarding import Guarding
from keeper.engine.watch import Adapter, Watched
from keeper.mandate import guardian
from keeper.model.reading import ReadingError
from keeper.model.units import Wad
from keeper.model.values import Cause, Head, Option, PositionState, Unwind
from keeper.policy.costs import GasPrice
from keeper.policy.plan import Plan, Refused, plan

NO_UNWIND = "Deleverage: only a guardian may sell collateral for debt (`guardian`)"


def plan_for(
    watched: Watched,
    position: PositionState,
    *,
    cause: Cause,
    adapter: Adapter,
    guarding: Guarding,
    head: Head,
    moved_today_usd8: int,
    gas_price: GasPrice,
    surviving: Wad,
    swaps_blocked: str | None,
) -> Plan | Refused:
    """`position` has the interest of the time until which an action may be mined."""
    options: Sequence[Option | Unwind] = adapter.options(position)
    policy, refused_below_usd8 = watched.policy, 0
    if watched.guard is not None and position.health is not None:
        try:
            charter = guarding.charter(watched.id)
        except ReadingError as error:
            return _refused(cause, f"the mandate cannot be read: {error}", position)
        reason = guardian.objection(
            watched.guard,
            charter,
            account=watched.id.account,
            health=position.health,
            now=head.timestamp,
            until=position.timestamp,
        )
        if reason is not None or charter.mandate is None:
            return _refused(cause, str(reason), position)
        options = guarding.options(watched.guard, position, swaps_blocked)
        refused_below_usd8 = charter.mandate.min_action
        policy = replace(
            policy,
            target=min(policy.target, charter.mandate.target),
            max_per_action_usd8=min(policy.max_per_action_usd8, charter.available),
        )
    chosen = plan(
        position=position,
        cause=cause,
        policy=policy,
        options=options,
        predict=lambda action: adapter.predict(action, position, position.timestamp),
        moved_today_usd8=moved_today_usd8,
        gas_price=gas_price,
        surviving=surviving,
        refused_below_usd8=refused_below_usd8,
    )
    if isinstance(chosen, Refused) and watched.guard is None and adapter.unwinds(position):
        return replace(chosen, reason=f"{chosen.reason}; {NO_UNWIND}")
    return chosen


def _refused(cause: Cause, reason: str, position: PositionState) -> Refused:
    return Refused(cause=cause, reason=reason, before=position, considered=())
