"""Which pools a mandate could list: of every fee tier, straight and over the market's other assets.

Any asset of the market may stand between two pools of a route, and nothing else may: the guardian
judges each swap by the market's own oracle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keeper.chain.heads import Heads
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.cli.mandate_ground import market_of, named
from keeper.config import default_path, load_settings
from keeper.config.checks import check_chain_id
from keeper.mandate.guardian import shortfall_bps
from keeper.model.mandate import MAX_POOLS
from keeper.model.reading import ReadingError
from keeper.protocols.perp_v2 import PerpVenue
from keeper.protocols.registry import PROTOCOLS
from keeper.service.logging import configure_logging
from keeper.venues import uniswap_v3

if TYPE_CHECKING:
    from keeper.config.settings import MandateSettings, Settings
    from keeper.model.liquidity import Depth, Route
    from keeper.model.units import Address
    from keeper.model.values import Head, Unwind

SHARES = (16, 4, 1)
"""Quoted are a sixteenth of the debt, a quarter, and all of it."""
ROUTES_AT_ONCE = 30
"""About 25M gas of quotes in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One route, and what it takes beyond the oracle's price for each of `SHARES`."""

    unwind: Unwind
    route: Route
    cost_bps: tuple[int | None, ...]
    """None where its pools do not hold so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The routes within the mandate's slippage for the smallest share, the best first."""

    mandate: str
    offers: tuple[Offer, ...]

    @property
    def pools(self) -> tuple[Address, ...]:
        """Of the best routes, as many as a mandate takes."""
        listed: dict[Address, None] = {}
        for offer in self.offers:
            wanted = dict.fromkeys((*listed, *(hop.pool for hop in offer.route.hops)))
            if len(wanted) <= MAX_POOLS:
                listed = wanted
        return tuple(listed)


def look_for_pools(name: str | None, config: Path | None) -> Offers:
    """Read the configuration, the position and the pools. Raises `ConfigurationError`."""
    settings = load_settings(config or default_path())
    configure_logging("warning", secrets=settings.secrets)
    return asyncio.run(_offers(settings, named(settings, name)))


async def _offers(settings: Settings, chosen: MandateSettings) -> Offers:
    quoter = settings.quoter
    if quoter is None:
        raise settings.error(
            "chain",
            "quoter",
            what="no QuoterV2 of Uniswap v3 is known on this chain",
            why="it says what swaps would cost",
            fix="write its address",
        )
    rpc = Rpc(settings.chain.rpc_url)
    try:
        check_chain_id(settings, int(await rpc.read("eth_chainId"), 16))
        head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
        reader = Reader(rpc, multicall=settings.chain.multicall)
        possible, hubs = await _possible(reader, settings, chosen, head)
        offers = [
            offer
            for unwind in possible
            for offer in await _offered(reader, head, quoter, unwind, hubs, _hops(chosen))
        ]
    finally:
        await rpc.close()
    within = chosen.mandate.slippage_urgent_bps
    fit = [each for each in offers if each.cost_bps[0] is not None and each.cost_bps[0] <= within]
    return Offers(mandate=chosen.name, offers=tuple(sorted(fit, key=_badness)))


def _badness(offer: Offer) -> tuple[tuple[bool, int], ...]:
    """Deeper first, then cheaper."""
    return tuple((cost is None, cost or 0) for cost in reversed(offer.cost_bps))


def _hops(chosen: MandateSettings) -> int:
    """A mandate that lists no pools yet says nothing of hops either."""
    return chosen.mandate.max_hops or 2


async def _possible(
    reader: Reader, settings: Settings, chosen: MandateSettings, head: Head
) -> tuple[list[Unwind], list[Address]]:
    """What may be sold for what is owed, and over which assets."""
    provider = settings.markets[chosen.market].entry
    protocol = PROTOCOLS[settings.markets[chosen.market].protocol]
    market = await market_of(reader, settings, chosen.market, provider, head.hash)
    if isinstance(market, PerpVenue):
        raise settings.error(
            *("mandates", chosen.name),
            what=f"[markets.{chosen.market}] is a perp venue",
            why="a perp is made smaller at its venue, and nothing is sold on a pool",
            fix="list the markets to make smaller as `base_tokens`",
        )
    reading = protocol.snapshot(market, (chosen.account,), timestamp=head.timestamp)
    (snapshot,), _ = await reader.read([reading], at=head.hash)
    if isinstance(snapshot, ReadingError):
        raise snapshot
    wanted = chosen.mandate.collaterals
    unwinds = [
        each
        for each in protocol.unwinds(snapshot.position(chosen.account))
        if not wanted or each.sells.address in wanted
    ]
    return unwinds, [reserve.token.address for reserve in market.reserves]


async def _offered(
    reader: Reader,
    head: Head,
    quoter: Address,
    unwind: Unwind,
    hubs: Sequence[Address],
    max_hops: int,
) -> list[Offer]:
    sells, buys = unwind.sells.address, unwind.token.address
    finding = uniswap_v3.find_pools(quoter, sells=sells, buys=buys, hubs=hubs)
    (found,), _ = await reader.read([finding], at=head.hash)
    if isinstance(found, ReadingError):
        raise found
    (pools,), _ = await reader.read([uniswap_v3.read_pools(quoter, found)], at=head.hash)
    if isinstance(pools, ReadingError):
        raise pools
    routes = uniswap_v3.routes(pools, sells=sells, buys=buys, max_hops=max_hops)
    sizes = tuple(max(unwind.available.raw // share, 1) for share in SHARES)
    depths: list[Depth] = []
    for place in range(0, len(routes), ROUTES_AT_ONCE):
        quotes = uniswap_v3.Quotes.at(quoter, routes[place : place + ROUTES_AT_ONCE], sizes)
        (answered,), _ = await reader.read([quotes.reading()], at=head.hash)
        if isinstance(answered, ReadingError):
            raise answered
        depths += answered
    return [
        Offer(
            unwind=unwind,
            route=depth.route,
            cost_bps=tuple(
                shortfall_bps(unwind, *depth.quotes[place]) if place < len(depth.quotes) else None
                for place in range(len(sizes))
            ),
        )
        for depth in depths
    ]
