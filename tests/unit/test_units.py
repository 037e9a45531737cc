"""Amounts know their token; an operation's name tells its rounding."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model.units import (
    WAD,
    Address,
    Amount,
    Token,
    mul_div_down,
    mul_div_up,
    wad_from_fraction_up,
)

USDC = Token(address=Address("0x" + "11" * 20), symbol="USDC", decimals=6)
WETH = Token(address=Address("0x" + "22" * 20), symbol="WETH", decimals=18)
POINTS = Token(address=Address("0x" + "33" * 20), symbol="POINTS", decimals=0)

naturals = st.integers(0, 2**256 - 1)


@given(naturals, naturals, st.integers(1, 2**256 - 1))
def test_mul_div__any_numbers__round_as_named(a: int, b: int, denominator: int) -> None:
    exact = Fraction(a * b, denominator)
    down, up = mul_div_down(a, b, denominator), mul_div_up(a, b, denominator)
    assert down <= exact <= up
    assert up - down == (exact.denominator != 1)


def test_mul_div__two_thirds__is_0_or_1() -> None:
    assert (mul_div_down(2, 1, 3), mul_div_up(2, 1, 3)) == (0, 1)


@given(st.fractions(min_value=0, max_value=10**6))
def test_wad_from_fraction_up__any_fraction__is_the_least_not_below(value: Fraction) -> None:
    wad = wad_from_fraction_up(value)
    assert Fraction(wad - 1, WAD) < value <= Fraction(wad, WAD)


def test_amount__same_token__adds_and_subtracts() -> None:
    assert Amount(raw=5, token=USDC) + Amount(raw=7, token=USDC) == Amount(raw=12, token=USDC)
    assert Amount(raw=5, token=USDC) - Amount(raw=7, token=USDC) == Amount(raw=-2, token=USDC)


def test_amount__two_tokens__raises_and_names_them() -> None:
    with pytest.raises(ValueError, match="USDC with WETH"):
        Amount(raw=1, token=USDC) + Amount(raw=1, token=WETH)
    with pytest.raises(ValueError, match="USDC with WETH"):
        Amount(raw=1, token=USDC) - Amount(raw=1, token=WETH)


@pytest.mark.parametrize(
    ("raw", "token", "shown"),
    [
        (0, USDC, "0 USDC"),
        (12_500_000, USDC, "12.5 USDC"),
        (1, USDC, "0.000001 USDC"),
        (3_000_000, USDC, "3 USDC"),
        (10**18 + 1, WETH, "1.000000000000000001 WETH"),
        (42, POINTS, "42 POINTS"),
        (-1_500_000, USDC, "-1.5 USDC"),
    ],
)
def test_amount__as_text__is_exact(raw: int, token: Token, shown: str) -> None:
    assert str(Amount(raw=raw, token=token)) == shown
