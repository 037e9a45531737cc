"""Price feeds with rounds (AggregatorV3Interface): the latest answer, and the history on chain.

A proxy puts the number of its current aggregator, the phase, above bit 64 of a round id; numbers
below count from 1 in each phase (https://docs.chain.link/data-feeds/historical-data). Earlier
phases are read through the proxy as well: aggregators refuse to be read by contracts, Multicall3
included, that are neither the transaction's origin nor on their list.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from keeper.abi.words import Function, split_words
from keeper.forecast.names import Asset
from keeper.forecast.volatility import RoundSeries
from keeper.model.reading import Call, Reading, Returns
from keeper.model.units import Address, Price

LATEST_ROUND_DATA = Function("latestRoundData()")
GET_ROUND_DATA = Function("getRoundData(uint80)")
DECIMALS = Function("decimals()")
DESCRIPTION = Function("description()")

PHASE_BITS = 64
CHUNK = 500
"""Rounds asked for in one round trip."""
MAX_ROUNDS = 20_000
"""Where the walk back ends at the latest: a month of one round every two minutes."""

_MAX_ANSWER = 2**255 - 1
_MAX_ID = 2**80 - 1
_MAX_DECIMALS = 77
"""Of 2^255 at most: more leave nothing before the point."""
_MAX_TIME = 2**40
"""Unix seconds in the year 36812: what is later than that is no time."""
_NUMBER_BITS = 32
"""An aggregator counts its rounds in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One complete round with a positive answer."""

    id: int
    price: Price


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRounds:
    """Rounds of one feed, oldest first; times never fall and ids rise.

    `cold` says why the source has no rounds; `decimals` is 0 then. `asset`: what it prices, where
    its description says so.
    """

    feed: Address
    decimals: int
    rounds: tuple[Round, ...]
    cold: str | None = None
    asset: Asset | None = None

    @property
    def latest_id(self) -> int | None:
        """The newest round's id."""
        return self.rounds[-1].id if self.rounds else None

    def followed_by(self, newer: Iterable[Round], *, since: int) -> Self:
        """With rounds that came later, and without those updated before `since`."""
        after = self.latest_id or 0
        joined = (*self.rounds, *(each for each in newer if each.id > after))
        return replace(self, rounds=tuple(r for r in joined if r.price.updated_at >= since))

    def series(self) -> RoundSeries:
        """The rounds as the forecast takes them."""
        if self.cold is not None:
            return RoundSeries.without_rounds(self.cold)
        pairs = ((each.price.updated_at, each.price.value) for each in self.rounds)
        return RoundSeries.of(pairs, decimals=self.decimals, asset=self.asset)


def latest_call(feed: Address) -> Call:
    """To be carried in each block's own round trip; see `decode_latest`."""
    return LATEST_ROUND_DATA(feed)


def decode_latest(returns: Returns, index: int, *, decimals: int) -> Round | None:
    """The answer to `latest_call`; None if it failed, is incomplete or is not positive."""
    words = split_words(returns.output(index)) if returns.ok(index) else ()
    return _round(words, words[0], decimals) if words else None


def rounds_since(feed: Address, since: int, known_latest: int | None = None) -> Reading[FeedRounds]:
    """The feed's rounds updated at or after `since` (Unix seconds) with ids above `known_latest`,
    at most `MAX_ROUNDS`, the newest.

    Rounds that are missing, incomplete or not positive are left out, as are rounds that an earlier
    aggregator added after its successor took over. A source that does not answer like a feed gives
    a value with `cold` set.
    """
    returns = yield (latest_call(feed), DECIMALS(feed), DESCRIPTION(feed))
    decimals = split_words(returns.output(1)) if returns.ok(1) else ()
    latest = decode_latest(returns, 0, decimals=decimals[0]) if decimals else None
    if latest is None:
        reason = "latestRoundData() and decimals() do not answer with a positive price"
        return FeedRounds(feed=feed, decimals=0, rounds=(), cold=reason)
    asset = _asset(returns.output(2)) if returns.ok(2) else None
    known = known_latest or 0
    walk = _Walk(feed=feed, decimals=decimals[0], since=since, known=known)
    if latest.id <= known or latest.price.updated_at < since:
        return FeedRounds(feed=feed, decimals=walk.decimals, rounds=(), asset=asset)
    found = [latest]
    phase, number = divmod(latest.id, 1 << PHASE_BITS)
    while not (yield from walk.back(phase, number - 1, found)) and phase > 1:
        phase -= 1
        # The last round itself is still to be read.
        number = 1 + (yield from last_number(feed, phase, decimals=walk.decimals))
        if number == 1:
            break
    rounds = tuple(reversed(found))
    return FeedRounds(feed=feed, decimals=walk.decimals, rounds=rounds, asset=asset)


