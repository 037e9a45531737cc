"""Deploys Perp v2 (curie) from the artifacts of Perp's packages, where a test or a demo asks for it.

Perp's markets are virtual tokens in Uniswap pools that only its clearing house trades in. Their
index follows the local chain's own feeds; the price that accounts are valued at is a median of the
pool's averages and the index, so that both have to move before anyone is liquidated.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from eth_utils.address import to_checksum_address

from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.chain import BLOCK_GAS_LIMIT, LocalChain
from keeper.devnet.deploying import Deployer
from keeper.devnet.uniswap import MAX_UINT256, sqrt_price_x96
from keeper.model.units import WAD, Address

MARKETS: Final[Mapping[str, str]] = {"vETH": "WETH", "vBTC": "WBTC"}
"""Symbol of a base token to that of the feed its index follows."""

COLLATERALS: Final[Mapping[str, tuple[int, int]]] = {
    "WETH": (850_000, 50_000),
    "DAI": (950_000, 25_000),
}
"""Beside the settlement token: the share that counts as margin, and a liquidator's discount, both in
millionths. Close to those of the venue's deployment on Optimism."""

SETTLEMENT: Final = "USDC"
INDEX_TWAP_S: Final = 900
OBSERVED_S: Final = 1_900
"""A mark price looks back 1800 s: the pools need as many seconds of observations first."""
MAX_TICKS_PER_BLOCK: Final = 1_000
"""The most that the exchange lets anyone move a pool within 15 s: 10 %."""

_FEE: Final = 500
_TICK_SPACING: Final = 10
_MAX_TICK: Final = 887_272 // _TICK_SPACING * _TICK_SPACING
_OBSERVATIONS: Final = 400
_FEED_TIMEOUT_S: Final = 365 * 24 * 3600
_DEPTH_USD: Final = 500_000_000
_MAKER_USD: Final = 1_000_000_000
_INSURANCE_USD: Final = 10_000_000
_ANY_SPREAD: Final = 1_000_000
_DEPLOYMENT_GAS_LIMIT: Final = 10**11
_HIGH: Final = 0xC0 << 152
"""Three quarters of all addresses are below it."""

