"""The functions of Perp v2 (curie) that keeper calls, one class per contract."""

from typing import Final

from keeper.abi.words import Function


class ClearingHouse:
    """ClearingHouse: the entry to a deployment; what traders call."""

    GET_VAULT: Final = Function("getVault()")
    GET_EXCHANGE: Final = Function("getExchange()")
    GET_ORDER_BOOK: Final = Function("getOrderBook()")
    GET_ACCOUNT_BALANCE: Final = Function("getAccountBalance()")
    GET_CLEARING_HOUSE_CONFIG: Final = Function("getClearingHouseConfig()")
    GET_DELEGATE_APPROVAL: Final = Function("getDelegateApproval()")
    GET_QUOTE_TOKEN: Final = Function("getQuoteToken()")
    PAUSED: Final = Function("paused()")


class Config:
    """ClearingHouseConfig."""

    GET_MM_RATIO: Final = Function("getMmRatio()")
    GET_IM_RATIO: Final = Function("getImRatio()")
    GET_LIQUIDATION_PENALTY_RATIO: Final = Function("getLiquidationPenaltyRatio()")
    GET_SETTLEMENT_TOKEN_BALANCE_CAP: Final = Function("getSettlementTokenBalanceCap()")
    GET_TWAP_INTERVAL: Final = Function("getTwapInterval()")
    GET_MAX_FUNDING_RATE: Final = Function("getMaxFundingRate()")
    GET_MARK_PRICE_CONFIG: Final = Function("getMarkPriceConfig()")


class Exchange:
    """Exchange: trades, and the funding that they owe."""

    GET_MARKET_REGISTRY: Final = Function("getMarketRegistry()")
    GET_PENDING_FUNDING_PAYMENT: Final = Function("getPendingFundingPayment(address,address)")
    GET_SQRT_MARKET_TWAP_X96: Final = Function("getSqrtMarketTwapX96(address,uint32)")
    GET_MAX_TICK_CROSSED_WITHIN_BLOCK: Final = Function("getMaxTickCrossedWithinBlock(address)")


class OrderBook:
    """OrderBook: makers' liquidity."""

    GET_OPEN_ORDER_IDS: Final = Function("getOpenOrderIds(address,address)")


class AccountBalance:
    """AccountBalance: positions."""

    GET_BASE_TOKENS: Final = Function("getBaseTokens(address)")
    GET_ACCOUNT_INFO: Final = Function("getAccountInfo(address,address)")
    GET_PNL_AND_PENDING_FEE: Final = Function("getPnlAndPendingFee(address)")
    GET_MARK_PRICE: Final = Function("getMarkPrice(address)")


class MarketRegistry:
    """MarketRegistry: which base tokens have a market."""

    HAS_POOL: Final = Function("hasPool(address)")
    GET_POOL: Final = Function("getPool(address)")
    GET_FEE_RATIO: Final = Function("getFeeRatio(address)")


class Vault:
    """Vault: margin."""

    GET_SETTLEMENT_TOKEN: Final = Function("getSettlementToken()")
    GET_COLLATERAL_MANAGER: Final = Function("getCollateralManager()")
    GET_COLLATERAL_TOKENS: Final = Function("getCollateralTokens(address)")
    GET_BALANCE: Final = Function("getBalance(address)")
    GET_BALANCE_BY_TOKEN: Final = Function("getBalanceByToken(address,address)")
    PAUSED: Final = Function("paused()")
    DEPOSIT_FOR: Final = Function("depositFor(address,address,uint256)")


class CollateralManager:
    """CollateralManager: what counts as margin beside the settlement token, and how much of it."""

    IS_COLLATERAL: Final = Function("isCollateral(address)")
    GET_COLLATERAL_CONFIG: Final = Function("getCollateralConfig(address)")
    GET_PRICE: Final = Function("getPrice(address,uint256)")
    GET_PRICE_FEED_DECIMALS: Final = Function("getPriceFeedDecimals(address)")
    GET_MM_RATIO_BUFFER: Final = Function("getMmRatioBuffer()")
    GET_LIQUIDATION_RATIO: Final = Function("getLiquidationRatio()")
    GET_CL_INSURANCE_FUND_FEE_RATIO: Final = Function("getCLInsuranceFundFeeRatio()")
    GET_DEBT_NON_SETTLEMENT_TOKEN_VALUE_RATIO: Final = Function(
        "getDebtNonSettlementTokenValueRatio()"
    )
    GET_DEBT_THRESHOLD_BY_TRADER: Final = Function("getDebtThresholdByTrader(address)")
    GET_MAX_COLLATERAL_TOKENS_PER_ACCOUNT: Final = Function("getMaxCollateralTokensPerAccount()")


OPEN_POSITION: Final = 1
"""DelegateApproval.sol: the one action there is. Whoever has it may open, grow, turn and reduce."""


class DelegateApproval:
    """DelegateApproval: who may trade for an account."""

    APPROVE: Final = Function("approve(address,uint8)")
    REVOKE: Final = Function("revoke(address,uint8)")
    CAN_OPEN_POSITION_FOR: Final = Function("canOpenPositionFor(address,address)")
    GET_APPROVED_ACTIONS: Final = Function("getApprovedActions(address,address)")


class BaseToken:
    """BaseToken: one market's virtual token, with its index price."""

    GET_PRICE_FEED: Final = Function("getPriceFeed()")
    GET_INDEX_PRICE: Final = Function("getIndexPrice(uint256)")
    IS_OPEN: Final = Function("isOpen()")
    GET_PAUSED_INDEX_PRICE: Final = Function("getPausedIndexPrice()")
    GET_CLOSED_PRICE: Final = Function("getClosedPrice()")


class PriceFeed:
    """PriceFeedDispatcher and ChainlinkPriceFeedV3: the way from a token to Chainlink's feed."""

    GET_CHAINLINK_PRICE_FEED_V3: Final = Function("getChainlinkPriceFeedV3()")
    GET_AGGREGATOR: Final = Function("getAggregator()")
