# pragma version 0.4.3
"""
@title The checked core of a guardian
@notice One owner's mandates: who may act in which market, within which limits, and what stops them.
        It knows no protocol and moves no token; a guardian for a protocol imports it and asks it
        before each action.
@dev Invariants, each held by one function:
     1. Only the owner, fixed at deployment, sets, revokes or unfreezes. There is no admin.
     2. What was spent is kept, not what is left. `_charged` is the only place where it grows, and
        `_spent` the only one where it shrinks: by time alone, never by `set_mandate`,
        `revoke_mandate`, `unfreeze` or `consent`.
     3. A callback is accepted once, from the one caller, selector and data that `_expect` stored,
        and never after the entry point has ended.
     Health is in WAD (10**18 is where liquidation starts), values are in the market's base
     currency, slippage is in basis points, times are in Unix seconds.
@license Apache-2.0
"""

import refusals

struct Mandate:
    keeper: address
    freezer: address
    reserve: address
    max_health_to_act: uint256
    target: uint256
    emergency_health: uint256
    emergency_outlives_expiry: bool
    slippage_calm_bps: uint256
    slippage_urgent_bps: uint256
    limit_max: uint256
    limit_per_second: uint256
    min_action: uint256
    cooldown_s: uint256
    expiry: uint256
    max_hops: uint256
    collaterals: address[4]
    pools: address[8]
    emergency_collateral: address
    emergency_debt: address
    emergency_route: address[3]

struct Consent:
    limit_max: uint256
    limit_per_second: uint256
    expiry: uint256

struct Status:
    nonce: uint256
    frozen: bool
    mandate_hash: bytes32
    available: uint256
    last_action_at: uint256

event MandateSet:
    market: indexed(address)
    keeper: indexed(address)
    nonce: uint256
    mandate_hash: bytes32

event MandateRevoked:
    market: indexed(address)
    nonce: uint256

event Frozen:
    market: indexed(address)
    by: indexed(address)

event Unfrozen:
    market: indexed(address)

event ConsentSet:
    market: indexed(address)
    reserve: indexed(address)
    limit_max: uint256
    limit_per_second: uint256
    expiry: uint256

WAD: constant(uint256) = 10**18
BPS: constant(uint256) = 10_000
CLOSE: constant(uint256) = max_value(uint256)  # a target that means: repay the whole debt
MAX_TARGET: constant(uint256) = 100 * WAD
MAX_HOPS: constant(uint256) = 3

MANDATE_BYTES: constant(uint256) = 32 * 32
# Init code that leaves the 0x400 bytes behind it as code. The mandate begins with the zeros of an
# address, and a zero is STOP: nobody can run it.
INIT_CODE: constant(Bytes[14]) = x"630000040080600E6000396000F3"

AMOUNT_MASK: constant(uint256) = 2**128 - 1
TIME_MASK: constant(uint256) = 2**64 - 1
FROZEN_BIT: constant(uint256) = 1 << 160
NONCE_SHIFT: constant(uint256) = 168

CONSENT_MAX: constant(uint256) = 2**112 - 1
CONSENT_SLOPE: constant(uint256) = 2**96 - 1
CONSENT_EXPIRY: constant(uint256) = 2**48 - 1

OWNER: immutable(address)

# market → address of the code that holds its mandate | FROZEN_BIT | nonce << NONCE_SHIFT
_charters: HashMap[address, uint256]
# market → spent | updated at << 128 | last action at << 192
_buckets: HashMap[address, uint256]
# market → reserve → limit_max | limit_per_second << 112 | expiry << 208
_consents: HashMap[address, HashMap[address, uint256]]
# market → reserve → as _buckets
_reserve_buckets: HashMap[address, HashMap[address, uint256]]

# keccak256(caller, selector, keccak256(data)) of the one callback that may come next, or 0
_expected: transient(bytes32)


@deploy
def __init__(owner: address):
    """
    @param owner The account whose positions are guarded: a key's account or a contract, for ever
    """
    if owner == empty(address):
        refusals._refuse_address(refusals.OWNER_MISSING, owner, owner.codesize)
    OWNER = owner


