# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Guardian of one owner's Perp v2 (curie) positions
@notice A keeper may add margin, bring margin over from the owner's position in an Aave v3 market, or
        make a position smaller for the owner, within the mandate that the owner set, and nothing
        else. The venue's own delegation lets a delegate open, grow and turn positions too: the owner
        gives it to this contract, which has no call that does.
@dev Health is in WAD, values are dollars with 8 decimals, slippage is in basis points. A market is
     named by its ClearingHouse, and a mandate's `collaterals` are the base tokens whose positions
     may be made smaller. The settlement token counts as one dollar each. Nothing is kept between
     transactions: what is traded stays in the owner's account at the venue.
@license Apache-2.0
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed
import aave_market as aave
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

event MarginMoved:
    market: indexed(address)
    asset: indexed(address)
    source: indexed(address)
    amount: uint256
    value: uint256
    health_before: uint256
    health_after: uint256
    source_health: uint256

event SourceSet:
    market: indexed(address)
    source: indexed(address)
    floor: uint256

event PositionReduced:
    market: indexed(address)
    base_token: indexed(address)
    size: uint256
    quote: uint256
    value: uint256
    health_before: uint256
    health_after: uint256

struct Source:
    market: address  # of Aave v3
    floor: uint256  # the health that the owner keeps there

DOLLAR: constant(uint256) = 10**8
WAD: constant(uint256) = 10**18

# venue → where margin may be moved from. Its limit is the consent that the core keeps for this very
# contract, which nobody else can give: no reserve is spoken for.
_sources: HashMap[address, Source]


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


@external
@nonreentrant
def allow_move(
    market: address,
    source: address,
    floor_health: uint256,
    limit_max: uint256,
    limit_per_second: uint256,
    expiry: uint256,
):
    """
    @notice Let the keeper bring the settlement token over from the owner's collateral in an Aave v3
            market, down to a health there and up to a rolling limit of its own; the mandate's holds
            besides. Only the owner. Replaces what was allowed before; a `limit_max` of zero ends it.
            Nothing that was spent comes back.
    @param market The ClearingHouse of a Perp v2 venue
    @param source The PoolAddressesProvider of the Aave v3 market
    @param floor_health The health that must be left there
    @param limit_max The most that may be moved at once, in dollars with 8 decimals
    @param limit_per_second What comes back of it each second
    @param expiry The last second of it
    """
    core._only_owner()
    if limit_max == 0:
        core._consent(market, self, 0, 0, 0)
        self._sources[market] = empty(Source)
    else:
        if floor_health <= WAD:
            refusals._refuse(refusals.FLOOR_TOO_LOW, floor_health, WAD)
        if not source.is_contract:
            refusals._refuse_address(refusals.UNKNOWN_MARKET, source, 0)
        lent: aave.Asset = self._lent(aave._open(source), source, venue._open(market))
        core._consent(market, self, limit_max, limit_per_second, expiry)
        self._sources[market] = Source(market=source, floor=floor_health)
    kept: Source = self._sources[market]
    log SourceSet(market=market, source=kept.market, floor=kept.floor)


@external
@view
def source_of(market: address) -> (Source, core.Consent, uint256, uint256):
    """
    @notice Where margin may be moved from. All zeros where nothing may.
    @param market The ClearingHouse of a Perp v2 venue
    @return The Aave v3 market and the health to be left there; the limit and its expiry; the value
            that it leaves now; and how much of the settlement token the health, the collateral, its
            allowance and the pool's liquidity leave, in its smallest units
    """
    source: Source = self._sources[market]
    if source.market == empty(address):
        return source, empty(core.Consent), 0, 0
    given: core.Consent = core._read_consent(market, self)
    at: aave.Market = aave._open(source.market)
    lent: aave.Asset = self._lent(at, source.market, venue._open(market))
    balance: uint256 = 0
    allowance: uint256 = 0
    balance, allowance = self._takeable(at, lent)
    return (
        source,
        given,
        core._left(
            core._reserve_buckets[market][self], given.limit_max, given.limit_per_second
        ),
        min(
            aave._spare(aave._account(at, core.OWNER), lent, source.floor),
            min(balance, allowance),
        ),
    )


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
    unit: uint256 = self._unit(asset)
    wanted: uint256 = min(self._needed(before, terms.target, unit), max_amount)
    held: uint256 = staticcall IERC20(asset).balanceOf(self)
    amount: uint256 = funds._pull(market, terms, asset, DOLLAR, unit, wanted)
    after: venue.Account = self._deposit(
        at, terms, before, asset, amount, held, terms.reserve
    )
    log MarginAdded(
        market=market,
        asset=asset,
        reserve=terms.reserve,
        amount=amount,
        value=funds._value(amount, DOLLAR, unit),
        health_before=before.health,
        health_after=after.health,
    )
    return amount


