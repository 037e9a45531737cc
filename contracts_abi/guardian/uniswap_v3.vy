# pragma version 0.4.3
"""
@title Exact-output swaps on Uniswap v3 pools, as a guardian makes them
@notice Which way a pool is passed, and the price beyond which it must not move. Holds no storage.
@license Apache-2.0
"""

from ethereum.ercs import IERC20Detailed
import refusals

interface UniswapPool:
    def token0() -> address: view
    def token1() -> address: view
    def slot0() -> (uint256, int256, uint256, uint256, uint256, uint256, bool): view
    def swap(
        recipient: address, zero_for_one: bool, amount: int256, limit: uint160, data: Bytes[1024]
    ) -> (int256, int256): nonpayable

interface Oracle:
    def getAssetPrice(asset: address) -> uint256: view

BPS: constant(uint256) = 10_000
# TickMath: the smallest and the largest price a pool takes as a limit.
MIN_LIMIT: constant(uint256) = 4295128739 + 1
MAX_LIMIT: constant(uint256) = 1461446703485210103287273052203988822378723970342 - 1

# Under the root. A shift to the left would lose high bits without a word; a product reverts.
ROOT_PRECISION: constant(uint256) = 2**96


@internal
@view
def _sold(pool: address, bought: address) -> address:
    """
    @dev The other token of the pool.
    """
    token0: address = staticcall UniswapPool(pool).token0()
    token1: address = staticcall UniswapPool(pool).token1()
    if bought == token0:
        return token1
    if bought != token1:
        refusals._refuse_addresses(refusals.ROUTE_BROKEN, pool, bought)
    return token0


@internal
def _buy(
    pool: address,
    bought: address,
    sold: address,
    amount: uint256,
    recipient: address,
    oracle: address,
    slippage_bps: uint256,
    data: Bytes[1024],
):
    """
    @dev The pool sends `amount` to the recipient and then asks for its price in our callback.
    """
    limit: uint256 = self._limit(bought, sold, oracle, slippage_bps)
    price: uint256 = (staticcall UniswapPool(pool).slot0())[0]
    zero_for_one: bool = self._is_first(sold, bought)
    if (zero_for_one and price <= limit) or (not zero_for_one and price >= limit):
        refusals._refuse(refusals.PRICE_BEYOND_LIMIT, price, limit)
    extcall UniswapPool(pool).swap(
        recipient, zero_for_one, -convert(amount, int256), convert(limit, uint160), data
    )


@internal
@pure
def _is_first(token: address, other: address) -> bool:
    return convert(token, uint256) < convert(other, uint256)


@internal
@view
def _limit(bought: address, sold: address, oracle: address, slippage_bps: uint256) -> uint256:
    """
    @dev sqrt(value of one raw unit of token0 / of token1) × 2**96 at the oracle's prices, moved by
         the slippage to the side that is worse for us. The pool's fee is not part of its price; the
         bound on what may be taken counts it. Rounded down by at most 2**48, which is less than a
         hundredth of a basis point for two tokens whose units differ in value by less than 10**16. Values
         past 2**160 revert: prices of 18 decimals and units of 10**18 stay below.
    """
    if self._is_first(sold, bought):
        return max(self._root(sold, bought, oracle, BPS, BPS + slippage_bps), MIN_LIMIT)
    return min(self._root(bought, sold, oracle, BPS + slippage_bps, BPS), MAX_LIMIT)


@internal
@view
def _root(
    token0: address, token1: address, oracle: address, numerator: uint256, denominator: uint256
) -> uint256:
    worth0: uint256 = self._price(oracle, token0) * self._unit(token1) * numerator
    worth1: uint256 = self._price(oracle, token1) * self._unit(token0) * denominator
    return isqrt(worth0 * ROOT_PRECISION // worth1) << 48


@internal
@view
def _price(oracle: address, token: address) -> uint256:
    price: uint256 = staticcall Oracle(oracle).getAssetPrice(token)
    if price == 0:
        refusals._refuse_address(refusals.ASSET_WITHOUT_PRICE, token, price)
    return price


@internal
@view
def _unit(token: address) -> uint256:
    return 10 ** convert(staticcall IERC20Detailed(token).decimals(), uint256)
