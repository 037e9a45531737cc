"""EIP-1559 fees as pure arithmetic: what to offer, how to outbid oneself, and where to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from keeper.chain.rpc import quantity
from keeper.model.lifecycle import Urgency
from keeper.model.units import WAD, Bps, Wei, mul_div_down, mul_div_up
from keeper.model.values import Head

FEE_HISTORY_BLOCKS = 10

PERCENTILES: Mapping[Urgency, int] = MappingProxyType({Urgency.ROUTINE: 60, Urgency.URGENT: 90})
"""Of the priority fees that a block's gas paid, by urgency."""

BASE_FEE_HEADROOM: Mapping[Urgency, int] = MappingProxyType({Urgency.ROUTINE: 2, Urgency.URGENT: 4})
"""The base fee rises at most 12.5 % a block (EIP-1559): ×2 covers five rises in a row, ×4 eleven."""

LEAST_BUMP_PERCENT = 10
"""Nodes refuse a replacement that raises either cap by less (geth's `--txpool.pricebump`)."""

NO_OP_GAS = 21_000
MOST_NO_OP_GAS = 10_000_000
"""With the cost of its bytes on L1 at its dearest; one endpoint alone tells it."""

MOST_STEP_OF_BASE_FEE = 2
"""A next base fee further from the head's than by this factor is not believed: EIP-1559 moves it by
12.5 % a block, and no rollup's rule comes near doubling it."""

MOST_TIP_IN_BASE_FEES = 4
MOST_TIP_WEI = Wei(10 * 10**9)
"""What a first offer tips at most, however much recent blocks are said to have paid: the larger of
the two, or the floor where that is above both. One endpoint tells those figures and nothing bears
them out, while the base fee is in the block itself. Who has to pay more comes to it by outbidding
oneself, a step at a time."""

MOST_RAISE_OF_TIP = 2
"""By which factor a bid that blocks went by follows the market's tips beyond that: what was not mined
bears them out, and from 10 to 80 gwei are three steps."""

MOST_WEI_PER_GAS = 2**63
"""Nine of the chain's coins for one gas: no chain has such a fee, and no store such a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """The two caps of a type-2 transaction."""

    max_fee_wei: Wei
    priority_fee_wei: Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeHistory:
    """What recent blocks paid; empty where the node does not tell."""

    next_base_fee_wei: Wei | None = None
    """Of the block after the newest: the chain's rules fix it."""
    rewards_wei: tuple[tuple[int, ...], ...] = ()
    """Of each block, one per percentile; a block may hold fewer."""

    def rewards(self, urgency: Urgency) -> list[int]:
        """What each block paid at the urgency's percentile."""
        place = list(PERCENTILES).index(urgency)
        return [block[min(place, len(block) - 1)] for block in self.rewards_wei if block]


