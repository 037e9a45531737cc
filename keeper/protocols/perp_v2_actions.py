"""What may be done for a Perp v2 account, what it will lead to, and the call that does it.

Sources are named below `contracts` of @perp/curie-contract 2.8.4.
"""

from dataclasses import replace

from keeper.abi.perp_v2 import Vault
from keeper.abi.words import word_to_address
from keeper.model.units import BPS, WAD, Address, Amount, Bps, Price, Token
from keeper.model.values import (
    Action,
    AddMargin,
    ImpossibleActionError,
    LiquidationTerms,
    MoveMargin,
    Option,
    Payment,
    ProtocolCall,
    ReducePosition,
    Reduction,
    Spending,
    Unwind,
)
from keeper.protocols.errors import revert_reason
from keeper.protocols.perp_v2_market import MarginToken, PerpVenue
from keeper.protocols.perp_v2_math import RATIO, mul_div_to_zero, mul_ratio
from keeper.protocols.perp_v2_position import (
    DUST,
    Holding,
    Leg,
    PerpPosition,
    free_margin,
    total_debt,
)

_PAYMENT_GAS = 250_000
"""About what the node says of a deposit with its approval on the local chain."""
_GUARDIAN_PAYMENT_GAS = 660_000
"""The same through the guardian, which asks the venue for the account's health before and after."""
_REDUCTION_GAS = 1_500_000
"""What the node says of a trade through the guardian on the local chain in a busy market."""

_DOLLAR8 = 10**8
_USD8 = 10**10
_PRICE_DECIMALS = 18

ERRORS = {
    "V_GTSTBC": "the venue's cap on its settlement token is reached",
    "V_GTDC": "the venue's cap on this margin token is reached",
    "V_OSCT": "the venue does not accept this token as margin",
    "V_CTNE": "the account holds as many margin tokens as the venue allows",
    "V_IBA": "the token takes a fee of its transfers, which the venue refuses",
    "CH_NEFCI": "not enough free collateral: leverage would be above the venue's cap",
    "CH_NEFCM": "not enough margin left: only a liquidator may close the position",
    "CH_MNO": "the market is not open",
    "EX_MIP": "trading in the market is stopped",
    "EX_OPLAS": "it would move the price further than the venue allows within a block",
    "EX_OPB": "it would move the price further from the index than the venue allows",
    "CH_TE": "its deadline has passed",
    "CH_SHNAOPT": "the account has not delegated its positions to the sender",
}
"""Reverts that keeper may meet; Vault.sol, ClearingHouse.sol and Exchange.sol give the rest."""


def decode_error(revert: bytes) -> str:
    """The reason in words; never raises."""
    return revert_reason(revert, ERRORS)


def options(position: PerpPosition) -> tuple[Option, ...]:
    """Deposits of the settlement token and of every listed margin token from the reserve."""
    terms, settlement = position.terms, position.venue.settlement
    paused = "the venue's vault is paused" if terms.vault_paused else None
    full = (
        f"the venue's cap of {settlement.symbol} is reached" if not terms.settlement_room else None
    )
    own = Option(
        kind="AddMargin",
        source="wallet",
        token=settlement,
        held=Amount(raw=position.wallet, token=settlement),
        available=Amount(raw=min(position.wallet, terms.settlement_room), token=settlement),
        allowance=Amount(raw=position.allowance, token=settlement),
        price=Price(value=_DOLLAR8, decimals=8, updated_at=position.timestamp),
        gas=_PAYMENT_GAS,
        blocked=paused or full,
        guardian_gas=_GUARDIAN_PAYMENT_GAS,
        room=terms.settlement_room,
    )
    return (own, *(_deposit(position, holding, paused) for holding in position.holdings))


def _deposit(position: PerpPosition, holding: Holding, paused: str | None) -> Option:
    state, margin = holding.state, holding.state.margin
    token = margin.token
    return Option(
        kind="AddMargin",
        source="wallet",
        token=token,
        held=Amount(raw=holding.wallet, token=token),
        available=Amount(raw=min(holding.wallet, state.room), token=token),
        allowance=Amount(raw=holding.allowance, token=token),
        price=Price(
            value=state.price, decimals=margin.price_decimals, updated_at=position.timestamp
        ),
        gas=_PAYMENT_GAS,
        blocked=paused or _refusal(position, holding),
        guardian_gas=None,
    )


