"""How far prices may fall while the reserve can still hold a position at its floor.

With h the health, D the debt, R what the reserve can pay of it, A what it can add to the collateral
as the protocol counts it, and x the factor by which collateral falls against debt, all in US dollars:

    health(x) = x · (h·D + A) / (D − R)        held while health(x) ≥ floor

so the reserve is used up at x = floor · (D − R) / (h·D + A). To be read by people: floats.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import exp, inf, isfinite, log, nan, sqrt

from keeper.engine.watch import Adapter, Watched
from keeper.model.units import float_from_wad
from keeper.model.values import AddCollateral, Option, PositionState

DAYS_PER_YEAR = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Runway:
    """Of one position with debt."""

    reserve_usd: float
    """What could be paid in now."""
    held_down_to: float
    """The factor on collateral against debt at which the reserve is used up; 0 where it pays all."""
    in_deviations: float
    """The same in standard deviations of one day; inf where it pays all, nan without a forecast."""
    unwinds: bool
    """Collateral can be sold for debt as well, within the mandate and the pools' depth."""

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
) -> Runway | None:
    """None without debt, and for a perp account, whose health is not of this shape. Volatility as
    the forecast has it, nan where it knows none."""
    if position.health is None or position.debt_usd8 <= 0:
        return None
    if any(each.kind == "AddMargin" for each in adapter.options(position)):
        return None
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
        unwinds=watched.guard is not None and "pool" in watched.guard.sources,
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
