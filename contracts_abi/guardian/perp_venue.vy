# pragma version 0.4.3
"""
@title What a guardian knows of Perp v2 (curie)
@notice Reads an account of the venue, tells how much of a position has to go, and places orders that
        can only make a position smaller.
@dev Holds no storage and moves no token. A venue is named by its ClearingHouse. Money is in the
     venue's 18 decimals unless a name says otherwise; `_value8` gives it 8, in which mandates count.
     Health is the least that keeps a liquidation away, in WAD, each below 1: account value over the
     margin required and, where tokens beside the settlement token are held as margin, over the higher
     requirement at which these are sold, and what may be owed against them over what is.
@license Apache-2.0
"""

import refusals

interface ClearingHouse:
    def getVault() -> address: view
    def getExchange() -> address: view
    def getAccountBalance() -> address: view
    def getClearingHouseConfig() -> address: view
    def getAccountValue(trader: address) -> int256: view
    def openPositionFor(trader: address, order: Order) -> (uint256, uint256, uint256): nonpayable

interface AccountBalance:
    def getMarginRequirementForLiquidation(trader: address) -> int256: view
    def getTakerPositionSize(trader: address, base_token: address) -> int256: view
    def getTotalPositionSize(trader: address, base_token: address) -> int256: view
    def getTotalPositionValue(trader: address, base_token: address) -> int256: view

interface Config:
    def getMmRatio() -> uint24: view
    def getLiquidationPenaltyRatio() -> uint24: view

interface Exchange:
    def getMarketRegistry() -> address: view

interface MarketRegistry:
    def hasPool(base_token: address) -> bool: view

interface Vault:
    def decimals() -> uint8: view
    def getSettlementToken() -> address: view
    def getCollateralManager() -> address: view
    def getCollateralTokens(trader: address) -> DynArray[address, 64]: view
    def getCollateralMmRatio() -> uint24: view
    def getSettlementTokenValue(trader: address) -> int256: view
    def depositFor(trader: address, token: address, amount: uint256): nonpayable

interface CollateralManager:
    def getDebtNonSettlementTokenValueRatio() -> uint24: view
    def getDebtThresholdByTrader(trader: address) -> uint256: view

interface BaseToken:
    def getIndexPrice(interval: uint256) -> uint256: view

struct Order:
    base_token: address
    is_base_to_quote: bool
    is_exact_input: bool
    amount: uint256
    opposite_amount_bound: uint256
    deadline: uint256
    sqrt_price_limit_x96: uint160
    referral_code: bytes32

struct Venue:
    house: address
    vault: address
    balances: address
    config: address

struct Account:
    value: int256
    required: uint256
    ratio: uint256
    debt: uint256
    allowed: uint256
    health: uint256

WAD: constant(uint256) = 10**18
BPS: constant(uint256) = 10_000
MILLION: constant(uint256) = 10**6  # the venue's ratios are in millionths
TO_8: constant(uint256) = 10**10  # from the venue's 18 decimals to a mandate's 8
EVERYTHING: constant(uint256) = max_value(uint256)
TOLERANCE_BPS: constant(uint256) = 100


@internal
@view
def _open(market: address) -> Venue:
    house: ClearingHouse = ClearingHouse(market)
    return Venue(
        house=market,
        vault=staticcall house.getVault(),
        balances=staticcall house.getAccountBalance(),
        config=staticcall house.getClearingHouseConfig(),
    )


@internal
@view
def _has_market(at: Venue, base_token: address) -> bool:
    exchange: Exchange = Exchange(staticcall ClearingHouse(at.house).getExchange())
    return staticcall MarketRegistry(staticcall exchange.getMarketRegistry()).hasPool(base_token)


@internal
@view
def _half_penalty_bps(at: Venue) -> uint256:
    """
    @dev Half of what the venue takes of a position that it liquidates, rounded down.
    """
    penalty: uint256 = convert(staticcall Config(at.config).getLiquidationPenaltyRatio(), uint256)
    return penalty * BPS // MILLION // 2


