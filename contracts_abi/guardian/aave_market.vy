# pragma version 0.4.3
"""
@title An Aave v3 market as a guardian sees it
@notice Reads accounts and assets, and works out how much an action needs and what must come of it.
        Holds no storage. A market is named by its PoolAddressesProvider.
@dev `threshold` is a liquidation threshold in basis points. Values are in the market's base
     currency. Rounding is against the action: what is needed is rounded down, what is spent is
     rounded up.
@license Apache-2.0
"""

from ethereum.ercs import IERC20
import refusals

interface Provider:
    def getPool() -> address: view
    def getPriceOracle() -> address: view

interface Pool:
    def getUserAccountData(user: address) -> Account: view
    def getReserveData(asset: address) -> Reserve: view
    def getUserConfiguration(user: address) -> uint256: view
    def getUserEMode(user: address) -> uint256: view
    def getReserveNormalizedIncome(asset: address) -> uint256: view
    def supply(asset: address, amount: uint256, on_behalf_of: address, referral: uint16): nonpayable
    def repay(asset: address, amount: uint256, mode: uint256, on_behalf_of: address) -> uint256: nonpayable
    def withdraw(asset: address, amount: uint256, to: address) -> uint256: nonpayable
    def flashLoanSimple(
        receiver: address, asset: address, amount: uint256, params: Bytes[1024], referral: uint16
    ): nonpayable

interface Oracle:
    def getAssetPrice(asset: address) -> uint256: view

struct Account:
    collateral: uint256
    debt: uint256
    available: uint256
    threshold: uint256
    ltv: uint256
    health: uint256

struct Reserve:
    configuration: uint256
    liquidity_index: uint256
    liquidity_rate: uint256
    debt_index: uint256
    debt_rate: uint256
    stable_rate: uint256
    updated_at: uint256
    id: uint256
    a_token: address
    stable_debt: address
    variable_debt: address
    strategy: address
    treasury: uint256
    unbacked: uint256
    isolated_debt: uint256

struct Market:
    pool: address
    oracle: address

struct Asset:
    token: address
    a_token: address
    variable_debt: address
    unit: uint256
    price: uint256  # the oracle's, for limits and slippage
    health_price: uint256  # what health counts: differs in an e-mode with a price of its own
    threshold: uint256
    half_bonus_bps: uint256
    dust: uint256  # units that the pool's roundings may cost
    enabled: bool  # the owner uses it as collateral

struct Moved:
    repaid: uint256  # value of debt that went, at health prices
    added: uint256  # value of collateral that came
    taken: uint256  # value of counted collateral that went
    threshold: uint256  # of that collateral
    dust: uint256  # value of the units that roundings may cost

WAD: constant(uint256) = 10**18
RAY: constant(uint256) = 10**27  # the unit of Aave's indexes
BPS: constant(uint256) = 10_000
CLOSE: constant(uint256) = max_value(uint256)
EVERYTHING: constant(uint256) = max_value(uint256)
VARIABLE_RATE: constant(uint256) = 2

EIGHT_BITS: constant(uint256) = 2**8 - 1
SIXTEEN_BITS: constant(uint256) = 2**16 - 1

TARGET_TOLERANCE_BPS: constant(uint256) = 100
# Aave 3.0 truncates the average threshold of several collaterals to whole basis points.
HEALTH_ROUNDING_BPS: constant(uint256) = 10


@internal
@view
def _open(market: address) -> Market:
    provider: Provider = Provider(market)
    return Market(
        pool=staticcall provider.getPool(), oracle=staticcall provider.getPriceOracle()
    )


@internal
@view
def _account(at: Market, owner: address) -> Account:
    return staticcall Pool(at.pool).getUserAccountData(owner)


@internal
@view
def _price(oracle: address, token: address) -> uint256:
    price: uint256 = staticcall Oracle(oracle).getAssetPrice(token)
    if price == 0:
        refusals._refuse_address(refusals.ASSET_WITHOUT_PRICE, token, price)
    return price


