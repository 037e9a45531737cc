"""The functions of Uniswap v3 that keeper calls."""

from collections.abc import Sequence
from typing import Final

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.abi.words import Function, address_bytes
from keeper.model.liquidity import Hop
from keeper.model.reading import Call
from keeper.model.units import Address


class Pool:
    """UniswapV3Pool (@uniswap/v3-core 1.0.1)."""

    FACTORY: Final = Function("factory()")
    TOKEN0: Final = Function("token0()")
    TOKEN1: Final = Function("token1()")
    FEE: Final = Function("fee()")


class Factory:
    """UniswapV3Factory."""

    GET_POOL: Final = Function("getPool(address,address,uint24)")


class Quoter:
    """QuoterV2 (@uniswap/v3-periphery 1.4.4)."""

    FACTORY: Final = Function("factory()")


_QUOTE_EXACT_OUTPUT = keccak(text="quoteExactOutput(bytes,uint256)")[:4]


def quote_exact_output(quoter: Address, hops: Sequence[Hop], bought: int) -> Call:
    """QuoterV2.quoteExactOutput: what buying takes is the first word of its answer; it reverts
    where the pools do not hold that much.

    The path begins with the token bought: 20 bytes of token, 3 of fee, token, … (libraries/Path.sol).
    """
    path = address_bytes(hops[-1].buys)
    for hop in reversed(hops):
        path += hop.fee_ppm.to_bytes(3, "big") + address_bytes(hop.sells)
    return Call(
        target=quoter, data=_QUOTE_EXACT_OUTPUT + encode(["bytes", "uint256"], [path, bought])
    )