# -- what anyone may read


@external
@view
def owner() -> address:
    """
    @notice The account whose positions are guarded and who alone sets mandates.
    @return Its address
    """
    return OWNER


@external
@view
def mandate(market: address) -> Mandate:
    """
    @notice The mandate in force. Refused with UnknownMarket where there is none.
    @param market The name of the market, for Aave its PoolAddressesProvider
    @return The mandate, as it was set
    """
    return self._read_mandate(market, self._charters[market])


@external
@view
def status(market: address) -> Status:
    """
    @notice What changes while a mandate is in force.
    @param market The name of the market, for Aave its PoolAddressesProvider
    @return The nonce of the last mandate, whether it is frozen, the hash that a keeper's calls must
            carry and the value that may be moved now (both zero without a mandate), the last action's
            time.
    """
    charter: uint256 = self._charters[market]
    current: bytes32 = empty(bytes32)
    available: uint256 = 0
    if self._code_of(charter) != empty(address):
        terms: Mandate = self._read_mandate(market, charter)
        current = self._hash(market, terms, charter >> NONCE_SHIFT)
        available = self._available(market, terms)
    return Status(
        nonce=charter >> NONCE_SHIFT,
        frozen=charter & FROZEN_BIT != 0,
        mandate_hash=current,
        available=available,
        last_action_at=self._buckets[market] >> 192,
    )


@external
@view
def consent_of(market: address, reserve: address) -> (Consent, uint256):
    """
    @notice What a reserve allows this guardian to pull for this market, and how much of it now.
            The owner's own reserve needs no consent.
    @param market The name of the market, for Aave its PoolAddressesProvider
    @param reserve Who gave it
    @return The consent, and the value that may be pulled now if it has not expired
    """
    given: Consent = self._read_consent(market, reserve)
    return given, self._left(
        self._reserve_buckets[market][reserve], given.limit_max, given.limit_per_second
    )


# -- what the owner, a freezer and a reserve may do


@external
@nonreentrant
def revoke_mandate(market: address):
    """
    @notice End the mandate. Only the owner. What was spent stays spent for a later mandate.
    @param market The name of the market, for Aave its PoolAddressesProvider
    """
    self._only_owner()
    charter: uint256 = self._charters[market]
    if self._code_of(charter) == empty(address):
        refusals._refuse_address(refusals.UNKNOWN_MARKET, market, charter >> NONCE_SHIFT)
    self._settle_bucket(market, charter)
    nonce: uint256 = (charter >> NONCE_SHIFT) + 1
    self._charters[market] = (charter & FROZEN_BIT) | (nonce << NONCE_SHIFT)
    log MandateRevoked(market=market, nonce=nonce)


@external
@nonreentrant
def freeze(market: address):
    """
    @notice Stop every action in a market, the emergency call included, until the owner unfreezes.
            Only the mandate's freezer or the owner. Setting a mandate anew does not unfreeze.
    @param market The name of the market, for Aave its PoolAddressesProvider
    """
    charter: uint256 = self._charters[market]
    if msg.sender != OWNER:
        terms: Mandate = self._read_mandate(market, charter)
        if msg.sender != terms.freezer:
            refusals._refuse_addresses(refusals.NOT_FREEZER, msg.sender, terms.freezer)
    self._charters[market] = charter | FROZEN_BIT
    log Frozen(market=market, by=msg.sender)


@external
@nonreentrant
def unfreeze(market: address):
    """
    @notice Let actions go on. Only the owner.
    @param market The name of the market, for Aave its PoolAddressesProvider
    """
    self._only_owner()
    self._charters[market] &= ~FROZEN_BIT
    log Unfrozen(market=market)


