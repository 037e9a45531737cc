"""The size and the source of an action in closed form, for many positions at once.

What `keeper.policy.plan` finds in exact integers for one position with a reserve in the token of its
debt and one pool to sell collateral on; a test holds the two together.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Floats
from keeper.model.units import BPS, SECONDS_PER_YEAR
from keeper.policy.costs import CARRY_BPS_PER_YEAR, CARRY_S
from keeper.policy.plan import HARDLY

Mask = NDArray[np.bool_]
CARRY: Final = CARRY_BPS_PER_YEAR / BPS * CARRY_S / SECONDS_PER_YEAR
"""Of what is paid from a reserve (`keeper.policy.costs`)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Need:
    """Positions that are to be helped. Amounts and costs in units of the debt; `value` of the
    collateral at the oracle's price.

    `reserve` may be paid without a swap. `fee` and `depth` are the pool's, `slippage` what a swap
    may take against the oracle. `gas` is an action's, `most_cash` the most that one may cost.
    `surviving`: the least health that the next minutes may be trusted not to bring to 1.
    Less than `least` is not moved.
    """

    value: Floats
    debt: Floats
    threshold: Floats
    floor: Floats
    target: Floats
    reserve: Floats
    fee: Floats
    depth: Floats
    slippage: Floats
    gas: Floats
    most_cash: Floats
    surviving: Floats
    least: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sized:
    """Of every position the debt that is repaid from the reserve or by a swap; at most one of the
    two is above 0, and neither where nothing helps or is worth it. `not_worth`: something would have
    helped."""

    paid: Floats
    swapped: Floats
    not_worth: Mask


def sized(need: Need) -> Sized:
    """The reserve where it reaches the target; else what the reserve can do, unless that would be
    lost with the position, or ends below the middle of floor and target while a swap would reach the
    target at once or gain far more; else a swap, while not urgent in slices of √(2 × gas × depth)."""
    covered = need.value * need.threshold
    wanted = need.debt - covered / need.target
    paid = np.minimum(wanted, need.reserve)
    whole = wanted <= need.reserve
    after = _ratio(covered, need.debt - paid)
    may_pay = (paid >= need.least) & (whole | (after >= need.surviving))
    pay_worth = ~(need.gas + CARRY * paid > need.most_cash)
    sold, bought, reaches = _swap(need, covered)
    may_swap = bought >= need.least
    swap_worth = ~(need.gas + sold - bought > need.most_cash)
    now = covered / need.debt
    then = _ratio(covered - sold * need.threshold, need.debt - bought)
    more = reaches | (then - now > HARDLY * (after - now))
    better = may_swap & swap_worth & more & (after < 0.5 * (need.floor + need.target))
    pays = may_pay & pay_worth & (whole | ~better)
    swaps = ~pays & may_swap & swap_worth
    bought = np.where(swaps, _slice(need, covered, sold, bought), 0.0)
    return Sized(
        paid=np.where(pays, paid, 0.0),
        swapped=bought,
        not_worth=~pays & ~swaps & (may_pay | may_swap),
    )


def _ratio(covered: Floats, debt: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return covered / np.maximum(debt, 0.0)


def _swap(need: Need, covered: Floats) -> tuple[Floats, Floats, Mask]:
    """Collateral sold, debt repaid with it, and whether the target is reached.

    Selling y buys y·(1 − fee − y/depth), so that health reaches T where
    (T/depth)·y² − (T·(1 − fee) − threshold)·y + T·debt − covered = 0. Neither the price paid nor
    that of the last unit, without the fee, may exceed the oracle's by more than the slippage.
    """
    gap = need.target * need.debt - covered
    slope = need.target * (1.0 - need.fee) - need.threshold
    square = slope**2 - 4.0 * need.target * gap / need.depth
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.where(square >= 0.0, 2.0 * gap / (slope + np.sqrt(square)), np.inf)
    wanted = np.minimum(wanted, for_debt(need.debt, need.fee, need.depth))
    given = need.slippage / (1.0 + need.slippage)
    most = need.depth * np.minimum(given - need.fee, 0.5 * (1.0 - need.fee) * given)
    most = np.minimum(np.maximum(most, 0.0), need.value)
    sold = np.minimum(wanted, most)
    bought = sold * (1.0 - need.fee - sold / need.depth)
    improves = bought * covered > sold * need.threshold * need.debt
    return sold, np.where(improves, bought, 0.0), wanted <= most


def _slice(need: Need, covered: Floats, sold: Floats, bought: Floats) -> Floats:
    """What a swap begins with where there is time: bought × √(gas/impact), if that leaves a health
    that is sure to live until the next."""
    impact = sold**2 / need.depth
    with np.errstate(divide="ignore", invalid="ignore"):
        part = bought * np.minimum(np.sqrt(need.gas / impact), 1.0)
    part = np.where(np.isfinite(part), part, bought)
    left = covered - need.threshold * for_debt(part, need.fee, need.depth)
    urgent = 2.0 * (covered / need.debt - 1.0) < need.floor - 1.0
    slow = ~urgent & (part >= need.least) & (_ratio(left, need.debt - part) >= need.surviving)
    return np.where(slow, part, bought)


def for_debt(bought: Floats, fee: Floats, depth: Floats) -> Floats:
    """Collateral that a swap takes for so much debt: the inverse of y·(1 − fee − y/depth); inf where
    the pool cannot give it."""
    keeps = 1.0 - fee
    square = keeps**2 - 4.0 * bought / depth
    with np.errstate(invalid="ignore"):
        return np.where(square >= 0.0, 2.0 * bought / (keeps + np.sqrt(square)), np.inf)
