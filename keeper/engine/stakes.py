"""What is at stake for a position: how urgent its protection is, and what it is worth in gas."""

from math import isfinite

from keeper.chain.fees import worth_wei
from keeper.chain.transactions.seams import Stake
from keeper.model.units import Bps, Price, mul_div_up
from keeper.model.values import LiquidationTerms, PositionState
from keeper.policy.settings import Policy
from keeper.policy.size import comparable
from keeper.policy.urgency import liquidation_loss_usd8, urgency_of


def stake_of(
    position: PositionState,
    *,
    policy: Policy,
    terms: LiquidationTerms,
    breach_probability: float,
    native: Price | None,
    share: Bps,
) -> Stake:
    """Of a position as it was read at a head. `breach_probability` is nan where there is no
    forecast; `native` is the price of the coin that pays for gas, None where no market tells it."""
    known = breach_probability if isfinite(breach_probability) else None
    return Stake(
        healthy=comparable(position.health) >= policy.target,
        urgency=urgency_of(position.health, policy.floor, known),
        worth_wei=None
        if native is None or native.value <= 0
        else worth_wei(
            loss_usd8=liquidation_loss_usd8(position.debt_usd8, terms),
            share=share,
            # Rounded up: the dearer the coin, the less of it is paid for gas.
            native_usd8=mul_div_up(native.value, 10**8, 10**native.decimals),
        ),
    )