@external
@nonreentrant
def move(market: address, mandate_hash: bytes32, max_amount: uint256) -> uint256:
    """
    @notice Bring the settlement token from the owner's collateral in an Aave v3 market into the owner's
            margin, as much as the target needs and the keeper, both limits, the health to be left
            there and the owner's aToken allowance allow. Only the keeper, and only where the owner
            allows it (`allow_move`).
    @param market The ClearingHouse of a Perp v2 venue
    @param mandate_hash `status(market).mandate_hash` as the keeper knows it
    @param max_amount The most to move, in the token's smallest units
    @return The amount moved
    """
    terms: core.Mandate = core._keeper_mandate(market, mandate_hash)
    limit: uint256 = min(
        core._available(market, terms), core._available_of_reserve(market, self)
    )
    source: Source = self._sources[market]
    at: venue.Venue = venue._open(market)
    before: venue.Account = self._account_below(at, terms)
    lender: aave.Market = aave._open(source.market)
    lent: aave.Asset = self._lent(lender, source.market, at)
    lending: aave.Account = aave._account(lender, core.OWNER)
    spare: uint256 = aave._spare(lending, lent, source.floor)
    worth: uint256 = funds._value(min(spare, core.AMOUNT_MASK), DOLLAR, lent.unit)
    if spare == 0 or worth < terms.min_action:
        refusals._refuse(refusals.SOURCE_BELOW_FLOOR, lending.health, source.floor)
    balance: uint256 = 0
    allowance: uint256 = 0
    balance, allowance = self._takeable(lender, lent)
    amount: uint256 = funds._sized(
        DOLLAR,
        lent.unit,
        terms.min_action,
        min(min(self._needed(before, terms.target, lent.unit), max_amount), spare),
        balance,
        allowance,
        limit,
    )
    worth = funds._value(amount, DOLLAR, lent.unit)
    core._spend(market, terms, worth)
    core._spend_of_reserve(market, self, worth)

    held: uint256 = staticcall IERC20(lent.token).balanceOf(self)
    aave._withdraw(lender.pool, lent.token, lent.a_token, core.OWNER, amount, self)
    after: venue.Account = self._deposit(
        at, terms, before, lent.token, amount, held, core.OWNER
    )
    left: uint256 = aave._account(lender, core.OWNER).health
    if left < source.floor:
        refusals._refuse(refusals.SOURCE_BELOW_FLOOR, left, source.floor)
    log MarginMoved(
        market=market,
        asset=lent.token,
        source=source.market,
        amount=amount,
        value=worth,
        health_before=before.health,
        health_after=after.health,
        source_health=left,
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


# -- what they ask


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


@internal
@view
def _lent(lender: aave.Market, source: address, at: venue.Venue) -> aave.Asset:
    """
    @dev The venue's settlement token as the owner's collateral at the source.
    """
    asset: address = staticcall venue.Vault(at.vault).getSettlementToken()
    return aave._asset(lender, source, asset, core.OWNER)


@internal
@view
def _takeable(lender: aave.Market, lent: aave.Asset) -> (uint256, uint256):
    """
    @dev What the owner has there and the pool can pay out now; and what the allowance leaves of it, less
         what a transfer that arrives short has to be made good with.
    """
    balance: uint256 = min(
        staticcall IERC20(lent.a_token).balanceOf(core.OWNER),
        staticcall IERC20(lent.token).balanceOf(lent.a_token),
    )
    index: uint256 = staticcall aave.Pool(lender.pool).getReserveNormalizedIncome(lent.token)
    allowance: uint256 = staticcall IERC20(lent.a_token).allowance(core.OWNER, self)
    return balance, allowance - min(allowance, 1 + index // (2 * aave.RAY))


@internal
@view
def _unit(asset: address) -> uint256:
    return 10 ** convert(staticcall IERC20Detailed(asset).decimals(), uint256)


@internal
@pure
def _needed(before: venue.Account, target: uint256, unit: uint256) -> uint256:
    """
    @dev In the settlement token's units, rounded up.
    """
    needed: uint256 = venue._margin_needed(before, target)
    if needed == max_value(uint256):
        return needed
    step: uint256 = WAD // unit
    return (needed + step - 1) // step


@internal
def _deposit(
    at: venue.Venue,
    terms: core.Mandate,
    before: venue.Account,
    asset: address,
    amount: uint256,
    held: uint256,
    rest_to: address,
) -> venue.Account:
    """
    @dev Pays what this contract took into the owner's margin and checks what came of it. `held`: what
         lay here before, which is not spent.
    """
    funds._approve(asset, at.vault, amount)
    extcall venue.Vault(at.vault).depositFor(core.OWNER, asset, amount)
    funds._return_rest(asset, at.vault, held, rest_to)
    return venue._check_outcome(at, core.OWNER, before, terms.target, False)
