"""The whole history of a price feed from the chain into the store, as far back as it is wanted."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from keeper.chain.heads import Heads
from keeper.chain.reader import Reader
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.reading import Reading
from keeper.model.units import Address
from keeper.protocols.chainlink import (
    CHUNK,
    PHASE_BITS,
    Round,
    last_number,
    newest_round,
    rounds_of_phase,
)


class RoundStore(Protocol):
    """What this needs of the price history."""

    def add(self, chain_id: int, feed: Address, rounds: Iterable[Round]) -> None: ...
    def since(self, chain_id: int, feed: Address, timestamp: int) -> Sequence[Round]: ...
    def name(self, chain_id: int, feed: Address, pair: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedRounds:
    """How far back a fetch has come: what is newer than `oldest` (Unix seconds) is in the store."""

    feed: Address
    pair: str | None
    latest: int
    oldest: int
    read: int
    """Rounds that the store did not have."""


class FeedHistory:
    """Reads rounds that the store lacks, newest first, and keeps every chunk as it comes: a fetch
    that was broken off goes on where it stopped, and holes that others left are filled."""

    def __init__(self, *, reader: Reader, heads: Heads, chain_id: int, store: RoundStore) -> None:
        self._reader = reader
        self._heads = heads
        self._chain_id = chain_id
        self._store = store

    async def fetch(self, feed: Address, since: int) -> AsyncIterator[FetchedRounds]:
        """All rounds updated at or after `since`, through every phase; yields after each chunk.

        Raises `EndpointUnavailableError`, and `ConfigurationError` for what is no feed."""
        found = await self._read(newest_round(feed))
        if found is None:
            raise _no_feed(feed)
        latest, pair = found
        if pair is not None:
            self._store.name(self._chain_id, feed, pair)
        known = {
            each.id: each.price.updated_at for each in self._store.since(self._chain_id, feed, 0)
        }
        done = FetchedRounds(
            feed=feed,
            pair=pair,
            latest=latest.price.updated_at,
            oldest=latest.price.updated_at,
            read=0,
        )
        phase, number = divmod(latest.id, 1 << PHASE_BITS)
        decimals = latest.price.decimals
        while True:
            async for further in self._phase(done, known, phase, number, decimals, since):
                yield (done := further)
            if done.oldest < since or phase <= 1:
                return
            phase -= 1
            number = await self._read(last_number(feed, phase, decimals=decimals))

    async def _phase(
        self,
        done: FetchedRounds,
        known: Mapping[int, int],
        phase: int,
        number: int,
        decimals: int,
        since: int,
    ) -> AsyncIterator[FetchedRounds]:
        """One aggregator's rounds from `number` down. What it published after its successor took
        over was never the feed's answer and is left out; a whole chunk without a round ends it."""
        successor = done.oldest
        while number > 0 and done.oldest >= since:
            numbers = range(number, max(0, number - CHUNK), -1)
            there = [known[i] for i in (phase << PHASE_BITS | n for n in numbers) if i in known]
            lacking = [n for n in numbers if (phase << PHASE_BITS | n) not in known]
            rounds = await self._read(rounds_of_phase(done.feed, phase, lacking, decimals=decimals))
            new = [each for each in rounds if each.price.updated_at <= successor]
            self._store.add(self._chain_id, done.feed, new)
            times = [*there, *(each.price.updated_at for each in new)]
            done = FetchedRounds(
                feed=done.feed,
                pair=done.pair,
                latest=done.latest,
                oldest=min([done.oldest, *times]),
                read=done.read + len(new),
            )
            yield done
            if not (there or rounds):
                return
            number = numbers[-1] - 1

    async def _read(self, reading: Reading[Any]) -> Any:
        """At the newest head each time: a round stays as it is, and a node forgets old states."""
        (value,), _ = await self._reader.read([reading], at=(await self._heads.current()).hash)
        if isinstance(value, Exception):
            raise value
        return value


def _no_feed(feed: Address) -> ConfigurationError:
    return ConfigurationError(
        Problem(
            where=feed,
            what="latestRoundData() and decimals() do not answer with a positive price",
            why="rounds can be read from a price feed (AggregatorV3Interface) only",
            fix="give the address of the feed's proxy on the configured chain",
        )
    )
