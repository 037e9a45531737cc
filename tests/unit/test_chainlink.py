"""Reading a feed's history through its proxy, against a feed held in memory."""

from dataclasses import dataclass, field
from math import log

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.abi.multicall import decode_aggregate3
from keeper.model.reading import Call, Calls, Reading, Returns
from keeper.model.units import Address, Price
from keeper.protocols.chainlink import (
    CHUNK,
    DECIMALS,
    DESCRIPTION,
    GET_ROUND_DATA,
    LATEST_ROUND_DATA,
    MAX_ROUNDS,
    FeedRounds,
    Round,
    decode_latest,
    latest_call,
    rounds_since,
)

FEED = Address("0x0000000000000000000000000000000000000001")
HOUR = 3_600

Published = dict[int, tuple[int, int]]
"""Number → (answer, updated_at)."""


@dataclass
class Proxy:
    """Answers as Chainlink's proxies do. `reverting` phases are Flux aggregators, which revert for
    a round that does not exist; the others answer zeros."""

    phases: dict[int, Published]
    decimals: int = 8
    description: str = ""
    reverting: frozenset[int] = frozenset()
    trips: list[int] = field(default_factory=list)

    def answer(self, call: Call) -> bytes | None:
        argument = int.from_bytes(call.data[4:], "big")
        match call.data[:4]:
            case LATEST_ROUND_DATA.selector:
                phase = max(self.phases)
                return self._round(phase, max(self.phases[phase], default=0))
            case GET_ROUND_DATA.selector:
                return self._round(*divmod(argument, 1 << 64))
            case DECIMALS.selector:
                return self.decimals.to_bytes(32, "big")
            case DESCRIPTION.selector if self.description:
                return encode(["string"], [self.description])
        return None

    def _round(self, phase: int, number: int) -> bytes | None:
        found = self.phases.get(phase, {}).get(number)
        if phase not in self.phases or (found is None and phase in self.reverting):
            return None
        answer, time = found or (0, 0)
        id_word = ((phase << 64) | number).to_bytes(32, "big")
        times = time.to_bytes(32, "big") * 2
        return id_word + answer.to_bytes(32, "big", signed=True) + times + id_word


def returned(outputs: list[bytes | None]) -> Returns:
    """As Multicall3 brings them; None for a call that reverted."""
    pairs = [(output is not None, output or b"") for output in outputs]
    return decode_aggregate3(encode(["(bool,bytes)[]"], [pairs]), len(pairs))


def drive(reading: Reading[FeedRounds], proxy: Proxy) -> FeedRounds:
    calls: Calls = next(reading)
    while True:
        proxy.trips.append(len(calls))
        try:
            calls = reading.send(returned([proxy.answer(call) for call in calls]))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed leaves it Any


def hourly(first: int, last: int, *, start: int = 0) -> Published:
    """Rounds `first` to `last`, one an hour, each answering its own number in dollars."""
    return {n: (n * 10**8, start + (n - first + 1) * HOUR) for n in range(first, last + 1)}


def times(found: FeedRounds) -> list[int]:
    return [each.price.updated_at for each in found.rounds]


def test_rounds_since__one_phase__gives_rounds_oldest_first_in_chunks() -> None:
    proxy = Proxy({1: hourly(1, 1_300)})
    found = drive(rounds_since(FEED, 100 * HOUR), proxy)
    assert times(found) == [hour * HOUR for hour in range(100, 1_301)]
    assert found.rounds[0] == Round(
        id=(1 << 64) | 100, price=Price(value=100 * 10**8, decimals=8, updated_at=100 * HOUR)
    )
    assert (found.decimals, found.cold) == (8, None)
    assert proxy.trips == [3, CHUNK, CHUNK, 299]


def test_rounds_since__known_latest__asks_only_for_what_is_newer() -> None:
    proxy = Proxy({1: hourly(1, 1_300)})
    found = drive(rounds_since(FEED, 0, (1 << 64) | 1_295), proxy)
    assert [each.id % (1 << 64) for each in found.rounds] == [1_296, 1_297, 1_298, 1_299, 1_300]
    assert proxy.trips == [3, 4]


def test_rounds_since__nothing_newer__is_empty_and_not_cold() -> None:
    proxy = Proxy({1: hourly(1, 10)})
    found = drive(rounds_since(FEED, 0, (1 << 64) | 10), proxy)
    assert (found.rounds, found.cold, proxy.trips) == ((), None, [3])


@pytest.mark.parametrize("reverting", [frozenset[int](), frozenset({2, 3, 4})])
@pytest.mark.parametrize("length", [1, 2, 3, 500, 501, 70_000])
def test_rounds_since__earlier_phases__are_read_through_the_proxy(
    length: int, reverting: frozenset[int]
) -> None:
    change = (length - 5) * HOUR
    proxy = Proxy(
        {
            2: hourly(1, length),
            3: hourly(1, 20, start=length * HOUR),
            4: hourly(1, 3, start=(length + 20) * HOUR),
        },
        reverting=reverting,
    )
    found = drive(rounds_since(FEED, max(change, 1)), proxy)
    assert times(found) == [h * HOUR for h in range(max(length - 5, 1), length + 24)]
    assert [each.id for each in found.rounds] == sorted(each.id for each in found.rounds)
    assert len(proxy.trips) <= 14


def test_rounds_since__known_latest_in_an_earlier_phase__stops_there() -> None:
    proxy = Proxy({1: hourly(1, 50), 2: hourly(1, 5, start=50 * HOUR)})
    found = drive(rounds_since(FEED, 0, (1 << 64) | 48), proxy)
    assert times(found) == [hour * HOUR for hour in range(49, 56)]


