# pragma version 0.4.3
"""
@title Tokens on their way through a guardian
@notice Sizes an action, takes tokens from the mandate's reserve within its limits, hands them to a
        protocol and sends back what is left. It knows no protocol: whoever calls says what the token
        is worth. Amounts are counted from balances before and after, so that what was donated is
        neither spent nor mistaken for a payment.
@dev Holds no storage. Prices are in the market's base currency for one whole token of `unit` units.
@license Apache-2.0
"""

from ethereum.ercs import IERC20
import guardian_core as core
import refusals

uses: core

EVERYTHING: constant(uint256) = max_value(uint256)


@internal
@pure
def _value(amount: uint256, price: uint256, unit: uint256) -> uint256:
    """
    @dev Rounded up: against the limits.
    """
    return (amount * price + unit - 1) // unit


@internal
@pure
def _amount(worth: uint256, price: uint256, unit: uint256) -> uint256:
    """
    @dev Rounded down; everything stays everything.
    """
    if worth == EVERYTHING:
        return EVERYTHING
    return worth * unit // price


@internal
def _pull(
    market: address,
    terms: core.Mandate,
    asset: address,
    price: uint256,
    unit: uint256,
    wanted: uint256,
) -> uint256:
    """
    @dev Takes what is wanted, within the limits, from the reserve, and uses the limits up. A token
         that delivers less or more than it was asked for is refused.
    @return The amount, which this contract holds now
    """
    reserve: address = terms.reserve
    if reserve == empty(address):
        refusals._refuse_addresses(refusals.NO_RESERVE, market, reserve)
    token: IERC20 = IERC20(asset)
    amount: uint256 = self._sized(
        price,
        unit,
        terms.min_action,
        wanted,
        staticcall token.balanceOf(reserve),
        staticcall token.allowance(reserve, self),
        min(core._available(market, terms), core._available_of_reserve(market, reserve)),
    )
    worth: uint256 = self._value(amount, price, unit)
    core._spend(market, terms, worth)
    core._spend_of_reserve(market, reserve, worth)

    held: uint256 = staticcall token.balanceOf(self)
    self._check_moved(
        asset,
        amount,
        extcall token.transferFrom(reserve, self, amount, default_return_value=True),
    )
    received: uint256 = staticcall token.balanceOf(self) - held
    if received != amount:
        refusals._refuse(refusals.TRANSFER_SHORT, received, amount)
    return amount


@internal
@pure
def _sized(
    price: uint256,
    unit: uint256,
    min_action: uint256,
    wanted: uint256,
    balance: uint256,
    allowance: uint256,
    available: uint256,
) -> uint256:
    """
    @dev The smallest of the bounds; if that is too small, the refusal names the one that binds. What
         is available is within a mandate's limit, and so far below 2**256.
    """
    within: uint256 = available * unit // price
    amount: uint256 = min(min(wanted, within), min(balance, allowance))
    worth: uint256 = self._value(amount, price, unit)
    if amount == 0 or worth < min_action:
        if amount == wanted:
            refusals._refuse(refusals.ACTION_TOO_SMALL, worth, min_action)
        if amount == allowance:
            refusals._refuse(refusals.ALLOWANCE_TOO_SMALL, allowance, wanted)
        if amount == balance:
            refusals._refuse(refusals.BALANCE_TOO_SMALL, balance, wanted)
        refusals._refuse(refusals.LIMIT_REACHED, available, min_action)
    return amount


@internal
def _approve(token: address, spender: address, amount: uint256):
    self._check_moved(
        token, amount, extcall IERC20(token).approve(spender, amount, default_return_value=True)
    )


@internal
def _return_rest(token: address, spender: address, held: uint256, to: address):
    """
    @dev What the spender did not take goes back, counted from what was held before: a donation stays
         where it is. Less than before means that something took what was not part of the action.
    """
    now: uint256 = staticcall IERC20(token).balanceOf(self)
    if now < held:
        refusals._refuse(refusals.TRANSFER_SHORT, now, held)
    if now > held:
        self._approve(token, spender, 0)
        self._check_moved(
            token,
            now - held,
            extcall IERC20(token).transfer(to, now - held, default_return_value=True),
        )


@internal
@pure
def _check_moved(token: address, amount: uint256, agreed: bool):
    """
    @dev A token may say no by returning False; one that returns nothing has agreed.
    """
    if not agreed:
        refusals._refuse_address(refusals.TRANSFER_REFUSED, token, amount)
