"""What keeps an action from being larger, in words for the owner."""

from typing import Final

from keeper.model.values import Option, PositionState, Reduction, Unwind
from keeper.policy.size import usd8_up

DUST_USD8: Final = 10**8
"""A protocol may round less than this to nothing, and anybody can send it to a wallet."""
TARGET: Final = "the target is reached"
LIMITS: Final = (
    "the limits leave no more (max_per_action_usd, max_per_day_usd, and a mandate's own)"
)


def of_payment(option: Option, position: PositionState, raw: int, most: int) -> str:
    """Of `raw` units; `most` is what the option and the limits leave."""
    symbol, owed_usd8 = option.token.symbol, position.debt_usd8 - DUST_USD8
    if option.kind == "Repay" and usd8_up(raw, option.price, option.token.unit) >= owed_usd8:
        return f"no more {symbol} is owed"
    if raw < most:
        return TARGET
    if most < option.available.raw:
        return LIMITS
    if option.source == "spare":
        return f"no more {symbol} is spare elsewhere, or the venue takes no more"
    if option.available.raw == option.held.raw:
        return f"the reserve holds no more {symbol}"
    owed = "owed" if option.kind == "Repay" else "taken by the protocol"
    return f"no more {symbol} is {owed}, or allowed to be taken of the reserve"


def of_swap(unwind: Unwind, raw: int, most: int, *, budget: int, deepest: int) -> str:
    """`most` is what the pools give within the slippage allowed, up to `budget` and `deepest`."""
    if raw < most:
        return TARGET
    if most == unwind.available.raw:
        return f"no more {unwind.token.symbol} is owed"
    if most == min(budget, deepest) == budget:
        return LIMITS
    return "the pools give no more within the slippage that is allowed now"


def of_reduction(reduction: Reduction, raw: int, most: int) -> str:
    """`most` is what the position and the limits leave."""
    if raw < most:
        return TARGET
    return LIMITS if most < reduction.available.raw else "the position is no larger"