Bound = Literal["max_fee_gwei", "max_share_of_loss", "max_spend_per_day"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The most to pay per gas, and the setting that says so."""

    max_fee_wei: Wei
    bound: Bound


class FeeCapReachedError(Exception):
    """The next block, or outbidding oneself, costs more than the owner allows."""

    def __init__(self, needed_wei: int, ceiling: Ceiling) -> None:
        super().__init__(
            f"the next block needs {_gwei(needed_wei)} gwei, above what {ceiling.bound} allows "
            f"= {_gwei(ceiling.max_fee_wei)}; raise {ceiling.bound} if the position is "
            "worth it"
        )
        self.needed_wei = needed_wei
        self.ceiling = ceiling


def decode_fee_history(answer: Any, head: Head) -> FeeHistory:
    """The answer to eth_feeHistory with `PERCENTILES` up to `head`, whatever it is; empty where any of
    it makes no sense, and without a base fee that the head's cannot come to in one block."""
    try:
        told = _per_gas_told(answer["baseFeePerGas"][-1])
        rewards = tuple(
            tuple(_per_gas_told(reward) for reward in block) for block in answer.get("reward") or ()
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return FeeHistory()
    lowest = head.base_fee_wei // MOST_STEP_OF_BASE_FEE
    # A base fee of 0 may rise by one.
    highest = head.base_fee_wei * MOST_STEP_OF_BASE_FEE + 1
    return FeeHistory(
        next_base_fee_wei=Wei(told) if lowest <= told <= highest else None, rewards_wei=rewards
    )


def _per_gas_told(answer: Any) -> int:
    told = quantity(answer)
    if told is None or told >= MOST_WEI_PER_GAS:
        raise ValueError(f"{answer!r:.80} is no price of gas")
    return told


def _gwei(wei: int) -> str:
    """With two decimals, rounded down."""
    return f"{wei // 10**9}.{wei % 10**9 // 10**7:02d}"


def suggest_fees(
    *,
    base_fee_wei: Wei,
    rewards_wei: Sequence[int],
    floor_wei: Wei,
    ceiling: Ceiling,
    urgency: Urgency,
    outbid: Fees | None = None,
) -> Fees:
    """Fees that stay valid for several rising blocks, from the next one's base fee.

    priority = max(floor, median of `rewards_wei`), the floor because quiet chains answer 0, the
    median at most max(`MOST_TIP_IN_BASE_FEES` × base, `MOST_TIP_WEI`), or `MOST_RAISE_OF_TIP` × the
    tip that is `outbid`;
    max = headroom × base + priority, at most the ceiling. Raises `FeeCapReachedError` if the
    ceiling does not even pay base + floor now.
    """
    if base_fee_wei + floor_wei > ceiling.max_fee_wei:
        raise FeeCapReachedError(base_fee_wei + floor_wei, ceiling)
    median = sorted(rewards_wei)[len(rewards_wei) // 2] if rewards_wei else 0
    most_tip = max(MOST_TIP_IN_BASE_FEES * base_fee_wei, MOST_TIP_WEI)
    if outbid is not None:
        most_tip = max(most_tip, MOST_RAISE_OF_TIP * outbid.priority_fee_wei)
    tip = min(median, most_tip)
    priority = min(max(floor_wei, tip), ceiling.max_fee_wei - base_fee_wei)
    wanted = BASE_FEE_HEADROOM[urgency] * base_fee_wei + priority
    return Fees(max_fee_wei=Wei(min(wanted, ceiling.max_fee_wei)), priority_fee_wei=Wei(priority))


def replacement(*, old: Fees, market: Fees | None, ceiling: Ceiling) -> Fees:
    """Fees that take the place of `old` in every mempool: of each cap the larger of the market's
    and old × 1.125, rounded up; less, but never below `LEAST_BUMP_PERCENT`, where the ceiling cuts
    it. Without a market the old fees alone are outbid.

    Raises `FeeCapReachedError` if the ceiling leaves no room for that.
    """
    max_fee, priority = _raised(old.max_fee_wei), _raised(old.priority_fee_wei)
    if market is not None:
        max_fee = max(max_fee, market.max_fee_wei)
        priority = max(priority, market.priority_fee_wei)
    max_fee = min(max_fee, ceiling.max_fee_wei)
    new = Fees(max_fee_wei=Wei(max_fee), priority_fee_wei=Wei(min(priority, max_fee)))
    if not replaces(new, old):
        raise FeeCapReachedError(_least(old.max_fee_wei), ceiling)
    return new


def replaces(new: Fees, old: Fees) -> bool:
    """Whether a node takes `new` in place of `old`: both caps higher by `LEAST_BUMP_PERCENT`."""
    return new.max_fee_wei >= _least(old.max_fee_wei) and new.priority_fee_wei >= _least(
        old.priority_fee_wei
    )


def _raised(cap_wei: int) -> int:
    return max(mul_div_up(cap_wei, 9, 8), cap_wei + 1)


def _least(cap_wei: int) -> int:
    return max(mul_div_up(cap_wei, 100 + LEAST_BUMP_PERCENT, 100), cap_wei + 1)


def ceiling(
    *,
    urgency: Urgency,
    hard_cap_wei: Wei,
    worth_wei: Wei | None,
    budget_left_wei: Wei,
    gas_limit: int,
    l1_fee_wei: Wei,
) -> Ceiling:
    """The most to pay per gas for transactions of `gas_limit` gas in all, rounded down.

    Routine: the hard cap. Urgent: what protection is worth, after the L1 data fee; the hard cap
    where that is not known. Both end at what the signer may still spend today.
    """
    if urgency is Urgency.ROUTINE or worth_wei is None:
        chosen = Ceiling(max_fee_wei=hard_cap_wei, bound="max_fee_gwei")
    else:
        chosen = Ceiling(
            max_fee_wei=_per_gas(worth_wei, l1_fee_wei, gas_limit), bound="max_share_of_loss"
        )
    budget = _per_gas(budget_left_wei, l1_fee_wei, gas_limit)
    if budget < chosen.max_fee_wei:
        return Ceiling(max_fee_wei=budget, bound="max_spend_per_day")
    return chosen


def _per_gas(total_wei: int, l1_fee_wei: int, gas_limit: int) -> Wei:
    return Wei(max(total_wei - l1_fee_wei, 0) // max(gas_limit, 1))


def worth_wei(*, loss_usd8: int, share: Bps, native_usd8: int) -> Wei:
    """`share` of a loss in the chain's own coin, rounded down; USD carry 8 decimals."""
    return Wei(mul_div_down(loss_usd8 * share, WAD, native_usd8 * 10_000))
