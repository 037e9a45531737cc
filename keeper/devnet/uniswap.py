"""Deploys Uniswap v3 and its pools from the artifacts of Uniswap's packages."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Final

from eth_utils.address import to_checksum_address

from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.deploying import Deployer
from keeper.model.units import Address

MAX_UINT256: Final = 2**256 - 1
_ZERO_ADDRESS: Final = Address("0x" + "00" * 20)
_MAX_TICK: Final = 887_272
_TICK_SPACINGS: Final = {100: 1, 500: 10, 3_000: 60}

PoolKey = tuple[str, str, int]
"""Base symbol, quote symbol, fee in hundredths of a basis point."""

POOL_DEPTHS_USD: Final[Mapping[PoolKey, int]] = {
    ("WETH", "USDC", 500): 100_000_000,
    ("WETH", "USDC", 3_000): 40_000_000,
    ("WBTC", "USDC", 3_000): 60_000_000,
    ("WBTC", "WETH", 500): 60_000_000,
    ("WBTC", "WETH", 3_000): 40_000_000,
    ("DAI", "USDC", 100): 100_000_000,
    ("DAI", "USDC", 500): 20_000_000,
}
"""Value of each side of a pool, in USD. Liquidity spans all prices, so a pool stays deep however
far a scenario moves it; half of this much would move the price by a factor of four ninths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UniswapContracts:
    """The exchange and its pools."""

    factory: Contract
    position_manager: Contract
    router: Contract
    quoter: Contract
    pools: Mapping[PoolKey, Contract]


def deploy_uniswap(
    deployer: Deployer,
    artifacts: Artifacts,
    tokens: Mapping[str, Contract],
    unit_prices: Mapping[str, tuple[int, int]],
) -> UniswapContracts:
    """The exchange with the pools of `POOL_DEPTHS_USD`, their liquidity owned by the deployer.

    `unit_prices` holds per symbol the USD price with 8 decimals and the token's decimals. The
    deployer must be able to mint the tokens.
    """
    weth = tokens["WETH"].address
    factory = deployer.create(artifacts.uniswap("v3-core", "UniswapV3Factory"))
    positions = deployer.create(
        artifacts.uniswap("v3-periphery", "NonfungiblePositionManager"),
        *(factory.address, weth, _ZERO_ADDRESS),
    )
    router = deployer.create(
        artifacts.uniswap("swap-router-contracts", "SwapRouter02"),
        *(_ZERO_ADDRESS, factory.address, positions.address, weth),
    )
    quoter = deployer.create(
        artifacts.uniswap("v3-periphery", "lens/QuoterV2"), factory.address, weth
    )
    deployer.call(factory, "enableFeeAmount", 100, _TICK_SPACINGS[100])
    for token in tokens.values():
        deployer.call(token, "approve", positions.address, MAX_UINT256)
    for (base, quote, fee), depth_usd in POOL_DEPTHS_USD.items():
        sides = sorted(
            (tokens[s].address.lower(), _side(depth_usd, *unit_prices[s]), s) for s in (base, quote)
        )
        (token0, amount0, symbol0), (token1, amount1, symbol1) = sides
        deployer.call(tokens[symbol0], "mint", deployer.account, amount0)
        deployer.call(tokens[symbol1], "mint", deployer.account, amount1)
        deployer.call(
            positions,
            "createAndInitializePoolIfNecessary",
            *(token0, token1, fee, sqrt_price_x96(amount0, amount1)),
        )
        reach = _MAX_TICK // _TICK_SPACINGS[fee] * _TICK_SPACINGS[fee]
        deployer.call(
            positions,
            "mint",
            (token0, token1, fee, -reach, reach, amount0, amount1, 0, 0, deployer.account, 2**64),
        )
    deployer.flush()
    pool = artifacts.uniswap("v3-core", "UniswapV3Pool").interface
    pools = {
        key: Contract(address=_pool_address(deployer, factory, tokens, key), interface=pool)
        for key in POOL_DEPTHS_USD
    }
    return UniswapContracts(
        factory=factory, position_manager=positions, router=router, quoter=quoter, pools=pools
    )


def sqrt_price_x96(amount0: int, amount1: int) -> int:
    """floor(sqrt(amount1 / amount0) × 2**96): the price at which the two amounts are worth the same."""
    return isqrt((amount1 << 192) // amount0)


def _side(depth_usd: int, price: int, decimals: int) -> int:
    return int(depth_usd * 10**8 * 10**decimals // price)


def _pool_address(
    deployer: Deployer, factory: Contract, tokens: Mapping[str, Contract], key: PoolKey
) -> Address:
    base, quote, fee = key
    found = deployer.read(factory, "getPool", tokens[base].address, tokens[quote].address, fee)
    return Address(to_checksum_address(found))
