"""The integer arithmetic of Perp v2, each operation with that version's own rounding.

Sources are named below `contracts` of @perp/curie-contract 2.8.4.
"""

WAD18 = 10**18
RATIO = 10**6
"""Ratios are in millionths."""
Q96 = 1 << 96
FUNDING_PERIOD_S = 24 * 3600
"""lib/Funding.sol, _DEFAULT_FUNDING_PERIOD: a premium is owed in full over a day."""


def mul_div_to_zero(a: int, b: int, denominator: int) -> int:
    """a × b / denominator, truncated towards zero (lib/PerpMath.sol, mulDiv of signed numbers)."""
    quotient = abs(a) * abs(b) // denominator
    return quotient if (a < 0) == (b < 0) else -quotient


def div_to_zero(a: int, b: int) -> int:
    """a / b, truncated towards zero, as Solidity divides."""
    return a // b if a >= 0 else -(-a // b)


def mul_ratio(value: int, ratio: int) -> int:
    """value × ratio in millionths, truncated towards zero (lib/PerpMath.sol, mulRatio)."""
    return mul_div_to_zero(value, ratio, RATIO)


def to_settlement_down(value18: int, decimals: int) -> int:
    """From 18 decimals to the settlement token's, rounded down, below zero too
    (lib/SettlementTokenMath.sol, formatSettlementToken)."""
    return value18 // int(10 ** (18 - decimals))


def pending_funding(base: int, growth_x96: int, since_x96: int) -> int:
    """What a taker's `base` owes for the growth of the market's premium, 18 decimals, truncated
    twice (lib/Funding.sol, calcPendingFundingPaymentWithLiquidityCoefficient)."""
    return div_to_zero(mul_div_to_zero(base, growth_x96 - since_x96, Q96), FUNDING_PERIOD_S)


def premium_x96(market_twap_x96: int, index_twap: int, max_funding_rate: int) -> int:
    """By what the market's average stands above its index, limited to a share of the index
    (Exchange.sol, _getDeltaTwapX96); `index_twap` has 18 decimals."""
    index_x96 = index_twap * Q96 // WAD18
    most = mul_ratio(index_x96, max_funding_rate)
    return max(-most, min(most, market_twap_x96 - index_x96))


def collateral_value(raw: int, token_decimals: int, price: int, price_decimals: int) -> int:
    """Value of a margin token with 18 decimals, before its haircut, rounded down
    (Vault.sol, _getSettlementByCollateral)."""
    if token_decimals > 18:
        return raw * price // int(10**price_decimals) // int(10 ** (token_decimals - 18))
    return raw * int(10 ** (18 - token_decimals)) * price // int(10**price_decimals)
