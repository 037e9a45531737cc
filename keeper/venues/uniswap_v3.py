"""Uniswap v3: routes over its pools, and what they take for a few sizes, by QuoterV2's own answers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from keeper.abi.uniswap_v3 import Factory, Quoter, quote_exact_output
from keeper.abi.uniswap_v3 import Pool as PoolAbi
from keeper.abi.words import word_to_address
from keeper.model.liquidity import Depth, Hop, Route
from keeper.model.reading import Calls, Reading, ReadingError
from keeper.model.units import Address

NAME = "uniswap_v3"

FEE_TIERS_PPM = (100, 500, 3_000, 10_000)
"""What the factory's owner has enabled (UniswapV3Factory.feeAmountTickSpacing)."""

SIZES_OF_64 = (1, 2, 4, 6, 8, 12, 16, 24, 32, 40, 48, 56, 64)
"""Where a depth is quoted, in parts of the most that could be bought: dense where small sizes bend,
even where large ones do."""

_NOBODY = Address("0x" + "00" * 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What never changes of a pool."""

    address: Address
    token0: Address
    token1: Address
    fee_ppm: int


def read_pools(quoter: Address, pools: tuple[Address, ...]) -> Reading[tuple[Pool, ...]]:
    """Those of the addresses that are pools of the quoter's own factory. Raises `ReadingError` if no
    quoter answers."""
    facts = (PoolAbi.FACTORY, PoolAbi.TOKEN0, PoolAbi.TOKEN1, PoolAbi.FEE)
    returns = yield (Quoter.FACTORY(quoter), *(fact(pool) for pool in pools for fact in facts))
    answered = returns.has_word()
    if not answered[0]:
        raise ReadingError(f"no QuoterV2 of Uniswap v3 answers at {quoter}")
    found = []
    for place, pool in enumerate(pools):
        at = 1 + len(facts) * place
        if answered[at : at + len(facts)].all() and returns.word(at) == returns.word(0):
            found.append(
                Pool(
                    address=pool,
                    token0=word_to_address(returns.word(at + 1)),
                    token1=word_to_address(returns.word(at + 2)),
                    fee_ppm=returns.word(at + 3),
                )
            )
    return tuple(found)


def find_pools(
    quoter: Address, *, sells: Address, buys: Address, hubs: Iterable[Address]
) -> Reading[tuple[Address, ...]]:
    """The pools of every fee tier between the two tokens, and between either and each hub. Raises
    `CallFailedError` if no quoter answers."""
    returns = yield (Quoter.FACTORY(quoter),)
    factory = word_to_address(returns.word(0))
    over = [hub for hub in dict.fromkeys(hubs) if hub not in (sells, buys)]
    pairs = [(sells, buys), *((end, hub) for hub in over for end in (sells, buys))]
    asked = tuple(
        Factory.GET_POOL(factory, one, other, fee) for one, other in pairs for fee in FEE_TIERS_PPM
    )
    returns = yield asked
    found = (word_to_address(returns.word(place)) for place in range(len(asked)))
    return tuple(pool for pool in found if pool != _NOBODY)


def routes(
    pools: Iterable[Pool], *, sells: Address, buys: Address, max_hops: int
) -> tuple[Route, ...]:
    """Every way from one token to the other over at most `max_hops` pools, the shortest first. No
    token is passed twice."""
    known = tuple(pools)

    def onward(hops: tuple[Hop, ...]) -> Iterator[tuple[Hop, ...]]:
        token = hops[-1].buys if hops else sells
        if token == buys:
            yield hops
        elif len(hops) < max_hops:
            passed = {sells, *(hop.buys for hop in hops)}
            for pool in known:
                other = _other(pool, token)
                if other is not None and other not in passed:
                    hop = Hop(pool=pool.address, sells=token, buys=other, fee_ppm=pool.fee_ppm)
                    yield from onward((*hops, hop))

    found = sorted(onward(()), key=len)
    return tuple(Route(venue=NAME, hops=hops) for hops in found)


def _other(pool: Pool, token: Address) -> Address | None:
    if token == pool.token0:
        return pool.token1
    return pool.token0 if token == pool.token1 else None


def sizes_up_to(most: int) -> tuple[int, ...]:
    """Where a depth up to `most` is quoted: `SIZES_OF_64` of it, rounded up to four binary digits,
    so that a debt that grows by its interest is quoted by the same calls from block to block."""
    step = 1 << max(most.bit_length() - 4, 6)
    top = -(-most // step) * step
    return tuple(top * part // 64 for part in SIZES_OF_64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotes:
    """The calls that read the depths of some routes; kept, so that they are encoded once."""

    routes: tuple[Route, ...]
    sizes: tuple[int, ...]
    calls: Calls

    @classmethod
    def of(cls, quoter: Address, routes: tuple[Route, ...], most: int) -> "Quotes":
        """For buying up to `most`."""
        return cls.at(quoter, routes, sizes_up_to(most))

    @classmethod
    def at(cls, quoter: Address, routes: tuple[Route, ...], sizes: tuple[int, ...]) -> "Quotes":
        """For buying so much, in ascending sizes."""
        calls = tuple(quote_exact_output(quoter, r.hops, size) for r in routes for size in sizes)
        return cls(routes=routes, sizes=sizes, calls=calls)

    def reading(self) -> Reading[tuple[Depth, ...]]:
        """One depth for each route that has any."""
        returns = yield self.calls
        answered = returns.has_word()
        depths = []
        for place, route in enumerate(self.routes):
            at = place * len(self.sizes)
            quotes = []
            for offset, size in enumerate(self.sizes):
                if not answered[at + offset]:
                    break
                quotes.append((size, returns.word(at + offset)))
            if quotes:
                depths.append(Depth(route=route, quotes=tuple(quotes)))
        return tuple(depths)