def _refusal(position: PerpPosition, holding: Holding) -> str | None:
    """Vault.sol, _checkDepositCapAndRegister and _modifyBalance."""
    symbol = holding.state.margin.token.symbol
    if holding.state.price == 0:
        return f"the oracle values {symbol} at nothing"
    if holding.state.room == 0:
        return f"the venue's cap of {symbol} is reached"
    held = sum(each.balance != 0 for each in position.holdings)
    if holding.balance == 0 and held >= position.terms.max_margin_tokens:
        return f"the account holds {held} margin tokens, the most that the venue allows"
    return None


def unwinds(position: PerpPosition) -> tuple[Unwind, ...]:  # noqa: ARG001 - no debt of another token
    """None: a perp is made smaller, which only its account or a guardian may do."""
    return ()


def reductions(position: PerpPosition) -> tuple[Reduction, ...]:
    """Every position in a market made smaller, the largest first."""
    legs = sorted((leg for leg in position.legs if leg.counted), key=lambda leg: -abs(leg.value))
    return tuple(_reduction(position, leg) for leg in legs)


def _reduction(position: PerpPosition, leg: Leg) -> Reduction:
    token, paused = leg.state.perp.token, None
    if position.terms.house_paused:
        paused = "the venue's ClearingHouse is paused"
    elif leg.state.index_price == 0:
        paused = f"the feed behind {token.symbol} gives no price"
    fee = leg.state.perp.fee_ratio
    net = RATIO - fee if leg.size > 0 else RATIO + fee
    index, mark, pool = (
        Price(value=value, decimals=_PRICE_DECIMALS, updated_at=position.timestamp)
        for value in (
            leg.state.index_price,
            leg.state.price,
            mul_ratio(leg.state.market_price, net),
        )
    )
    return Reduction(
        token=token,
        available=Amount(raw=abs(leg.size), token=token),
        is_long=leg.size > 0,
        price=index,
        mark_price=mark,
        pool_price=pool,
        quote=position.venue.quote,
        gas=_REDUCTION_GAS,
        slippage_cap=Bps(position.terms.penalty_ratio * BPS // RATIO // 2),
        blocked=paused or leg.state.halted,
    )


def predict(action: Action, position: PerpPosition, at: int) -> PerpPosition:
    """The account after the action in a block at timestamp `at`, at unchanged prices.

    Exact to the last unit if `position` stands at that block (`revalued`) and the action says what
    the trade brought. Raises `ImpossibleActionError`.
    """
    before = position.accrued(at)
    if action.position != position.id or action.amount.raw <= 0:
        raise ImpossibleActionError(action, f"it is not a positive amount for {position.id}")
    match action:
        case AddMargin():
            return _deposited(action, before)
        case MoveMargin():
            return _moved(action, before)
        case ReducePosition():
            return _reduced(action, before)
        case _:
            raise ImpossibleActionError(action, "a perp account has margin and positions only")


def _deposited(action: AddMargin, before: PerpPosition) -> PerpPosition:
    raw, token = action.amount.raw, action.amount.token
    if token == before.venue.settlement:
        return replace(before, balance=before.balance + raw, wallet=before.wallet - raw)
    if not any(each.state.margin.token == token for each in before.holdings):
        raise ImpossibleActionError(action, f"{token.symbol} is not accepted as margin")
    return replace(
        before,
        holdings=tuple(
            replace(each, balance=each.balance + raw, wallet=each.wallet - raw)
            if each.state.margin.token == token
            else each
            for each in before.holdings
        ),
    )


def _moved(action: MoveMargin, before: PerpPosition) -> PerpPosition:
    """The guardian pays in what it took elsewhere: nothing of the reserve."""
    if action.amount.token != before.venue.settlement:
        raise ImpossibleActionError(action, "margin is moved in the venue's settlement token alone")
    return replace(before, balance=before.balance + action.amount.raw)


def _reduced(action: ReducePosition, before: PerpPosition) -> PerpPosition:
    """ClearingHouse.sol, _settleFunding and _openPosition: funding is settled, and the share of the
    cost that belongs to what was closed is realised against what it brought (Exchange.sol,
    _getPnlToBeRealized)."""
    leg = reducible_leg(action, before)
    sign = 1 if leg.size > 0 else -1
    brought = sign * action.quote.raw
    closed_ratio = action.amount.raw * WAD // abs(leg.size)
    realised = brought + mul_div_to_zero(leg.open_notional, closed_ratio, WAD)
    smaller = replace(
        leg,
        size=leg.size - sign * action.amount.raw,
        open_notional=leg.open_notional + brought - realised,
        funding=0,
    )
    legs = (smaller if each is leg else each for each in before.legs)
    return replace(
        before,
        owed_pnl=before.owed_pnl - leg.funding + realised,
        legs=tuple(each for each in legs if each.counted or abs(each.open_notional) >= DUST),
    )


def objection(action: Action, position: PerpPosition) -> str | None:
    """Why the venue would refuse it, found without asking it; None where it might not.

    ClearingHouse.sol, _openPosition: after a reduction the free collateral by the maintenance ratio
    must not be below zero. It is reckoned at the pool's own price, which no trade betters."""
    if not isinstance(action, ReducePosition):
        return None
    leg = reducible_leg(action, position)
    best = action.amount.raw * leg.state.market_price // WAD
    quote = Amount(raw=best, token=action.quote.token)
    after = _reduced(replace(action, quote=quote), position)
    counted = min(after.account.margin_value, after.account.exact_value)
    ratio = position.terms.mm_ratio
    if free_margin(after, counted, ratio) >= 0:
        return None
    left = f"{total_debt(after) / counted:.1f}" if counted > 0 else "boundless"
    return f"{ERRORS['CH_NEFCM']} (CH_NEFCM): leverage {left} after it, above {RATIO / ratio:g}"


def reducible_leg(action: ReducePosition, position: PerpPosition) -> Leg:
    """The position that an action makes smaller. Raises `ImpossibleActionError` where there is none,
    or it would be turned around."""
    leg = position.leg(action.amount.token.address)
    if leg is None or not leg.counted:
        raise ImpossibleActionError(action, "the position was closed meanwhile")
    if action.amount.raw > abs(leg.size):
        raise ImpossibleActionError(action, f"only {abs(leg.size)} units are open")
    return leg


def encode(action: Payment, position: PerpPosition) -> ProtocolCall:
    """The vault's call from the reserve: anybody may deposit for an account.

    Raises `ImpossibleActionError`.
    """
    if not isinstance(action, AddMargin):
        raise ImpossibleActionError(action, "a perp account takes margin only")
    _deposited(action, position)
    token, vault = action.amount.token, position.venue.vault
    call = Vault.DEPOSIT_FOR(vault, position.id.account, token.address, action.amount.raw)
    return ProtocolCall(
        kind="AddMargin",
        to=call.target,
        data=call.data,
        spends=action.amount,
        allowance=Amount(raw=_allowance(position, token.address), token=token),
    )


def tokens(market: PerpVenue) -> dict[Address, Token]:
    """What may be deposited as margin, and what a position may be made smaller by."""
    margins = (margin.token for margin in market.margins)
    found = (market.settlement, *margins, *(perp.token for perp in market.perps))
    return {token.address: token for token in found}


def payees(market: PerpVenue) -> tuple[Address, ...]:
    """The vault takes what is deposited."""
    return (market.vault,)


def spending(market: PerpVenue, to: Address, data: bytes) -> Spending | None:
    """Of `Vault.depositFor`, as `encode` writes it; None for any other call."""
    if to != market.vault or (words := Vault.DEPOSIT_FOR.decode(data)) is None:
        return None
    account, token, raw = words
    return Spending(account=word_to_address(account), token=word_to_address(token), raw=raw)


def _allowance(position: PerpPosition, token: Address) -> int:
    if token == position.venue.settlement.address:
        return position.allowance
    return next(h.allowance for h in position.holdings if h.state.margin.token.address == token)


def liquidation_terms(position: PerpPosition) -> LiquidationTerms:
    """AccountBalance.sol, getLiquidatablePositionSize: half of a position while its account value
    is above half of the requirement, all of it below. Besides, where margin tokens are held: whoever
    may liquidate the position may sell these as well."""
    data = position.account
    full = data.account_value < data.margin_requirement // 2
    return LiquidationTerms(
        close_factor=Bps(BPS if full else BPS // 2),
        liquidation_penalty=Bps(-(-position.terms.penalty_ratio * BPS // RATIO)),
        besides_usd8=_margin_sale_loss(position) // _USD8,
    )


def _margin_sale_loss(position: PerpPosition) -> int:
    """What one liquidation of a margin token takes, of the token where that is most: the liquidator's
    discount and the insurance fund's share of what is repaid (Vault.sol, _getMaxRepaidSettlement,
    getMaxRepaidSettlementAndLiquidatableCollateral). Small debts, which may be repaid whole, are
    taken for others."""
    terms = position.terms
    debt = max(-position.account.settlement_value, mul_ratio(total_debt(position), terms.im_ratio))
    repaid = mul_ratio(debt, terms.liquidation_ratio) * RATIO // (RATIO - terms.insurance_ratio)
    losses = [0]
    for holding in position.holdings:
        discount = holding.state.discount_ratio
        paid = min(repaid, mul_ratio(holding.whole_value, RATIO - discount))
        given_away = paid * discount // (RATIO - discount)
        losses.append(given_away + mul_ratio(paid, terms.insurance_ratio))
    return max(losses)


def deltas(position: PerpPosition) -> dict[Address, float]:
    """By feed, sizes and margin tokens, whole ones; before haircuts, which are not lost."""
    found: dict[Address, float] = {}
    for leg in position.legs:
        feed = leg.state.perp.aggregator
        found[feed] = found.get(feed, 0.0) + leg.counted / WAD
    for holding in position.holdings:
        feed = holding.state.margin.aggregator or holding.state.margin.price_feed
        if holding.balance:
            unit = holding.state.margin.token.unit
            found[feed] = found.get(feed, 0.0) + holding.balance / unit
    return found


def exposure(position: PerpPosition) -> frozenset[Address]:
    """What the account stands or falls with: its markets and margin tokens, their feeds, and the
    venue's contracts."""
    venue = position.venue
    found = {venue.clearing_house, venue.vault, venue.settlement.address}
    for leg in position.legs:
        found |= {leg.state.perp.token.address, leg.state.perp.aggregator}
    for holding in position.holdings:
        if holding.balance:
            found |= _of_margin(holding.state.margin)
    return frozenset(found)


def _of_margin(margin: MarginToken) -> set[Address]:
    return {each for each in (margin.token.address, margin.aggregator) if each is not None}


def matches(predicted: PerpPosition, reread: PerpPosition) -> tuple[str, ...]:
    """Where a prediction and the state read at the same block differ; empty if they agree.

    Compared to the last unit: health, values, and all that the venue holds for the account. The
    wallet is left out, since others may pay into it.
    """
    return tuple(
        f"{what}: predicted {expected}, read {found}"
        for what, expected, found in (
            ("timestamp", predicted.timestamp, reread.timestamp),
            ("health", predicted.health, reread.health),
            ("account_value", predicted.account.account_value, reread.account.account_value),
            ("notional", predicted.account.notional, reread.account.notional),
            ("balance", predicted.balance, reread.balance),
            ("owed_pnl", predicted.owed_pnl, reread.owed_pnl),
            ("positions", _sizes(predicted), _sizes(reread)),
            ("margin", _balances(predicted), _balances(reread)),
        )
        if expected != found
    )


def _sizes(position: PerpPosition) -> dict[str, tuple[int, int, int]]:
    return {
        leg.state.perp.token.symbol: (leg.size, leg.open_notional, leg.funding)
        for leg in position.legs
    }


def _balances(position: PerpPosition) -> dict[str, int]:
    return {h.state.margin.token.symbol: h.balance for h in position.holdings if h.balance}
