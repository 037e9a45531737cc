# pragma version 0.4.3
# pragma evm-version paris
"""
@title A trader who moves Uniswap v3 pools
@notice Swaps until a pool has a price, as far as the tokens that it holds go. For forks: whoever
        calls it spends its tokens.
@license Apache-2.0
"""

from ethereum.ercs import IERC20

interface Pool:
    def swap(
        recipient: address,
        zero_for_one: bool,
        amount: int256,
        sqrt_price_limit: uint160,
        data: Bytes[1],
    ) -> (int256, int256): nonpayable
    def token0() -> address: view
    def token1() -> address: view

moved: address


@external
def move(pool: address, sells: address, zero_for_one: bool, sqrt_price_limit: uint160):
    """
    @notice Sell `sells` to a pool until its price is at the limit, or nothing is left to sell.
    """
    held: uint256 = staticcall IERC20(sells).balanceOf(self)
    self.moved = pool
    extcall Pool(pool).swap(self, zero_for_one, convert(held, int256), sqrt_price_limit, b"")
    self.moved = empty(address)


@external
def uniswapV3SwapCallback(amount0: int256, amount1: int256, data: Bytes[1]):
    """
    @notice Pay the pool that is being moved.
    """
    assert msg.sender == self.moved
    if amount0 > 0:
        self._pay(staticcall Pool(msg.sender).token0(), convert(amount0, uint256))
    if amount1 > 0:
        self._pay(staticcall Pool(msg.sender).token1(), convert(amount1, uint256))


@internal
def _pay(token: address, amount: uint256):
    assert extcall IERC20(token).transfer(msg.sender, amount, default_return_value=True)
