"""Whether a guardian can do what its owner means it to: one finding for each thing that must hold."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from keeper.mandate.charter import Charter
from keeper.mandate.owner import Intended
from keeper.mandate.survey import Survey, SurveyedPool
from keeper.model.mandate import Mandate
from keeper.model.units import SECONDS_PER_DAY, Address
from keeper.model.values import Unwind
from keeper.venues.uniswap_v3 import Pool, routes

EXPIRES_SOON_S = 14 * SECONDS_PER_DAY
LOW_ALLOWANCE = 2
"""A warning comes when less than half of the intended allowance is left."""

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the verification."""

    verdict: Verdict
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the chain says at one block."""

    code_is_ours: bool | None
    """None where nothing is deployed."""
    charter: Charter | None
    survey: Survey
    keeper_wei: int
    timestamp: int
    unwinds: tuple[Unwind, ...] | None = ()
    """What the account could sell for which of its debts now; None if it could not be read."""


def findings(name: str, intended: Intended, found: Found) -> Iterator[Finding]:
    """In the order in which they have to be put right."""
    if found.code_is_ours is None or found.charter is None:
        yield Finding(
            verdict="fail",
            what=f"there is no guardian at {intended.guardian}",
            fix=f"keeper mandate set {name}",
        )
        return
    yield _code(intended.guardian, is_ours=found.code_is_ours)
    yield from _charter(name, intended, found.charter, found.timestamp)
    if found.keeper_wei == 0:
        yield Finding(
            verdict="warn",
            what=f"the keeper {intended.mandate.keeper} has no ether for gas",
            fix="send it some",
        )
    if intended.delegation is not None:
        yield from _move(name, intended, found.charter)
    yield from _allowances(name, intended, found)
    if intended.delegation is not None:
        yield from _delegation(name, intended, delegated=found.survey.delegated)
    for address, pool in zip(intended.mandate.pools, found.survey.pools, strict=True):
        yield _pool(address, pool)
    if intended.mandate.pools:
        yield from _routes(name, intended.mandate, found)


def _code(guardian: Address, *, is_ours: bool) -> Finding:
    if is_ours:
        return Finding(
            verdict="ok", what=f"the guardian at {guardian} is this version's, byte by byte"
        )
    return Finding(
        verdict="fail",
        what=f"the code at {guardian} is not this version's guardian",
        fix="revoke its allowances (keeper approvals); do not use it",
    )


def _charter(name: str, intended: Intended, charter: Charter, now: int) -> Iterator[Finding]:
    again = f"keeper mandate set {name}"
    if charter.mandate is None:
        yield Finding(verdict="fail", what="it has no mandate for this market", fix=again)
        return
    differing = _differences(charter.mandate, intended.mandate)
    if differing:
        yield Finding(
            verdict="fail",
            what=f"its mandate differs from the configuration in {', '.join(differing)}",
            fix=f"correct the configuration, or {again}",
        )
    else:
        yield Finding(verdict="ok", what="its mandate is the configuration's")
    if charter.frozen:
        yield Finding(
            verdict="fail",
            what="it is frozen: nothing happens",
            fix=f"keeper mandate unfreeze {name}",
        )
    left_s = charter.mandate.expiry - now
    if left_s < 0:
        yield Finding(verdict="fail", what="it has expired", fix=f"write a later day, then {again}")
    elif left_s < EXPIRES_SOON_S:
        yield Finding(
            verdict="warn",
            what=f"it expires in {left_s // SECONDS_PER_DAY} days",
            fix=f"write a later day, then {again}",
        )


def _differences(there: Mandate, here: Mandate) -> list[str]:
    return [f.name for f in fields(Mandate) if getattr(there, f.name) != getattr(here, f.name)]


def _allowances(name: str, intended: Intended, found: Found) -> Iterator[Finding]:
    own = intended.mandate.reserve == intended.owner
    by_reserve = "set" if own else "consent"
    groups = (
        ("of collateral", intended.takeable, found.survey.a_token_allowances, "set"),
        ("of the reserve", intended.from_reserve, found.survey.reserve_allowances, by_reserve),
    )
    for what, wanted, given, command in groups:
        for token, amount in wanted.items():
            left = type(amount)(raw=given[token], token=amount.token)
            verdict: Verdict = (
                "fail"
                if left.raw == 0
                else "warn"
                if left.raw * LOW_ALLOWANCE < amount.raw
                else "ok"
            )
            yield Finding(
                verdict=verdict,
                what=f"{left} {what} may still be taken, of {amount} intended",
                fix="" if verdict == "ok" else f"keeper mandate {command} {name}",
            )
    if not own and intended.from_reserve and found.survey.consent_until < found.timestamp:
        yield Finding(
            verdict="fail",
            what=f"the reserve {intended.mandate.reserve} has not consented",
            fix=f"keeper mandate consent {name}, with the reserve's key",
        )


def _delegation(name: str, intended: Intended, *, delegated: bool) -> Iterator[Finding]:
    wanted = bool(intended.mandate.collaterals)
    if delegated and wanted:
        yield Finding(
            verdict="ok", what="positions are delegated to the guardian, which makes them smaller"
        )
    elif wanted:
        yield Finding(
            verdict="fail",
            what="positions are not delegated to the guardian: none can be made smaller",
            fix=f"keeper mandate set {name}",
        )
    elif delegated:
        yield Finding(
            verdict="warn",
            what="positions are delegated to the guardian, and the mandate lists no market",
            fix=f"keeper mandate revoke {name}, then keeper mandate set {name}",
        )


def _move(name: str, intended: Intended, charter: Charter) -> Iterator[Finding]:
    move, source = intended.move, charter.source
    if charter.source_unread:
        yield Finding(
            verdict="fail",
            what="how much margin may be moved cannot be read: its market or oracle does not answer",
            fix=f"look again later, or end it: keeper mandate revoke {name}",
        )
        return
    if move is None and source is None:
        return
    wanted = move and (
        *(move.market, move.floor, move.limit_max, move.limit_per_second),
        intended.mandate.expiry,
    )
    given = source and (
        *(source.market, source.floor, source.limit_max, source.limit_per_second),
        source.expiry,
    )
    if wanted == given:
        yield Finding(verdict="ok", what="margin may be moved as the configuration says")
        return
    yield Finding(
        verdict="fail",
        what="margin may not be moved, which the configuration wants"
        if source is None
        else "margin may be moved, which the configuration does not want"
        if move is None
        else "what margin may be moved differs from the configuration",
        fix=f"correct the configuration, or keeper mandate set {name}",
    )


def _routes(name: str, mandate: Mandate, found: Found) -> Iterator[Finding]:
    """Whether the pools lead from what may be sold to each debt of the account."""
    if found.unwinds is None:
        yield Finding(
            verdict="warn",
            what="the account's position could not be read: whether the pools lead to its debts is not known",
        )
        return
    usable = [
        Pool(address=pool.address, token0=pool.token0, token1=pool.token1, fee_ppm=pool.fee_ppm)
        for pool in found.survey.pools
        if pool is not None and pool_flaw(pool.address, pool) is None
    ]
    debts: dict[str, list[str]] = {}
    for each in found.unwinds:
        sellers = debts.setdefault(each.token.symbol, [])
        sells, buys = each.sells.address, each.token.address
        if sells in mandate.collaterals and routes(
            usable, sells=sells, buys=buys, max_hops=mandate.max_hops
        ):
            sellers.append(each.sells.symbol)
    for debt, sellers in debts.items():
        if sellers:
            what = f"its pools lead from {' and '.join(sellers)} to the account's debt of {debt}"
            yield Finding(verdict="ok", what=what)
        else:
            yield Finding(
                verdict="warn" if any(debts.values()) else "fail",
                what=f"none of its pools leads from collateral that it may sell to the account's debt of "
                f"{debt}, over {mandate.max_hops} at most",
                fix=f"keeper mandate pools {name} tells which would",
            )


def _pool(address: Address, pool: SurveyedPool | None) -> Finding:
    return pool_flaw(address, pool) or Finding(
        verdict="ok", what=f"the pool {address} has liquidity and is what it says"
    )


def pool_flaw(address: Address, pool: SurveyedPool | None) -> Finding | None:
    """Why a pool cannot be used, or None."""
    if pool is None or not pool.genuine:
        return Finding(
            verdict="fail",
            what=f"{address} is no Uniswap v3 pool that its factory knows",
            fix="take it out of pools: whoever made it could take what passes it",
        )
    if pool.liquidity == 0:
        return Finding(
            verdict="fail",
            what=f"the pool {address} has no liquidity at its price",
            fix="name another pool of the pair",
        )
    if pool.unpriced:
        return Finding(
            verdict="fail",
            what=f"the pool {address} trades {' and '.join(pool.unpriced)}, which the market's oracle "
            "has no price for: every swap there is refused (AssetWithoutPrice)",
            fix="take it out of pools",
        )
    return None
