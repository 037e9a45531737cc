"""Puts everything a local chain is born with on a fresh node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keeper.chain.settings import MULTICALL3
from keeper.devnet.aave import AaveContracts, deploy_aave
from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.deploying import Deployer
from keeper.devnet.feeds import DECIMALS, Round, packed
from keeper.devnet.rpc import Rpc
from keeper.devnet.uniswap import MAX_UINT256, UniswapContracts, deploy_uniswap
from keeper.model.units import Address, Token

TOKEN_DECIMALS: Final[Mapping[str, int]] = {"WETH": 18, "WBTC": 8, "USDC": 6, "DAI": 18}

_FEED_NAMES: Final = {"WETH": "ETH / USD", "WBTC": "BTC / USD"}
_ROUNDS_PER_TRANSACTION: Final = 500
_RESERVE_USD: Final = 200_000_000
_BORROWED_SHARE_PERCENT: Final = {"WETH": 20, "WBTC": 10, "USDC": 50, "DAI": 50}
_LIQUIDATOR_USD: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """Everything deployed. Symbols are those of `TOKEN_DECIMALS`."""

    aave: AaveContracts
    uniswap: UniswapContracts
    multicall3: Address
    tokens: Mapping[str, Contract]
    feeds: Mapping[str, Contract]
    liquidator: Contract

    def token(self, symbol: str) -> Token:
        """The token of that symbol."""
        address = self.tokens[symbol].address
        return Token(address=address, symbol=symbol, decimals=TOKEN_DECIMALS[symbol])

    def addresses(self) -> dict[str, Any]:
        """Every address, for people and for JSON."""
        aave, uniswap = self.aave, self.uniswap
        return {
            "pool_addresses_provider": aave.pool_addresses_provider.address,
            "pool": aave.pool.address,
            "oracle": aave.oracle.address,
            "reserve_data_provider": aave.reserve_data_provider.address,
            "multicall3": self.multicall3,
            "liquidator": self.liquidator.address,
            "tokens": {symbol: token.address for symbol, token in self.tokens.items()},
            "feeds": {symbol: feed.address for symbol, feed in self.feeds.items()},
            "uniswap_factory": uniswap.factory.address,
            "uniswap_position_manager": uniswap.position_manager.address,
            "uniswap_router": uniswap.router.address,
            "uniswap_quoter": uniswap.quoter.address,
            "uniswap_pools": {
                f"{base}/{quote} {fee / 10_000} %": pool.address
                for (base, quote, fee), pool in uniswap.pools.items()
            },
        }


def deploy(
    rpc: Rpc, artifacts: Artifacts, deployer_account: Address, histories: Mapping[str, list[Round]]
) -> Contracts:
    """Deploy everything; a feed's last round is the price that pools and reserves start from."""
    deployer = Deployer(rpc=rpc, account=deployer_account)
    _put_multicall3(rpc, artifacts)
    tokens = _deploy_tokens(deployer, artifacts)
    feeds = _deploy_feeds(deployer, artifacts, histories)
    aave = deploy_aave(deployer, artifacts, tokens, TOKEN_DECIMALS, feeds)
    prices = {symbol: rounds[-1].answer for symbol, rounds in histories.items()}
    priced = {symbol: (prices[symbol], TOKEN_DECIMALS[symbol]) for symbol in tokens}
    uniswap = deploy_uniswap(deployer, artifacts, tokens, priced)
    _fill_reserves(deployer, aave.pool, tokens, prices)
    liquidator = _deploy_liquidator(deployer, artifacts, aave, tokens, prices)
    deployer.flush()
    return Contracts(
        aave=aave,
        uniswap=uniswap,
        multicall3=MULTICALL3,
        tokens=tokens,
        feeds=feeds,
        liquidator=liquidator,
    )


def raw_amount(symbol: str, usd: int, price: int) -> int:
    """`usd` dollars' worth of a token at a price with 8 decimals, rounded down."""
    return int(usd * 10**DECIMALS * 10 ** TOKEN_DECIMALS[symbol] // price)


def _put_multicall3(rpc: Rpc, artifacts: Artifacts) -> None:
    # A call without a target runs the creation code and returns what it would leave on chain.
    code = rpc.call("eth_call", {"data": artifacts.multicall3_creation_code()}, "latest")
    rpc.call("anvil_setCode", MULTICALL3, code)


def _deploy_tokens(deployer: Deployer, artifacts: Artifacts) -> dict[str, Contract]:
    mintable = artifacts.aave("mocks/tokens/MintableERC20")
    tokens = {"WETH": deployer.create(artifacts.aave("mocks/tokens/WETH9Mocked"))}
    for symbol, decimals in TOKEN_DECIMALS.items():
        if symbol not in tokens:
            tokens[symbol] = deployer.create(mintable, symbol, symbol, decimals)
    return tokens


def _deploy_feeds(
    deployer: Deployer, artifacts: Artifacts, histories: Mapping[str, list[Round]]
) -> dict[str, Contract]:
    artifact = artifacts.own("PriceFeed")
    feeds = {}
    for symbol in TOKEN_DECIMALS:
        name = _FEED_NAMES.get(symbol, f"{symbol} / USD")
        feeds[symbol] = deployer.create(artifact, DECIMALS, name)
        words = packed(histories[symbol])
        for start in range(0, len(words), _ROUNDS_PER_TRANSACTION):
            some = words[start : start + _ROUNDS_PER_TRANSACTION]
            deployer.call(feeds[symbol], "back_fill", some)
    return feeds


def _fill_reserves(
    deployer: Deployer,
    pool: Contract,
    tokens: Mapping[str, Contract],
    prices: Mapping[str, int],
) -> None:
    """Supply every reserve, and borrow part of it so that its indexes grow."""
    owner = deployer.account
    for symbol, token in tokens.items():
        amount = raw_amount(symbol, _RESERVE_USD, prices[symbol])
        deployer.call(token, "mint", owner, amount)
        deployer.call(token, "approve", pool.address, MAX_UINT256)
        deployer.call(pool, "supply", token.address, amount, owner, 0)
    for symbol, percent in _BORROWED_SHARE_PERCENT.items():
        amount = raw_amount(symbol, _RESERVE_USD * percent // 100, prices[symbol])
        deployer.call(pool, "borrow", tokens[symbol].address, amount, 2, 0, owner)


def _deploy_liquidator(
    deployer: Deployer,
    artifacts: Artifacts,
    aave: AaveContracts,
    tokens: Mapping[str, Contract],
    prices: Mapping[str, int],
) -> Contract:
    liquidator = deployer.create(
        artifacts.own("Liquidator"),
        *(aave.pool.address, aave.oracle.address, aave.reserve_data_provider.address),
    )
    for symbol, token in tokens.items():
        amount = raw_amount(symbol, _LIQUIDATOR_USD, prices[symbol])
        deployer.call(token, "mint", liquidator.address, amount)
        deployer.call(liquidator, "approve", token.address)
    return liquidator
