"""What would have become of a position that was left alone. Pure; for the report.

Health is a fraction of sums, each of which moves with one oracle's price. What is known of them at
the moment of an action, and the rounds that the oracles have published since, give the health that
the position would have had at each of those rounds. Interest is left out: it would have made it
worse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone:
    """The lowest that health would have been, and when."""

    lowest_health: float
    at: int
    """Unix seconds; that of the action where it never was lower."""
    liquidatable_at: int | None
    """When health would first have been below 1."""


def left_alone(
    terms: Sequence[Mapping[str, Any]],
    rounds: Mapping[str, Sequence[tuple[int, float]]],
    *,
    since: int,
    until: int,
) -> LeftAlone | None:
    """`terms` as `evidence.terms` wrote them at `since`; `rounds` by feed: when, and the price. None
    where the terms are not known or nothing is owed."""
    prices = {str(each["feed"]): float(each["price"]) for each in terms if each["feed"]}
    moments = sorted(
        (at, feed, price)
        for feed in prices
        for at, price in rounds.get(feed, ())
        if since < at <= until
    )
    begun = _health(terms, prices)
    if begun is None:
        return None
    lowest, when, first = begun, since, since if begun < 1 else None
    for at, feed, price in moments:
        prices[feed] = price
        now = _health(terms, prices)
        if now is not None and now < lowest:
            lowest, when = now, at
            first = at if first is None and now < 1 else first
    return LeftAlone(lowest_health=lowest, at=when, liquidatable_at=first)


def _health(terms: Sequence[Mapping[str, Any]], prices: Mapping[str, float]) -> float | None:
    covers = owes = 0.0
    for each in terms:
        feed = each["feed"]
        moved = prices[str(feed)] / float(each["price"]) if feed else 1.0
        covers += float(each["covers_usd"]) * moved
        owes += float(each["owes_usd"]) * moved
    return covers / owes if owes > 0.0 else None