def rounds_by_id(
    wanted: Mapping[Address, Iterable[int]], decimals: Mapping[Address, int]
) -> Reading[Mapping[Address, tuple[Round, ...]]]:
    """The rounds of these ids that exist, feed by feed, in the order asked for.

    One round trip; none where nothing is wanted.
    """
    asked = [(feed, each) for feed, ids in wanted.items() for each in ids]
    if not asked:
        return {}
    returns = yield tuple(GET_ROUND_DATA(feed, each) for feed, each in asked)
    found: dict[Address, tuple[Round, ...]] = {}
    for index, (feed, each) in enumerate(asked):
        words = split_words(returns.output(index)) if returns.ok(index) else ()
        if (read := _round(words, each, decimals[feed])) is not None:
            found[feed] = (*found.get(feed, ()), read)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """From the newest round back to `since` or to the round that is known."""

    feed: Address
    decimals: int
    since: int
    known: int

    def back(self, phase: int, number: int, found: list[Round]) -> Reading[bool]:
        """Append the rounds of a phase from `number` down, newest first; whether the walk is over.

        A whole chunk without a round ends the phase.
        """
        known_phase, known_number = divmod(self.known, 1 << PHASE_BITS)
        lowest = known_number + 1 if phase == known_phase else 1
        while number >= lowest:
            numbers = range(number, max(lowest, number - CHUNK + 1) - 1, -1)
            older = yield from rounds_of_phase(self.feed, phase, numbers, decimals=self.decimals)
            for each in older:
                if each.price.updated_at < self.since or len(found) >= MAX_ROUNDS:
                    return True
                if each.price.updated_at <= found[-1].price.updated_at:
                    found.append(each)
            if not older:
                break
            number = numbers[-1] - 1
        return phase <= known_phase


def last_number(feed: Address, phase: int, *, decimals: int) -> Reading[int]:
    """The number of a phase's last round, 0 if it has none: powers of two first, then ever finer
    steps between the last that exists and the first that does not."""
    low, high = 0, 1 << _NUMBER_BITS
    probes: Sequence[int] = [1 << bit for bit in range(_NUMBER_BITS)]
    while True:
        present = yield from rounds_of_phase(feed, phase, probes, decimals=decimals)
        low = max([low, *(each.id % (1 << PHASE_BITS) for each in present)])
        high = min((number for number in probes if number > low), default=high)
        if low == 0 or high - low == 1:
            return low
        step = -(-(high - low) // CHUNK)
        probes = range(low + step, high, step)


def rounds_of_phase(
    feed: Address, phase: int, numbers: Iterable[int], *, decimals: int
) -> Reading[tuple[Round, ...]]:
    """Those of the rounds that exist, in the order asked for."""
    ids = [(phase << PHASE_BITS) | number for number in numbers]
    found = yield from rounds_by_id({feed: ids}, {feed: decimals})
    return found.get(feed, ())


def newest_round(feed: Address) -> Reading[tuple[Round, str | None] | None]:
    """The newest round and, where the feed says it, which pair it is of, such as ETH/USD. None
    where the address does not answer like a feed."""
    returns = yield (latest_call(feed), DECIMALS(feed), DESCRIPTION(feed))
    decimals = split_words(returns.output(1)) if returns.ok(1) else ()
    latest = decode_latest(returns, 0, decimals=decimals[0]) if decimals else None
    if latest is None:
        return None
    asset = _asset(returns.output(2)) if returns.ok(2) else None
    return latest, None if asset is None else asset.pair


def _asset(description: bytes) -> Asset | None:
    try:
        (text,) = decode(["string"], description)
    except (DecodingError, UnicodeDecodeError):
        return None
    return Asset.of(text)


def _round(words: Sequence[int], round_id: int, decimals: int) -> Round | None:
    """From roundId, answer, startedAt, updatedAt, answeredInRound."""
    if len(words) < 5 or not 0 < words[1] <= _MAX_ANSWER or not 0 < words[3] <= _MAX_TIME:
        return None
    if round_id > _MAX_ID or decimals > _MAX_DECIMALS:
        return None
    price = Price(value=words[1], decimals=decimals, updated_at=words[3])
    return Round(id=round_id, price=price)
