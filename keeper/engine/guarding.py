"""The guardians of the watched accounts, and the liquidity that their mandates let them use.

Everything is read with the positions, in the same round trip. Only what is seen for the first time
costs more: a pool, or two tokens that no position of the last pass would have swapped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import structlog

from keeper.chain.reader import Reader
from keeper.engine.trial import Authority
from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.mandate import guardian, perp_guardian
from keeper.mandate.charter import Charter, read_charter
from keeper.mandate.guardian import Guard
from keeper.model.liquidity import Depth
from keeper.model.reading import Reading, ReadingError
from keeper.model.units import Address, Wad
from keeper.model.values import Head, PositionId, PositionState, Source, Way
from keeper.policy.size import comparable
from keeper.venues import uniswap_v3

log = structlog.get_logger()

MAX_ROUTES = 12
"""Asked for each two tokens, the shortest first: about 15M gas of quotes."""

NO_QUOTER = "no QuoterV2 is known on this chain to ask what it would cost: write [chain] quoter"

Pair = tuple[Address, Address]
"""The token sold and the token bought."""


class Guarding:
    """What guardians say at the last head, and how deep the pools were that they may use."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched] = (),
        markets: Mapping[str, WatchedMarket] = MappingProxyType({}),
        quoter: Address | None = None,
        refusal: Callable[[bytes], str | None] = lambda _: None,
    ) -> None:
        """Without arguments nobody has a guardian. `quoter` is the QuoterV2 asked for depths; `refusal` puts a guardian's revert in words."""
        self._guards = {row.id: row.guard for row in watched if row.guard is not None}
        self._markets = markets
        self._quoter = quoter
        self._refusal = refusal
        self._charters: dict[PositionId, Charter | ReadingError] = {}
        self._asked: frozenset[Address] = frozenset()
        self._pools: tuple[uniswap_v3.Pool, ...] = ()
        self._quotes: dict[Pair, uniswap_v3.Quotes] = {}
        self._depths: dict[Pair, tuple[Depth, ...]] = {}

    # -- reading ---------------------------------------------------------------------------------

    def readings(self) -> list[Reading[Any]]:
        """For `take`, in its order."""
        charters: list[Reading[Any]] = [
            read_charter(
                guard.guardian,
                guard.market,
                _paid_by(guard, each),
                moves="spare" in guard.sources,
            )
            for each, guard in self._guards.items()
        ]
        return [*charters, *(quotes.reading() for quotes in self._quotes.values())]

    async def take(
        self, values: Sequence[Any], snapshot: Snapshot, reader: Reader, head: Head
    ) -> None:
        """What `readings` read; and read at once what this head shows for the first time."""
        self._charters = dict(zip(self._guards, values[: len(self._guards)], strict=True))
        self._depths = _known(self._quotes, values[len(self._guards) :])
        if self._quoter is None:
            return
        await self._learn_pools(reader, head, self._quoter)
        self._quotes = self._wanted(snapshot, self._quoter)
        new = {pair: quotes for pair, quotes in self._quotes.items() if pair not in self._depths}
        if new:
            found, _ = await reader.read([q.reading() for q in new.values()], at=head.hash)
            self._depths |= _known(new, found)

    async def _learn_pools(self, reader: Reader, head: Head, quoter: Address) -> None:
        listed = frozenset(
            pool
            for charter in self._charters.values()
            if isinstance(charter, Charter) and charter.mandate is not None
            for pool in charter.mandate.pools
        )
        if listed <= self._asked:
            return
        asked = tuple(sorted(listed))
        (found,), _ = await reader.read([uniswap_v3.read_pools(quoter, asked)], at=head.hash)
        if isinstance(found, ReadingError):
            log.error("pools.unreadable", reason=str(found))
            return
        for pool in listed - {pool.address for pool in found}:
            log.warning("pool.unknown", pool=pool, quoter=quoter)
        self._asked, self._pools, self._quotes = listed, found, {}

    def _wanted(self, snapshot: Snapshot, quoter: Address) -> dict[Pair, uniswap_v3.Quotes]:
        """Depths up to the largest debt of any position that might sell for it. What is asked for
        already keeps its very calls, so that they are not encoded again."""
        most: dict[Pair, int] = {}
        hops: dict[Pair, int] = {}
        for position in snapshot.positions:
            if isinstance(position, ReadingError):
                continue
            charter = self._charters.get(position.id)
            guard = self._guards.get(position.id)
            if not isinstance(charter, Charter) or charter.mandate is None or guard is None:
                continue
            if "pool" in guard.sources:
                for unwind in self._markets[position.id.market].adapter.unwinds(position):
                    pair = (unwind.sells.address, unwind.token.address)
                    most[pair] = max(most.get(pair, 1), unwind.available.raw)
                    hops[pair] = max(hops.get(pair, 0), charter.mandate.max_hops)
        wanted = {}
        for pair, raw in most.items():
            routes = uniswap_v3.routes(
                self._pools, sells=pair[0], buys=pair[1], max_hops=hops[pair]
            )[:MAX_ROUTES]
            if not routes:
                # A mandate that only pays names no pools: there is nothing to ask.
                continue
            known = self._quotes.get(pair)
            sizes = uniswap_v3.sizes_up_to(raw)
            if known is None or (known.routes, known.sizes) != (routes, sizes):
                known = uniswap_v3.Quotes.of(quoter, routes, raw)
            wanted[pair] = known
        return wanted

    # -- planning --------------------------------------------------------------------------------

    def charter(self, position: PositionId) -> Charter:
        """Raises the `ReadingError` of a guardian that could not be read."""
        found = self._charters[position]
        if isinstance(found, ReadingError):
            raise found
        return found

    def known(self, position: PositionId) -> Charter | None:
        """What the position's guardian said; None if it has none or it could not be read."""
        found = self._charters.get(position)
        return found if isinstance(found, Charter) else None

    def options(
        self, guard: Guard, position: PositionState, swaps_blocked: str | None
    ) -> tuple[Way, ...]:
        """What the mandate leaves of a position's options, source by source in the owner's order.
        `swaps_blocked` says why nothing may be swapped now, or is None."""
        charter, adapter = self.charter(position.id), self._markets[position.id.market].adapter
        health = Wad(comparable(position.health))
        possible, until = adapter.options(position), position.timestamp
        paid = guardian.payments(guard, charter, possible, until=until)
        by_source: dict[Source, tuple[Way, ...]] = {
            "spare": perp_guardian.moves(charter, possible, until=until),
            "pool": (
                *guardian.unwinds(
                    guard,
                    charter,
                    adapter.unwinds(position),
                    health=health,
                    depths=[depth for depths in self._depths.values() for depth in depths],
                    swaps_blocked=NO_QUOTER if self._quoter is None else swaps_blocked,
                ),
                *perp_guardian.reductions(
                    charter,
                    adapter.reductions(position),
                    health=health,
                    trades_blocked=swaps_blocked,
                ),
            ),
        }
        for option in paid:
            by_source[option.source] = (*by_source.get(option.source, ()), option)
        return tuple(each for source in guard.sources for each in by_source.get(source, ()))

    def authority(self, position: PositionId) -> Authority | None:
        """By what right to act for a position; None where the account acts itself."""
        guard = self._guards.get(position)
        if guard is None:
            return None
        charter = self.charter(position)
        if charter.mandate is None:
            return None
        return Authority(
            guard=guard,
            keeper=charter.mandate.keeper,
            mandate_hash=charter.mandate_hash,
            refusal=self._refusal,
        )


def _paid_by(guard: Guard, position: PositionId) -> Address | None:
    holder = guard.purse.holder
    return None if holder == position.account else holder


def _known(
    asked: Mapping[Pair, uniswap_v3.Quotes], values: Iterable[Any]
) -> dict[Pair, tuple[Depth, ...]]:
    found = {}
    for pair, value in zip(asked, values, strict=True):
        if isinstance(value, ReadingError):
            log.error("depths.unreadable", reason=str(value))
        else:
            found[pair] = value
    return found
