"""Exact sizes: how much reaches a target, and what an amount is worth."""

from collections.abc import Callable

from keeper.model.units import WAD, Price, Wad, mul_div_down, mul_div_up

NO_DEBT_HEALTH = Wad(10**9 * WAD)
"""Stands for the health of a position without debt where health is compared."""

_INVERSE = WAD**3
_SECANT_STEPS = 12


def comparable(health: Wad | None) -> int:
    """Health as a number that orders positions, those without debt above all others."""
    return NO_DEBT_HEALTH if health is None else min(health, NO_DEBT_HEALTH)


def usd8_up(raw: int, price: Price, unit: int) -> int:
    """The value of `raw` smallest units in USD with 8 decimals, rounded up."""
    return mul_div_up(raw * price.value, 10**8, 10**price.decimals * unit)


def raw_down(usd8: int, price: Price, unit: int) -> int:
    """The most smallest units that are worth at most `usd8`."""
    return mul_div_down(usd8 * unit, 10**price.decimals, 10**8 * price.value)


def least_reaching(health_at: Callable[[int], int], now: int, target: int, most: int) -> int:
    """The least amount in [1, most] with `health_at(amount) >= target`, or `most` if none does.

    `health_at` must not fall with the amount. Integer secant steps come next to the answer in a
    handful of calls; galloping from there brackets it, and bisection ends at the exact unit.
    """

    def gap_at(raw: int) -> int:
        # Debt over collateral is linear in a repayment and nearly so in added collateral.
        return goal - _INVERSE // max(health_at(raw), 1)

    goal = _INVERSE // target
    low, high = 0, most
    before, gap_before = 0, goal - _INVERSE // max(now, 1)
    guess, gap = most, gap_at(most)
    if gap < 0:
        return most
    for _ in range(_SECANT_STEPS):
        if gap == gap_before:
            break
        after = guess - gap * (guess - before) // (gap - gap_before)
        if not low < after < high:
            break
        before, gap_before, guess, gap = guess, gap, after, gap_at(after)
        low, high = (after, high) if gap < 0 else (low, after)
        if abs(guess - before) <= 1:
            break
    reach = 1
    while high - low > reach:
        # Whichever end the last step moved is next to the answer: walk away from it.
        probe = low + reach if guess == low else high - reach
        reaches = gap_at(probe) >= 0
        low, high = (low, probe) if reaches else (probe, high)
        if reaches is (guess == low):
            break
        guess, reach = probe, 2 * reach
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if gap_at(middle) < 0 else (low, middle)
    return high


def greatest_within(allowed: Callable[[int], bool], most: int) -> int:
    """The greatest amount in [0, most] that is allowed; what is allowed must be so from 0 on."""
    if allowed(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low
