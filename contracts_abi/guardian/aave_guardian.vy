# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Guardian of one owner's Aave v3 positions
@notice A keeper may add collateral, repay or unwind for the owner within the mandate that the owner
        set, and nothing else. It computes every amount itself from the state it finds: a keeper's
        figures are maxima. It keeps nothing between transactions, and whoever the keeper is, what
        leaves the position or the reserve goes into the position, or to an allowed pool in exchange
        for repaid debt.
@dev Health is in WAD, values in the market's base currency, slippage in basis points. A market is
     named by its PoolAddressesProvider. Debt is variable debt. Transient storage needs the Cancun
     rules.
@license Apache-2.0
"""

from ethereum.ercs import IERC20
import aave_market as aave
import guardian_core as core
import guardian_funds as funds
import refusals
import uniswap_v3 as uniswap

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

interface AToken:
    def scaledBalanceOf(account: address) -> uint256: view

struct Unwind:
    pool: address
    oracle: address
    a_token: address
    collateral: address
    debt: address
    held: uint256  # of the debt's token before the action: not to be spent
    repay: uint256  # still to be repaid before collateral is taken
    most: uint256  # the most collateral that may be taken
    slippage_bps: uint256
    bought: address
    sold: address
    wanted: uint256  # of the token bought
    route: DynArray[address, 3]  # pools still to be passed, from collateral to debt

event CollateralAdded:
    market: indexed(address)
    asset: indexed(address)
    reserve: indexed(address)
    amount: uint256
    value: uint256
    health_before: uint256
    health_after: uint256

event DebtRepaid:
    market: indexed(address)
    asset: indexed(address)
    reserve: indexed(address)
    amount: uint256
    value: uint256
    health_before: uint256
    health_after: uint256

event Deleveraged:
    market: indexed(address)
    collateral: indexed(address)
    debt: indexed(address)
    caller: address
    repaid: uint256
    taken: uint256
    value: uint256
    health_before: uint256
    health_after: uint256

SWAP_CALLBACK: constant(bytes4) = method_id(
    "uniswapV3SwapCallback(int256,int256,bytes)", output_type=bytes4
)
LOAN_CALLBACK: constant(bytes4) = method_id(
    "executeOperation(address,uint256,uint256,address,bytes)", output_type=bytes4
)
EVERYTHING: constant(uint256) = max_value(uint256)

# The collateral that the innermost pool was paid, for the entry point that began the swap.
_taken: transient(uint256)


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
    @notice Set or replace the mandate of one market. Only the owner. Nothing that was spent comes
            back, and a frozen market stays frozen.
    @param market The PoolAddressesProvider of an Aave v3 market
    @param terms The mandate; README.md beside this contract explains each field
    @return The hash that the keeper's calls must carry
    """
    mandate_hash: bytes32 = core._set_mandate(market, terms)
    self._check_market(market, terms)
    return mandate_hash


# -- the keeper


@external
@nonreentrant
def add_collateral(
    market: address, mandate_hash: bytes32, asset: address, max_amount: uint256
) -> uint256:
    """
    @notice Move `asset` from the mandate's reserve into the owner's collateral, as much as the
            target needs and the keeper, the limits and the reserve allow. Only the keeper.
    @param market The PoolAddressesProvider of an Aave v3 market
    @param mandate_hash `status(market).mandate_hash` as the keeper knows it
    @param asset The token to move, a reserve of the market that counts as collateral
    @param max_amount The most to move, in the token's smallest units
    @return The amount moved
    """
    terms: core.Mandate = core._keeper_mandate(market, mandate_hash)
    at: aave.Market = aave._open(market)
    before: aave.Account = self._account_below(at, terms.max_health_to_act)
    added: aave.Asset = aave._asset(at, market, asset, core.OWNER)
    if added.threshold == 0:
        refusals._refuse_address(refusals.NOT_COLLATERAL, asset, 0)

    needed: uint256 = aave._collateral_needed(before, terms.target, added.threshold)
    wanted: uint256 = min(max_amount, funds._amount(needed, added.health_price, added.unit))
    held: uint256 = staticcall IERC20(asset).balanceOf(self)
    amount: uint256 = funds._pull(market, terms, asset, added.price, added.unit, wanted)
    funds._approve(asset, at.pool, amount)
    extcall aave.Pool(at.pool).supply(asset, amount, core.OWNER, 0)
    funds._return_rest(asset, at.pool, held, terms.reserve)

    moved: aave.Moved = aave.Moved(
        repaid=0,
        added=aave._health_value(added, amount),
        taken=0,
        threshold=added.threshold,
        dust=aave._dust(added),
    )
    after: uint256 = aave._check_outcome(at, core.OWNER, before, terms.target, needed, moved)
    log CollateralAdded(
        market=market,
        asset=asset,
        reserve=terms.reserve,
        amount=amount,
        value=funds._value(amount, added.price, added.unit),
        health_before=before.health,
        health_after=after,
    )
    return amount


