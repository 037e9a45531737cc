"""What a command asks of the configured chain once, beside the daemon or without it."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from keeper.admission import check_chains, checked
from keeper.backtest.shipped import shipped
from keeper.chain.feed_history import FeedHistory, FetchedRounds, RoundStore
from keeper.chain.heads import Heads
from keeper.chain.market_prices import MarketPrices
from keeper.chain.pool import Pool
from keeper.chain.prices import FeedPrices
from keeper.chain.reader import Reader
from keeper.config.settings import Settings
from keeper.engine.calibrator import Calibrator
from keeper.engine.fitting import in_force
from keeper.engine.guarding import Guarding
from keeper.engine.outlook import Outlook, look_ahead
from keeper.engine.watch import Snapshot, Watched, WatchedMarket, assemble
from keeper.forecast.calibration import Calibration
from keeper.mandate.charter import Charter
from keeper.model.reading import ReadingError
from keeper.model.units import Address, Wad
from keeper.model.values import PositionId
from keeper.protocols.chainlink import Round
from keeper.storage.database import DatabaseUnusableError
from keeper.storage.price_store import PriceStore
from keeper.watching import watched_markets, watched_positions

P = ParamSpec("P")
R = TypeVar("R")

YEAR_S: Final = 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A chain that is what the settings say."""

    settings: Settings
    reader: Reader
    heads: Heads


@asynccontextmanager
async def reached(settings: Settings) -> AsyncIterator[Ground]:
    """Raises `TemporaryError` where the endpoint is down, `ConfigurationError` where the chain
    contradicts the settings."""
    rpc = Pool.of(settings.chain)
    try:
        await check_chains(rpc, settings)
        await checked(rpc, settings)
        yield Ground(
            settings=settings,
            reader=Reader(rpc, multicall=settings.chain.multicall),
            heads=Heads(rpc, ws_url=None, poll_interval_s=settings.chain.poll_interval_s),
        )
    finally:
        await rpc.close()


async def fetch_rounds(
    settings: Settings,
    store: RoundStore,
    feeds: Sequence[Address],
    since: int | None,
    told: Callable[[FetchedRounds, int], None],
) -> None:
    """Rounds since a moment (Unix seconds), or of the chain's last year, of these feeds, or of all
    that a configured position depends on, into the store; `told` hears of every chunk, and since
    when."""
    async with reached(settings) as ground:
        begin = (await ground.heads.current()).timestamp - YEAR_S if since is None else since
        history = FeedHistory(
            reader=ground.reader,
            heads=ground.heads,
            chain_id=settings.chain.chain_id,
            store=store,
        )
        for feed in feeds or await _feeds_of_positions(ground):
            async for progress in history.fetch(feed, begin):
                told(progress, begin)


async def _feeds_of_positions(ground: Ground) -> Sequence[Address]:
    head = await ground.heads.current()
    found: dict[Address, None] = {}
    for market in watched_markets(ground.settings):
        await market.discover(ground.reader, head)
        found |= dict.fromkeys(market.feeds)
    return list(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """Every configured position at one block, and what lies ahead."""

    watched: Sequence[Watched]
    """With the policies in force, as a pass of the daemon fits them."""
    snapshot: Snapshot
    outlook: Outlook
    markets: Mapping[str, WatchedMarket]
    charter_of: Callable[[PositionId], Charter | None]
    """What a position's guardian said."""


async def look(settings: Settings) -> Seen:
    """Read and forecast as a pass of the daemon does, at the newest block, and act on nothing."""
    watched, markets = watched_positions(settings), watched_markets(settings)
    with closing(_Known(settings.store_path)) as store:
        async with reached(settings) as ground:
            return await _look(ground, store, watched, markets)


async def _look(
    ground: Ground,
    store: "_Known",
    watched: Sequence[Watched],
    markets: Sequence[WatchedMarket],
) -> Seen:
    settings, head = ground.settings, await ground.heads.current()
    for market in markets:
        await market.discover(ground.reader, head)
    prices = FeedPrices(
        reader=ground.reader, chain_id=settings.chain.chain_id, store=store, run=_run
    )
    feeds = dict.fromkeys(feed for market in markets for feed in market.feeds)
    await prices.load(list(feeds), head)
    pools = MarketPrices(reader=ground.reader, sources=settings.market_prices)
    await pools.load(head)
    guarding = Guarding(watched=watched)
    charters = guarding.readings()
    (*values, known), _ = await ground.reader.read(
        [*charters, *(market.reading(head) for market in markets), pools.latest()], at=head.hash
    )
    snapshot = assemble(head, watched, markets, values[len(charters) :])
    await guarding.take(values[: len(charters)], snapshot, ground.reader, head)
    by_name = {market.name: market for market in markets}
    outlook = look_ahead(
        snapshot,
        watched,
        by_name,
        prices.series,
        await store.calibration(settings.chain.chain_id, head.timestamp),
        None if isinstance(known, ReadingError) else known,
    )
    starts = store.starts(settings.chain.chain_id)
    watched = in_force(watched, snapshot, outlook, starts)
    return Seen(
        watched=watched,
        snapshot=snapshot,
        outlook=outlook,
        markets=by_name,
        charter_of=guarding.known,
    )


class _Known:
    """What the store has, where there is one that can be read; it is not written to."""

    def __init__(self, path: Path) -> None:
        self._store: PriceStore | None = None
        try:
            self._store = PriceStore.to_read(path)
        except DatabaseUnusableError:
            # Whatever is wrong with the journal, the chain has the rounds as well.
            return

    async def calibration(self, chain_id: int, now: int) -> Calibration:
        """What ships, and over it what the daemon has fitted."""
        if self._store is None:
            return shipped()
        calibrator = Calibrator(shipped=shipped(), store=_Fits(self._store), chain_id=chain_id)
        await calibrator.load(now)
        return calibrator.calibration

    def starts(self, chain_id: int) -> Mapping[PositionId, Wad]:
        """At what health the daemon first saw each position."""
        return {} if self._store is None else self._store.starts.all(chain_id)

    def add(self, chain_id: int, feed: Address, rounds: Iterable[Round]) -> None:
        """Nothing: who only asks changes nothing."""

    def since(self, chain_id: int, feed: Address, timestamp: int) -> Sequence[Round]:
        """What is there."""
        return () if self._store is None else self._store.rounds.since(chain_id, feed, timestamp)

    def close(self) -> None:
        """Let go of the file."""
        if self._store is not None:
            self._store.close()


class _Fits:
    """The store as a calibrator wants it."""

    def __init__(self, store: PriceStore) -> None:
        self.prices, self.pair_fits, self.run = store.rounds, store.pair_fits, _run


async def _run(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return method(*args, **kwargs)
