"""What may be done for an Aave 3.0 position, what it will lead to, and the call that does it.

Sources are named below `contracts/protocol` of @aave/core-v3 1.19.3.
"""

from dataclasses import replace
from typing import assert_never

from keeper.abi.aave_v3 import Pool
from keeper.model.units import BPS, WAD, Amount, Bps, Price, Ray, Wad
from keeper.model.values import (
    Action,
    ActionKind,
    AddCollateral,
    LiquidationTerms,
    Option,
    ProtocolCall,
    Repay,
)
from keeper.protocols.aave_v3_math import ray_div_half_up
from keeper.protocols.aave_v3_position import AavePosition, Leg

_STABLE, _VARIABLE = 1, 2
"""libraries/types/DataTypes.sol, InterestRateMode."""

_REFERRAL_CODE = 0

_DEFAULT_CLOSE_FACTOR = Bps(5_000)
_FULL_CLOSE_BELOW = Wad(95 * WAD // 100)
"""libraries/logic/LiquidationLogic.sol, DEFAULT_LIQUIDATION_CLOSE_FACTOR and
CLOSE_FACTOR_HF_THRESHOLD."""


class ImpossibleActionError(ValueError):
    """The action does not fit the position: it names a token without such a leg, or no amount."""

    def __init__(self, action: Action, why: str) -> None:
        super().__init__(f"{action.position}: {type(action).__name__} {action.amount}: {why}")
        self.action = action


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
    kind: ActionKind,
    most: int | None,
    blocked: str | None,
) -> Option:
    token, price = leg.state.reserve.token, position.price(leg)
    worthless = None if price else f"the oracle values {token.symbol} at nothing"
    return Option(
        kind=kind,
        token=token,
        available=Amount(raw=leg.wallet if most is None else min(leg.wallet, most), token=token),
        price=Price(value=price, decimals=8, updated_at=position.timestamp),
        blocked=blocked or worthless,
    )


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
            after = _supplied(action, leg, at)
        case Repay():
            after = _repaid(action, leg, at)
        case _:
            assert_never(action)
    legs = (after if other is leg else other for other in before.legs)
    return replace(before, legs=tuple(leg for leg in legs if leg.is_collateral or leg.is_borrowed))


def _leg(action: Action, position: AavePosition) -> Leg:
    if action.position != position.id or action.amount.raw <= 0:
        raise ImpossibleActionError(action, f"it is not a positive amount for {position.id}")
    for leg in position.legs:
        fits = leg.is_collateral if isinstance(action, AddCollateral) else leg.is_borrowed
        if fits and leg.state.reserve.token == action.amount.token:
            return leg
    raise ImpossibleActionError(action, "the position has no such collateral or debt")


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


def _repaid(action: Repay, leg: Leg, at: int) -> Leg:
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


def encode(action: Action, position: AavePosition) -> ProtocolCall:
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
        case _:
            assert_never(action)
    return ProtocolCall(
        kind=kind,
        to=call.target,
        data=call.data,
        spends=action.amount,
        allowance=Amount(raw=leg.allowance, token=token),
    )


def liquidation_terms(position: AavePosition) -> LiquidationTerms:
    """libraries/logic/LiquidationLogic.sol, _calculateDebt and _getConfigurationData."""
    full = position.health is not None and position.health <= _FULL_CLOSE_BELOW
    bonuses = (
        (position.in_e_mode(leg) or leg.state.configuration).liquidation_bonus
        for leg in position.legs
        if leg.is_collateral and leg.state.configuration.liquidation_threshold
    )
    return LiquidationTerms(
        close_factor=Bps(BPS) if full else _DEFAULT_CLOSE_FACTOR,
        liquidation_penalty=Bps(max(max(bonuses, default=BPS) - BPS, 0)),
    )