@external
@nonreentrant
def repay(market: address, mandate_hash: bytes32, asset: address, max_amount: uint256) -> uint256:
    """
    @notice Repay the owner's variable debt in `asset` from the mandate's reserve, as much as the
            target needs and the keeper, the limits and the reserve allow. Only the keeper.
    @param market The PoolAddressesProvider of an Aave v3 market
    @param mandate_hash `status(market).mandate_hash` as the keeper knows it
    @param asset The token of the debt
    @param max_amount The most to repay, in the token's smallest units
    @return The amount repaid
    """
    terms: core.Mandate = core._keeper_mandate(market, mandate_hash)
    at: aave.Market = aave._open(market)
    before: aave.Account = self._account_below(at, terms.max_health_to_act)
    debt: aave.Asset = aave._asset(at, market, asset, core.OWNER)

    needed: uint256 = aave._repay_needed(before, terms.target)
    wanted: uint256 = min(
        min(max_amount, self._owed(debt)), funds._amount(needed, debt.health_price, debt.unit)
    )
    held: uint256 = staticcall IERC20(asset).balanceOf(self)
    amount: uint256 = funds._pull(market, terms, asset, debt.price, debt.unit, wanted)
    funds._approve(asset, at.pool, amount)
    extcall aave.Pool(at.pool).repay(asset, amount, aave.VARIABLE_RATE, core.OWNER)
    funds._return_rest(asset, at.pool, held, terms.reserve)

    moved: aave.Moved = aave.Moved(
        repaid=aave._health_value(debt, amount), added=0, taken=0, threshold=0, dust=aave._dust(debt)
    )
    after: uint256 = aave._check_outcome(at, core.OWNER, before, terms.target, needed, moved)
    log DebtRepaid(
        market=market,
        asset=asset,
        reserve=terms.reserve,
        amount=amount,
        value=funds._value(amount, debt.price, debt.unit),
        health_before=before.health,
        health_after=after,
    )
    return amount


@external
@nonreentrant
def deleverage(
    market: address,
    mandate_hash: bytes32,
    collateral: address,
    debt: address,
    max_repay: uint256,
    max_taken: uint256,
    route: DynArray[address, 3],
    flash_loan: bool,
) -> (uint256, uint256):
    """
    @notice Repay variable debt with the owner's own collateral, sold on allowed pools, as much as
            the target needs and the keeper, the limit and the owner's aToken allowance allow. Only
            the keeper.
    @param market The PoolAddressesProvider of an Aave v3 market
    @param mandate_hash `status(market).mandate_hash` as the keeper knows it
    @param collateral The asset to sell, one of the mandate's
    @param debt The asset to repay
    @param max_repay The most debt to repay, in its token's smallest units
    @param max_taken The most collateral to give, in its token's smallest units; the allowed
           slippage bounds it too
    @param route The allowed pools to pass, in order from the collateral to the debt
    @param flash_loan False: the last pool of the route lends what it will be paid for. True: Aave
           lends the debt's asset first, at its premium.
    @return The debt repaid and the collateral taken
    """
    terms: core.Mandate = core._keeper_mandate(market, mandate_hash)
    self._check_route(market, terms, collateral, route)
    at: aave.Market = aave._open(market)
    before: aave.Account = self._account_below(at, terms.max_health_to_act)
    slippage_bps: uint256 = core._allowed_slippage_bps(terms, before.health)
    return self._deleverage(
        market,
        terms,
        at,
        before,
        slippage_bps,
        collateral,
        debt,
        max_repay,
        max_taken,
        route,
        flash_loan,
        msg.sender,
        1,
    )


# -- anyone


