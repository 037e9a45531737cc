"""What an action costs, term by term.

Costs are what is lost for good. Money that moves into a position is not: it is the owner's still.
All in USD with 8 decimals, rounded up.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite

from keeper.model.units import (
    BPS,
    SECONDS_PER_YEAR,
    WAD,
    Bps,
    Price,
    Wei,
    mul_div_down,
    mul_div_up,
    wad_from_fraction_up,
)
from keeper.model.values import Deleverage, Payment, ReducePosition, Reduction, Unwind
from keeper.policy.size import usd8_up

CARRY_BPS_PER_YEAR = Bps(400)
"""What a reserve would earn outside of the position: about a stablecoin's supply rate over years."""
CARRY_S = 30 * 24 * 3600
"""How long a moved reserve is taken to stay where it was moved."""

ETHER = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class GasPrice:
    """What gas is expected to cost; `native` is the price of a whole ether, or None if unknown."""

    fee_wei: Wei
    native: Price | None

    def usd8(self, gas: int) -> int:
        """Of so much gas; 0 where ether's price is unknown, the same for every option then."""
        return self.worth_usd8(Wei(gas * self.fee_wei))

    def worth_usd8(self, wei: Wei) -> int:
        """Of so much of the chain's coin."""
        return 0 if self.native is None else usd8_up(wei, self.native, ETHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The cash cost of one action, and what is left to fear after it. A term that does not apply is
    0."""

    gas_usd8: int
    """At the head's base fee and the smallest tip: the base fee of the next blocks rises as often
    as it falls. With the L1 data fee on a rollup, once the transaction was simulated."""
    swap_fee_usd8: int = 0
    price_impact_usd8: int = 0
    """What the pools' curves take beyond their fees, with the pools' distance from the protocol's
    oracle: negative where they pay more than it says."""
    flash_premium_usd8: int = 0
    """0 in a flash swap, whose fee is the swap's own."""
    carry_usd8: int = 0
    loss_left_usd8: int | None = None
    """What a liquidation within the horizon may still be expected to take after the action; None
    where there is no forecast."""
    cash_usd8: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "cash_usd8",
            self.gas_usd8
            + self.swap_fee_usd8
            + self.price_impact_usd8
            + self.flash_premium_usd8
            + self.carry_usd8,
        )

    @property
    def total_usd8(self) -> int:
        """Cash cost and expected loss; the cash cost alone where there is no forecast."""
        return self.cash_usd8 + (self.loss_left_usd8 or 0)


def expected_loss_usd8(liquidation_loss_usd8: int, breach_probability: float) -> int | None:
    """What a liquidation takes × how likely it is, rounded up; None without a forecast (nan)."""
    if not isfinite(breach_probability):
        return None
    chance = wad_from_fraction_up(Fraction(breach_probability))
    return mul_div_up(liquidation_loss_usd8, chance, WAD)


def payment_costs(action: Payment, price: Price, gas_usd8: int) -> Costs:
    """Of a payment from a reserve: gas and carry, `CARRY_BPS_PER_YEAR` for `CARRY_S`. The interest
    that a repayment saves is not counted in its favour."""
    moved_usd8 = usd8_up(action.amount.raw, price, action.amount.token.unit)
    return Costs(
        gas_usd8=gas_usd8,
        carry_usd8=mul_div_up(moved_usd8, CARRY_BPS_PER_YEAR * CARRY_S, BPS * SECONDS_PER_YEAR),
    )


def swap_costs(action: Deleverage, unwind: Unwind, fee_raw: int, gas_usd8: int) -> Costs:
    """Of an unwind: gas, the pools' fees on what is sold, and what else goes beyond the value of the
    debt that is repaid."""
    sold_usd8 = usd8_up(action.sold.raw, unwind.sells_price, unwind.sells.unit)
    repaid_usd8 = usd8_up(action.amount.raw, unwind.price, unwind.token.unit)
    fee_usd8 = usd8_up(fee_raw, unwind.sells_price, unwind.sells.unit)
    return Costs(
        gas_usd8=gas_usd8,
        swap_fee_usd8=fee_usd8,
        price_impact_usd8=sold_usd8 - repaid_usd8 - fee_usd8,
    )


def reduction_costs(action: ReducePosition, reduction: Reduction, gas_usd8: int) -> Costs:
    """Of a perp position made smaller: gas, and what its quote, fees included, is worse than the
    index. The venue's quote is dollars."""
    size, quote = action.amount, action.quote
    if reduction.is_long:
        fair = usd8_up(size.raw, reduction.price, size.token.unit)
        lost = fair - mul_div_down(quote.raw, 10**8, quote.token.unit)
    else:
        scale = 10**reduction.price.decimals * size.token.unit
        fair = mul_div_down(size.raw * reduction.price.value, 10**8, scale)
        lost = mul_div_up(quote.raw, 10**8, quote.token.unit) - fair
    return Costs(gas_usd8=gas_usd8, price_impact_usd8=lost)
