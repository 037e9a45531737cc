# pragma version 0.4.3
"""
@title Refusals of a guardian
@notice Every refusal is a named error with two figures, encoded like a Solidity custom error:
        selector, word, word. The compiler has no errors of its own, so the line above each constant
        gives the entry that `build.py` puts into the ABI, and it fails if the two disagree.
@license Apache-2.0
"""

# -- who may do what, and when

# error NotOwner(address caller, address owner)
NOT_OWNER: constant(bytes4) = method_id("NotOwner(address,address)", output_type=bytes4)
# error NotFreezer(address caller, address freezer)
NOT_FREEZER: constant(bytes4) = method_id("NotFreezer(address,address)", output_type=bytes4)
# error NotKeeper(address caller, address keeper)
NOT_KEEPER: constant(bytes4) = method_id("NotKeeper(address,address)", output_type=bytes4)
# error UnknownMarket(address market, uint256 nonce)
UNKNOWN_MARKET: constant(bytes4) = method_id("UnknownMarket(address,uint256)", output_type=bytes4)
# error StaleMandate(bytes32 given, bytes32 current)
STALE_MANDATE: constant(bytes4) = method_id("StaleMandate(bytes32,bytes32)", output_type=bytes4)
# error MarketFrozen(address market, uint256 nonce)
MARKET_FROZEN: constant(bytes4) = method_id("MarketFrozen(address,uint256)", output_type=bytes4)
# error MandateExpired(uint256 expiry, uint256 timestamp)
MANDATE_EXPIRED: constant(bytes4) = method_id("MandateExpired(uint256,uint256)", output_type=bytes4)
# error CoolingDown(uint256 until, uint256 timestamp)
COOLING_DOWN: constant(bytes4) = method_id("CoolingDown(uint256,uint256)", output_type=bytes4)
# error ConsentMissing(address reserve, uint256 expiry)
CONSENT_MISSING: constant(bytes4) = method_id("ConsentMissing(address,uint256)", output_type=bytes4)
# error UnexpectedCallback(address caller, bytes32 data_hash)
UNEXPECTED_CALLBACK: constant(bytes4) = method_id("UnexpectedCallback(address,bytes32)", output_type=bytes4)
# error ForeignFlashLoan(address initiator, uint256 amount)
FOREIGN_FLASH_LOAN: constant(bytes4) = method_id("ForeignFlashLoan(address,uint256)", output_type=bytes4)

# -- what a mandate may say

# error OwnerMissing(address owner, uint256 code_size)
OWNER_MISSING: constant(bytes4) = method_id("OwnerMissing(address,uint256)", output_type=bytes4)
# error KeeperMissing(address keeper, address market)
KEEPER_MISSING: constant(bytes4) = method_id("KeeperMissing(address,address)", output_type=bytes4)
# error MaxHealthTooLow(uint256 max_health_to_act, uint256 one)
MAX_HEALTH_TOO_LOW: constant(bytes4) = method_id("MaxHealthTooLow(uint256,uint256)", output_type=bytes4)
# error TargetOutOfRange(uint256 target, uint256 max_health_to_act)
TARGET_OUT_OF_RANGE: constant(bytes4) = method_id("TargetOutOfRange(uint256,uint256)", output_type=bytes4)
# error EmergencyHealthTooHigh(uint256 emergency_health, uint256 max_health_to_act)
EMERGENCY_HEALTH_TOO_HIGH: constant(bytes4) = method_id("EmergencyHealthTooHigh(uint256,uint256)", output_type=bytes4)
# error SlippageOutOfOrder(uint256 slippage_calm_bps, uint256 slippage_urgent_bps)
SLIPPAGE_OUT_OF_ORDER: constant(bytes4) = method_id("SlippageOutOfOrder(uint256,uint256)", output_type=bytes4)
# error SlippageAboveHalfBonus(uint256 slippage_urgent_bps, uint256 half_bonus_bps)
SLIPPAGE_ABOVE_HALF_BONUS: constant(bytes4) = method_id("SlippageAboveHalfBonus(uint256,uint256)", output_type=bytes4)
# error LimitOutOfRange(uint256 limit_max, uint256 limit_per_second)
LIMIT_OUT_OF_RANGE: constant(bytes4) = method_id("LimitOutOfRange(uint256,uint256)", output_type=bytes4)
# error MinActionAboveLimit(uint256 min_action, uint256 limit_max)
MIN_ACTION_ABOVE_LIMIT: constant(bytes4) = method_id("MinActionAboveLimit(uint256,uint256)", output_type=bytes4)
# error ExpiryOutOfRange(uint256 expiry, uint256 timestamp)
EXPIRY_OUT_OF_RANGE: constant(bytes4) = method_id("ExpiryOutOfRange(uint256,uint256)", output_type=bytes4)

# -- what an action may do

