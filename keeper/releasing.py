"""After a crash: what of each position's collateral is not needed any more. Proposed, never sent."""

from dataclasses import dataclass

from keeper.chain.rpc import Request, Rpc, RpcError
from keeper.config.settings import Settings
from keeper.engine.watch import Watched
from keeper.inquiry import look
from keeper.model.reading import Call, ReadingError
from keeper.model.units import SECONDS_PER_DAY, WAD, Amount, Wad, mul_div_up
from keeper.model.values import Head, PositionState
from keeper.policy.tailoring import health_of
from keeper.protocols.aave_v3 import AavePosition, decode_error
from keeper.protocols.aave_v3_release import released, surplus, withdraw_call
from keeper.storage import views


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What may leave a position, or why nothing is proposed. Healths are None without debt."""

    label: str
    account: str
    days: int
    target: float
    health: float | None
    lowest_health: float | None
    """Of those days, as the keeper saw it."""
    reason: str | None
    amount: Amount | None = None
    value_usd: float | None = None
    health_after: float | None = None
    transaction: Call | None = None
    """For the account's owner to send."""


async def releases(settings: Settings, days: int) -> list[Release]:
    """One for each configured position, tried on the chain by eth_call at the block it was read at.

    A position whose health was at or above its target on each of the last `days` days may be left
    with the target at the lowest of them: what it has now beyond that, by as much as prices have
    risen since, stays. Raises what `look` raises."""
    seen = await look(settings)
    head = seen.snapshot.head
    lowest = _lowest(settings, head.timestamp // SECONDS_PER_DAY, days)
    targets = {
        (each.market, each.account): health_of(each.target)
        for each in views.positions(settings.store_path)
    }
    rpc = Rpc(settings.chain.rpc_url)
    try:
        return [
            await _release(rpc, head, row, position, days, lowest, targets)
            for row, position in zip(seen.watched, seen.snapshot.positions, strict=True)
        ]
    finally:
        await rpc.close()


def _lowest(
    settings: Settings, today: int, days: int
) -> dict[tuple[str, str], tuple[int, float | None]]:
    """Of each position: on how many of the days it was seen with debt, and its lowest health."""
    found: dict[tuple[str, str], tuple[int, float | None]] = {}
    for day in views.lowest_of_days(settings.store_path, today - days, today):
        if day.lowest_health is not None:
            key = (day.market, day.account)
            count, low = found.get(key, (0, None))
            lower = day.lowest_health if low is None else min(low, day.lowest_health)
            found[key] = (count + (day.day < today), lower)
    return found


async def _release(
    rpc: Rpc,
    head: Head,
    row: Watched,
    position: PositionState | ReadingError,
    days: int,
    lowest: dict[tuple[str, str], tuple[int, float | None]],
    targets: dict[tuple[str, str], Wad],
) -> Release:
    key = (row.id.market, row.id.account)
    target = targets.get(key, row.policy.target)
    count, low = lowest.get(key, (0, None))
    health = None if isinstance(position, ReadingError) else position.health

    def nothing(reason: str) -> Release:
        return Release(
            label=row.label,
            account=row.id.account,
            days=days,
            target=target / WAD,
            health=None if health is None else health / WAD,
            lowest_health=low,
            reason=reason,
        )

    if isinstance(position, ReadingError):
        return nothing(f"it cannot be read: {position}")
    if not isinstance(position, AavePosition):
        return nothing("only Aave v3.0 positions are looked at")
    if health is None:
        return nothing("it has no debt: all of it is free")
    if count < days or low is None:
        return nothing(f"the keeper has seen it on {count} of the last {days} days")
    if health_of(low) < target:
        return nothing(f"its health was {low:.4f} within the last {days} days, below its target")
    least = Wad(max(mul_div_up(target, health, min(health_of(low), health)), target))
    amount = surplus(position, least)
    if amount is None:
        return nothing("nothing may leave it")
    leg = next(each for each in position.legs if each.state.reserve.token == amount.token)
    usd8 = amount.raw * position.price(leg) // amount.token.unit
    if usd8 < row.policy.min_action_usd8:
        return nothing(f"{usd8 / 1e8:,.2f} USD are less than min_action_usd")
    call = withdraw_call(position, amount)
    refused = await _refusal(rpc, head, row, call)
    if refused is not None:
        return nothing(f"the chain refuses to let {amount} leave: {refused}")
    after = released(position, amount).health
    return Release(
        label=row.label,
        account=row.id.account,
        days=days,
        target=target / WAD,
        health=health / WAD,
        lowest_health=low,
        reason=None,
        amount=amount,
        value_usd=usd8 / 1e8,
        health_after=None if after is None else after / WAD,
        transaction=call,
    )


async def _refusal(rpc: Rpc, head: Head, row: Watched, call: Call) -> str | None:
    """Why the call would revert if the account made it at the head."""
    request = {"from": row.id.account, "to": call.target, "data": "0x" + call.data.hex()}
    (answer,) = await rpc.batch(
        [Request(method="eth_call", params=(request, {"blockHash": head.hash}))]
    )
    if not isinstance(answer, RpcError):
        return None
    return decode_error(answer.revert) if answer.revert else str(answer)