@external
@nonreentrant
def consent(market: address, limit_max: uint256, limit_per_second: uint256, expiry: uint256):
    """
    @notice The caller, as a reserve, lets this guardian pull its tokens for its owner's position in
            one market, up to a rolling limit in the market's base currency. Zeros end it.
    @dev Given to this contract, hence to exactly this guardian and owner. The tokens' allowances
         limit the pull as well. Giving it again, ended or not, gives back nothing that was spent; a
         higher limit adds what it is higher by.
    @param market The name of the market, for Aave its PoolAddressesProvider
    @param limit_max The most that may be pulled at once
    @param limit_per_second What comes back of it each second
    @param expiry The last second of the consent
    """
    self._consent(market, msg.sender, limit_max, limit_per_second, expiry)


@internal
def _consent(
    market: address, reserve: address, limit_max: uint256, limit_per_second: uint256, expiry: uint256
):
    """
    @dev On behalf of the reserve: whoever calls has made sure that it may be spoken for.
    """
    if limit_max > CONSENT_MAX or limit_per_second > CONSENT_SLOPE:
        refusals._refuse(refusals.LIMIT_OUT_OF_RANGE, limit_max, limit_per_second)
    if expiry > CONSENT_EXPIRY:
        refusals._refuse(refusals.EXPIRY_OUT_OF_RANGE, expiry, block.timestamp)
    old: Consent = self._read_consent(market, reserve)
    bucket: uint256 = self._reserve_buckets[market][reserve]
    self._reserve_buckets[market][reserve] = self._settled(bucket, old.limit_per_second)
    self._consents[market][reserve] = (
        limit_max | (limit_per_second << 112) | (expiry << 208)
    )
    log ConsentSet(
        market=market,
        reserve=reserve,
        limit_max=limit_max,
        limit_per_second=limit_per_second,
        expiry=expiry,
    )


@internal
def _set_mandate(market: address, terms: Mandate) -> bytes32:
    """
    @dev The guardian checks what depends on its protocol itself.
    """
    self._only_owner()
    self._check_terms(market, terms)
    charter: uint256 = self._charters[market]
    self._settle_bucket(market, charter)
    nonce: uint256 = (charter >> NONCE_SHIFT) + 1
    code: address = raw_create(concat(INIT_CODE, abi_encode(terms)))
    self._charters[market] = (
        convert(code, uint256) | (charter & FROZEN_BIT) | (nonce << NONCE_SHIFT)
    )
    mandate_hash: bytes32 = self._hash(market, terms, nonce)
    log MandateSet(market=market, keeper=terms.keeper, nonce=nonce, mandate_hash=mandate_hash)
    return mandate_hash


@internal
@view
def _check_terms(market: address, terms: Mandate):
    if terms.keeper == empty(address):
        refusals._refuse_addresses(refusals.KEEPER_MISSING, terms.keeper, market)
    bound: uint256 = terms.max_health_to_act
    if bound <= WAD:
        refusals._refuse(refusals.MAX_HEALTH_TOO_LOW, bound, WAD)
    if terms.target < bound or (terms.target > MAX_TARGET and terms.target != CLOSE):
        refusals._refuse(refusals.TARGET_OUT_OF_RANGE, terms.target, bound)
    if terms.emergency_health > bound:
        refusals._refuse(refusals.EMERGENCY_HEALTH_TOO_HIGH, terms.emergency_health, bound)
    if terms.slippage_calm_bps > terms.slippage_urgent_bps:
        refusals._refuse(
            refusals.SLIPPAGE_OUT_OF_ORDER, terms.slippage_calm_bps, terms.slippage_urgent_bps
        )
    if terms.limit_max == 0 or max(terms.limit_max, terms.limit_per_second) > AMOUNT_MASK:
        refusals._refuse(refusals.LIMIT_OUT_OF_RANGE, terms.limit_max, terms.limit_per_second)
    if terms.min_action > terms.limit_max:
        refusals._refuse(refusals.MIN_ACTION_ABOVE_LIMIT, terms.min_action, terms.limit_max)
    if terms.expiry <= block.timestamp or terms.expiry > TIME_MASK:
        refusals._refuse(refusals.EXPIRY_OUT_OF_RANGE, terms.expiry, block.timestamp)
    if terms.max_hops > MAX_HOPS:
        refusals._refuse(refusals.HOPS_OUT_OF_RANGE, terms.max_hops, MAX_HOPS)


