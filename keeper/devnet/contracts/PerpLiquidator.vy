# pragma version 0.4.3
# pragma evm-version paris
"""
@title A liquidator of Perp v2 accounts
@notice Has margin of its own and takes over the positions of every listed account that the venue lets
        it, in one transaction. For local chains: whoever calls it spends its margin.
@license Apache-2.0
"""

from ethereum.ercs import IERC20

interface ClearingHouse:
    def liquidate(trader: address, base_token: address): nonpayable

interface Vault:
    def getCollateralTokens(trader: address) -> DynArray[address, 32]: view
    def getMaxRepaidSettlementAndLiquidatableCollateral(
        trader: address, token: address
    ) -> (uint256, uint256): view
    def liquidateCollateral(
        trader: address, token: address, amount: uint256, in_settlement: bool
    ) -> uint256: nonpayable
    def isLiquidatable(trader: address) -> bool: view

event Struck:
    account: indexed(address)
    succeeded: bool

HOUSE: immutable(ClearingHouse)
VAULT: immutable(Vault)
base_tokens: DynArray[address, 32]


@deploy
def __init__(house: address, vault: address, base_tokens: DynArray[address, 32]):
    HOUSE = ClearingHouse(house)
    VAULT = Vault(vault)
    self.base_tokens = base_tokens


@external
def approve(token: address):
    """
    @notice Let the vault take this contract's token to pay the debts whose collateral it takes.
    """
    assert extcall IERC20(token).approve(VAULT.address, max_value(uint256), default_return_value=True)


@external
def strike(accounts: DynArray[address, 500]) -> uint256:
    """
    @notice Take over what the venue allows of every position, then of every margin token.
    @dev The venue refuses accounts with enough margin, and an account that reverts does not keep the
         others from being tried.
    @return How many takeovers succeeded.
    """
    struck: uint256 = 0
    for account: address in accounts:
        for token: address in self.base_tokens:
            taken: bool = raw_call(
                HOUSE.address,
                abi_encode(account, token, method_id=method_id("liquidate(address,address)")),
                revert_on_failure=False,
            )
            if taken:
                log Struck(account=account, succeeded=True)
                struck += 1
        sold: bool = raw_call(
            self,
            abi_encode(account, method_id=method_id("sell_margin(address)")),
            revert_on_failure=False,
        )
        if sold:
            struck += 1
    return struck


@external
def sell_margin(account: address):
    """
    @notice Pay the account's settlement debt with its own margin tokens, as far as is allowed.
    """
    assert staticcall VAULT.isLiquidatable(account)
    for token: address in staticcall VAULT.getCollateralTokens(account):
        repaid: uint256 = 0
        taken: uint256 = 0
        repaid, taken = staticcall VAULT.getMaxRepaidSettlementAndLiquidatableCollateral(account, token)
        extcall VAULT.liquidateCollateral(account, token, taken, False)