_COLLATERAL_TERMS: Final = (
    5,  # collateral tokens per account
    750_000,  # settlement debt allowed per value of other collateral
    500_000,  # of that debt, what one liquidation repays
    5_000,  # margin ratio above maintenance where collateral may be liquidated
    30_000,  # of what is repaid, for the insurance fund
    10_000 * 10**6,  # settlement debt allowed in any case
    500 * 10**6,  # a debt below it may be repaid whole
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpContracts:
    """One deployment. Symbols are those of `MARKETS` and `COLLATERALS`."""

    clearing_house: Contract
    config: Contract
    exchange: Contract
    order_book: Contract
    account_balance: Contract
    market_registry: Contract
    vault: Contract
    collateral_manager: Contract
    insurance_fund: Contract
    delegate_approval: Contract
    quote_token: Contract
    base_tokens: Mapping[str, Contract]
    pools: Mapping[str, Contract]

    def addresses(self) -> dict[str, Any]:
        """Every address, for people and for JSON."""
        return {
            "clearing_house": self.clearing_house.address,
            "config": self.config.address,
            "exchange": self.exchange.address,
            "order_book": self.order_book.address,
            "account_balance": self.account_balance.address,
            "market_registry": self.market_registry.address,
            "vault": self.vault.address,
            "collateral_manager": self.collateral_manager.address,
            "insurance_fund": self.insurance_fund.address,
            "delegate_approval": self.delegate_approval.address,
            "quote_token": self.quote_token.address,
            "base_tokens": {symbol: each.address for symbol, each in self.base_tokens.items()},
            "pools": {symbol: each.address for symbol, each in self.pools.items()},
        }


def deploy_perp(chain: LocalChain, artifacts: Artifacts) -> PerpContracts:
    """The venue with the markets of `MARKETS` and a maker in each, ready to trade: `OBSERVED_S`
    later on the chain. Raises `DeploymentError`."""
    with deploying(chain) as deployer:
        perp = _deploy_core(deployer, artifacts, chain)
        _add_collaterals(deployer, artifacts, perp, chain)
        for symbol in MARKETS:
            tokens = (perp.base_tokens[symbol].address, perp.quote_token.address)
            deployer.call(chain.contracts.uniswap.factory, "createPool", *tokens, _FEE)
        deployer.flush()
        perp = replace(perp, pools=_pools(deployer, artifacts, perp, chain))
        for symbol in MARKETS:
            _open_market(deployer, perp, chain, symbol)
        deployer.flush()
        chain.mine(chain.timestamp() + OBSERVED_S)
        _make_markets(deployer, perp, chain)
    return perp


@contextmanager
def deploying(chain: LocalChain) -> Iterator[Deployer]:
    """The chain's deployer once more, with room for many transactions in a block; what is queued at
    the end is mined. Raises `DeploymentError`."""
    account = chain.account("deployer").address
    nonce = int(chain.rpc.call("eth_getTransactionCount", account, "latest"), 16)
    deployer = Deployer(rpc=chain.rpc, account=account, nonce=nonce)
    chain.rpc.call("evm_setBlockGasLimit", hex(_DEPLOYMENT_GAS_LIMIT))
    yield deployer
    deployer.flush()
    chain.rpc.call("evm_setBlockGasLimit", hex(BLOCK_GAS_LIMIT))
    chain.mine()


def _deploy_core(deployer: Deployer, artifacts: Artifacts, chain: LocalChain) -> PerpContracts:
    """Everything but the pools, each contract told of those it works with."""

    def create(name: str) -> Contract:
        return deployer.create(artifacts.perp("curie-contract", name))

    factory = chain.contracts.uniswap.factory.address
    quote = _quote_token(deployer, artifacts)
    perp = PerpContracts(
        clearing_house=create("ClearingHouse"),
        config=create("ClearingHouseConfig"),
        exchange=create("Exchange"),
        order_book=create("OrderBook"),
        account_balance=create("AccountBalance"),
        market_registry=create("MarketRegistry"),
        vault=create("Vault"),
        collateral_manager=create("CollateralManager"),
        insurance_fund=create("InsuranceFund"),
        delegate_approval=create("DelegateApproval"),
        quote_token=quote,
        base_tokens={s: _base_token(deployer, artifacts, chain, s, quote) for s in MARKETS},
        pools={},
    )
    house, config, vault = perp.clearing_house, perp.config.address, perp.vault.address
    registry, book = perp.market_registry.address, perp.order_book.address
    exchange, balance = perp.exchange.address, perp.account_balance.address
    insurance, manager = perp.insurance_fund.address, perp.collateral_manager.address
    settlement = chain.contracts.tokens[SETTLEMENT].address
    deployer.call(perp.config, "initialize")
    deployer.call(perp.config, "setSettlementTokenBalanceCap", MAX_UINT256)
    deployer.call(perp.market_registry, "initialize", factory, quote.address)
    deployer.call(perp.order_book, "initialize", registry)
    deployer.call(perp.exchange, "initialize", registry, book, config)
    deployer.call(perp.order_book, "setExchange", exchange)
    deployer.call(perp.account_balance, "initialize", config, book)
    deployer.call(perp.insurance_fund, "initialize", settlement)
    deployer.call(perp.vault, "initialize", insurance, config, balance, exchange)
    deployer.call(perp.collateral_manager, "initialize", config, vault, *_COLLATERAL_TERMS)
    deployer.call(
        house, "initialize", config, vault, quote.address, factory, exchange, balance, insurance
    )
    deployer.call(perp.delegate_approval, "initialize")
    deployer.call(house, "setDelegateApproval", perp.delegate_approval.address)
    deployer.call(perp.exchange, "setAccountBalance", balance)
    deployer.call(perp.account_balance, "setVault", vault)
    deployer.call(perp.insurance_fund, "setVault", vault)
    deployer.call(perp.vault, "setCollateralManager", manager)
    for callee in (
        *(perp.market_registry, perp.order_book, perp.exchange),
        *(perp.account_balance, perp.vault),
    ):
        deployer.call(callee, "setClearingHouse", house.address)
    return perp


def _quote_token(deployer: Deployer, artifacts: Artifacts) -> Contract:
    """Above most addresses, so that base tokens soon fall below it: the base must be `token0`."""
    artifact = artifacts.perp("curie-contract", "QuoteToken")
    token = deployer.create(artifact)
    while int(token.address, 16) < _HIGH:
        token = deployer.create(artifact)
    deployer.call(token, "initialize", "Perp quote", "vUSD")
    return token


def _base_token(
    deployer: Deployer, artifacts: Artifacts, chain: LocalChain, symbol: str, quote: Contract
) -> Contract:
    artifact = artifacts.perp("curie-contract", "BaseToken")
    token = deployer.create(artifact)
    while int(token.address, 16) > int(quote.address, 16):
        token = deployer.create(artifact)
    index = deployer.create(
        artifacts.perp("perp-oracle-contract", "PriceFeedDispatcher"),
        _price_feed(deployer, artifacts, chain, MARKETS[symbol]).address,
    )
    deployer.call(token, "initialize", f"Perp {symbol}", symbol, index.address)
    return token


def _price_feed(
    deployer: Deployer, artifacts: Artifacts, chain: LocalChain, symbol: str
) -> Contract:
    """The venue's reader of a Chainlink feed."""
    return deployer.create(
        artifacts.perp("perp-oracle-contract", "ChainlinkPriceFeedV3"),
        *(chain.contracts.feeds[symbol].address, _FEED_TIMEOUT_S, INDEX_TWAP_S),
    )


def _add_collaterals(
    deployer: Deployer, artifacts: Artifacts, perp: PerpContracts, chain: LocalChain
) -> None:
    for symbol, (share, discount) in COLLATERALS.items():
        feed = _price_feed(deployer, artifacts, chain, symbol)
        terms = (feed.address, share, discount, MAX_UINT256)
        token = chain.contracts.tokens[symbol].address
        deployer.call(perp.collateral_manager, "addCollateral", token, terms)


def _pools(
    deployer: Deployer, artifacts: Artifacts, perp: PerpContracts, chain: LocalChain
) -> dict[str, Contract]:
    interface = artifacts.uniswap("v3-core", "UniswapV3Pool").interface
    found = {}
    for symbol, token in perp.base_tokens.items():
        pair = (token.address, perp.quote_token.address, _FEE)
        pool = deployer.read(chain.contracts.uniswap.factory, "getPool", *pair)
        address = Address(to_checksum_address(pool))
        found[symbol] = Contract(address=address, interface=interface)
    return found


def _open_market(deployer: Deployer, perp: PerpContracts, chain: LocalChain, symbol: str) -> None:
    """The registry takes a pool only when the clearing house holds and may move all there is of
    both virtual tokens."""
    base, pool = perp.base_tokens[symbol], perp.pools[symbol]
    house = perp.clearing_house.address
    deployer.call(pool, "initialize", sqrt_price_x96(10**8, _answer(chain, symbol)))
    deployer.call(pool, "increaseObservationCardinalityNext", _OBSERVATIONS)
    if symbol == next(iter(MARKETS)):
        deployer.call(perp.quote_token, "mintMaximumTo", house)
        deployer.call(perp.quote_token, "addWhitelist", house)
    deployer.call(base, "mintMaximumTo", house)
    deployer.call(base, "addWhitelist", house)
    for token in (base, perp.quote_token):
        deployer.call(token, "addWhitelist", pool.address)
    deployer.call(perp.market_registry, "addPool", base.address, _FEE)
    deployer.call(perp.market_registry, "setMarketMaxPriceSpreadRatio", base.address, _ANY_SPREAD)
    deployer.call(perp.exchange, "setMaxTickCrossedWithinBlock", base.address, MAX_TICKS_PER_BLOCK)


def _make_markets(deployer: Deployer, perp: PerpContracts, chain: LocalChain) -> None:
    """The deployer is the maker: liquidity over all prices, as in the spot pools."""
    dollars = chain.contracts.tokens[SETTLEMENT]
    unit = chain.contracts.token(SETTLEMENT).unit
    deployer.call(dollars, "mint", perp.insurance_fund.address, _INSURANCE_USD * unit)
    deployer.call(dollars, "mint", deployer.account, _MAKER_USD * unit)
    deployer.call(dollars, "approve", perp.vault.address, MAX_UINT256)
    deployer.call(perp.vault, "deposit", dollars.address, _MAKER_USD * unit)
    for symbol, base in perp.base_tokens.items():
        quote = _DEPTH_USD * WAD
        amount = quote * 10**8 // _answer(chain, symbol)
        order = (base.address, amount, quote, -_MAX_TICK, _MAX_TICK, 0, 0, False, MAX_UINT256)
        deployer.call(perp.clearing_house, "addLiquidity", order)


def _answer(chain: LocalChain, symbol: str) -> int:
    """USD with 8 decimals, of the feed that the market's index follows."""
    _, answer, *_ = chain.read(chain.contracts.feeds[MARKETS[symbol]], "latestRoundData")
    return int(answer)
