"""What may be done for an Aave 3.0 position, what it will lead to, and the call that does it.

Sources are named below `contracts/protocol` of @aave/core-v3 1.19.3.
"""

from dataclasses import replace
from typing import Literal, assert_never

from keeper.abi.aave_v3 import Pool
from keeper.abi.words import word_to_address
from keeper.model.units import BPS, WAD, Address, Amount, Bps, Price, Ray, Token, Wad
from keeper.model.values import (
    Action,
    ActionKind,
    AddCollateral,
    AddMargin,
    Deleverage,
    ImpossibleActionError,
    LiquidationTerms,
    MoveMargin,
    Option,
    Payment,
    ProtocolCall,
    ReducePosition,
    Reduction,
    Repay,
    Spending,
    Unwind,
)
from keeper.protocols.aave_v3_market import AaveMarket
from keeper.protocols.aave_v3_math import ray_div_half_up
from keeper.protocols.aave_v3_position import AavePosition, Leg

_STABLE, _VARIABLE = 1, 2
"""libraries/types/DataTypes.sol, InterestRateMode."""

_REFERRAL_CODE = 0

_PAYMENT_GAS = 300_000
_GUARDIAN_PAYMENT_GAS = 330_000
_UNWIND_GAS = 800_000
"""About what the node says of each on the local chain, approvals included."""

