"""One value of the configuration: from what TOML or an environment variable gives to exact units.

Every parser raises `WrongValueError`, which says what is wrong, why that matters and what to write.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

from eth_utils.address import is_checksum_address, to_checksum_address
from pydantic import SecretStr

from keeper.chain.secrecy import HEX_64
from keeper.config.written import (
    EnvironmentText,
    WrongValueError,
    closest,
    plain,
    shown,
)
from keeper.model.units import BPS, Address, Bps, Wad, wad_from_fraction_up

MAX_HEALTH = 10
MAX_HORIZON_S = 365 * 24 * 3600
MAX_COUNT = 2**53
"""The largest chain id that JSON carries exactly; no other count comes near it."""
MAX_PORT = 65_535
MIN_POLL_S, MAX_POLL_S = 0.01, 3600
SECONDS_PER = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


BURN_ADDRESSES = frozenset(
    {
        "0x000000000000000000000000000000000000dead",
        "0xdead000000000000000042069420694206942069",
        "0xdeaddeaddeaddeaddeaddeaddeaddeaddeaddead",
        "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
        "0xffffffffffffffffffffffffffffffffffffffff",
    }
)
"""Where tokens are sent to be lost, and what stands for the chain's coin; in lower case."""

MAX_LOSS_SHARE = 10
"""Paying more for gas than ten liquidations cost is a slip of the pen."""


def number(value: Any) -> Decimal:
    """A finite number, exactly as written."""
    if isinstance(value, EnvironmentText):
        try:
            value = Decimal(value)
        except InvalidOperation:
            raise WrongValueError(
                f"{value!r} is not a number", "a number is expected here", "write digits, like 1.5"
            ) from None
    if isinstance(value, str):
        bare = value.strip().rstrip("%")
        numeric = re.fullmatch(r"[+-]?[\d_]+(\.\d+)?", bare)
        meant = plain(Decimal(bare) / 100) if numeric and "%" in value else bare
        raise WrongValueError(
            f'"{value}" is text, not a number',
            "a number in quotes would be guessed at, and amounts are never guessed",
            f"write it without quotes: {meant}" if numeric else "write a number without quotes",
        )
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise WrongValueError(
            f"{shown(value)} is not a number", "a number is expected here", "write a number"
        )
    if not Decimal(value).is_finite():
        raise WrongValueError(
            f"{value} is not a finite number",
            "nothing can be compared with it, so no limit would hold",
            "write a number; leave an optional key out to switch it off",
        )
    return Decimal(value)


def positive(value: Any) -> Decimal:
    """A number above zero."""
    parsed = number(value)
    if parsed <= 0:
        raise WrongValueError(
            f"{parsed} is not above zero",
            "zero or less has no meaning here and would switch the protection off",
            "write a number above zero",
        )
    return parsed


def count(value: Any) -> int:
    """A whole number above zero."""
    parsed = positive(value)
    if parsed != parsed.to_integral_value():
        raise WrongValueError(
            f"{parsed} is not a whole number", "this counts things", "write a whole number"
        )
    if parsed > MAX_COUNT:
        raise WrongValueError(
            "the number is too large", "no chain and no node counts that far", "write a smaller one"
        )
    return int(parsed)


def port(value: Any) -> int:
    """A TCP port, or 0 for none."""
    parsed = number(value)
    if not 0 <= parsed <= MAX_PORT or parsed != parsed.to_integral_value():
        raise WrongValueError(
            f"{parsed} is no port",
            f"ports are whole numbers up to {MAX_PORT}",
            "write one between 1024 and 65535, such as 9464; 0 is off",
        )
    return int(parsed)


def poll_seconds(value: Any) -> float:
    """Seconds of a clock, not of an amount: a float will do."""
    parsed = positive(value)
    if not MIN_POLL_S <= parsed <= MAX_POLL_S:
        raise WrongValueError(
            f"{parsed} is not between {MIN_POLL_S} and {MAX_POLL_S} seconds",
            "more often is a flood for the node, and more seldom sees blocks too late",
            "write seconds, such as 1.0",
        )
    return float(parsed)


