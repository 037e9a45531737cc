"""Actions done by an account's guardian, for a keeper whose key owns nothing but gas.

What the guardian's contract will refuse is refused here first, with the way to mend it. The contract
works every amount out anew and takes the keeper's figure for a maximum: `done` is what it did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.abi.words import Function, split_words, word_to_address
from keeper.mandate.charter import Charter
from keeper.mandate.perp_guardian import (
    ADD_MARGIN,
    MARGIN_ADDED,
    MARGIN_MOVED,
    MOVE,
    POSITION_REDUCED,
    REDUCE_POSITION,
)
from keeper.model.liquidity import Depth, Route
from keeper.model.mandate import NOBODY, Mandate
from keeper.model.units import BPS, Address, Amount, Wad, mul_div_down, mul_div_up
from keeper.model.values import (
    Action,
    AddCollateral,
    AddMargin,
    Deleverage,
    MoveMargin,
    Option,
    Purse,
    ReducePosition,
    Repay,
    Sale,
    Source,
    Spending,
    Transaction,
    Unwind,
)
from keeper.policy.size import usd8_up

ADD_COLLATERAL: Final = Function("add_collateral(address,bytes32,address,uint256)")
REPAY: Final = Function("repay(address,bytes32,address,uint256)")
_DELEVERAGE_ARGUMENTS: Final = (
    "address",
    "bytes32",
    "address",
    "address",
    "uint256",
    "uint256",
    "address[]",
    "bool",
)
DELEVERAGE: Final = keccak(text=f"deleverage({','.join(_DELEVERAGE_ARGUMENTS)})")[:4]

_OF_TOKEN: Final = {
    AddCollateral: ADD_COLLATERAL,
    Repay: REPAY,
    ReducePosition: REDUCE_POSITION,
}
_PAID: Final = frozenset(
    (
        MARGIN_ADDED,
        MARGIN_MOVED,
        *(
            "0x"
            + keccak(text=f"{name}(address,address,address,uint256,uint256,uint256,uint256)").hex()
            for name in ("CollateralAdded", "DebtRepaid")
        ),
    )
)
_DELEVERAGED: Final = (
    "0x"
    + keccak(
        text="Deleveraged(address,address,address,address,uint256,uint256,uint256,uint256,uint256)"
    ).hex()
)

TAKEN_HEADROOM_BPS: Final = 500
"""How much worse than quoted a swap may be made by the time it is mined. In the minutes that matter
pools fall by more than a percent between two blocks, and a tighter bound made three rescues in a row
revert; what may be lost is bounded by the mandate, against the oracle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Who protects an account, as the configuration says."""

    guardian: Address
    market: Address
    """The market's PoolAddressesProvider or ClearingHouse, by which the guardian knows it."""
    keeper: Address | None
    """The account of the signer; None in a dry run, which stands for whom the mandate names."""
    purse: Purse
    sources: tuple[Source, ...]
    """Where the means may come from, in the owner's order."""


def objection(
    guard: Guard, charter: Charter, *, account: Address, health: Wad, now: int, until: int
) -> str | None:
    """Why the guardian would refuse any action at this health, and what mends it; None if it would
    not. The action may come as late as `until`; both are Unix seconds."""
    mandate, guardian = charter.mandate, guard.guardian
    if charter.owner != account:
        return (
            f"guardian {guardian} belongs to {charter.owner}, not to {account}: give the address "
            "that `keeper mandate show` finds for this account"
        )
    if mandate is None:
        return (
            f"guardian {guardian} holds no mandate for this market: the owner sets one with "
            "`keeper mandate set`"
        )
    if guard.keeper is not None and mandate.keeper != guard.keeper:
        return (
            f"the mandate names {mandate.keeper} as its keeper, and this signer is {guard.keeper}: "
            "use that key, or let the owner set the mandate anew"
        )
    if charter.frozen:
        return "the mandate is frozen (MarketFrozen): only its owner can unfreeze it"
    if mandate.expiry < until:
        return (
            f"the mandate expires at {mandate.expiry} and it is {now} (MandateExpired): the owner "
            "sets a new one with `keeper mandate set`"
        )
    ready = charter.last_action_at + mandate.cooldown_s
    if charter.last_action_at and now < ready:
        return f"the mandate's cooldown of {mandate.cooldown_s} s lasts for {ready - now} s more"
    if health >= mandate.max_health_to_act:
        return (
            f"health is not below the mandate's max_health_to_act, {mandate.max_health_to_act / 1e18:g} "
            "(HealthTooHigh): the policy wants to act sooner than the owner allowed"
        )
    if charter.available < max(mandate.min_action, 1):
        return (
            f"the mandate's rolling limit leaves {charter.available / 1e8:,.2f} USD "
            f"(LimitReached): it grows by {mandate.limit_per_second * 86_400 / 1e8:,.0f} USD a day"
        )
    return None


