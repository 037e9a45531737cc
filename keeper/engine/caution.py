"""Which positions must not be swapped for at this block, and why; the owner is told.

What the feeds and the sequencer say is read with the positions, in the same round trip; what the
contracts run, at the start and at every refresh. Payments into a position are never held up by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from keeper.chain.code import Code, read_code
from keeper.chain.reader import Reader
from keeper.engine.watch import Snapshot, WatchedMarket
from keeper.forecast.oracle_state import MarketPrice, heartbeat_s
from keeper.forecast.volatility import RoundSeries
from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.reading import Reading, ReadingError
from keeper.model.units import Address
from keeper.model.values import Head, PositionId
from keeper.policy.guards import Anomaly, FeedAnswer, Level, feed_anomalies, sequencer_anomaly
from keeper.protocols.feed_answers import FeedAnswers

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequencer:
    """A rollup's sequencer, as its uptime feed tells of it."""

    feed: Address
    grace_s: int


class Caution:
    """Remembers what it saw first of every feed and contract, and doubts what changes."""

    def __init__(
        self,
        *,
        markets: Sequence[WatchedMarket],
        notifier: Notifier,
        sequencer: Sequencer | None = None,
    ) -> None:
        self._markets = {market.name: market for market in markets}
        self._notifier = notifier
        self._sequencer = sequencer
        self._asked = FeedAnswers(())
        self._first: dict[Address, FeedAnswer] = {}
        self._levels: dict[Address, Level] = {}
        self._heartbeats: dict[Address, tuple[RoundSeries, int | None]] = {}
        self._code: dict[Address, Code] = {}
        self._replaced: dict[Address, Anomaly] = {}
        self._told: frozenset[tuple[str, str]] = frozenset()

    async def look_at_code(self, reader: Reader, head: Head) -> None:
        """Compare what the markets' contracts run with what they ran when they were first seen.

        Raises `EndpointUnavailableError`."""
        contracts = {
            each: market.name for market in self._markets.values() for each in market.contracts
        }
        if not contracts:
            return
        for contract, code in (await read_code(reader, tuple(contracts), head)).items():
            if self._code.setdefault(contract, code) != code:
                self._replaced[contract] = Anomaly(
                    name="contract.changed",
                    source=contract,
                    text=f"{contracts[contract]}: the code behind {contract} was replaced while "
                    "the keeper ran; restart it once you know what the new one does",
                    severity=Severity.CRITICAL,
                )
            else:
                self._replaced.pop(contract, None)

    def reading(self) -> Reading[Mapping[Address, FeedAnswer]]:
        """For `judge`."""
        uptime = () if self._sequencer is None else (self._sequencer.feed,)
        priced = (feed for market in self._markets.values() for feed in market.feeds)
        feeds = tuple(dict.fromkeys((*uptime, *priced)))
        if feeds != self._asked.feeds:
            self._asked = FeedAnswers(feeds)
        return self._asked.reading()

    def judge(
        self,
        answers: Mapping[Address, FeedAnswer] | ReadingError,
        snapshot: Snapshot,
        *,
        series: Mapping[Address, RoundSeries],
        market_prices: Mapping[Address, MarketPrice],
    ) -> Mapping[PositionId, str]:
        """Why nothing may be swapped for a position now; those in no doubt are left out."""
        now = snapshot.head.timestamp
        doubts: list[Anomaly] = list(self._replaced.values())
        general: Anomaly | None = None
        if isinstance(answers, ReadingError):
            log.error("guards.unreadable", reason=str(answers))
        else:
            doubts += self._doubted_feeds(answers, series, market_prices, now)
            if self._sequencer is not None:
                feed, grace_s = self._sequencer.feed, self._sequencer.grace_s
                general = sequencer_anomaly(feed, answers.get(feed), grace_s=grace_s, now=now)
        doubts += [halt for market in snapshot.markets.values() for halt in market.halts()]
        blocked = {
            position.id: reason
            for position in snapshot.positions
            if (doubts or general) and not isinstance(position, ReadingError)
            if (reason := self._reason(position, doubts, general)) is not None
        }
        # Of what nothing watched depends on, nobody need hear; what cannot be read may depend on
        # anything.
        all_read = not any(isinstance(each, ReadingError) for each in snapshot.positions)
        watched = self._watched(snapshot) if doubts and all_read else None
        self._tell(
            [
                *([] if general is None else [general]),
                *(each for each in doubts if watched is None or each.source in watched),
            ]
        )
        return blocked

    def _reason(
        self, position: Any, doubts: Sequence[Anomaly], general: Anomaly | None
    ) -> str | None:
        if general is not None:
            return f"no swaps: {general.text}"
        exposed = self._exposure(position)
        return next((f"no swaps: {each.text}" for each in doubts if each.source in exposed), None)

    def _exposure(self, position: Any) -> frozenset[Address]:
        return self._markets[position.id.market].adapter.exposure(position)

    def _watched(self, snapshot: Snapshot) -> frozenset[Address]:
        return frozenset().union(*map(self._exposure, snapshot.positions))

    def _doubted_feeds(
        self,
        answers: Mapping[Address, FeedAnswer],
        series: Mapping[Address, RoundSeries],
        market_prices: Mapping[Address, MarketPrice],
        now: int,
    ) -> list[Anomaly]:
        found: list[Anomaly] = []
        for feed in self._asked.feeds:
            latest = answers.get(feed)
            if self._sequencer is not None and feed == self._sequencer.feed:
                continue
            if latest is not None:
                self._first.setdefault(feed, latest)
                market = _in_units_of(latest, market_prices.get(feed))
                level = self._levels.get(feed, Level(answer=latest.answer))
                self._levels[feed] = level.followed_by(latest.answer, now=now, market=market)
            if feed not in self._first:
                # It never answered like a feed: there is nothing to compare with.
                continue
            asset = series[feed].asset if feed in series else None
            found += feed_anomalies(
                feed,
                latest,
                name=f"the feed {feed}" if asset is None else f"the {asset.pair} feed {feed}",
                first=self._first[feed],
                level=self._levels[feed],
                heartbeat_s=self._heartbeat_s(feed, series),
                now=now,
            )
        return found

    def _heartbeat_s(self, feed: Address, series: Mapping[Address, RoundSeries]) -> int | None:
        """Learned anew only when there are new rounds."""
        rounds = series.get(feed)
        if rounds is None:
            return None
        known = self._heartbeats.get(feed)
        if known is None or known[0] is not rounds:
            known = self._heartbeats[feed] = (rounds, heartbeat_s(rounds))
        return known[1]

    def _tell(self, anomalies: Sequence[Anomaly]) -> None:
        for each in anomalies:
            self._notifier.notify(
                Alert(name=each.name, subject=each.source, severity=each.severity, text=each.text)
            )
        standing = frozenset((each.name, str(each.source)) for each in anomalies)
        for name, subject in self._told - standing:
            self._notifier.resolve(name, subject)
        self._told = standing


def _in_units_of(latest: FeedAnswer, market: MarketPrice | None) -> int | None:
    if market is None or latest.decimals is None:
        return None
    # A threshold for doubt, never an amount: to the nearest unit.
    return round(market.price * 10.0**latest.decimals)
