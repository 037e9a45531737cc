"""What the names of a decision's document are called before people."""

from __future__ import annotations

from typing import Any, Final

from keeper.cli.output import utc

WORDS: Final = {
    "native_usd": "price of the chain's coin, USD",
    "covers_usd": "counts for it, USD",
    "owes_usd": "must be covered, USD",
    "from": "taken from",
    "calibration": "which is",
    "distance": "distance to liquidation (log of the price move)",
    "oracle_gap": "of it on the market, not yet in the oracle",
    "carry": "of it by interest or funding within the horizon",
    "distance_in_sigma": "what is left, in standard deviations",
    "closed_form": "by Brownian motion alone",
    "cold": "prices with too little history",
    "market_over_oracle": "market over oracle, as a share",
    "deviation": "publishes at a move of",
    "heartbeat_s": "publishes at the latest after",
    "since_round_s": "since its last round",
    "cash_usd": "cash cost, USD",
    "loss_left_usd": "expected loss left, USD",
    "guard_share": "most that an action may cost, as a share of the loss",
    "worth_at_most_usd": "worth at most, USD",
    "slice": "begins with a part",
    "ends_at": "why no larger",
}
"""Where the name itself, with its unit, is not plain."""
UNITS: Final = {"_usd": ", USD", "_gwei": ", gwei", "_wei": ", wei", "_s": ""}
NOTHING: Final = "none"


def named(name: str) -> str:
    """A field's name."""
    if name in WORDS:
        return WORDS[name]
    for suffix, unit in UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " ") + unit
    return name.replace("_", " ")


def valued(name: str, value: Any) -> Any:
    """A field's value, where its name says that it is a time or a duration, or it is empty."""
    if value in ([], {}):
        return NOTHING
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name.endswith("_s"):
            from keeper.backtest.models import hours

            return f"{value:,.0f} s" if value % 60 else hours(value)
        if name == "timestamp":
            return f"{utc(int(value))} UTC"
    return value