def payments(
    guard: Guard, charter: Charter, options: Sequence[Option], *, until: int
) -> tuple[Option, ...]:
    """The options as far as the reserve behind the guardian goes, at the latest at `until`."""
    return tuple(_payment(guard, charter, option, until) for option in options)


def _payment(guard: Guard, charter: Charter, option: Option, until: int) -> Option:
    holder, mandate = guard.purse.holder, charter.mandate
    option = replace(option, source="wallet" if holder == charter.owner else "vault")
    if mandate is None or option.blocked is not None:
        return option
    if option.guardian_gas is None:
        return replace(option, blocked="the guardian pays in the venue's settlement token alone")
    option = replace(option, gas=option.guardian_gas)
    allowed = option.allowance.raw
    if mandate.reserve != holder:
        named = "no reserve" if mandate.reserve == NOBODY else f"{mandate.reserve} as the reserve"
        return replace(option, blocked=f"the mandate names {named}, the configuration {holder}")
    available = option.available.raw
    if charter.consent is not None:
        if charter.consent.available <= 0 or charter.consent.expiry < until:
            return replace(
                option,
                blocked=f"{holder} lets the guardian pull nothing now (ConsentMissing): it calls "
                "`consent` on the guardian",
            )
        worth = charter.consent.available * 10**option.price.decimals * option.token.unit
        available = min(available, worth // (10**8 * option.price.value))
    worth_usd8 = usd8_up(allowed, option.price, option.token.unit)
    if allowed < available and worth_usd8 < max(mandate.min_action, 1):
        return replace(
            option,
            blocked=f"the guardian may take {Amount(raw=allowed, token=option.token)} of {holder} and "
            f"nothing below {mandate.min_action / 1e8:,.2f} USD (AllowanceTooSmall): approve "
            f"{guard.guardian} for what may be used",
        )
    return replace(option, available=Amount(raw=min(available, allowed), token=option.token))


def unwinds(
    guard: Guard,
    charter: Charter,
    possible: Sequence[Unwind],
    *,
    health: Wad,
    depths: Sequence[Depth],
    swaps_blocked: str | None,
) -> tuple[Unwind, ...]:
    """The unwinds with the routes, the slippage and the allowances that the mandate leaves them.
    `swaps_blocked` says why nothing may be swapped now, or is None."""
    mandate = charter.mandate
    if mandate is None:
        return ()
    return tuple(
        replace(each, blocked=each.blocked or swaps_blocked)
        if swaps_blocked
        else _unwind(guard, mandate, each, health, depths)
        for each in possible
    )


def _unwind(
    guard: Guard, mandate: Mandate, unwind: Unwind, health: Wad, depths: Sequence[Depth]
) -> Unwind:
    symbol, allowed = unwind.sells.symbol, unwind.allowance.raw
    if unwind.blocked is not None:
        return unwind
    if unwind.sells.address not in mandate.collaterals:
        return replace(
            unwind, blocked=f"the mandate does not list {symbol} among its collaterals to sell"
        )
    limit = min(mandate.slippage_bps(health), unwind.slippage_cap)
    held = min(unwind.held.raw, allowed)
    # The contract counts what is held at the worst price that it allows (_repayable_with).
    paid_for = mul_div_down(
        held * unwind.sells_price.value * unwind.token.unit,
        BPS,
        unwind.sells.unit * unwind.price.value * (BPS + limit),
    )
    worth_usd8 = usd8_up(paid_for, unwind.price, unwind.token.unit)
    if allowed < unwind.held.raw and worth_usd8 < max(mandate.min_action, 1):
        return replace(
            unwind,
            blocked=f"the guardian may take {Amount(raw=allowed, token=unwind.sells)} of the account's "
            f"aTokens and repays nothing below {mandate.min_action / 1e8:,.2f} USD "
            f"(AllowanceTooSmall): approve {guard.guardian} for what may be sold",
        )
    pair = (unwind.sells.address, unwind.token.address)
    permitted = tuple(
        depth
        for depth in depths
        if (depth.route.sells, depth.route.buys) == pair and permits(mandate, depth.route)
    )
    if not permitted:
        return replace(
            unwind,
            blocked=f"no pool of the mandate has {unwind.token.symbol} for {symbol} (PoolNotAllowed, "
            "PoolTooThin): list pools with liquidity between them (`pools`), or more hops (`max_hops`)",
        )
    return replace(
        unwind,
        available=Amount(raw=min(unwind.available.raw, paid_for), token=unwind.token),
        held=Amount(raw=held, token=unwind.sells),
        slippage_limit=int(limit),
        depths=permitted,
    )


def shortfall_bps(unwind: Unwind, bought: int, sold: int) -> int:
    """How much more than its worth a purchase of the debt takes, at the oracle's prices, in basis
    points rounded up; negative where a pool gives more."""
    paid = sold * unwind.sells_price.value * 10**unwind.price.decimals * unwind.token.unit
    worth = bought * unwind.price.value * 10**unwind.sells_price.decimals * unwind.sells.unit
    return mul_div_up(paid, BPS, worth) - BPS


def permits(mandate: Mandate, route: Route) -> bool:
    """Whether every pool of the route is listed, and there are not too many."""
    listed = all(hop.pool in mandate.pools for hop in route.hops)
    return listed and len(route.hops) <= mandate.max_hops


def transaction(guard: Guard, mandate_hash: bytes, action: Action) -> Transaction:
    """The keeper's call. Amounts are the most that may move."""
    word = int.from_bytes(mandate_hash, "big")
    match action:
        case AddCollateral() | Repay() | ReducePosition():
            function = _OF_TOKEN[type(action)]
            token, raw = action.amount.token.address, action.amount.raw
            data = function.encode(guard.market, word, token, raw)
        case AddMargin() | MoveMargin():
            function = ADD_MARGIN if isinstance(action, AddMargin) else MOVE
            data = function.encode(guard.market, word, action.amount.raw)
        case Deleverage():
            data = DELEVERAGE + encode(
                _DELEVERAGE_ARGUMENTS,
                (
                    guard.market,
                    mandate_hash,
                    action.sold.token.address,
                    action.amount.token.address,
                    action.amount.raw,
                    mul_div_up(action.sold.raw, BPS + TAKEN_HEADROOM_BPS, BPS),
                    [hop.pool for hop in action.route.hops],
                    False,
                ),
            )
        case _:
            assert_never(action)
    return Transaction(to=guard.guardian, data=data, purpose=type(action).__name__)


def spending(
    guard: Guard, account: Address, settlement: Address, to: Address, data: bytes
) -> Spending | None:
    """What a call takes that the guardian is to make for its owner's account in this market, decoded;
    None if it is none of those that `transaction` makes, or for another market or no mandate.
    `settlement` is the token that margin is paid in."""
    if to != guard.guardian:
        return None
    sold_token, sold_raw = None, 0
    if (
        words := ADD_COLLATERAL.decode(data) or REPAY.decode(data) or REDUCE_POSITION.decode(data)
    ) is not None:
        market, mandate, token, raw = words
    elif (words := ADD_MARGIN.decode(data) or MOVE.decode(data)) is not None:
        market, mandate, raw = words
        token = int(settlement, 16)
    elif (swap := _decoded_deleverage(data)) is not None:
        market, mandate, token, raw, sold_token, sold_raw = swap
    else:
        return None
    if word_to_address(market) != guard.market or not mandate:
        return None
    return Spending(
        account=account,
        token=word_to_address(token),
        raw=raw,
        sold_token=sold_token,
        sold_raw=sold_raw,
    )


def _decoded_deleverage(data: bytes) -> tuple[int, int, int, int, Address, int] | None:
    """None also where the calldata is not the one that these arguments have."""
    if data[:4] != DELEVERAGE:
        return None
    try:
        arguments = decode(_DELEVERAGE_ARGUMENTS, data[4:])
    except DecodingError:
        return None
    market, mandate, sold, owed, raw, sold_raw, pools, whole = arguments
    if not pools or whole or encode(_DELEVERAGE_ARGUMENTS, arguments) != data[4:]:
        return None
    return (
        int(market, 16),
        int.from_bytes(mandate, "big"),
        int(owed, 16),
        raw,
        Address(to_checksum_address(sold)),
        sold_raw,
    )


def returned(action: Action, output: bytes) -> Action:
    """The action with the amounts that the guardian's call returned. Raises `ValueError` where it
    returned no such amounts."""
    return _with_amounts(action, split_words(output))


def logged(action: Action, transaction_hash: str, logs: Sequence[Mapping[str, Any]]) -> Action:
    """The action with the amounts in the guardian's own event of a mined transaction, out of logs as
    a node gives them. Raises `ValueError` where there is none."""
    for log in logs:
        try:
            if log["transactionHash"] != transaction_hash:
                continue
            topic, words = log["topics"][0], split_words(bytes.fromhex(log["data"][2:]))
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{log} is no event") from error
        if topic in _PAID and not isinstance(action, Sale):
            return _with_amounts(action, words)
        if topic == POSITION_REDUCED and isinstance(action, ReducePosition):
            return _with_amounts(action, words)
        if topic == _DELEVERAGED and isinstance(action, Deleverage):
            return _with_amounts(action, words[1:])
    raise ValueError(f"transaction {transaction_hash} holds no event of the guardian for it")


def _with_amounts(action: Action, words: tuple[int, ...]) -> Action:
    needed = 2 if isinstance(action, Sale) else 1
    if len(words) < needed or not 0 < words[0] <= action.amount.raw:
        raise ValueError(f"the guardian did {words[:needed]} where {action.amount} was asked for")
    amount = replace(action.amount, raw=words[0])
    match action:
        case Deleverage():
            return replace(action, amount=amount, sold=replace(action.sold, raw=words[1]))
        case ReducePosition():
            return replace(action, amount=amount, quote=replace(action.quote, raw=words[1]))
        case AddCollateral() | Repay() | AddMargin() | MoveMargin():
            return replace(action, amount=amount)
        case _:
            assert_never(action)
