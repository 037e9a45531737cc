"""Units: a number names its unit, an operation names its rounding.

Chain quantities are integers. `Wad` is a fixed-point number with 18 decimals, `Ray` with 27,
`Bps` counts hundredths of a percent. Token quantities are `Amount`s, which know their token,
so that adding two different tokens raises instead of giving a number.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import NewType, Self

Address = NewType("Address", str)
"""An EIP-55 checksummed address."""

Wad = NewType("Wad", int)
Ray = NewType("Ray", int)
Bps = NewType("Bps", int)
Wei = NewType("Wei", int)

WAD = 10**18
RAY = 10**27
BPS = 10_000
SECONDS_PER_DAY = 24 * 3600
SECONDS_PER_YEAR = 365 * 24 * 3600


def mul_div_down(a: int, b: int, denominator: int) -> int:
    """floor(a × b / denominator) for non-negative integers."""
    return a * b // denominator


def mul_div_up(a: int, b: int, denominator: int) -> int:
    """ceil(a × b / denominator) for non-negative integers."""
    return -(-a * b // denominator)


def wad_from_fraction_up(value: Fraction) -> Wad:
    """The smallest wad that is not below `value`."""
    return Wad(-(-value.numerator * WAD // value.denominator))


def float_from_wad(value: Wad) -> float:
    """For display, ranking and forecasts only; never the way back into an amount."""
    return value / WAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An ERC-20 token of one chain."""

    address: Address
    symbol: str
    decimals: int

    @property
    def unit(self) -> int:
        """Raw units in one whole token."""
        return int(10**self.decimals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A quantity of one token in its smallest unit."""

    raw: int
    token: Token

    def __add__(self, other: Self) -> "Amount":
        return Amount(raw=self.raw + self._same_token(other), token=self.token)

    def __sub__(self, other: Self) -> "Amount":
        return Amount(raw=self.raw - self._same_token(other), token=self.token)

    def _same_token(self, other: Self) -> int:
        if other.token != self.token:
            raise ValueError(f"cannot combine {self.token.symbol} with {other.token.symbol}")
        return other.raw

    @property
    def decimal(self) -> str:
        """Decimal text in whole tokens, exact."""
        whole, rest = divmod(abs(self.raw), self.token.unit)
        fraction = f"{rest:0{self.token.decimals}d}".rstrip("0") if self.token.decimals else ""
        sign = "-" if self.raw < 0 else ""
        return f"{sign}{whole}{'.' + fraction if fraction else ''}"

    def __str__(self) -> str:
        return f"{self.decimal} {self.token.symbol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an oracle answered: `value / 10**decimals` quote units per whole token."""

    value: int
    decimals: int
    updated_at: int
    """Unix seconds of the observation."""