@external
@nonreentrant
def emergency(market: address) -> (uint256, uint256):
    """
    @notice Unwind along the mandate's emergency route below its emergency health, at half of the
            slippage that a keeper would be allowed. Open to anyone, for no reward; the limit, the
            smallest action, the cooldown and a freeze hold as for the keeper. Where the pools do not
            bear the whole of it, half is tried, then an eighth.
    @dev A refusal is that of the whole. 100 bytes hold a reason of Aave's, too.
    @param market The PoolAddressesProvider of an Aave v3 market
    @return The debt repaid and the collateral taken
    """
    refusal: Bytes[100] = b""
    for parts: uint256 in [1, 2, 8]:
        done: bool = False
        answer: Bytes[100] = b""
        done, answer = raw_call(
            self,
            abi_encode(
                market,
                msg.sender,
                parts,
                method_id=method_id("emergency_part(address,address,uint256)"),
            ),
            max_outsize=100,
            revert_on_failure=False,
        )
        if done:
            return abi_decode(answer, (uint256, uint256))
        if parts == 1:
            refusal = answer
    raw_revert(refusal)


@external
def emergency_part(market: address, caller: address, parts: uint256) -> (uint256, uint256):
    """
    @notice One try of `emergency`, which alone calls it, under its lock.
    @param market The PoolAddressesProvider of an Aave v3 market
    @param caller Who called `emergency`
    @param parts 1 for all that is needed and allowed, 2 for half of it
    @return The debt repaid and the collateral taken
    """
    if msg.sender != self:
        refusals._refuse_address(refusals.UNEXPECTED_CALLBACK, msg.sender, parts)
    terms: core.Mandate = core._emergency_mandate(market)
    at: aave.Market = aave._open(market)
    before: aave.Account = self._account_below(at, terms.emergency_health)
    slippage_bps: uint256 = core._allowed_slippage_bps(terms, before.health) // 2
    return self._deleverage(
        market,
        terms,
        at,
        before,
        slippage_bps,
        terms.emergency_collateral,
        terms.emergency_debt,
        EVERYTHING,
        EVERYTHING,
        self._emergency_route(terms),
        False,
        caller,
        parts,
    )


# -- callbacks


@external
def uniswapV3SwapCallback(amount0: int256, amount1: int256, data: Bytes[1024]):
    """
    @notice Called by the pool of a swap under way, and refused to anyone else. It must have sent
            exactly what was asked for. The token it is owed comes from the pool before it on the
            route, and at the route's beginning from the position.
    @param amount0 What the pool is owed of its token0, negative for what it sent
    @param amount1 As amount0, for its token1
    @param data The step, as the guardian gave it to the pool
    """
    core._take_callback(SWAP_CALLBACK, keccak256(data))
    step: Unwind = abi_decode(data, Unwind)
    owed: uint256 = convert(max(max(amount0, amount1), 0), uint256)
    received: uint256 = convert(-min(min(amount0, amount1), 0), uint256)
    if received != step.wanted:
        refusals._refuse(refusals.POOL_TOO_THIN, received, step.wanted)
    step.route.pop()
    if len(step.route) == 0:
        self._pay_with_collateral(step, owed)
    else:
        step.bought = step.sold
        step.wanted = owed
        self._swap(step, msg.sender)


@external
def executeOperation(
    asset: address, amount: uint256, premium: uint256, initiator: address, params: Bytes[1024]
) -> bool:
    """
    @notice Called by the Aave pool in a flash loan that this guardian asked for, and refused to
            anyone else. Repays with the loan, then buys the loan and its premium back.
    @param asset The asset lent
    @param amount The amount lent
    @param premium What it costs
    @param initiator Who asked for the loan
    @param params The step, as the guardian gave it to the pool
    @return True
    """
    core._take_callback(LOAN_CALLBACK, keccak256(params))
    if initiator != self:
        refusals._refuse_address(refusals.FOREIGN_FLASH_LOAN, initiator, amount)
    step: Unwind = abi_decode(params, Unwind)
    self._repay_debt(step)
    step.repay = 0
    step.wanted = amount + premium
    self._swap(step, self)
    funds._approve(asset, step.pool, amount + premium)
    return True


# -- unwinding