_DEFAULT_CLOSE_FACTOR = Bps(5_000)
_FULL_CLOSE_BELOW = Wad(95 * WAD // 100)
"""libraries/logic/LiquidationLogic.sol, DEFAULT_LIQUIDATION_CLOSE_FACTOR and
CLOSE_FACTOR_HF_THRESHOLD."""


def options(position: AavePosition) -> tuple[Option, ...]:
    """Every enabled collateral that could be added to and every debt that could be repaid from
    the account's own wallet, at the position's timestamp.

    A supply cap leaves less room as interest accrues: ask at the time by which the transaction is
    mined (`position.accrued`). A price is that of the position's block.
    """
    at = position.timestamp
    adding = (
        _option(
            position, leg, "AddCollateral", leg.state.supply_headroom(at), _supply_refusal(leg, at)
        )
        for leg in position.legs
        if leg.is_collateral and leg.state.configuration.liquidation_threshold
    )
    repaying = (
        _option(position, leg, "Repay", _chosen_debt(leg, at), _repay_refusal(leg))
        for leg in position.legs
        if leg.is_borrowed
    )
    return (*adding, *repaying)


def _option(
    position: AavePosition,
    leg: Leg,
    kind: Literal["AddCollateral", "Repay"],
    most: int | None,
    blocked: str | None,
) -> Option:
    token, price = leg.state.reserve.token, _oracle_price(leg)
    worthless = None if price else f"the oracle values {token.symbol} at nothing"
    return Option(
        kind=kind,
        source="wallet",
        token=token,
        held=Amount(raw=leg.wallet, token=token),
        available=Amount(raw=leg.wallet if most is None else min(leg.wallet, most), token=token),
        allowance=Amount(raw=leg.allowance, token=token),
        price=Price(value=price, decimals=8, updated_at=position.timestamp),
        gas=_PAYMENT_GAS,
        blocked=blocked or worthless,
        guardian_gas=_GUARDIAN_PAYMENT_GAS,
    )


def unwinds(position: AavePosition) -> tuple[Unwind, ...]:
    """Every debt beside every collateral that could be sold for it, at the position's timestamp.
    Who may take the collateral, and on which routes, is not the protocol's to say."""
    at = position.timestamp
    return tuple(
        Unwind(
            token=debt.state.reserve.token,
            available=Amount(raw=_chosen_debt(debt, at), token=debt.state.reserve.token),
            price=Price(value=_oracle_price(debt), decimals=8, updated_at=at),
            sells=sold.state.reserve.token,
            held=Amount(raw=sold.collateral(at), token=sold.state.reserve.token),
            allowance=Amount(raw=sold.collateral_allowance, token=sold.state.reserve.token),
            sells_price=Price(value=_oracle_price(sold), decimals=8, updated_at=at),
            gas=_UNWIND_GAS,
            slippage_cap=Bps(max(_liquidation_bonus(position, sold) - BPS, 0) // 2),
            blocked=_unwind_refusal(position, debt, sold),
        )
        for debt in position.legs
        if debt.is_borrowed
        for sold in position.legs
        if sold.is_collateral and sold is not debt
    )


def reductions(position: AavePosition) -> tuple[Reduction, ...]:  # noqa: ARG001 - it has no perps
    """None: a loan is paid back."""
    return ()


def objection(action: Action, position: AavePosition) -> str | None:
    """libraries/logic/ValidationLogic.sol, validateHFAndLtv: collateral leaves only where the health
    that follows is at least 1. What else the pool would refuse is said of every option before it is
    sized."""
    if not isinstance(action, Deleverage):
        return None
    after = predict(action, position, position.timestamp).health
    if after is None or after >= WAD:
        return None
    return (
        f"health would still be {after / WAD:.4f}, and no collateral may leave below 1 "
        "(HEALTH_FACTOR_LOWER_THAN_LIQUIDATION_THRESHOLD)"
    )


def _oracle_price(leg: Leg) -> int:
    """The asset's own, at which limits and swaps are judged, also where an efficiency mode counts
    another for health; 0 where the oracle has none."""
    return leg.state.price or 0


def _unwind_refusal(position: AavePosition, debt: Leg, sold: Leg) -> str | None:
    """libraries/logic/ValidationLogic.sol, validateRepay, validateWithdraw and validateHFAndLtv,
    which the transfer of aTokens comes to."""
    if refusal := _repay_refusal(debt) or _repay_refusal(sold):
        return refusal
    if _repays_stable(debt):
        return f"the {debt.state.reserve.token.symbol} is borrowed at a stable rate"
    worthless = [leg for leg in (debt, sold) if not _oracle_price(leg)]
    if worthless:
        return f"the oracle values {worthless[0].state.reserve.token.symbol} at nothing"
    without_ltv = [
        leg
        for leg in position.legs
        if leg.is_collateral
        and leg.state.configuration.liquidation_threshold
        and not leg.state.configuration.max_ltv
    ]
    if without_ltv and sold.state.configuration.max_ltv:
        symbol = without_ltv[0].state.reserve.token.symbol
        return f"no collateral may leave before {symbol}, whose LTV is 0 (LTV_VALIDATION_FAILED)"
    return None


def _supply_refusal(leg: Leg, timestamp: int) -> str | None:
    """libraries/logic/ValidationLogic.sol, validateSupply."""
    symbol = leg.state.reserve.token.symbol
    if refusal := _repay_refusal(leg):
        return refusal
    if leg.state.configuration.frozen:
        return f"the pool's {symbol} reserve is frozen"
    if leg.state.supply_headroom(timestamp) == 0:
        return f"the pool's supply cap of {symbol} is reached"
    return None


def _repay_refusal(leg: Leg) -> str | None:
    """libraries/logic/ValidationLogic.sol, validateRepay."""
    symbol = leg.state.reserve.token.symbol
    if not leg.state.configuration.active:
        return f"the pool's {symbol} reserve is not active"
    if leg.state.configuration.paused:
        return f"the pool's {symbol} reserve is paused"
    return None


def _repays_stable(leg: Leg) -> bool:
    """The larger of the two debts of one reserve, judged by what does not change with time, so
    that a prediction at another time chooses the same."""
    return leg.stable_debt_principal > leg.variable_debt_scaled


def _chosen_debt(leg: Leg, timestamp: int) -> int:
    return leg.stable_debt(timestamp) if _repays_stable(leg) else leg.variable_debt(timestamp)


def predict(action: Action, position: AavePosition, at: int) -> AavePosition:
    """The position after the action in a block at timestamp `at`, at unchanged prices.

    Exact to the last unit if `position` carries the reserves of that block (`revalued`): the pool's
    indexes at one timestamp do not depend on what happens at it, flash loan fees excepted, and its
    new rates do not matter until later. Raises `ImpossibleActionError`.
    """
    before = position.accrued(at)
    leg = _leg(action, before)
    match action:
        case AddCollateral():
            changed = {leg.state.reserve.index: _supplied(action, leg, at)}
        case Repay():
            changed = {leg.state.reserve.index: _repaid(action, leg, at)}
        case Deleverage():
            sold = _sold_leg(action, before)
            changed = {
                leg.state.reserve.index: replace(_repaid(action, leg, at), wallet=leg.wallet),
                sold.state.reserve.index: _sold(action, sold, at),
            }
        case AddMargin() | MoveMargin() | ReducePosition():
            raise ImpossibleActionError(action, "a lending market has no margin")
        case _:
            assert_never(action)
    legs = (changed.get(leg.state.reserve.index, leg) for leg in before.legs)
    return replace(before, legs=tuple(leg for leg in legs if leg.is_collateral or leg.is_borrowed))


def _leg(action: Action, position: AavePosition) -> Leg:
    if action.position != position.id or action.amount.raw <= 0:
        raise ImpossibleActionError(action, f"it is not a positive amount for {position.id}")
    for leg in position.legs:
        fits = leg.is_collateral if isinstance(action, AddCollateral) else leg.is_borrowed
        if fits and leg.state.reserve.token == action.amount.token:
            return leg
    raise ImpossibleActionError(action, "the position has no such collateral or debt")


def _sold_leg(action: Deleverage, position: AavePosition) -> Leg:
    for leg in position.legs:
        if leg.is_collateral and leg.state.reserve.token == action.sold.token:
            if action.sold.token == action.amount.token:
                break
            return leg
    raise ImpossibleActionError(action, f"{action.sold.token.symbol} cannot be sold for it")


def _sold(action: Deleverage, leg: Leg, at: int) -> Leg:
    """tokenization/base/ScaledBalanceTokenBase.sol, _transfer, and
    libraries/logic/SupplyLogic.sol, executeFinalizeTransfer: who gives all away has no collateral
    any more, whatever rounding leaves of it."""
    held = leg.collateral(at)
    moved = ray_div_half_up(action.sold.raw, leg.state.normalized_income(at))
    if action.sold.raw > held or moved == 0:
        raise ImpossibleActionError(action, f"of {held} units {action.sold.raw} cannot be sold")
    return replace(
        leg,
        is_collateral=action.sold.raw < held,
        collateral_scaled=max(leg.collateral_scaled - moved, 0),
    )


def _supplied(action: AddCollateral, leg: Leg, at: int) -> Leg:
    """libraries/logic/SupplyLogic.sol, executeSupply, with
    tokenization/base/ScaledBalanceTokenBase.sol, _mintScaled."""
    minted = ray_div_half_up(action.amount.raw, leg.state.normalized_income(at))
    if minted == 0:
        raise ImpossibleActionError(action, "the pool rounds it to nothing")
    return replace(
        leg,
        collateral_scaled=leg.collateral_scaled + minted,
        wallet=leg.wallet - action.amount.raw,
    )


def _repaid(action: Repay | Deleverage, leg: Leg, at: int) -> Leg:
    """libraries/logic/BorrowLogic.sol, executeRepay: at most the debt of the chosen rate; with
    _burnScaled of ScaledBalanceTokenBase.sol or burn of StableDebtToken.sol."""
    owed = _chosen_debt(leg, at)
    paid = min(action.amount.raw, owed)
    after = replace(leg, is_borrowed=leg.debt(at) > paid, wallet=leg.wallet - paid)
    if not _repays_stable(leg):
        burned = ray_div_half_up(paid, leg.state.normalized_debt(at))
        if burned == 0:
            raise ImpossibleActionError(action, "the pool rounds it to nothing")
        return replace(after, variable_debt_scaled=leg.variable_debt_scaled - burned)
    if paid == owed:
        return replace(after, stable_debt_principal=0, stable_rate=Ray(0), stable_updated_at=0)
    return replace(after, stable_debt_principal=owed - paid, stable_updated_at=at)


def encode(action: Payment, position: AavePosition) -> ProtocolCall:
    """The pool call from the account's own wallet. Always an explicit amount: 2^256 − 1 means the
    whole debt to the owner only, and reverts for anyone else (validateRepay).

    Raises `ImpossibleActionError`.
    """
    leg = _leg(action, position)
    token, account, pool = leg.state.reserve.token, position.id.account, position.market.pool
    match action:
        case AddCollateral():
            kind: ActionKind = "AddCollateral"
            call = Pool.SUPPLY(pool, token.address, action.amount.raw, account, _REFERRAL_CODE)
        case Repay():
            kind = "Repay"
            mode = _STABLE if _repays_stable(leg) else _VARIABLE
            call = Pool.REPAY(pool, token.address, action.amount.raw, mode, account)
        case AddMargin() | MoveMargin():
            raise ImpossibleActionError(action, "a lending market has no margin")
        case _:
            assert_never(action)
    return ProtocolCall(
        kind=kind,
        to=call.target,
        data=call.data,
        spends=action.amount,
        allowance=Amount(raw=leg.allowance, token=token),
    )


def tokens(market: AaveMarket) -> dict[Address, Token]:
    """What may be supplied or repaid."""
    return {reserve.token.address: reserve.token for reserve in market.reserves}


def payees(market: AaveMarket) -> tuple[Address, ...]:
    """The pool takes what is supplied or repaid."""
    return (market.pool,)


def spending(market: AaveMarket, to: Address, data: bytes) -> Spending | None:
    """Of `Pool.supply` and `Pool.repay`, as `encode` writes them; None for any other call."""
    if to != market.pool:
        return None
    if (words := Pool.SUPPLY.decode(data)) is not None and words[3] == _REFERRAL_CODE:
        token, raw, account = words[0], words[1], words[2]
    elif (words := Pool.REPAY.decode(data)) is not None and words[2] in {_STABLE, _VARIABLE}:
        token, raw, account = words[0], words[1], words[3]
    else:
        return None
    return Spending(account=word_to_address(account), token=word_to_address(token), raw=raw)


def liquidation_terms(position: AavePosition) -> LiquidationTerms:
    """libraries/logic/LiquidationLogic.sol, _calculateDebt and _getConfigurationData."""
    full = position.health is not None and position.health <= _FULL_CLOSE_BELOW
    bonuses = (
        _liquidation_bonus(position, leg)
        for leg in position.legs
        if leg.is_collateral and leg.state.configuration.liquidation_threshold
    )
    return LiquidationTerms(
        close_factor=Bps(BPS) if full else _DEFAULT_CLOSE_FACTOR,
        liquidation_penalty=Bps(max(max(bonuses, default=BPS) - BPS, 0)),
    )


def _liquidation_bonus(position: AavePosition, leg: Leg) -> Bps:
    return (position.in_e_mode(leg) or leg.state.configuration).liquidation_bonus
