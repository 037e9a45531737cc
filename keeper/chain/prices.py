"""The rounds of every feed that a position depends on, kept in memory and in the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from keeper.chain.reader import Reader
from keeper.chain.transactions.seams import RunOnStore
from keeper.forecast.volatility import RoundSeries
from keeper.model.reading import Reading, ReadingError
from keeper.model.units import Address
from keeper.model.values import Head
from keeper.protocols.chainlink import (
    FeedRounds,
    Round,
    decode_latest,
    latest_call,
    rounds_by_id,
    rounds_since,
)

log = structlog.get_logger()

HISTORY_S = 31 * 24 * 3600
"""A day more than the forecast's longest window."""

MOST_MISSED = 500
"""More rounds than these between two passes, or a change of phase, leave a gap in memory, and
everything after it out of the store, until the feed is loaded again."""


class RoundStore(Protocol):
    """What this needs of the price history; synchronous, called on the store's thread."""

    def add(self, chain_id: int, feed: Address, rounds: Iterable[Round]) -> None: ...
    def since(self, chain_id: int, feed: Address, timestamp: int) -> Sequence[Round]: ...


class FeedPrices:
    """One chain's feeds. `load` reads history once; each block's `latest` adds to it."""

    def __init__(
        self, *, reader: Reader, chain_id: int, store: RoundStore, run: RunOnStore
    ) -> None:
        self._reader = reader
        self._chain_id = chain_id
        self._store = store
        self._run = run
        self._rounds: dict[Address, FeedRounds] = {}
        self._series: dict[Address, RoundSeries] = {}
        self._unstored: dict[Address, tuple[Round, ...]] = {}
        self._gaps: set[Address] = set()

    async def load(self, feeds: Sequence[Address], head: Head) -> None:
        """Rounds of the last month: what the store has, and from the chain what it lacks. A feed
        that cannot be read is cold, or keeps what is known of it.

        Raises `EndpointUnavailableError`."""
        since = head.timestamp - HISTORY_S
        stored = [
            tuple(await self._run(self._store.since, self._chain_id, feed, since)) for feed in feeds
        ]
        readings = [
            rounds_since(
                feed,
                max([since, *(each.price.updated_at for each in known[-1:])]),
                known[-1].id if known else None,
            )
            for feed, known in zip(feeds, stored, strict=True)
        ]
        values, _ = await self._reader.read(readings, at=head.hash)
        for feed, known, read in zip(feeds, stored, values, strict=True):
            if isinstance(read, ReadingError):
                log.warning("feed.unreadable", feed=feed, reason=str(read))
                if feed not in self._rounds:
                    self._keep(FeedRounds(feed=feed, decimals=0, rounds=(), cold=str(read)))
                continue
            self._gaps.discard(feed)
            await self._run(self._store.add, self._chain_id, feed, read.rounds)
            earlier = replace(read, rounds=known)
            self._keep(earlier.followed_by(read.rounds, since=since))
            log.info(
                "feed.loaded", feed=feed, stored=len(known), read=len(read.rounds), cold=read.cold
            )

    def latest(self) -> Reading[Mapping[Address, tuple[Round, ...]]]:
        """The rounds of each feed that are new at this block; rides along with a pass's readings.

        One round trip; a second where a feed published several rounds since the last pass; none
        where all feeds are cold."""
        feeds = [rounds for rounds in self._rounds.values() if rounds.cold is None]
        if not feeds:
            return {}
        returns = yield tuple(latest_call(each.feed) for each in feeds)
        newest = [
            decode_latest(returns, index, decimals=each.decimals)
            for index, each in enumerate(feeds)
        ]
        missed = {
            each.feed: range(each.latest_id + 1, new.id)
            for each, new in zip(feeds, newest, strict=True)
            if new is not None
            and each.latest_id is not None
            and 0 < new.id - each.latest_id - 1 <= MOST_MISSED
        }
        between = yield from rounds_by_id(missed, self._decimals())
        return {
            each.feed: (*between.get(each.feed, ()), new)
            for each, new in zip(feeds, newest, strict=True)
            if new is not None and new.id > (each.latest_id or 0)
        }

    def observe(self, new: Mapping[Address, Sequence[Round]], head: Head) -> None:
        """Take in what `latest` found."""
        for feed, rounds in new.items():
            known = self._rounds[feed].latest_id
            if known is not None and rounds[0].id - known - 1 > MOST_MISSED:
                self._gaps.add(feed)
            if feed not in self._gaps:
                self._unstored[feed] = (*self._unstored.get(feed, ()), *rounds)
            self._keep(self._rounds[feed].followed_by(rounds, since=head.timestamp - HISTORY_S))

    async def store(self) -> None:
        """Keep on disk what was taken in since the last time, by passes that failed as well; after a
        pass's sends, for the store can wait and the block cannot."""
        for feed, rounds in tuple(self._unstored.items()):
            await self._run(self._store.add, self._chain_id, feed, rounds)
            # What came meanwhile stays.
            self._unstored[feed] = self._unstored[feed][len(rounds) :]

    @property
    def series(self) -> Mapping[Address, RoundSeries]:
        """Each feed's rounds as the forecast takes them."""
        return self._series

    @property
    def warm(self) -> frozenset[Address]:
        """Feeds whose rounds are known without a gap; the others are worth another try."""
        known = {feed for feed, rounds in self._rounds.items() if rounds.cold is None}
        return frozenset(known - self._gaps)

    def _keep(self, rounds: FeedRounds) -> None:
        self._rounds[rounds.feed] = rounds
        self._series[rounds.feed] = rounds.series()

    def _decimals(self) -> Mapping[Address, int]:
        return {feed: rounds.decimals for feed, rounds in self._rounds.items()}