@internal
def _deleverage(
    market: address,
    terms: core.Mandate,
    at: aave.Market,
    before: aave.Account,
    allowed_bps: uint256,
    collateral: address,
    debt: address,
    max_repay: uint256,
    max_taken: uint256,
    route: DynArray[address, 3],
    flash_loan: bool,
    caller: address,
    parts: uint256,
) -> (uint256, uint256):
    """
    @dev Sizes the unwind, uses up the limit, swaps, and checks what came of it.
    """
    sold: aave.Asset = aave._asset(at, market, collateral, core.OWNER)
    bought: aave.Asset = aave._asset(at, market, debt, core.OWNER)
    slippage_bps: uint256 = min(allowed_bps, sold.half_bonus_bps)

    needed: uint256 = aave._deleverage_needed(before, terms.target, aave._counted_threshold(sold))
    wanted: uint256 = min(
        min(max_repay, self._owed(bought)), funds._amount(needed, bought.health_price, bought.unit)
    )
    amount: uint256 = self._unwindable(market, terms, sold, bought, wanted, slippage_bps)
    if parts > 1:
        amount = self._unwindable(market, terms, sold, bought, amount // parts, slippage_bps)
    core._spend(market, terms, funds._value(amount, bought.price, bought.unit))

    most: uint256 = min(max_taken, aave._most_collateral(bought, sold, amount, slippage_bps))
    taken: uint256 = self._exchange(
        at, sold, bought, amount, most, slippage_bps, route, flash_loan
    )
    moved: aave.Moved = aave._unwound(sold, bought, amount, taken)
    after: uint256 = aave._check_outcome(at, core.OWNER, before, terms.target, needed, moved)
    log Deleveraged(
        market=market,
        collateral=collateral,
        debt=debt,
        caller=caller,
        repaid=amount,
        taken=taken,
        value=funds._value(amount, bought.price, bought.unit),
        health_before=before.health,
        health_after=after,
    )
    return amount, taken


@internal
def _exchange(
    at: aave.Market,
    sold: aave.Asset,
    bought: aave.Asset,
    amount: uint256,
    most: uint256,
    slippage_bps: uint256,
    route: DynArray[address, 3],
    flash_loan: bool,
) -> uint256:
    """
    @dev Repays `amount` with at most `most` of the collateral, by the callbacks of this contract.
    @return The collateral taken
    """
    step: Unwind = Unwind(
        pool=at.pool,
        oracle=at.oracle,
        a_token=sold.a_token,
        collateral=sold.token,
        debt=bought.token,
        held=staticcall IERC20(bought.token).balanceOf(self),
        repay=amount,
        most=most,
        slippage_bps=slippage_bps,
        bought=bought.token,
        sold=empty(address),
        wanted=amount,
        route=route,
    )
    self._taken = 0
    if flash_loan:
        self._borrow(step)
    else:
        self._swap(step, self)
    core._expect_nothing()
    funds._return_rest(bought.token, at.pool, step.held, core.OWNER)
    return self._taken


@internal
def _swap(step: Unwind, recipient: address):
    """
    @dev Buys `wanted` of `bought` on the last pool of the route.
    """
    pool: address = step.route[len(step.route) - 1]
    next: Unwind = step
    next.sold = uniswap._sold(pool, step.bought)
    if len(step.route) == 1 and next.sold != step.collateral:
        refusals._refuse_addresses(refusals.ROUTE_BROKEN, pool, step.collateral)
    data: Bytes[1024] = abi_encode(next)
    core._expect(pool, SWAP_CALLBACK, keccak256(data))
    uniswap._buy(
        pool, step.bought, next.sold, step.wanted, recipient, step.oracle, step.slippage_bps, data
    )


@internal
def _borrow(step: Unwind):
    params: Bytes[1024] = abi_encode(step)
    core._expect(step.pool, LOAN_CALLBACK, keccak256(params))
    extcall aave.Pool(step.pool).flashLoanSimple(self, step.debt, step.repay, params, 0)


@internal
def _pay_with_collateral(step: Unwind, owed: uint256):
    """
    @dev Repays first, so that the owner's health allows the collateral to leave, then takes what the
         pool is owed and withdraws it to the pool.
    """
    if owed > step.most:
        refusals._refuse(refusals.SLIPPAGE_TOO_HIGH, owed, step.most)
    self._taken = owed
    if step.repay > 0:
        self._repay_debt(step)
    aave._withdraw(
        step.pool, step.collateral, step.a_token, core.OWNER, owed, msg.sender
    )


@internal
def _repay_debt(step: Unwind):
    """
    @dev With what the pool or the loan delivered, and nothing that lay here before.
    """
    delivered: uint256 = staticcall IERC20(step.debt).balanceOf(self)
    if delivered < step.held + step.repay:
        refusals._refuse(refusals.TRANSFER_SHORT, delivered, step.held + step.repay)
    funds._approve(step.debt, step.pool, step.repay)
    extcall aave.Pool(step.pool).repay(step.debt, step.repay, aave.VARIABLE_RATE, core.OWNER)


@internal
@view
def _check_market(market: address, terms: core.Mandate):
    """
    @dev What a mandate may say here. The bonus is the one that the owner has now: an action is also
         held to half of the bonus at its own time.
    """
    if not market.is_contract:
        refusals._refuse_address(refusals.UNKNOWN_MARKET, market, 0)
    at: aave.Market = aave._open(market)
    for token: address in terms.collaterals:
        if token == empty(address):
            continue
        half: uint256 = aave._asset(at, market, token, core.OWNER).half_bonus_bps
        if terms.slippage_urgent_bps > half:
            refusals._refuse(refusals.SLIPPAGE_ABOVE_HALF_BONUS, terms.slippage_urgent_bps, half)
    if terms.emergency_health != 0:
        self._check_emergency(market, terms)


@internal
@view
def _check_route(
    market: address, terms: core.Mandate, collateral: address, route: DynArray[address, 3]
):
    if collateral == empty(address) or collateral not in terms.collaterals:
        refusals._refuse_addresses(refusals.COLLATERAL_NOT_ALLOWED, collateral, market)
    if len(route) == 0 or len(route) > terms.max_hops:
        refusals._refuse(refusals.HOPS_OUT_OF_RANGE, len(route), terms.max_hops)
    for pool: address in route:
        if pool == empty(address) or pool not in terms.pools:
            refusals._refuse_addresses(refusals.POOL_NOT_ALLOWED, pool, market)


@internal
@view
def _check_emergency(market: address, terms: core.Mandate):
    """
    @dev Refuses, while there is time, an emergency route that does not lead where it should.
    """
    route: DynArray[address, 3] = self._emergency_route(terms)
    self._check_route(market, terms, terms.emergency_collateral, route)
    token: address = terms.emergency_debt
    for _: uint256 in range(len(route), bound=3):
        token = uniswap._sold(route.pop(), token)
    if token != terms.emergency_collateral:
        refusals._refuse_addresses(refusals.ROUTE_BROKEN, token, terms.emergency_collateral)


@internal
@pure
def _emergency_route(terms: core.Mandate) -> DynArray[address, 3]:
    route: DynArray[address, 3] = []
    for pool: address in terms.emergency_route:
        if pool != empty(address):
            route.append(pool)
    return route


# -- amounts


@internal
@view
def _account_below(at: aave.Market, bound: uint256) -> aave.Account:
    account: aave.Account = aave._account(at, core.OWNER)
    if account.health >= bound:
        refusals._refuse(refusals.HEALTH_TOO_HIGH, account.health, bound)
    return account


@internal
@view
def _owed(debt: aave.Asset) -> uint256:
    owed: uint256 = staticcall IERC20(debt.variable_debt).balanceOf(core.OWNER)
    if owed == 0:
        refusals._refuse_address(refusals.NO_DEBT, debt.token, owed)
    return owed


@internal
@view
def _unwindable(
    market: address,
    terms: core.Mandate,
    sold: aave.Asset,
    bought: aave.Asset,
    wanted: uint256,
    slippage_bps: uint256,
) -> uint256:
    """
    @dev The debt to repay: what is wanted, within the limit and what the owner's aTokens and their
         allowance pay for. Figures of a refusal are in units of the debt; an unlimited allowance is
         cut down to where it no longer matters, before it is multiplied.
    """
    a_token: IERC20 = IERC20(sold.a_token)
    balance: uint256 = staticcall a_token.balanceOf(core.OWNER)
    allowance: uint256 = min(staticcall a_token.allowance(core.OWNER, self), 2 * balance)
    return funds._sized(
        bought.price,
        bought.unit,
        terms.min_action,
        wanted,
        aave._repayable_with(bought, sold, balance, slippage_bps),
        aave._repayable_with(bought, sold, allowance, slippage_bps),
        core._available(market, terms),
    )
