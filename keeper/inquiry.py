"""What a command asks of the configured chain once, beside the daemon or without it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from keeper.app import checked, watched_markets
from keeper.chain.feed_history import FeedHistory, FetchedRounds, RoundStore
from keeper.chain.heads import Heads
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.config.settings import Settings
from keeper.model.units import Address

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
    rpc = Rpc(settings.chain.rpc_url)
    try:
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