def test_rounds_since__old_aggregator_still_publishing__its_later_rounds_are_left_out() -> None:
    proxy = Proxy({1: hourly(1, 60), 2: hourly(1, 5, start=50 * HOUR + 60)})
    found = drive(rounds_since(FEED, 45 * HOUR), proxy)
    expected = [h * HOUR for h in range(45, 52)]
    assert times(found) == [*expected, *(h * HOUR + 60 for h in range(51, 56))]


def test_rounds_since__source_without_phases__counts_from_one() -> None:
    found = drive(rounds_since(FEED, 0), Proxy({0: hourly(1, 7)}))
    assert [each.id for each in found.rounds] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("reverting", [frozenset[int](), frozenset({1})])
def test_rounds_since__missing_incomplete_or_negative_rounds__are_left_out(
    reverting: frozenset[int],
) -> None:
    published = hourly(1, 9) | {3: (10**8, 0), 5: (0, 5 * HOUR), 6: (-(10**8), 6 * HOUR)}
    del published[8]
    found = drive(rounds_since(FEED, 0), Proxy({1: published}, reverting=reverting))
    assert times(found) == [hour * HOUR for hour in (1, 2, 4, 7, 9)]


def test_rounds_since__more_rounds_than_the_bound__gives_the_newest() -> None:
    length = MAX_ROUNDS + 700
    found = drive(rounds_since(FEED, 0), Proxy({1: hourly(1, length)}))
    assert len(found.rounds) == MAX_ROUNDS
    assert times(found)[-1] == length * HOUR


@dataclass
class Lacking(Proxy):
    """A contract without some functions; without code, calls succeed and return nothing."""

    lacks: tuple[bytes, ...] = ()
    says: bytes | None = None

    def answer(self, call: Call) -> bytes | None:
        return self.says if call.data[:4] in self.lacks else super().answer(call)


SELECTORS = (LATEST_ROUND_DATA.selector, DECIMALS.selector)
ROUNDS: dict[int, Published] = {1: {1: (10**8, HOUR)}}


@pytest.mark.parametrize(
    "source",
    [
        Lacking(ROUNDS, lacks=SELECTORS),
        Lacking(ROUNDS, lacks=SELECTORS, says=b""),
        Lacking(ROUNDS, lacks=SELECTORS[:1]),
        Lacking(ROUNDS, lacks=SELECTORS[1:]),
        Proxy({1: {}}),
        Proxy({1: {1: (10**8, 2**63)}}),
        Proxy({1: {1: (10**8, 2**255)}}),
        Proxy({2**20: {1: (10**8, HOUR)}}),
        Proxy({1: {1: (10**8, HOUR)}}, decimals=78),
        Proxy({1: {1: (10**8, HOUR)}}, decimals=2**255),
    ],
)
def test_rounds_since__source_without_rounds__is_cold_with_a_reason(source: Proxy) -> None:
    found = drive(rounds_since(FEED, 0), source)
    assert found.rounds == ()
    assert found.cold == "latestRoundData() and decimals() do not answer with a positive price"
    assert found.series().cold == found.cold


def test_decode_latest__answer_failure_and_zeros__is_a_round_or_none() -> None:
    proxy = Proxy({3: {7: (2 * 10**18, 99)}}, decimals=18)
    returns = returned([proxy.answer(latest_call(FEED)), None, bytes(160), b""])
    assert decode_latest(returns, 0, decimals=18) == Round(
        id=(3 << 64) | 7, price=Price(value=2 * 10**18, decimals=18, updated_at=99)
    )
    assert [decode_latest(returns, n, decimals=18) for n in (1, 2, 3)] == [None, None, None]


def test_feed_rounds__followed_by_newer__drops_known_and_old_ones() -> None:
    proxy = Proxy({1: hourly(1, 10)})
    first = drive(rounds_since(FEED, 0), proxy)
    proxy.phases[1] |= hourly(11, 13, start=10 * HOUR)
    newer = drive(rounds_since(FEED, 0, (1 << 64) | 9), proxy)
    joined = first.followed_by(newer.rounds, since=4 * HOUR)
    assert times(joined) == [hour * HOUR for hour in range(4, 14)]
    assert joined.latest_id == (1 << 64) | 13


def test_feed_rounds__series__holds_times_and_logs() -> None:
    series = drive(rounds_since(FEED, 0), Proxy({1: hourly(1, 3)})).series()
    assert series.times.tolist() == [HOUR, 2 * HOUR, 3 * HOUR]
    assert series.log_prices == pytest.approx([0.0, log(2), log(3)])


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 1_200), min_size=1, max_size=4),
    st.integers(0, 3_000),
    st.integers(0, 3_000),
)
def test_rounds_since__any_history__is_exactly_what_was_published(
    lengths: list[int], since_hour: int, known: int
) -> None:
    phases, hours = {}, 0
    for phase, length in enumerate(lengths, start=1):
        phases[phase] = hourly(1, length, start=hours * HOUR)
        hours += length
    everything = [
        ((phase << 64) | number, time)
        for phase, published in phases.items()
        for number, (_, time) in published.items()
    ]
    known_latest = everything[known][0] if known < len(everything) else None
    found = drive(rounds_since(FEED, since_hour * HOUR, known_latest), Proxy(phases))
    assert [(each.id, each.price.updated_at) for each in found.rounds] == [
        (each, time)
        for each, time in everything
        if time >= since_hour * HOUR and each > (known_latest or 0)
    ]
