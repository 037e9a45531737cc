"""How far prices may fall while the reserve can still hold a position at its floor.

With h the health, D the debt, R what the reserve can pay of it, A what it can add to the collateral
as the protocol counts it, and x the factor by which collateral falls against debt, all in US dollars:

    health(x) = x · (h·D + A) / (D − R)        held while health(x) ≥ floor

so the reserve is used up at x = floor · (D − R) / (h·D + A). A perp account's is used up where

    (C + A) @ p = floor · D @ p

of its row of the book, every price moving against it by the same factor. To be read by people: floats.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import exp, inf, isfinite, log, nan, sqrt
from typing import Literal

from keeper.engine.watch import Adapter, Watched
from keeper.mandate.charter import Charter
from keeper.model.book import Book, against, distance
from keeper.model.units import float_from_wad
from keeper.model.values import AddCollateral, AddMargin, Option, PositionState

DAYS_PER_YEAR = 365
Against = Literal["loan", "fall", "rise", "any"]
"""What uses a reserve up: collateral that falls against a loan's debt, or a perp's price that falls,
that rises, or several that move against it."""


def all_paid(against: Against) -> str:
    """What a reserve does that no move uses up, for people."""
    return "pays the whole debt" if against == "loan" else "holds the floor whatever prices do"


def then(against: Against) -> str:
    """What is done after it, where the guardian may, for people."""
    return (
        "collateral is sold through pools" if against == "loan" else "the position is made smaller"
    )


def held_until(against: Against, factor: float) -> str:
    """How far a reserve holds the floor, for people; `factor` as `Runway.held_down_to`."""
    if factor >= 1.0:
        return "does not bring health to the floor"
    fall, rise = f"{100 * (1 - factor):.1f} %", f"{100 * (1 / factor - 1):.1f} %"
    match against:
        case "loan":
            return f"holds the floor until collateral is worth {fall} less against debt"
        case "fall":
            return f"holds the floor until the price has fallen by {fall}"
        case "rise":
            return f"holds the floor until the price has risen by {rise}"
        case "any":
            return f"holds the floor until every price has moved {fall} against the account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runway:
    """Of one position with debt."""

    reserve_usd: float
    """What could be paid in now."""
    held_down_to: float
    """The factor on collateral against debt, or on a perp's price in its favour, at which the reserve
    is used up; 0 where it pays all."""
    in_deviations: float
    """The same in standard deviations of one day; inf where it pays all, nan without a forecast."""
    unwinds: bool
    """Collateral can be sold for debt, or a perp made smaller, within the mandate as it was read and
    the pools' depth."""
    against: Against = "loan"

    def holds(self, deviations: float) -> bool | None:
        """Whether it lasts for a day's fall of so many standard deviations; None where none is
        known."""
        known = self.in_deviations == inf or isfinite(self.in_deviations)
        return self.in_deviations >= deviations if known else None


def runway(
    position: PositionState,
    watched: Watched,
    adapter: Adapter,
    *,
    volatility_per_year: float,
    book: Book,
    charter: Charter | None = None,
) -> Runway | None:
    """None without debt or position. Volatility as the forecast has it, nan where it knows none;
    `book` holds the position's row, and none where it could not be read. What a guardian may bring over
    from a loan is not counted: what is spare there changes with the same prices."""
    if position.health is None or position.debt_usd8 <= 0:
        return None
    if any(each.kind == "AddMargin" for each in adapter.options(position)):
        left = _of_margin(position, watched, adapter, volatility_per_year, book)
        unwinds = _unwinds(position, watched, adapter, charter)
        return None if left is None else replace(left, unwinds=unwinds)
    debt = position.debt_usd8 / 1e8
    counted = float_from_wad(position.health) * debt
    options = [each for each in adapter.options(position) if each.blocked is None]
    guarded = watched.guard is not None
    pays = _worth((each for each in options if each.kind == "Repay"), guarded=guarded)
    adds = [each for each in options if each.kind == "AddCollateral"]
    added = sum(
        _counted(each, position, adapter, guarded=guarded) * debt - counted for each in adds
    )
    owed = max(debt - pays, 0.0)
    factor = float_from_wad(watched.policy.floor) * owed / (counted + added)
    day = volatility_per_year / sqrt(DAYS_PER_YEAR)
    return Runway(
        reserve_usd=pays + _worth(adds, guarded=guarded),
        held_down_to=factor,
        in_deviations=inf if owed == 0.0 else -log(factor) / day if day > 0.0 else nan,
        unwinds=_unwinds(position, watched, adapter, charter),
    )


