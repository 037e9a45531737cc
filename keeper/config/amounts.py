"""Amounts of the configuration: plain decimal digits in, exact integers of the smallest unit out.

Every parser raises `WrongValueError`, as those of `fields` do.
"""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any

from keeper.config.fields import address, positive
from keeper.config.written import EnvironmentText, ScientificNumber, WrongValueError, plain, shown
from keeper.model.units import Address, Wei

MAX_FEE_GWEI = 1_000_000
MAX_COIN = 10**9
MAX_TOKENS = 10**15
"""Of one token in whole units: no more of any was ever made that is worth protecting."""
MAX_DECIMALS = 18
"""Of a coin and of nearly every token."""
MAX_DIGITS = 30
"""As many are written out in a message."""


def amount(value: Any) -> Decimal:
    """Something above zero, written digit by digit and with no more than 18 decimals."""
    scientific = isinstance(value, EnvironmentText) and "e" in value.lower()
    parsed = positive(value)
    if scientific or isinstance(value, ScientificNumber):
        raise WrongValueError(
            f"{value.written if isinstance(value, ScientificNumber) else value} is in scientific "
            "notation",
            "one digit of its exponent is ten times the money",
            f"write it out: {plain(parsed)}"
            if abs(parsed.adjusted()) <= MAX_DIGITS
            else "write it out in digits",
        )
    if -int(parsed.as_tuple().exponent) > MAX_DECIMALS:
        raise WrongValueError(
            f"{parsed:f} has more than {MAX_DECIMALS} decimals",
            "no token can be divided so far, and what is cut off would not be what you wrote",
            f"write at most {MAX_DECIMALS} decimals",
        )
    return parsed


def coin_wei(value: Any) -> Wei:
    """An amount of the chain's coin above zero as wei."""
    parsed = amount(value)
    if parsed >= MAX_COIN:
        raise WrongValueError(
            f"{parsed} of the chain's coin cannot be meant",
            "the amount is in whole coins, such as ether, not in wei",
            "write coins, such as 0.5",
        )
    return Wei(int(parsed.scaleb(18)))


def usd8(value: Any) -> int:
    """US dollars above zero with 8 decimals, rounded down: a limit never grows."""
    parsed = amount(value)
    if parsed >= 10**15:
        raise WrongValueError(
            f"{parsed} US dollars cannot be meant",
            "the amount is in dollars, not in a token's smallest unit",
            "write dollars, such as 50_000",
        )
    rounded = int(parsed.scaleb(8).to_integral_value(ROUND_DOWN))
    if rounded == 0:
        raise WrongValueError(
            f"{parsed:f} US dollars round to nothing",
            "oracle prices have 8 decimals",
            "write at least 0.00000001",
        )
    return rounded


def gwei(value: Any) -> Wei:
    """Gwei above zero as wei, rounded down."""
    parsed = amount(value)
    if parsed > MAX_FEE_GWEI:
        raise WrongValueError(
            f"{parsed} gwei cannot be meant",
            "fees are in gwei, a billion wei",
            "write gwei, such as 500",
        )
    wei = int(parsed.scaleb(9).to_integral_value(ROUND_DOWN))
    if wei == 0:
        raise WrongValueError(
            f"{parsed:f} gwei is less than one wei",
            "fees are paid in wei",
            "write at least 0.000000001",
        )
    return Wei(wei)


def token_amounts(value: Any) -> Mapping[Address, Decimal]:
    """Whole tokens, exactly as written, by the token's address."""
    if not isinstance(value, Mapping):
        raise WrongValueError(
            f"{shown(value)} names no amounts",
            "each token has an amount of its own",
            'write { "0x…" = 100 }: the token\'s address and how much of it, in whole tokens',
        )
    return {address(token): token_amount(held) for token, held in value.items()}


def token_amount(value: Any) -> Decimal:
    """Whole tokens above zero, exactly as written."""
    parsed = amount(value)
    if parsed >= MAX_TOKENS:
        raise WrongValueError(
            f"{parsed} whole tokens cannot be meant",
            "the amount is in whole tokens, not in their smallest unit (wei)",
            "divide it by 10 to the power of the token's decimals: 1 is one token",
        )
    return parsed
