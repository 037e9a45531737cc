"""Routes and depths on real Uniswap v3 pools, beside what the router then takes."""

import pytest

from keeper.devnet.chain import LocalChain
from keeper.model.liquidity import Depth, Route
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.venues import uniswap_v3
from tests.protocols.reading import Reader

USDC = 10**6
MOST = 3_000_000 * USDC


def token(chain: LocalChain, symbol: str) -> Address:
    return chain.contracts.tokens[symbol].address


def every_pool(
    chain: LocalChain, sells: str = "WETH", buys: str = "USDC"
) -> tuple[uniswap_v3.Pool, ...]:
    """With either of the two on one side."""
    quoter, reader = chain.contracts.uniswap.quoter.address, Reader(chain)
    hubs = [contract.address for contract in chain.contracts.tokens.values()]
    ends = {"sells": token(chain, sells), "buys": token(chain, buys)}
    found = reader.run(uniswap_v3.find_pools(quoter, **ends, hubs=hubs))
    return reader.run(uniswap_v3.read_pools(quoter, found))


def over(chain: LocalChain, sells: str, buys: str, max_hops: int) -> tuple[Route, ...]:
    return uniswap_v3.routes(
        every_pool(chain, sells, buys),
        sells=token(chain, sells),
        buys=token(chain, buys),
        max_hops=max_hops,
    )


def depths(chain: LocalChain, routes: tuple[Route, ...], most: int = MOST) -> tuple[Depth, ...]:
    quotes = uniswap_v3.Quotes.of(chain.contracts.uniswap.quoter.address, routes, most)
    reader = Reader(chain)
    found = reader.run(quotes.reading())
    assert reader.round_trips == 1
    return found


def swap(chain: LocalChain, route: Route, bought: int) -> int:
    """Buy on the router; what it took."""
    trader = chain.account("trader").address
    router = chain.contracts.uniswap.router
    symbol = next(s for s, c in chain.contracts.tokens.items() if c.address == route.sells)
    sold, held = chain.contracts.tokens[symbol], 10**30
    chain.mint(symbol, trader, held)
    chain.transact(trader, sold, "approve", router.address, held)
    path = bytes.fromhex(route.buys[2:])
    for hop in reversed(route.hops):
        path += hop.fee_ppm.to_bytes(3, "big") + bytes.fromhex(hop.sells[2:])
    chain.transact(trader, router, "exactOutput", (path, trader, bought, held))
    return held - int(chain.read(sold, "balanceOf", trader))


def test_find_pools__two_tokens_and_the_hubs__are_those_that_were_made(chain: LocalChain) -> None:
    pools = chain.contracts.uniswap.pools
    found = {pool.address: pool.fee_ppm for pool in every_pool(chain, "WBTC", "DAI")}
    assert found == {
        contract.address: fee
        for (base, quote, fee), contract in pools.items()
        if {base, quote} & {"WBTC", "DAI"}
    }


def test_read_pools__not_a_pool_of_the_quoters_factory__is_left_out(chain: LocalChain) -> None:
    quoter = chain.contracts.uniswap.quoter.address
    (pool, *_) = chain.contracts.uniswap.pools.values()
    asked = (token(chain, "WETH"), pool.address, quoter)
    (found,) = Reader(chain).run(uniswap_v3.read_pools(quoter, asked))
    assert found.address == pool.address
    with pytest.raises(ReadingError, match="no QuoterV2"):
        Reader(chain).run(uniswap_v3.read_pools(token(chain, "WETH"), asked))


def test_routes__within_two_pools__go_straight_and_over_the_hub(chain: LocalChain) -> None:
    fees = [[hop.fee_ppm for hop in route.hops] for route in over(chain, "WBTC", "USDC", 2)]
    assert fees[0] == [3_000]
    assert sorted(fees[1:]) == [[500, 500], [500, 3_000], [3_000, 500], [3_000, 3_000]]
    assert [len(route.hops) for route in over(chain, "WBTC", "USDC", 1)] == [1]
    assert over(chain, "WBTC", "DAI", 1) == ()


@pytest.mark.parametrize("sells", ["WETH", "WBTC"])
def test_depth__every_route__is_what_the_router_takes_to_the_unit(
    chain: LocalChain, sells: str
) -> None:
    routes = over(chain, sells, "USDC", 2)
    found = depths(chain, routes)
    assert [depth.route for depth in found] == list(routes)
    for depth in found:
        (less, _), (bought, quoted) = depth.quotes[5:7]
        between = (less + bought) // 2
        born = chain.snapshot()
        assert swap(chain, depth.route, bought) == quoted
        chain.revert(born)
        born = chain.snapshot()
        took = swap(chain, depth.route, between)
        chain.revert(born)
        # Between two quotes never less than the router takes, and at most 0.1 % more.
        assert took <= depth.sold(between) <= took * 1001 // 1000


def test_depth__more_than_the_pool_holds__ends_before(chain: LocalChain) -> None:
    (route, *_) = over(chain, "WETH", "USDC", 1)
    (depth,) = depths(chain, (route,), most=400_000_000 * USDC)
    assert 0 < depth.deepest < 400_000_000 * USDC
    with pytest.raises(ValueError, match="beyond"):
        depth.sold(depth.deepest + 1)


def test_quotes__debt_grows_by_its_interest__asks_the_same_calls(chain: LocalChain) -> None:
    routes = over(chain, "WETH", "USDC", 1)
    quoter = chain.contracts.uniswap.quoter.address
    one, later = (uniswap_v3.Quotes.of(quoter, routes, most) for most in (MOST, MOST + 1_000))
    assert one == later
    assert one.sizes[-1] >= MOST