def health(value: Any) -> Wad:
    """A health factor above 1, rounded up to 18 decimals: acting sooner, restoring more."""
    parsed = number(value)
    if parsed >= 100:
        raise WrongValueError(
            f"{parsed} is a percentage",
            "health is a fraction: 1.0 is where liquidation starts",
            f"write {plain(parsed / 100)}",
        )
    if parsed <= 1:
        raise WrongValueError(
            f"{parsed} is not above 1.0",
            "a position is liquidatable when its health falls below 1.0, so this acts too late",
            "write a health above 1, such as 1.15",
        )
    if parsed > MAX_HEALTH:
        raise WrongValueError(
            f"{parsed} is too much for a health",
            f"more than {MAX_HEALTH} times the debt would be locked as collateral",
            f"write a health between 1 and {MAX_HEALTH}, such as 1.15",
        )
    return wad_from_fraction_up(Fraction(parsed))


def probability(value: Any) -> float:
    """A probability strictly between 0 and 1. It ranks and triggers; no amount depends on it."""
    parsed = number(value)
    if 1 < parsed < 100:
        raise WrongValueError(
            f"{parsed} is a percentage",
            "a probability is a fraction between 0 and 1",
            f"write {plain(parsed / 100)}",
        )
    if not 0 < float(parsed) < 1:
        raise WrongValueError(
            f"{parsed} is not between 0 and 1",
            "0 would always act and 1 never",
            "write a fraction such as 0.05, or leave the key out so that only the floor acts",
        )
    return float(parsed)


def slippage_bps(value: Any) -> Bps:
    """A loss against the oracle in whole basis points, from none to half of what is sold."""
    parsed = number(value)
    if parsed != parsed.to_integral_value() or not 0 <= parsed <= BPS // 2:
        raise WrongValueError(
            f"{parsed} is not a whole number of basis points between 0 and {BPS // 2}",
            "100 basis points are 1 %",
            "write for instance 50 for half a percent",
        )
    return Bps(int(parsed))


def loss_share_bps(value: Any) -> Bps:
    """A share of a loss, rounded down to basis points: above 0, and at most ten times the loss."""
    parsed = positive(value)
    share = int(parsed * BPS)
    if not 1 <= share <= MAX_LOSS_SHARE * BPS:
        raise WrongValueError(
            f"{parsed} is not a share between 0.0001 and {MAX_LOSS_SHARE}",
            "1 is all that a liquidation would cost",
            "write for instance 1.0",
        )
    return Bps(share)


def flag(value: Any) -> bool:
    """True or false."""
    if isinstance(value, EnvironmentText) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    quoted = isinstance(value, str) and value.lower() in {"true", "false"}
    raise WrongValueError(
        f'"{value}" is text' if quoted else f"{shown(value)} is neither true nor false",
        "it is a switch",
        f"write it without quotes: {value.lower()}" if quoted else "write true or false",
    )


def day_s(value: Any) -> int:
    """A day, as the Unix seconds at which it begins in UTC."""
    if isinstance(value, EnvironmentText):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            value = str(value)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise WrongValueError(
            f"{shown(value)} is not a day",
            "it ends at the beginning of a day in UTC",
            "write it without quotes, such as 2027-06-30",
        )
    return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())


def addresses(value: Any) -> tuple[Address, ...]:
    """Several addresses, in the order written; none twice."""
    if not isinstance(value, list):
        raise WrongValueError(
            f"{shown(value)} is not a list", "several may be named", 'write ["0x…", "0x…"]'
        )
    found = tuple(address(each) for each in value)
    for each in found:
        if found.count(each) > 1:
            raise WrongValueError(f"{each} stands twice", "once is enough", "take one away")
    return found