@internal
@view
def _account(at: Venue, trader: address) -> Account:
    """
    @dev Health is rounded down, 0 where nothing is left, and everything without a position or debt.
         `required` is `ratio` of all positions' value. `debt` is owed in the settlement token, where
         margin tokens stand for it, and `allowed` is what may be (Vault.sol, isLiquidatable).
    """
    balances: AccountBalance = AccountBalance(at.balances)
    value: int256 = staticcall ClearingHouse(at.house).getAccountValue(trader)
    required: uint256 = convert(
        staticcall balances.getMarginRequirementForLiquidation(trader), uint256
    )
    ratio: uint256 = convert(staticcall Config(at.config).getMmRatio(), uint256)
    debt: uint256 = 0
    allowed: uint256 = 0
    if len(staticcall Vault(at.vault).getCollateralTokens(trader)) > 0:
        higher: uint256 = convert(staticcall Vault(at.vault).getCollateralMmRatio(), uint256)
        required = (required * higher + ratio - 1) // ratio
        ratio = higher
        debt, allowed = self._settlement_debt(at, trader, value)
    health: uint256 = EVERYTHING
    if required > 0:
        health = convert(max(value, 0), uint256) * WAD // required
    if debt > 0:
        health = min(health, allowed * WAD // debt)
    return Account(
        value=value, required=required, ratio=ratio, debt=debt, allowed=allowed, health=health
    )


@internal
@view
def _settlement_debt(at: Venue, trader: address, worth: int256) -> (uint256, uint256):
    """
    @dev What is owed in the settlement token, and what may be: the lesser of a share of the margin
         tokens, which are what the account's value has beside the settlement token, and a threshold.
    """
    vault: Vault = Vault(at.vault)
    manager: CollateralManager = CollateralManager(staticcall vault.getCollateralManager())
    scale: uint256 = 10 ** (18 - convert(staticcall vault.decimals(), uint256))
    settled: int256 = (
        staticcall vault.getSettlementTokenValue(trader) * convert(scale, int256)
    )
    if settled >= 0:
        return 0, 0
    share: uint256 = convert(
        staticcall manager.getDebtNonSettlementTokenValueRatio(), uint256
    )
    tokens: uint256 = convert(max(worth - settled, 0), uint256)
    threshold: uint256 = staticcall manager.getDebtThresholdByTrader(trader) * scale
    return convert(-settled, uint256), min(tokens * share // MILLION, threshold)


@internal
@pure
def _margin_needed(before: Account, target: uint256) -> uint256:
    """
    @dev The margin that brings health to the target; without bound where the target closes.
    """
    if target == EVERYTHING:
        return EVERYTHING
    wanted: uint256 = (before.required * target + WAD - 1) // WAD
    needed: uint256 = convert(max(convert(wanted, int256) - before.value, 0), uint256)
    bearable: uint256 = before.allowed * WAD // target
    return max(needed, before.debt - min(bearable, before.debt))


@internal
@view
def _size(at: Venue, trader: address, base_token: address) -> int256:
    """
    @dev What the trader holds, above 0 if long. Refused where liquidity of a maker stands beside it:
         that would turn into a position of another size by itself.
    """
    balances: AccountBalance = AccountBalance(at.balances)
    size: int256 = staticcall balances.getTakerPositionSize(trader, base_token)
    if size == 0:
        refusals._refuse_address(refusals.NO_POSITION, base_token, 0)
    whole: int256 = staticcall balances.getTotalPositionSize(trader, base_token)
    if whole != size:
        refusals._refuse_address(
            refusals.MAKER_POSITION, base_token, convert(abs(whole - size), uint256)
        )
    return size


@internal
@view
def _surplus_size(
    at: Venue, trader: address, base_token: address, size: uint256, before: Account, target: uint256
) -> uint256:
    """
    @dev What has to go so that the margin required is that of the target, at the mark price and as
         if trading cost nothing, rounded up; all of it if less would not do.
    """
    if target == EVERYTHING:
        return size
    bearable: uint256 = convert(max(before.value, 0), uint256) * WAD // target
    if bearable >= before.required:
        return 0
    surplus: uint256 = (before.required - bearable) * MILLION // before.ratio + 1
    value: uint256 = convert(
        abs(staticcall AccountBalance(at.balances).getTotalPositionValue(trader, base_token)),
        uint256,
    )
    if surplus >= value:
        return size
    return (surplus * size + value - 1) // value


@internal
@view
def _index_price(base_token: address) -> uint256:
    """
    @dev Of the feed behind the market, now: not the pool's, which a trader can push.
    """
    price: uint256 = staticcall BaseToken(base_token).getIndexPrice(0)
    if price == 0:
        refusals._refuse_address(refusals.ASSET_WITHOUT_PRICE, base_token, price)
    return price


@internal
@pure
def _value8(amount: uint256, price: uint256) -> uint256:
    """
    @dev With 8 decimals, rounded up: against the limits.
    """
    unit: uint256 = WAD * TO_8
    return (amount * price + unit - 1) // unit


@internal
@pure
def _amount_of8(worth: uint256, price: uint256) -> uint256:
    """
    @dev Rounded down.
    """
    return worth * WAD * TO_8 // price


@internal
def _reduce(
    at: Venue, trader: address, base_token: address, size: int256, amount: uint256, bound: uint256
) -> uint256:
    """
    @dev Sells of a long, buys of a short, exactly `amount` of base for no less, or no more, quote
         than `bound`. The order's side follows from the position and its amount is at most the
         position, so nothing can grow or turn; that is looked at again afterwards.
    @return The quote that was traded
    """
    long: bool = size > 0
    base: uint256 = 0
    quote: uint256 = 0
    fee: uint256 = 0
    base, quote, fee = extcall ClearingHouse(at.house).openPositionFor(
        trader,
        Order(
            base_token=base_token,
            is_base_to_quote=long,
            is_exact_input=long,
            amount=amount,
            opposite_amount_bound=bound,
            deadline=block.timestamp,
            sqrt_price_limit_x96=0,
            referral_code=empty(bytes32),
        ),
    )
    left: int256 = staticcall AccountBalance(at.balances).getTakerPositionSize(trader, base_token)
    expected: uint256 = convert(abs(size), uint256) - amount
    if convert(abs(left), uint256) != expected or (left != 0 and (left > 0) != long):
        refusals._refuse(refusals.SIZE_UNEXPECTED, convert(abs(left), uint256), expected)
    beyond: bool = quote > bound
    if long:
        beyond = quote < bound
    if beyond:
        refusals._refuse(refusals.SLIPPAGE_TOO_HIGH, quote, bound)
    return quote


@internal
@view
def _check_outcome(
    at: Venue, trader: address, before: Account, target: uint256, traded: bool
) -> Account:
    """
    @dev Health has risen and is no further above the target than the tolerance; less is allowed. A
         trade may have been paid better than the mark: that is no excess, so that its health is also
         taken with the value from before.
    """
    after: Account = self._account(at, trader)
    if after.health <= before.health:
        refusals._refuse(refusals.HEALTH_ROSE_TOO_LITTLE, after.health, before.health + 1)
    if target != EVERYTHING and after.required > 0:
        bound: uint256 = target * (BPS + TOLERANCE_BPS) // BPS
        reached: uint256 = after.health
        if traded:
            fair: uint256 = convert(max(before.value, 0), uint256) * WAD // after.required
            reached = min(reached, fair)
        if reached > bound:
            refusals._refuse(refusals.HEALTH_ABOVE_TARGET, reached, bound)
    return after