@internal
@view
def _asset(at: Market, market: address, token: address, owner: address) -> Asset:
    """
    @dev An asset with the terms that hold for this owner, whose e-mode may replace the threshold,
         the bonus and the price that health is counted at.
    """
    reserve: Reserve = staticcall Pool(at.pool).getReserveData(token)
    if reserve.a_token == empty(address):
        refusals._refuse_addresses(refusals.UNKNOWN_ASSET, token, market)
    word: uint256 = reserve.configuration
    price: uint256 = self._price(at.oracle, token)
    found: Asset = Asset(
        token=token,
        a_token=reserve.a_token,
        variable_debt=reserve.variable_debt,
        unit=10 ** ((word >> 48) & EIGHT_BITS),
        price=price,
        health_price=price,
        threshold=(word >> 16) & SIXTEEN_BITS,
        half_bonus_bps=self._half_bonus((word >> 32) & SIXTEEN_BITS),
        dust=2 + max(reserve.liquidity_index, reserve.debt_index) // RAY,
        enabled=(staticcall Pool(at.pool).getUserConfiguration(owner) >> (2 * reserve.id + 1)) & 1 == 1,
    )
    category: uint256 = staticcall Pool(at.pool).getUserEMode(owner)
    if category != 0 and category == (word >> 168) & EIGHT_BITS:
        found = self._in_e_mode(at, found, category)
    return found


@internal
@view
def _in_e_mode(at: Market, asset: Asset, category: uint256) -> Asset:
    # The answer ends with a label of any length: only the words before it are read.
    answer: Bytes[160] = raw_call(
        at.pool,
        abi_encode(category, method_id=method_id("getEModeCategoryData(uint8)")),
        max_outsize=160,
        is_static_call=True,
    )
    offset: uint256 = 0
    ltv: uint256 = 0
    threshold: uint256 = 0
    bonus: uint256 = 0
    source: address = empty(address)
    offset, ltv, threshold, bonus, source = abi_decode(
        answer, (uint256, uint256, uint256, uint256, address)
    )
    changed: Asset = asset
    if asset.threshold != 0:
        changed.threshold = threshold
    changed.half_bonus_bps = self._half_bonus(bonus)
    if source != empty(address):
        changed.health_price = self._price(at.oracle, source)
    return changed


@internal
@pure
def _half_bonus(bonus: uint256) -> uint256:
    return (max(bonus, BPS) - BPS) // 2


# -- amounts


@internal
@pure
def _most_collateral(
    debt: Asset, collateral: Asset, amount: uint256, slippage_bps: uint256
) -> uint256:
    """
    @dev What may be taken for `amount` of repaid debt: its value × (1 + slippage), and 1 unit.
    """
    return (
        amount * debt.price * collateral.unit * (BPS + slippage_bps)
        // (debt.unit * collateral.price * BPS)
        + 1
    )


@internal
@pure
def _repayable_with(
    debt: Asset, collateral: Asset, held: uint256, slippage_bps: uint256
) -> uint256:
    """
    @dev The inverse: the debt that `held` collateral pays for at the worst allowed price.
    """
    return (
        held * collateral.price * debt.unit * BPS
        // (collateral.unit * debt.price * (BPS + slippage_bps))
    )


@internal
@pure
def _health_value(asset: Asset, amount: uint256) -> uint256:
    """
    @dev As health counts it, rounded down.
    """
    return amount * asset.health_price // asset.unit


@internal
@pure
def _dust(asset: Asset) -> uint256:
    """
    @dev Value of what the pool's roundings may cost. It keeps amounts divided by an index: a movement
         is off by half an index, each reading by half a unit; and two units of the currency.
    """
    return (asset.dust * asset.health_price + asset.unit - 1) // asset.unit + 2


# -- sizes: the value that lifts health to the target, all else equal


@internal
@pure
def _counted(account: Account) -> uint256:
    return account.collateral * account.threshold // BPS


@internal
@pure
def _repay_needed(account: Account, target: uint256) -> uint256:
    """
    @dev debt − counted / target. EVERYTHING where only the whole debt will do.
    """
    kept: uint256 = self._counted(account) * WAD // target
    if target == CLOSE or kept == 0:
        return EVERYTHING
    return account.debt - kept


