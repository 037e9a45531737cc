"""What a pass sees: everything watched at one head, in one round trip, and what lies ahead of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from keeper.chain.header import decode_head
from keeper.chain.market_prices import MarketPrices
from keeper.chain.pool import Endpoint, Pool
from keeper.chain.prices import FeedPrices
from keeper.chain.reader import Reader, RefusedReadingError
from keeper.chain.rpc import EndpointUnavailableError, Request
from keeper.chain.sitting import Sitting
from keeper.chain.transactions.accounts import SignerAccounts
from keeper.engine.calibrator import Calibrator
from keeper.engine.caution import Caution
from keeper.engine.guarding import Guarding
from keeper.engine.outlook import Outlook, look_ahead, nothing_known
from keeper.engine.watch import Snapshot, Watched, WatchedMarket, assemble
from keeper.forecast.oracle_state import MarketPrice
from keeper.model.errors import ConfigurationError
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.model.values import Head

log = structlog.get_logger()


class OtherHeadError(EndpointUnavailableError):
    """The endpoint that is read has another block by the head's hash than was announced: `head`."""

    def __init__(self, reader: str, head: Head) -> None:
        super().__init__(f"{reader} has block {head.hash} otherwise than it was announced")
        self.head = head


class Sight:
    """Reads the markets of one chain, with their feeds, pools and guardians."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        markets: Mapping[str, WatchedMarket],
        pool: Pool,
        reader: Reader,
        prices: FeedPrices,
        market_prices: MarketPrices,
        calibrator: Calibrator,
        accounts: SignerAccounts,
        guarding: Guarding,
        caution: Caution,
    ) -> None:
        self._watched = watched
        self._markets = markets
        self._pool = pool
        self._reader = reader
        self._prices = prices
        self._market_prices = market_prices
        self._paid: Mapping[Address, MarketPrice] = {}
        self._calibrator = calibrator
        self._accounts = accounts
        self._guarding = guarding
        self._caution = caution
        self._changed: list[WatchedMarket] = []
        self._told: tuple[Endpoint | None, Head] | None = None
        """By whom a head was told otherwise than announced, and how."""

    async def begin(self, head: Head) -> None:
        """Before the first pass. Raises the `ReadingError` of a market that cannot be read."""
        for market in self._markets.values():
            await market.discover(self._reader, head)
        await self._load(head)
        await self._calibrator.load(head.timestamp)

    async def refresh(self, head: Head) -> None:
        """Read anew what changes seldom: market parameters, and feeds that have no rounds yet. A
        market that cannot be read is left as it was."""
        for market in self._markets.values():
            await self._discover(market, head)
        await self._load(head)

    async def refit(self, head: Head) -> None:
        """Fit anew what the forecast knows of each pair, where that is due."""
        await self._calibrator.refit(self._prices.series, head.timestamp)

    async def store(self) -> None:
        """Keep the rounds that were seen."""
        await self._prices.store()

    async def _discover(self, market: WatchedMarket, head: Head) -> None:
        try:
            await market.discover(self._reader, head)
        except (ReadingError, EndpointUnavailableError) as error:
            log.error("market.unreadable", market=market.name, reason=str(error))  # noqa: TRY400 - the reason says it all

    async def _load(self, head: Head) -> None:
        feeds = dict.fromkeys(f for market in self._markets.values() for f in market.feeds)
        await self._prices.load([f for f in feeds if f not in self._prices.warm], head)
        await self._market_prices.load(head)
        await self._caution.look_at_code(self._reader, head)

    async def read(self, head: Head, beside: Sequence[Request]) -> tuple[Snapshot, list[Any]]:
        """Everything at a head, with the answers to `beside`.

        Raises `EndpointUnavailableError`, an `OtherHeadError` where the head is not that of the
        endpoint that was read: it is another's word, to be believed no more than any."""
        for market in self._changed:
            await self._discover(market, head)
        markets = list(self._markets.values())
        sitting = Sitting(self._pool)
        several = len(self._pool.readers) > 1
        block = [Request(method="eth_getBlockByHash", params=(head.hash, False))] * several
        try:
            values, answers = await self._reader.over(sitting).read(
                [
                    *(market.reading(head) for market in markets),
                    self._prices.latest(),
                    self._market_prices.latest(),
                    self._caution.reading(),
                    *self._guarding.readings(),
                ],
                at=head.hash,
                beside=[*beside, *block, *self._accounts.requests(head)],
            )
            theirs = _block(head, answers.pop(len(beside)), sitting.name) if several else head
        except EndpointUnavailableError:
            # No pass would ever end by the word of one that answers, and not what it is asked.
            _ask_last(sitting.reader)
            raise
        if theirs != head:
            if self._told == (sitting.reader, head):
                # Nor by that of one that tells a block otherwise each time.
                _ask_last(sitting.reader)
            self._told = sitting.reader, theirs
            raise OtherHeadError(sitting.name, theirs)
        self._accounts.take(answers[len(beside) :])
        market_values, (new_rounds, paid, quoted, *guarded) = (
            values[: len(markets)],
            values[len(markets) :],
        )
        if several and any(isinstance(value, RefusedReadingError) for value in market_values):
            # What it refuses another may tell.
            _ask_last(sitting.reader)
        self._changed = [
            market
            for market, value in zip(markets, market_values, strict=True)
            # What the node refused has not changed, and what is not supported does not come back.
            if isinstance(value, ReadingError)
            and not isinstance(value, RefusedReadingError | ConfigurationError)
        ]
        self._take_prices(new_rounds, paid, head)
        snapshot = assemble(head, self._watched, markets, market_values)
        for name, market_snapshot in snapshot.markets.items():
            self._markets[name].remember(market_snapshot)
        swaps_blocked = self._caution.judge(
            quoted, snapshot, series=self._prices.series, market_prices=self._paid
        )
        snapshot = replace(
            snapshot,
            swaps_blocked=swaps_blocked,
            nonces=self._accounts.nonces,
            reader=sitting.reader,
        )
        await self._guarding.take(guarded, snapshot, self._reader, head)
        return snapshot, answers[: len(beside)]

    def _take_prices(self, new_rounds: Any, paid: Any, head: Head) -> None:
        if isinstance(new_rounds, ReadingError):
            log.error("feeds.unreadable", reason=str(new_rounds))
            new_rounds = {}
        self._prices.observe(new_rounds, head)
        if isinstance(paid, ReadingError):
            log.warning("market_price.unreadable", reason=str(paid))
            paid = {}
        self._paid = paid

    def look_ahead(self, snapshot: Snapshot) -> Outlook:
        """The forecast of every watched row."""
        try:
            return look_ahead(
                snapshot,
                self._watched,
                self._markets,
                self._prices.series,
                self._calibrator.calibration,
                self._paid,
            )
        except Exception:
            # Floors need no forecast: whatever breaks one must not stop them.
            log.exception("forecast.failed", block=snapshot.head.number)
            return nothing_known(len(self._watched))


def _ask_last(reader: Endpoint | None) -> None:
    """For a while; None where none has answered."""
    if reader is not None:
        reader.put_last()


def _block(head: Head, told: Any, reader: str) -> Head:
    """The block of a head's hash. Raises `EndpointUnavailableError`."""
    if not isinstance(told, dict):
        raise EndpointUnavailableError(f"{reader} does not tell block {head.number}")
    theirs = decode_head(told)
    if theirs.hash != head.hash:
        raise EndpointUnavailableError(f"{reader} answers another block than {head.hash}")
    return theirs
