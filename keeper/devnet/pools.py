"""Prices of Uniswap v3 pools, and the trade that moves a pool to one."""

from dataclasses import dataclass

from keeper.devnet.artifacts import Contract
from keeper.devnet.uniswap import sqrt_price_x96
from keeper.model.units import Address, Token

PRICE_DECIMALS = 18
ANY_AMOUNT = 2**128
"""More than any pool takes: the price limit ends the trade, the router pulls what it needed."""
_Q192 = 2**192


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A pool, read as the price of one `base` in `quote`."""

    pool: Contract
    base: Token
    quote: Token
    fee: int

    @property
    def base_is_token0(self) -> bool:
        """Uniswap sorts a pool's tokens by address."""
        return int(self.base.address, 16) < int(self.quote.address, 16)

    def price(self, sqrt_price: int) -> float:
        """Whole quote tokens per whole base token at `slot0().sqrtPriceX96`."""
        ratio = sqrt_price * sqrt_price / _Q192
        return (ratio if self.base_is_token0 else 1 / ratio) * self.base.unit / self.quote.unit

    def sqrt_price(self, price: float) -> int:
        """`sqrtPriceX96` at a price, to about 15 digits."""
        quote_raw = round(price * 10**PRICE_DECIMALS) * self.quote.unit
        base_raw = self.base.unit * 10**PRICE_DECIMALS
        return sqrt_price_x96(
            *((base_raw, quote_raw) if self.base_is_token0 else (quote_raw, base_raw))
        )

    def trade(self, trader: Address, sqrt_price: int, price: float) -> tuple[object, ...] | None:
        """SwapRouter02's `exactInputSingle` argument that moves the pool from `sqrt_price` to
        `price`; None if it is there already."""
        limit = self.sqrt_price(price)
        if limit == sqrt_price:
            return None
        selling_base = self.base_is_token0 == (limit < sqrt_price)
        sold, bought = (self.base, self.quote) if selling_base else (self.quote, self.base)
        return (sold.address, bought.address, self.fee, trader, ANY_AMOUNT, 0, limit)
