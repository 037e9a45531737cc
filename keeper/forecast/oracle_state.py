"""What is known of a feed beside its price: when it last spoke, when it speaks, what the market says."""

from dataclasses import dataclass
from math import log
from typing import Final, Self

import numpy as np

from keeper.forecast.volatility import RoundSeries

MIN_ROUNDS: Final = 24
_WIDTH: Final = 1.1
_PROMPT: Final = 0.9
"""Rounds that came after less than this share of the heartbeat came because the price had moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPrice:
    """What the market pays, in the currency of the feed that prices the same."""

    price: float
    updated_at: int | None
    """None where it is of the block it was read at."""

    def gap(self, rounds: RoundSeries, now: int) -> float | None:
        """Its log less that of the feed's latest round; None where it is the older of the two."""
        known = rounds.until(now)
        if not len(known.times):
            return None
        if self.updated_at is not None and self.updated_at < int(known.times[-1]):
            return None
        return log(self.price) - float(known.log_prices[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleState:
    """One feed at one moment. `gap`: log market price less log oracle price, where a market is known.

    `deviation` (a share of the price) and `heartbeat_s` are learned from its rounds; None where
    these are too few to tell.
    """

    since_round_s: int
    deviation: float | None
    heartbeat_s: int | None
    gap: float | None

    @classmethod
    def of(cls, rounds: RoundSeries, now: int, gap: float | None = None) -> Self | None:
        """Of a feed with rounds; None without any."""
        known = rounds.until(now)
        if not len(known.times):
            return None
        return cls(
            since_round_s=now - int(known.times[-1]),
            deviation=deviation(known),
            heartbeat_s=heartbeat_s(known),
            gap=gap,
        )

    @property
    def round_is_due(self) -> bool:
        """Whether the feed's own rule asks for a round now: the market has moved far enough, or the
        heartbeat has passed."""
        moved = self.gap is not None and self.deviation is not None
        return (moved and abs(self.gap or 0.0) >= (self.deviation or 0.0)) or self.is_late

    @property
    def is_late(self) -> bool:
        """Whether the feed has been silent for longer than it ever should."""
        return self.heartbeat_s is not None and self.since_round_s > self.heartbeat_s


def heartbeat_s(rounds: RoundSeries) -> int | None:
    """The longest that the feed is silent, save for one time in a hundred."""
    if len(rounds.times) < MIN_ROUNDS:
        return None
    return int(np.quantile(np.diff(rounds.times), 0.99))


def deviation(rounds: RoundSeries) -> float | None:
    """The move that makes the feed publish before its heartbeat: where the moves of such rounds lie
    densest by their ratio. They crowd just above the threshold; late reports scatter below it."""
    heartbeat = heartbeat_s(rounds)
    if heartbeat is None:
        return None
    prompt = np.diff(rounds.times) < _PROMPT * heartbeat
    moves = np.sort(np.abs(np.expm1(np.diff(rounds.log_prices)[prompt])))
    moves = moves[moves > 0.0]
    if len(moves) < MIN_ROUNDS:
        return None
    crowd = np.searchsorted(moves, moves * _WIDTH, side="right") - np.arange(len(moves))
    return float(moves[int(crowd.argmax())])
