"""Aave 3.0's fixed-point operations: halves up, and interest in truncated terms."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from keeper.model.units import RAY, SECONDS_PER_YEAR
from keeper.protocols.aave_v3_math import (
    compounded_interest,
    linear_interest,
    percent_mul_half_up,
    ray_div_half_up,
    ray_mul_half_up,
    wad_div_half_up,
)

amounts = st.integers(0, 2**128 - 1)
positive = st.integers(1, 2**128 - 1)
rates = st.integers(0, 2 * RAY)
month = st.integers(0, 30 * 24 * 3600)


def half_up(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def half_up_with_half_rounded_down(numerator: int, denominator: int) -> int:
    """A division adds denominator / 2 in whole units: one half short where that is odd."""
    return (numerator + denominator // 2) // denominator


def test_operations__at_a_half__round_up() -> None:
    # 1.5 × 10^-27 × 10^27 and so on: the smallest cases with a half in them.
    assert ray_mul_half_up(1, RAY // 2) == 1
    assert ray_mul_half_up(1, RAY // 2 - 1) == 0
    assert percent_mul_half_up(1, 5_000) == 1
    assert percent_mul_half_up(1, 4_999) == 0
    assert ray_div_half_up(1, 2 * RAY) == 1
    assert ray_div_half_up(1, 2 * RAY + 1) == 0
    assert wad_div_half_up(1, 2 * 10**18) == 1
    assert wad_div_half_up(1, 2 * 10**18 + 1) == 0


@given(amounts, amounts)
def test_multiplications__any_amounts__are_half_up(a: int, b: int) -> None:
    assert ray_mul_half_up(a, b) == half_up(Fraction(a * b, RAY))
    assert percent_mul_half_up(a, b % 65_536) == half_up(Fraction(a * (b % 65_536), 10_000))


@given(amounts, positive)
def test_divisions__any_amounts__add_half_of_the_divisor_in_whole_units(a: int, b: int) -> None:
    assert ray_div_half_up(a, b) == half_up_with_half_rounded_down(a * RAY, b)
    assert wad_div_half_up(a, b) == half_up_with_half_rounded_down(a * 10**18, b)


@given(st.integers(0, 10**30), st.integers(RAY, 5 * RAY))
def test_ray_div__of_what_ray_mul_gave__is_the_scaled_amount_again(scaled: int, index: int) -> None:
    """A full repayment burns every scaled unit: the index is never below one."""
    assert ray_div_half_up(ray_mul_half_up(scaled, index), index) == scaled


def test_compounded_interest__first_seconds__has_the_terms_written_out() -> None:
    # At 31536000 × 10^20 per year: x = 10^20 per second, x² = 10^13, x³ = 10^6 (in ray).
    rate = SECONDS_PER_YEAR * 10**20
    assert compounded_interest(rate, 0) == RAY
    assert compounded_interest(rate, 1) == RAY + 10**20
    assert compounded_interest(rate, 2) == RAY + 2 * 10**20 + 10**13
    assert compounded_interest(rate, 3) == RAY + 3 * 10**20 + 3 * 10**13 + 10**6
    assert linear_interest(rate, 3) == RAY + 3 * 10**20


@given(rates, month)
def test_compounded_interest__a_month__lies_between_linear_and_continuous(
    rate: int, elapsed_s: int
) -> None:
    compounded = compounded_interest(rate, elapsed_s)
    assert compounded >= linear_interest(rate, elapsed_s)
    x = Fraction(rate * elapsed_s, RAY * SECONDS_PER_YEAR)
    continuous = sum((x**k / f for k, f in ((0, 1), (1, 1), (2, 2), (3, 6), (4, 23))), Fraction(0))
    assert Fraction(compounded, RAY) <= continuous