def _unwinds(
    position: PositionState, watched: Watched, adapter: Adapter, charter: Charter | None
) -> bool:
    """Whether the owner's sources name the pools, and the mandate what could be sold or made smaller
    there."""
    mandate = None if charter is None else charter.mandate
    if mandate is None or watched.guard is None or "pool" not in watched.guard.sources:
        return False
    sold = [each.sells.address for each in adapter.unwinds(position)] if mandate.pools else []
    smaller = [each.token.address for each in adapter.reductions(position)]
    return not {*sold, *smaller}.isdisjoint(mandate.collaterals)


def _of_margin(
    position: PositionState,
    watched: Watched,
    adapter: Adapter,
    volatility_per_year: float,
    book: Book,
) -> Runway | None:
    """Of its row in most danger; margin counts as far as the venue counts it."""
    guarded = watched.guard is not None
    adds = [
        each
        for each in adapter.options(position)
        if each.blocked is None and not (guarded and each.guardian_gas is None)
    ]
    if len(book.C) == 0:
        return None
    counted = 0.0
    for each in adds:
        if raw := _raw(each, guarded=guarded):
            amount = type(each.available)(raw=raw, token=each.token)
            action = AddMargin(position=position.id, amount=amount)
            after = adapter.predict(action, position, position.timestamp)
            counted += (after.collateral_usd8 - position.collateral_usd8) / 1e8
    C = book.C.copy()
    C[:, 0] += counted
    row = replace(book, C=C, D=book.D * float_from_wad(watched.policy.floor))
    direction = against(row)[0]
    found = float(distance(row, direction)[0])
    day = volatility_per_year / sqrt(DAYS_PER_YEAR)
    moving = set(direction[direction != 0.0].tolist())
    return Runway(
        reserve_usd=_worth(adds, guarded=guarded),
        held_down_to=exp(-found),
        in_deviations=inf if found == inf else found / day if day > 0.0 else nan,
        unwinds=False,
        against="fall" if moving == {-1.0} else "rise" if moving == {1.0} else "any",
    )


def fall_of(deviations: float, volatility_per_year: float) -> float:
    """The share that a day's fall of so many standard deviations takes."""
    return 1.0 - exp(-deviations * volatility_per_year / sqrt(DAYS_PER_YEAR))


def _raw(option: Option, *, guarded: bool) -> int:
    """A key of the account's own approves what it needs; a guardian has what it was given."""
    return min(option.available.raw, option.allowance.raw) if guarded else option.available.raw


def _worth(options: Iterable[Option], *, guarded: bool) -> float:
    return sum(
        float(
            Fraction(
                _raw(each, guarded=guarded) * each.price.value,
                each.token.unit * 10**each.price.decimals,
            )
        )
        for each in options
    )


def _counted(option: Option, position: PositionState, adapter: Adapter, *, guarded: bool) -> float:
    """Health with all of it added."""
    raw = _raw(option, guarded=guarded)
    if raw == 0:
        return float_from_wad(position.health) if position.health is not None else 0.0
    added = AddCollateral(
        position=position.id, amount=type(option.available)(raw=raw, token=option.token)
    )
    after = adapter.predict(added, position, position.timestamp).health
    return inf if after is None else float_from_wad(after)