# error HealthTooHigh(uint256 health, uint256 bound)
HEALTH_TOO_HIGH: constant(bytes4) = method_id("HealthTooHigh(uint256,uint256)", output_type=bytes4)
# error NoEmergencyCall(address market, uint256 emergency_health)
NO_EMERGENCY_CALL: constant(bytes4) = method_id("NoEmergencyCall(address,uint256)", output_type=bytes4)
# error NoReserve(address market, address reserve)
NO_RESERVE: constant(bytes4) = method_id("NoReserve(address,address)", output_type=bytes4)
# error UnknownAsset(address asset, address market)
UNKNOWN_ASSET: constant(bytes4) = method_id("UnknownAsset(address,address)", output_type=bytes4)
# error AssetWithoutPrice(address asset, uint256 price)
ASSET_WITHOUT_PRICE: constant(bytes4) = method_id("AssetWithoutPrice(address,uint256)", output_type=bytes4)
# error NoDebt(address asset, uint256 debt)
NO_DEBT: constant(bytes4) = method_id("NoDebt(address,uint256)", output_type=bytes4)
# error NotCollateral(address asset, uint256 liquidation_threshold)
NOT_COLLATERAL: constant(bytes4) = method_id("NotCollateral(address,uint256)", output_type=bytes4)
# error AllowanceTooSmall(uint256 allowance, uint256 wanted)
ALLOWANCE_TOO_SMALL: constant(bytes4) = method_id("AllowanceTooSmall(uint256,uint256)", output_type=bytes4)
# error BalanceTooSmall(uint256 balance, uint256 wanted)
BALANCE_TOO_SMALL: constant(bytes4) = method_id("BalanceTooSmall(uint256,uint256)", output_type=bytes4)
# error LimitReached(uint256 available, uint256 min_action)
LIMIT_REACHED: constant(bytes4) = method_id("LimitReached(uint256,uint256)", output_type=bytes4)
# error ActionTooSmall(uint256 value, uint256 min_action)
ACTION_TOO_SMALL: constant(bytes4) = method_id("ActionTooSmall(uint256,uint256)", output_type=bytes4)
# error TransferShort(uint256 received, uint256 expected)
TRANSFER_SHORT: constant(bytes4) = method_id("TransferShort(uint256,uint256)", output_type=bytes4)
# error TransferRefused(address token, uint256 amount)
TRANSFER_REFUSED: constant(bytes4) = method_id("TransferRefused(address,uint256)", output_type=bytes4)
# error HealthRoseTooLittle(uint256 health, uint256 expected)
HEALTH_ROSE_TOO_LITTLE: constant(bytes4) = method_id("HealthRoseTooLittle(uint256,uint256)", output_type=bytes4)
# error HealthAboveTarget(uint256 health, uint256 bound)
HEALTH_ABOVE_TARGET: constant(bytes4) = method_id("HealthAboveTarget(uint256,uint256)", output_type=bytes4)
# error CollateralFell(uint256 collateral, uint256 bound)
COLLATERAL_FELL: constant(bytes4) = method_id("CollateralFell(uint256,uint256)", output_type=bytes4)
# error DebtRose(uint256 debt, uint256 bound)
DEBT_ROSE: constant(bytes4) = method_id("DebtRose(uint256,uint256)", output_type=bytes4)

# -- what a move may do

# error FloorTooLow(uint256 floor, uint256 one)
FLOOR_TOO_LOW: constant(bytes4) = method_id("FloorTooLow(uint256,uint256)", output_type=bytes4)
# error SourceBelowFloor(uint256 health, uint256 floor)
SOURCE_BELOW_FLOOR: constant(bytes4) = method_id("SourceBelowFloor(uint256,uint256)", output_type=bytes4)

# -- what an order may do

# error NoPosition(address base_token, uint256 size)
NO_POSITION: constant(bytes4) = method_id("NoPosition(address,uint256)", output_type=bytes4)
# error MakerPosition(address base_token, uint256 size)
MAKER_POSITION: constant(bytes4) = method_id("MakerPosition(address,uint256)", output_type=bytes4)
# error SizeUnexpected(uint256 size, uint256 expected)
SIZE_UNEXPECTED: constant(bytes4) = method_id("SizeUnexpected(uint256,uint256)", output_type=bytes4)

# -- what a swap may do

# error CollateralNotAllowed(address collateral, address market)
COLLATERAL_NOT_ALLOWED: constant(bytes4) = method_id("CollateralNotAllowed(address,address)", output_type=bytes4)
# error PoolNotAllowed(address pool, address market)
POOL_NOT_ALLOWED: constant(bytes4) = method_id("PoolNotAllowed(address,address)", output_type=bytes4)
# error HopsOutOfRange(uint256 hops, uint256 max_hops)
HOPS_OUT_OF_RANGE: constant(bytes4) = method_id("HopsOutOfRange(uint256,uint256)", output_type=bytes4)
# error RouteBroken(address pool, address token)
ROUTE_BROKEN: constant(bytes4) = method_id("RouteBroken(address,address)", output_type=bytes4)
# error PriceBeyondLimit(uint256 sqrt_price, uint256 limit)
PRICE_BEYOND_LIMIT: constant(bytes4) = method_id("PriceBeyondLimit(uint256,uint256)", output_type=bytes4)
# error PoolTooThin(uint256 received, uint256 requested)
POOL_TOO_THIN: constant(bytes4) = method_id("PoolTooThin(uint256,uint256)", output_type=bytes4)
# error SlippageTooHigh(uint256 owed, uint256 most)
SLIPPAGE_TOO_HIGH: constant(bytes4) = method_id("SlippageTooHigh(uint256,uint256)", output_type=bytes4)


@internal
@pure
def _refuse(error: bytes4, first: uint256, second: uint256):
    raw_revert(concat(error, convert(first, bytes32), convert(second, bytes32)))


@internal
@pure
def _refuse_address(error: bytes4, first: address, second: uint256):
    self._refuse(error, convert(first, uint256), second)


@internal
@pure
def _refuse_addresses(error: bytes4, first: address, second: address):
    self._refuse(error, convert(first, uint256), convert(second, uint256))