@internal
@pure
def _collateral_needed(account: Account, target: uint256, threshold: uint256) -> uint256:
    """
    @dev (target × debt − counted) / threshold. With CLOSE, only the other bounds hold.
    """
    if target == CLOSE:
        return EVERYTHING
    return (target * account.debt // WAD - self._counted(account)) * BPS // threshold


@internal
@pure
def _deleverage_needed(account: Account, target: uint256, threshold: uint256) -> uint256:
    """
    @dev (target × debt − counted) / (target − threshold), which meets the target if the swap is made
         at the oracle's price: worse prices fall short of it, none passes it but a better one.
    """
    if target == CLOSE:
        return EVERYTHING
    gap: uint256 = target * account.debt // WAD - self._counted(account)
    needed: uint256 = gap * WAD // (target - threshold * WAD // BPS)
    return needed if needed < account.debt else EVERYTHING


@internal
@pure
def _spare(account: Account, asset: Asset, floor_health: uint256) -> uint256:
    """
    @dev What of the asset may leave so that health stays at the floor, all else equal: in its units,
         rounded down, the floor taken higher by what roundings may cost. EVERYTHING where nothing
         is owed, or the asset does not count.
    """
    threshold: uint256 = self._counted_threshold(asset)
    if account.debt == 0 or threshold == 0:
        return EVERYTHING
    bound: uint256 = floor_health + floor_health * HEALTH_ROUNDING_BPS // BPS
    kept: uint256 = (bound * account.debt + WAD - 1) // WAD
    counted: uint256 = self._counted(account)
    value: uint256 = (counted - min(kept, counted)) * BPS // threshold
    return value * asset.unit // asset.health_price


@internal
def _withdraw(
    pool: address, token: address, a_token: address, owner: address, amount: uint256, to: address
):
    """
    @dev Takes the owner's aTokens and withdraws exactly `amount` to `to`. The pool keeps aTokens
         divided by its index, so a transfer may arrive half an index short: then as much more is
         pulled, which is one unit of what it keeps, and what a withdrawal leaves goes back.
    """
    held: uint256 = staticcall IERC20(a_token).balanceOf(self)
    extcall IERC20(a_token).transferFrom(owner, self, amount)
    if staticcall IERC20(a_token).balanceOf(self) < held + amount:
        index: uint256 = staticcall Pool(pool).getReserveNormalizedIncome(token)
        extcall IERC20(a_token).transferFrom(owner, self, 1 + index // (2 * RAY))
    extcall Pool(pool).withdraw(token, amount, to)
    left: uint256 = staticcall IERC20(a_token).balanceOf(self)
    if left > held:
        extcall IERC20(a_token).transfer(owner, left - held)


# -- what must have come of it


@internal
@pure
def _counted_threshold(asset: Asset) -> uint256:
    """
    @dev What the asset counts for as the owner's collateral: nothing where it is switched off.
    """
    return asset.threshold if asset.enabled else 0


@internal
@pure
def _unwound(sold: Asset, bought: Asset, repaid: uint256, taken: uint256) -> Moved:
    return Moved(
        repaid=self._health_value(bought, repaid),
        added=0,
        taken=self._health_value(sold, taken) if sold.enabled else 0,
        threshold=self._counted_threshold(sold),
        dust=self._dust(sold) + self._dust(bought),
    )


@internal
@view
def _check_outcome(
    at: Market, owner: address, before: Account, target: uint256, needed: uint256, moved: Moved
) -> uint256:
    """
    @dev The position must hold what was added and lost no more than what was taken, its debt must
         be down by what was repaid, its health up by what follows from both, and not past the
         target. The one exception is what a swap better than the oracle's price gained.
    @return The health after.
    """
    after: Account = self._account(at, owner)
    least: uint256 = before.collateral + moved.added - min(before.collateral, moved.taken + moved.dust)
    if after.collateral < least:
        refusals._refuse(refusals.COLLATERAL_FELL, after.collateral, least)
    most: uint256 = before.debt - min(before.debt, moved.repaid) + moved.dust
    if after.debt > most:
        refusals._refuse(refusals.DEBT_ROSE, after.debt, most)

    counted: uint256 = (
        self._counted(before)
        + moved.added * moved.threshold // BPS
        - min(self._counted(before), (moved.taken + moved.dust) * moved.threshold // BPS)
    )
    expected: uint256 = counted * WAD // most
    expected = max(expected - expected * HEALTH_ROUNDING_BPS // BPS, before.health + 1)
    if after.health < expected:
        refusals._refuse(refusals.HEALTH_ROSE_TOO_LITTLE, after.health, expected)
    if needed != EVERYTHING:
        self._check_not_above(after, target, moved)
    return after.health


@internal
@pure
def _check_not_above(after: Account, target: uint256, moved: Moved):
    bound: uint256 = target + target * TARGET_TOLERANCE_BPS // BPS
    if moved.repaid > moved.taken and moved.taken > 0:
        gained: uint256 = (moved.repaid - moved.taken) * moved.threshold // BPS
        bound += gained * WAD // max(after.debt, 1)
    if after.health > bound:
        refusals._refuse(refusals.HEALTH_ABOVE_TARGET, after.health, bound)
