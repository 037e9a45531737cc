"""EIP-1559 fees as pure arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keeper.model.units import Wei

FEE_HISTORY_BLOCKS = 10
FEE_HISTORY_PERCENTILE = 60

BASE_FEE_HEADROOM = 2
"""The base fee rises at most 12.5 % a block (EIP-1559): ×2 covers five rises in a row."""


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
    rewards_wei: tuple[int, ...] = ()


class FeeCapReachedError(Exception):
    """The next block already costs more than the owner allows."""

    def __init__(self, needed_wei: int, cap_wei: int) -> None:
        super().__init__(
            f"the next block needs {needed_wei / 1e9:.2f} gwei, above max_fee_gwei = "
            f"{cap_wei / 1e9:.2f}; raise [fees] max_fee_gwei if the position is worth it"
        )


def decode_fee_history(answer: Any) -> FeeHistory:
    """The answer to eth_feeHistory with one percentile, whatever it is."""
    try:
        return FeeHistory(
            next_base_fee_wei=Wei(int(answer["baseFeePerGas"][-1], 16)),
            rewards_wei=tuple(int(block[0], 16) for block in answer.get("reward") or () if block),
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return FeeHistory()


def suggest_fees(
    *, base_fee_wei: Wei, rewards_wei: Sequence[int], floor_wei: Wei, cap_wei: Wei
) -> Fees:
    """Fees that stay valid for several rising blocks, from the next one's base fee.

    priority = max(floor, median of `rewards_wei`), the floor because quiet chains answer 0;
    max = headroom × base + priority, at most `cap_wei`. Raises `FeeCapReachedError` if the cap
    does not even pay base + floor now.
    """
    if base_fee_wei + floor_wei > cap_wei:
        raise FeeCapReachedError(base_fee_wei + floor_wei, cap_wei)
    median = sorted(rewards_wei)[len(rewards_wei) // 2] if rewards_wei else 0
    priority = min(max(floor_wei, median), cap_wei - base_fee_wei)
    return Fees(
        max_fee_wei=Wei(min(BASE_FEE_HEADROOM * base_fee_wei + priority, cap_wei)),
        priority_fee_wei=Wei(priority),
    )