# -- what a guardian asks before it acts


@internal
@view
def _keeper_mandate(market: address, mandate_hash: bytes32) -> Mandate:
    """
    @dev The mandate, if the caller is its keeper, means exactly this mandate, and may act now.
    """
    charter: uint256 = self._charters[market]
    terms: Mandate = self._read_mandate(market, charter)
    if msg.sender != terms.keeper:
        refusals._refuse_addresses(refusals.NOT_KEEPER, msg.sender, terms.keeper)
    current: bytes32 = self._hash(market, terms, charter >> NONCE_SHIFT)
    if mandate_hash != current:
        refusals._refuse(
            refusals.STALE_MANDATE,
            convert(mandate_hash, uint256),
            convert(current, uint256),
        )
    self._check_time(market, charter, terms, False)
    return terms


@internal
@view
def _emergency_mandate(market: address) -> Mandate:
    """
    @dev The mandate, if it has an emergency call that may be made now, by anyone.
    """
    charter: uint256 = self._charters[market]
    terms: Mandate = self._read_mandate(market, charter)
    if terms.emergency_health == 0:
        refusals._refuse_address(refusals.NO_EMERGENCY_CALL, market, 0)
    self._check_time(market, charter, terms, terms.emergency_outlives_expiry)
    return terms


@internal
@view
def _check_time(market: address, charter: uint256, terms: Mandate, outlives: bool):
    if charter & FROZEN_BIT != 0:
        refusals._refuse_address(refusals.MARKET_FROZEN, market, charter >> NONCE_SHIFT)
    if block.timestamp > terms.expiry and not outlives:
        refusals._refuse(refusals.MANDATE_EXPIRED, terms.expiry, block.timestamp)
    last: uint256 = self._buckets[market] >> 192
    if last != 0 and block.timestamp < last + terms.cooldown_s:
        refusals._refuse(refusals.COOLING_DOWN, last + terms.cooldown_s, block.timestamp)


@internal
@view
def _available(market: address, terms: Mandate) -> uint256:
    """
    @dev The value that the mandate's rolling limit still allows.
    """
    return self._left(self._buckets[market], terms.limit_max, terms.limit_per_second)


@internal
@view
def _available_of_reserve(market: address, reserve: address) -> uint256:
    """
    @dev The value that the reserve still lets us pull; refused without its consent.
    """
    if reserve == OWNER:
        return max_value(uint256)
    given: Consent = self._read_consent(market, reserve)
    if block.timestamp > given.expiry:
        refusals._refuse_address(refusals.CONSENT_MISSING, reserve, given.expiry)
    return self._left(
        self._reserve_buckets[market][reserve], given.limit_max, given.limit_per_second
    )


@internal
def _spend(market: address, terms: Mandate, worth: uint256):
    """
    @dev Uses up the mandate's limit and starts the cooldown.
    """
    self._buckets[market] = self._charged(
        self._buckets[market], terms.limit_max, terms.limit_per_second, worth
    )


@internal
def _spend_of_reserve(market: address, reserve: address, worth: uint256):
    """
    @dev As `_spend`, for the reserve's own limit.
    """
    if reserve != OWNER:
        given: Consent = self._read_consent(market, reserve)
        self._reserve_buckets[market][reserve] = self._charged(
            self._reserve_buckets[market][reserve], given.limit_max, given.limit_per_second, worth
        )


@internal
@pure
def _allowed_slippage_bps(terms: Mandate, health: uint256) -> uint256:
    """
    @dev Rises linearly from calm at max_health_to_act to urgent at health 1, rounded down.
    """
    span: uint256 = terms.max_health_to_act - WAD
    depth: uint256 = min(terms.max_health_to_act - min(health, terms.max_health_to_act), span)
    rise: uint256 = terms.slippage_urgent_bps - terms.slippage_calm_bps
    return terms.slippage_calm_bps + rise * depth // span


# -- callbacks