def duration_s(value: Any) -> int:
    """A span of time with its unit, such as "24h"."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        raise WrongValueError(
            f"{value} is not text",
            "a span needs a whole number and a unit: s, m, h or d",
            'write it in quotes with its unit, such as horizon = "24h"',
        )
    found = re.fullmatch(r"(\d+)\s*([smhd])", text(value).strip())
    if found is None:
        raise WrongValueError(
            f'"{value}" is not a span of time',
            "a span needs a whole number and a unit: s, m, h or d",
            'write it like "24h"',
        )
    span_s = int(found[1]) * SECONDS_PER[found[2]]
    if not 0 < span_s <= MAX_HORIZON_S:
        raise WrongValueError(
            f'"{value}" is not between one second and a year',
            "volatility of the last weeks says nothing about such a span",
            'write a span like "24h"',
        )
    return span_s


def text(value: Any) -> str:
    """Text of one line that is not blank."""
    if isinstance(value, str) and not value.strip():
        raise WrongValueError("the text is empty", "it names something", "write it")
    if isinstance(value, str) and not value.isprintable():
        raise WrongValueError(
            "the text holds characters that cannot be shown",
            "it stands in logs and tables",
            "write it in one line, without control characters",
        )
    if isinstance(value, str):
        return str(value)
    raise WrongValueError(
        f"{shown(value)} is not text", "text is expected here", 'write it in "double quotes"'
    )


def address(value: Any) -> Address:
    """An EIP-55 checksummed address other than zero."""
    written = text(value)
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", written):
        raise WrongValueError(
            f'"{written}" is not an address',
            "an address is 0x and 40 hexadecimal digits",
            "copy it from the protocol's or your wallet's address page",
        )
    if int(written, 16) == 0:
        raise WrongValueError(
            "this is the zero address", "nobody owns it", "write the address that is meant"
        )
    if written.lower() in BURN_ADDRESSES:
        raise WrongValueError(
            f"{written} is an address that burns what it gets, or stands for the chain's coin",
            "nobody has its key, and no contract of a market lies there",
            "write the address that is meant",
        )
    if not is_checksum_address(written):
        cased = written[2:].lower() != written[2:] and written[2:].upper() != written[2:]
        raise WrongValueError(
            f"{written} {'has a wrong checksum' if cased else 'has no checksum'}",
            "upper and lower case guard against typing errors (EIP-55), and this was typed wrong"
            if cased
            else "without upper and lower case (EIP-55) a typing error goes unnoticed",
            "copy it again from its source"
            if cased
            else f"compare with its source, then write {to_checksum_address(written)}",
        )
    return Address(written)


def path(value: Any) -> Path:
    """A file's path; the caller resolves it against the configuration file's folder."""
    written = text(value)
    try:
        return Path(written).expanduser()
    except RuntimeError:
        raise WrongValueError(
            f'"{written}" begins with no user\'s home',
            "~ stands for your own home and ~name for that of a user of this machine",
            "write the folder's whole path",
        ) from None


def private_key(value: Any) -> SecretStr:
    """A private key from the environment; what is wrong with it is said without showing it."""
    if not HEX_64.fullmatch(str(value).strip()):
        raise WrongValueError(
            "this is not a private key",
            "a private key is 64 hexadecimal digits, with or without 0x",
            "export it again from the wallet, or use a keystore file",
        )
    return SecretStr(str(value).strip().lower())


def secret(value: Any) -> SecretStr:
    """A password from the environment, whatever its characters."""
    return SecretStr(str(value))


def one_of(*known: str) -> Callable[[Any], str]:
    """One of a few words."""

    def parse(value: Any) -> str:
        word = text(value)
        if word not in known:
            raise WrongValueError(
                f'"{word}" is not known here',
                f"known are {', '.join(known)}",
                f'write "{closest(word, known) or known[0]}"',
            )
        return word

    return parse


def some_of(*known: str) -> Callable[[Any], tuple[str, ...]]:
    """A list of a few words, each at most once; one text, with commas, from the environment."""
    word_of = one_of(*known)

    def parse(value: Any) -> tuple[str, ...]:
        written = value.split(",") if isinstance(value, str) else value
        if not isinstance(written, list) or not written:
            raise WrongValueError(
                f"{shown(value)} is not a list of words",
                f"known are {', '.join(known)}",
                f'write for instance ["{known[0]}"]',
            )
        words = tuple(word_of(each.strip() if isinstance(each, str) else each) for each in written)
        if len(set(words)) < len(words):
            raise WrongValueError(
                "a word stands there twice", "the order is what counts", "write each once"
            )
        return words

    return parse
