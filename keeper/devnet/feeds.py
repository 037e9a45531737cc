"""Rounds of a price feed: when one is published, and a history to be born with."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np

from keeper.model.units import SECONDS_PER_YEAR

DECIMALS: Final = 8
DEVIATION: Final = 0.005
HEARTBEAT_S: Final = 3600
"""A feed publishes when the market is 0.5 % away from its last answer, or after one hour: the rule
of Chainlink's ETH/USD and BTC/USD feeds on Ethereum mainnet."""

HISTORY_DAYS: Final = 31
_STEP_S: Final = 60


class Round(NamedTuple):
    """One answer of a feed, in USD with `DECIMALS`, and its time in Unix seconds."""

    answer: int
    updated_at: int


def is_due(last: Round, price: float, now: int) -> bool:
    """Whether a feed whose last round is `last` publishes at `now`; `price` in USD."""
    moved = abs(price * 10**DECIMALS - last.answer)
    return moved >= DEVIATION * last.answer or now - last.updated_at >= HEARTBEAT_S


def random_walk_rounds(
    *, symbol: str, seed: int, end_answer: int, end_time: int, volatility_per_year: float
) -> tuple[Round, ...]:
    """The rounds of a feed over `HISTORY_DAYS` that end with `end_answer` at `end_time`.

    The price is a geometric random walk in steps of one minute with the volatility given, seen
    through the feed's rule of deviation and heartbeat.
    """
    steps = HISTORY_DAYS * 24 * 3600 // _STEP_S
    scale = volatility_per_year * math.sqrt(_STEP_S / SECONDS_PER_YEAR)
    moves = np.random.default_rng((seed, crc32(symbol.encode()))).normal(0.0, scale, steps)
    log_until_end = np.cumsum(moves[::-1])[::-1]
    prices = end_answer / 10**DECIMALS * np.exp(-log_until_end)
    rounds: list[Round] = []
    for step, price in enumerate(prices.tolist(), start=-steps):
        now = end_time + step * _STEP_S
        if not rounds or is_due(rounds[-1], price, now):
            rounds.append(Round(round(price * 10**DECIMALS), now))
    return (*rounds, Round(end_answer, end_time))


def packed(rounds: Sequence[Round]) -> list[int]:
    """The words that `PriceFeed.back_fill` takes."""
    return [answer << 64 | updated_at for answer, updated_at in rounds]