@internal
def _expect(caller: address, selector: bytes4, data_hash: bytes32):
    """
    @dev Entry points hold the contract's lock, which a callback could not pass; so a callback is
         not locked, but must be the one that was announced here.
    """
    self._expected = self._callback_id(caller, selector, data_hash)


@internal
def _expect_nothing():
    """
    @dev At the end of an entry point: a pool that did not call back must not do so outside of it.
    """
    self._expected = empty(bytes32)


@internal
def _take_callback(selector: bytes4, data_hash: bytes32):
    """
    @dev Refuses any callback but the expected one, and that one the second time.
    """
    expected: bytes32 = self._expected
    if expected == empty(bytes32) or expected != self._callback_id(
        msg.sender, selector, data_hash
    ):
        refusals._refuse_address(
            refusals.UNEXPECTED_CALLBACK, msg.sender, convert(data_hash, uint256)
        )
    self._expected = empty(bytes32)


@internal
@pure
def _callback_id(caller: address, selector: bytes4, data_hash: bytes32) -> bytes32:
    return keccak256(abi_encode(caller, selector, data_hash))


# -- the book-keeping


@internal
@view
def _only_owner():
    if msg.sender != OWNER:
        refusals._refuse_addresses(refusals.NOT_OWNER, msg.sender, OWNER)


@internal
@pure
def _code_of(charter: uint256) -> address:
    return convert(charter & (2**160 - 1), address)


@internal
@view
def _read_mandate(market: address, charter: uint256) -> Mandate:
    code: address = self._code_of(charter)
    if code == empty(address):
        refusals._refuse_address(refusals.UNKNOWN_MARKET, market, charter >> NONCE_SHIFT)
    return abi_decode(slice(code.code, 0, MANDATE_BYTES), Mandate)


@internal
@view
def _hash(market: address, terms: Mandate, nonce: uint256) -> bytes32:
    return keccak256(abi_encode(chain.id, self, OWNER, market, terms, nonce))


@internal
@view
def _read_consent(market: address, reserve: address) -> Consent:
    word: uint256 = self._consents[market][reserve]
    return Consent(
        limit_max=word & CONSENT_MAX,
        limit_per_second=(word >> 112) & CONSENT_SLOPE,
        expiry=word >> 208,
    )


@internal
@view
def _spent(bucket: uint256, limit_per_second: uint256) -> uint256:
    """
    @dev max(last − slope × Δt, 0).
    """
    elapsed: uint256 = block.timestamp - ((bucket >> 128) & TIME_MASK)
    spent: uint256 = bucket & AMOUNT_MASK
    return spent - min(spent, limit_per_second * elapsed)


@internal
@view
def _left(bucket: uint256, limit_max: uint256, limit_per_second: uint256) -> uint256:
    """
    @dev max(limit − spent, 0): nothing where a lowered limit is below what was spent.
    """
    return limit_max - min(limit_max, self._spent(bucket, limit_per_second))


@internal
@view
def _charged(
    bucket: uint256, limit_max: uint256, limit_per_second: uint256, worth: uint256
) -> uint256:
    """
    @dev The bucket once this is spent, by a guardian that kept to what `_left` said.
    """
    spent: uint256 = self._spent(bucket, limit_per_second) + worth
    assert spent <= limit_max
    return self._bucket(spent, block.timestamp)


@internal
@view
def _bucket(spent: uint256, last_action_at: uint256) -> uint256:
    return spent | (block.timestamp << 128) | (last_action_at << 192)


@internal
@view
def _settled(bucket: uint256, limit_per_second: uint256) -> uint256:
    """
    @dev What is spent now, from which time gives back by another slope.
    """
    return self._bucket(self._spent(bucket, limit_per_second), bucket >> 192)


@internal
def _settle_bucket(market: address, charter: uint256):
    """
    @dev Closes the account of the mandate that ends: what was spent under it stays, less what its
         own slope gave back, and nothing comes back until the next one.
    """
    bucket: uint256 = self._buckets[market]
    slope: uint256 = 0
    if self._code_of(charter) != empty(address):
        slope = self._read_mandate(market, charter).limit_per_second
    self._buckets[market] = self._settled(bucket, slope)
