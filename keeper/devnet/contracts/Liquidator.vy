# pragma version 0.4.3
# pragma evm-version paris
"""
@title A liquidator of Aave v3 positions
@notice Holds its own tokens and liquidates every listed account whose health is below 1, in one
        transaction. For local chains: whoever calls it spends its tokens.
@license Apache-2.0
"""

from ethereum.ercs import IERC20

interface Pool:
    def getReservesList() -> DynArray[address, 128]: view
    def getUserAccountData(user: address) -> AccountData: view
    def liquidationCall(
        collateral: address, debt: address, user: address, amount: uint256, receive_a_token: bool
    ): nonpayable

interface Oracle:
    def getAssetPrice(asset: address) -> uint256: view

interface ReserveData:
    def getUserReserveData(asset: address, user: address) -> UserReserve: view

interface Decimals:
    def decimals() -> uint8: view

struct AccountData:
    collateral: uint256
    debt: uint256
    available: uint256
    liquidation_threshold: uint256
    ltv: uint256
    health: uint256

struct UserReserve:
    a_token: uint256
    stable_debt: uint256
    variable_debt: uint256
    principal_stable_debt: uint256
    scaled_variable_debt: uint256
    stable_rate: uint256
    liquidity_rate: uint256
    stable_since: uint40
    is_collateral: bool

event Struck:
    account: indexed(address)
    succeeded: bool

HEALTHY: constant(uint256) = 10**18

POOL: immutable(Pool)
ORACLE: immutable(Oracle)
RESERVES: immutable(ReserveData)


@deploy
def __init__(pool: address, oracle: address, reserves: address):
    """
    @param reserves Aave's protocol data provider
    """
    POOL = Pool(pool)
    ORACLE = Oracle(oracle)
    RESERVES = ReserveData(reserves)


@external
def approve(token: address):
    """
    @notice Let the pool take this contract's token to repay the debts it liquidates.
    """
    assert extcall IERC20(token).approve(POOL.address, max_value(uint256), default_return_value=True)


@external
def strike(accounts: DynArray[address, 500]) -> uint256:
    """
    @notice Liquidate as much as the close factor allows of every account that is below 1.
    @dev An account whose liquidation reverts does not keep the others from being tried.
    @return How many were liquidated.
    """
    struck: uint256 = 0
    for account: address in accounts:
        readable: bool = False
        answer: Bytes[192] = b""
        readable, answer = raw_call(
            POOL.address,
            abi_encode(account, method_id=method_id("getUserAccountData(address)")),
            max_outsize=192,
            is_static_call=True,
            revert_on_failure=False,
        )
        if not readable or abi_decode(answer, AccountData).health >= HEALTHY:
            continue
        succeeded: bool = raw_call(
            self,
            abi_encode(account, method_id=method_id("liquidate(address)")),
            revert_on_failure=False,
        )
        log Struck(account=account, succeeded=succeeded)
        struck += convert(succeeded, uint256)
    return struck


@external
def liquidate(account: address):
    """
    @notice Repay the account's largest debt against its largest collateral, by value.
    """
    collateral: address = empty(address)
    debt: address = empty(address)
    largest_collateral: uint256 = 0
    largest_debt: uint256 = 0
    for asset: address in staticcall POOL.getReservesList():
        held: UserReserve = staticcall RESERVES.getUserReserveData(asset, account)
        owed: uint256 = held.stable_debt + held.variable_debt
        if owed + held.a_token == 0:
            continue
        unit: uint256 = 10 ** convert(staticcall Decimals(asset).decimals(), uint256)
        price: uint256 = staticcall ORACLE.getAssetPrice(asset)
        if held.is_collateral and held.a_token * price // unit > largest_collateral:
            largest_collateral = held.a_token * price // unit
            collateral = asset
        if owed * price // unit > largest_debt:
            largest_debt = owed * price // unit
            debt = asset
    extcall POOL.liquidationCall(collateral, debt, account, max_value(uint256), False)
