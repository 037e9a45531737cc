# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Guardian of one owner's Perp v2 (curie) positions
@notice A keeper may add margin or make a position smaller for the owner within the mandate that the
        owner set, and nothing else. The venue's own delegation lets a delegate open, grow and turn
        positions too: the owner gives it to this contract, which has no call that does.
@dev Health is in WAD, values are dollars with 8 decimals, slippage is in basis points. A market is
     named by its ClearingHouse, and a mandate's `collaterals` are the base tokens whose positions
     may be made smaller. The settlement token counts as one dollar each. Nothing is kept between
     transactions: what is traded stays in the owner's account at the venue.
@license Apache-2.0
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed
import guardian_core as core
import guardian_funds as funds
import perp_venue as venue
import refusals

initializes: core
initializes: funds[core := core]
exports: (
    core.owner,
    core.mandate,
    core.status,
    core.consent_of,
    core.revoke_mandate,
    core.freeze,
    core.unfreeze,
    core.consent,
)

event MarginAdded:
    market: indexed(address)
    asset: indexed(address)
    reserve: indexed(address)
    amount: uint256
    value: uint256
    health_before: uint256
    health_after: uint256

event PositionReduced:
    market: indexed(address)
    base_token: indexed(address)
    size: uint256
    quote: uint256
    value: uint256
    health_before: uint256
    health_after: uint256

DOLLAR: constant(uint256) = 10**8
WAD_DECIMALS: constant(uint256) = 18


@deploy
def __init__(owner: address):
    """
    @param owner The account whose positions are guarded: a key's account or a contract, for ever
    """
    core.__init__(owner)


# -- the owner


@external
@nonreentrant
def set_mandate(market: address, terms: core.Mandate) -> bytes32:
    """
    @notice Set or replace the mandate of one venue. Only the owner. Nothing that was spent comes
            back, and a frozen venue stays frozen.
    @param market The ClearingHouse of a Perp v2 venue
    @param terms The mandate; README.md beside this contract explains each field
    @return The hash that the keeper's calls must carry
    """
    mandate_hash: bytes32 = core._set_mandate(market, terms)
    at: venue.Venue = venue._open(market)
    half: uint256 = venue._half_penalty_bps(at)
    if terms.slippage_urgent_bps > half:
        refusals._refuse(refusals.SLIPPAGE_ABOVE_HALF_BONUS, terms.slippage_urgent_bps, half)
    if terms.emergency_health != 0:
        refusals._refuse_address(refusals.NO_EMERGENCY_CALL, market, terms.emergency_health)
    for base_token: address in terms.collaterals:
        if base_token != empty(address) and not venue._has_market(at, base_token):
            refusals._refuse_addresses(refusals.UNKNOWN_ASSET, base_token, market)
    return mandate_hash


# -- the keeper


@external
@nonreentrant
def add_margin(market: address, mandate_hash: bytes32, max_amount: uint256) -> uint256:
    """
    @notice Move the venue's settlement token from the mandate's reserve into the owner's margin, as
            much as the target needs and the keeper, the limits and the reserve allow. Only the
            keeper.
    @param market The ClearingHouse of a Perp v2 venue
    @param mandate_hash `status(market).mandate_hash` as the keeper knows it
    @param max_amount The most to move, in the token's smallest units
    @return The amount moved
    """
    terms: core.Mandate = core._keeper_mandate(market, mandate_hash)
    at: venue.Venue = venue._open(market)
    before: venue.Account = self._account_below(at, terms)
    asset: address = staticcall venue.Vault(at.vault).getSettlementToken()
    decimals: uint256 = convert(staticcall IERC20Detailed(asset).decimals(), uint256)
    needed: uint256 = venue._margin_needed(before, terms.target)
    if needed != max_value(uint256):
        step: uint256 = 10 ** (WAD_DECIMALS - decimals)
        needed = (needed + step - 1) // step

    held: uint256 = staticcall IERC20(asset).balanceOf(self)
    amount: uint256 = funds._pull(
        market, terms, asset, DOLLAR, 10**decimals, min(needed, max_amount)
    )
    funds._approve(asset, at.vault, amount)
    extcall venue.Vault(at.vault).depositFor(core.OWNER, asset, amount)
    funds._return_rest(asset, at.vault, held, terms.reserve)

    after: venue.Account = venue._check_outcome(at, core.OWNER, before, terms.target, False)
    log MarginAdded(
        market=market,
        asset=asset,
        reserve=terms.reserve,
        amount=amount,
        value=funds._value(amount, DOLLAR, 10**decimals),
        health_before=before.health,
        health_after=after.health,
    )
    return amount


