"""What could be taken out of an Aave 3.0 position without bringing it below a health.

Sources are named below `contracts/protocol` of @aave/core-v3 1.19.3.
"""

from dataclasses import replace

from keeper.abi.words import Function
from keeper.model.reading import Call
from keeper.model.units import Amount, Wad
from keeper.policy.size import comparable, greatest_within
from keeper.protocols.aave_v3_math import ray_div_half_up
from keeper.protocols.aave_v3_position import AavePosition, Leg

WITHDRAW = Function("withdraw(address,uint256,address)")


def surplus(position: AavePosition, least: Wad) -> Amount | None:
    """The most of the collateral of the greatest value that may leave with health at `least` or
    above, at the position's timestamp; None where none may, or nothing counts as collateral."""
    legs = [
        leg
        for leg in position.legs
        if leg.is_collateral and leg.state.configuration.liquidation_threshold
    ]
    if not legs or position.health is None:
        return None
    leg = max(legs, key=lambda each: _usd8(position, each))
    raw = greatest_within(
        lambda part: comparable(without(position, leg, part).health) >= least,
        leg.collateral(position.timestamp),
    )
    return Amount(raw=raw, token=leg.state.reserve.token) if raw else None


def released(position: AavePosition, amount: Amount) -> AavePosition:
    """The position after so much has left."""
    leg = next(each for each in position.legs if each.state.reserve.token == amount.token)
    return without(position, leg, amount.raw)


def without(position: AavePosition, leg: Leg, raw: int) -> AavePosition:
    """tokenization/base/ScaledBalanceTokenBase.sol, _burnScaled."""
    at = position.timestamp
    burned = ray_div_half_up(raw, leg.state.normalized_income(at))
    after = replace(
        leg,
        is_collateral=raw < leg.collateral(at),
        collateral_scaled=max(leg.collateral_scaled - burned, 0),
    )
    return replace(
        position,
        legs=tuple(
            each
            for each in (after if one is leg else one for one in position.legs)
            if each.is_collateral or each.is_borrowed
        ),
    )


def withdraw_call(position: AavePosition, amount: Amount) -> Call:
    """By the account, to itself."""
    pool, owner = position.market.pool, position.id.account
    return WITHDRAW(pool, amount.token.address, amount.raw, owner)


def _usd8(position: AavePosition, leg: Leg) -> int:
    unit = leg.state.reserve.token.unit
    return leg.collateral(position.timestamp) * position.price(leg) // unit
