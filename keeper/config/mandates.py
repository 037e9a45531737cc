"""Mandates as an owner writes them: what cannot be meant, and the contract's terms for the rest.

The rolling limit is `max_per_day_usd` at once, which comes back evenly over a day.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from keeper.config.document import KeyPath
from keeper.config.schema import MandateTable, MoveTable, Tables
from keeper.config.settings import MandateSettings, MoveSettings
from keeper.config.written import WrongValueError, closest
from keeper.model.mandate import MAX_COLLATERALS, MAX_HOPS, MAX_POOLS, NOBODY, Mandate
from keeper.model.units import SECONDS_PER_DAY, WAD, Address, Bps, Wad

URGENT_BPS: Final[Mapping[str, Bps]] = {"aave_v3": Bps(200), "perp_v2": Bps(125)}
"""By protocol: about half of what its liquidations usually take, the most that a guardian allows."""
_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "aave_v3": (
        "collaterals",
        "pools",
        "emergency_health",
        "emergency_collateral",
        "emergency_debt",
        "emergency_route",
    ),
    "perp_v2": ("base_tokens", "move"),
}
"""Keys that have a meaning with one protocol alone."""


def mandate_settings(name: str, table: MandateTable, protocol: str) -> MandateSettings:
    """What the section says, with `NOBODY` where it names nobody."""
    return MandateSettings(
        name=name,
        account=table.account,
        market=table.market,
        mandate=Mandate(
            keeper=table.keeper,
            freezer=table.freezer or NOBODY,
            reserve=table.reserve or table.account,
            max_health_to_act=table.max_health_to_act,
            target=table.target,
            emergency_health=table.emergency_health or Wad(0),
            emergency_outlives_expiry=table.emergency_outlives_expiry,
            slippage_calm_bps=table.slippage_calm_bps,
            slippage_urgent_bps=_urgent_bps(table, protocol),
            limit_max=table.max_per_day_usd,
            limit_per_second=table.max_per_day_usd // SECONDS_PER_DAY,
            min_action=table.min_action_usd,
            cooldown_s=table.cooldown,
            expiry=table.expires,
            max_hops=table.max_hops if table.pools else 0,
            collaterals=(*table.collaterals, *table.base_tokens),
            pools=table.pools,
            emergency_collateral=table.emergency_collateral or NOBODY,
            emergency_debt=table.emergency_debt or NOBODY,
            emergency_route=table.emergency_route,
        ),
        collaterals=table.collaterals,
        reserve_tokens=table.reserve_tokens,
        move=None if table.move is None else _move(table.move),
    )


def _move(table: MoveTable) -> MoveSettings:
    return MoveSettings(
        market=table.market,
        floor=table.floor,
        limit_max=table.max_per_day_usd,
        allowance=table.allowance,
    )


def _urgent_bps(table: MandateTable, protocol: str) -> Bps:
    return URGENT_BPS[protocol] if table.slippage_urgent_bps is None else table.slippage_urgent_bps


def mandate_contradictions(tables: Tables) -> Iterator[tuple[KeyPath, WrongValueError]]:
    """Every mandate that its guardian would refuse, as far as that can be seen without a chain."""
    yield from _shared_allowances(tables)
    for name, table in tables.mandates.items():
        path = ("mandates", name)
        yield from _health_contradictions(path, table)
        yield from _size_contradictions(path, table)
        yield from _emergency_contradictions(path, table)
        yield from _move_contradictions(path, table, tables)
        if table.market in tables.markets:
            yield from _protocol_contradictions(path, table, tables.markets[table.market].protocol)
        else:
            meant = closest(table.market, list(tables.markets))
            yield (
                (*path, "market"),
                WrongValueError(
                    f"there is no [markets.{table.market}]",
                    "a mandate is for one market",
                    f'write "{meant}"' if meant else f"add the section [markets.{table.market}]",
                ),
            )


def _shared_allowances(tables: Tables) -> Iterator[tuple[KeyPath, WrongValueError]]:
    """An owner has one guardian for each protocol, and a token one allowance for it."""
    seen: dict[tuple[str, Address, Address, str], tuple[str, Decimal]] = {}
    for name, table in tables.mandates.items():
        market = tables.markets.get(table.market)
        if market is None:
            continue
        payer = table.reserve or table.account
        named: list[tuple[KeyPath, str, Decimal]] = [
            (("reserve_tokens",), token, amount) for token, amount in table.reserve_tokens.items()
        ]
        if table.move is not None:
            lent = f"what is lent at {table.move.market}"
            named.append((("move", "allowance"), lent, table.move.allowance))
        for path, token, amount in named:
            key = (market.protocol, table.account, payer, token)
            first, already = seen.setdefault(key, (name, amount))
            if already != amount:
                yield (
                    ("mandates", name, *path),
                    WrongValueError(
                        f"{amount} of {token}, and {already} in [mandates.{first}]",
                        "both markets have one guardian, and so one allowance of the token: the one "
                        "that is set last would hold for both",
                        "write in both what may be taken for both together",
                    ),
                )


def _protocol_contradictions(
    path: tuple[str, ...], table: MandateTable, protocol: str
) -> Iterator[tuple[KeyPath, WrongValueError]]:
    for other, keys in _ONLY.items():
        for key in keys:
            if other != protocol and getattr(table, key):
                yield (
                    (*path, key),
                    WrongValueError(
                        f"a mandate for {protocol} has no `{key}`",
                        "loans are unwound by selling collateral on pools, a perp is made smaller at "
                        "its venue",
                        f"take it out; {protocol} has {' and '.join(_ONLY[protocol][:2])}",
                    ),
                )
    urgent = _urgent_bps(table, protocol)
    if table.slippage_calm_bps > urgent:
        yield (
            (*path, "slippage_calm_bps"),
            WrongValueError(
                "slippage_calm_bps is above slippage_urgent_bps",
                "what may be lost grows with the danger, never the other way",
                f"lower slippage_calm_bps to at most {urgent}",
            ),
        )


def _move_contradictions(
    path: tuple[str, ...], table: MandateTable, tables: Tables
) -> Iterator[tuple[KeyPath, WrongValueError]]:
    if table.move is None:
        return
    if table.move.max_per_day_usd < table.min_action_usd:
        yield (
            (*path, "move", "max_per_day_usd"),
            WrongValueError(
                "max_per_day_usd is below min_action_usd",
                "no move could be large enough and small enough",
                "raise it, or lower min_action_usd",
            ),
        )
    source = tables.markets.get(table.move.market)
    if source is None or source.protocol != "aave_v3":
        lending = [name for name, market in tables.markets.items() if market.protocol == "aave_v3"]
        yield (
            (*path, "move", "market"),
            WrongValueError(
                f"there is no [markets.{table.move.market}] of Aave v3",
                "margin is moved from what the account has lent there; a perp venue lets nobody but "
                "the account itself withdraw",
                f"write {' or '.join(map(repr, lending))}" if lending else "add such a market",
            ),
        )


def floor_contradictions(
    tables: Tables, targets: Mapping[str, Wad]
) -> Iterator[tuple[KeyPath, WrongValueError]]:
    """Every move out of a position that would have to be paid back into it. `targets`: by policy."""
    for name, table in tables.mandates.items():
        for position in tables.positions if table.move is not None else ():
            target = targets[position.policy]
            if (
                table.move is not None
                and (position.market, position.account) == (table.move.market, table.account)
                and table.move.floor < target
            ):
                yield (
                    ("mandates", name, "move", "floor"),
                    WrongValueError(
                        f'the floor is below the target of "{position.label}", {target / WAD:g}',
                        "what is moved out of that position would have to be paid back into it",
                        f"write at least {target / WAD:g}",
                    ),
                )


def _health_contradictions(
    path: tuple[str, ...], table: MandateTable
) -> Iterator[tuple[KeyPath, WrongValueError]]:
    if table.target < table.max_health_to_act:
        yield (
            (*path, "target"),
            WrongValueError(
                "target is below max_health_to_act",
                "the keeper could act again right after an action, and pay for it each time",
                "write at least max_health_to_act",
            ),
        )
    if table.emergency_health is not None and table.emergency_health > table.max_health_to_act:
        yield (
            (*path, "emergency_health"),
            WrongValueError(
                "emergency_health is above max_health_to_act",
                "strangers could act before the keeper may",
                "write a health just above 1, such as 1.02",
            ),
        )


def _size_contradictions(
    path: tuple[str, ...], table: MandateTable
) -> Iterator[tuple[KeyPath, WrongValueError]]:
    if table.min_action_usd > table.max_per_day_usd:
        yield (
            (*path, "min_action_usd"),
            WrongValueError(
                "min_action_usd is above max_per_day_usd",
                "no action could be large enough and small enough",
                "lower min_action_usd",
            ),
        )
    for key, given, most in (
        ("collaterals", len(table.collaterals), MAX_COLLATERALS),
        ("base_tokens", len(table.base_tokens), MAX_COLLATERALS),
        ("pools", len(table.pools), MAX_POOLS),
        ("max_hops", table.max_hops, MAX_HOPS),
        ("emergency_route", len(table.emergency_route), table.max_hops),
    ):
        if given > most:
            yield (
                (*path, key),
                WrongValueError(
                    f"{given} are more than the {most} that a guardian takes",
                    "its mandate has room for so many",
                    f"write at most {most}",
                ),
            )
    if bool(table.collaterals) != bool(table.pools):
        here, there = ("pools", "collaterals")[:: 1 if table.collaterals else -1]
        yield (
            (*path, there),
            WrongValueError(
                f"there are {there} and no {here}",
                "collateral is sold on the pools that the mandate names, and on no others",
                f"name {here} as well, or take {there} away so that nothing is sold",
            ),
        )


def _emergency_contradictions(
    path: tuple[str, ...], table: MandateTable
) -> Iterator[tuple[KeyPath, WrongValueError]]:
    if table.emergency_health is None:
        return
    for key in ("emergency_collateral", "emergency_debt", "emergency_route"):
        if not getattr(table, key):
            yield (
                (*path, key),
                WrongValueError(
                    f"`{key}` is missing",
                    "whoever makes the emergency call chooses nothing: the mandate says it all",
                    f"add {key}, or take emergency_health away",
                ),
            )
    if table.emergency_collateral and table.emergency_collateral not in table.collaterals:
        yield (
            (*path, "emergency_collateral"),
            WrongValueError(
                "emergency_collateral is not among the collaterals",
                "nothing else may be sold",
                "name it in collaterals with an amount",
            ),
        )
    for pool in table.emergency_route:
        if pool not in table.pools:
            yield (
                (*path, "emergency_route"),
                WrongValueError(
                    f"{pool} is not among the pools",
                    "no other pool is used, in an emergency neither",
                    "name it in pools, or choose another route",
                ),
            )