@external
@nonreentrant
def reduce_position(
    market: address, mandate_hash: bytes32, base_token: address, max_size: uint256
) -> (uint256, uint256):
    """
    @notice Make the owner's position in one market smaller, as much as the target needs and the
            keeper and the limit allow, at no worse a price than the allowed slippage against the
            market's index feed. Only the keeper.
    @param market The ClearingHouse of a Perp v2 venue
    @param mandate_hash `status(market).mandate_hash` as the keeper knows it
    @param base_token The market, one of the mandate's
    @param max_size The most to trade, in 10**-18 of the base token
    @return The size that is gone, and the quote traded for it
    """
    terms: core.Mandate = core._keeper_mandate(market, mandate_hash)
    if base_token == empty(address) or base_token not in terms.collaterals:
        refusals._refuse_addresses(refusals.COLLATERAL_NOT_ALLOWED, base_token, market)
    at: venue.Venue = venue._open(market)
    before: venue.Account = self._account_below(at, terms)
    size: int256 = venue._size(at, core.OWNER, base_token)
    price: uint256 = venue._index_price(base_token)
    amount: uint256 = self._sized(at, market, terms, before, base_token, size, price, max_size)
    worth: uint256 = venue._value8(amount, price)
    core._spend(market, terms, worth)

    slippage_bps: uint256 = core._allowed_slippage_bps(terms, before.health)
    fair: uint256 = amount * price // venue.WAD
    bound: uint256 = fair * (venue.BPS + slippage_bps) // venue.BPS
    if size > 0:
        bound = (fair * (venue.BPS - slippage_bps) + venue.BPS - 1) // venue.BPS
    quote: uint256 = venue._reduce(at, core.OWNER, base_token, size, amount, bound)

    after: venue.Account = venue._check_outcome(at, core.OWNER, before, terms.target, True)
    log PositionReduced(
        market=market,
        base_token=base_token,
        size=amount,
        quote=quote,
        value=worth,
        health_before=before.health,
        health_after=after.health,
    )
    return amount, quote


# -- what both ask


@internal
@view
def _account_below(at: venue.Venue, terms: core.Mandate) -> venue.Account:
    found: venue.Account = venue._account(at, core.OWNER)
    if found.health >= terms.max_health_to_act:
        refusals._refuse(refusals.HEALTH_TOO_HIGH, found.health, terms.max_health_to_act)
    return found


@internal
@view
def _sized(
    at: venue.Venue,
    market: address,
    terms: core.Mandate,
    before: venue.Account,
    base_token: address,
    size: int256,
    price: uint256,
    max_size: uint256,
) -> uint256:
    """
    @dev The smallest of the bounds; if that is too small, the refusal names the one that binds.
    """
    whole: uint256 = convert(abs(size), uint256)
    wanted: uint256 = min(
        venue._surplus_size(at, core.OWNER, base_token, whole, before, terms.target), max_size
    )
    available: uint256 = core._available(market, terms)
    amount: uint256 = min(wanted, venue._amount_of8(available, price))
    worth: uint256 = venue._value8(amount, price)
    if amount == 0 or worth < terms.min_action:
        if amount == wanted:
            refusals._refuse(refusals.ACTION_TOO_SMALL, worth, terms.min_action)
        refusals._refuse(refusals.LIMIT_REACHED, available, terms.min_action)
    return amount
