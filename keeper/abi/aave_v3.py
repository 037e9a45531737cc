"""The functions of Aave 3.0 that keeper calls, one class per contract."""

from typing import Final

from keeper.abi.words import Function


class AddressesProvider:
    """PoolAddressesProvider: the entry to a market."""

    GET_POOL: Final = Function("getPool()")
    GET_PRICE_ORACLE: Final = Function("getPriceOracle()")


class Pool:
    """Pool, behind its proxy."""

    POOL_REVISION: Final = Function("POOL_REVISION()")
    GET_RESERVES_LIST: Final = Function("getReservesList()")
    GET_RESERVE_DATA: Final = Function("getReserveData(address)")
    GET_E_MODE_CATEGORY_DATA: Final = Function("getEModeCategoryData(uint8)")
    GET_USER_CONFIGURATION: Final = Function("getUserConfiguration(address)")
    GET_USER_E_MODE: Final = Function("getUserEMode(address)")
    SUPPLY: Final = Function("supply(address,uint256,address,uint16)")
    REPAY: Final = Function("repay(address,uint256,uint256,address)")


class Oracle:
    """AaveOracle."""

    BASE_CURRENCY: Final = Function("BASE_CURRENCY()")
    BASE_CURRENCY_UNIT: Final = Function("BASE_CURRENCY_UNIT()")
    GET_ASSET_PRICE: Final = Function("getAssetPrice(address)")
    GET_SOURCE_OF_ASSET: Final = Function("getSourceOfAsset(address)")


class AToken:
    """AToken: a supplied balance."""

    SCALED_BALANCE_OF: Final = Function("scaledBalanceOf(address)")
    SCALED_TOTAL_SUPPLY: Final = Function("scaledTotalSupply()")


class VariableDebtToken:
    """VariableDebtToken."""

    SCALED_BALANCE_OF: Final = Function("scaledBalanceOf(address)")
    SCALED_TOTAL_SUPPLY: Final = Function("scaledTotalSupply()")


class StableDebtToken:
    """StableDebtToken."""

    PRINCIPAL_BALANCE_OF: Final = Function("principalBalanceOf(address)")
    GET_USER_STABLE_RATE: Final = Function("getUserStableRate(address)")
    GET_USER_LAST_UPDATED: Final = Function("getUserLastUpdated(address)")
    GET_SUPPLY_DATA: Final = Function("getSupplyData()")
