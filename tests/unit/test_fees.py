"""EIP-1559 fees, worked by hand in gwei."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.chain.fees import Ceiling, FeeCapReachedError, Fees, suggest_fees
from keeper.model.lifecycle import Urgency
from keeper.model.units import Wei

GWEI = 10**9


def hard(cap: int) -> Ceiling:
    return Ceiling(max_fee_wei=Wei(cap), bound="max_fee_gwei")


def suggested(base: float, rewards: list[float], *, floor: float = 0.1, cap: float = 100) -> Fees:
    return suggest_fees(
        base_fee_wei=Wei(round(base * GWEI)),
        rewards_wei=[round(each * GWEI) for each in rewards],
        floor_wei=Wei(round(floor * GWEI)),
        ceiling=hard(round(cap * GWEI)),
        urgency=Urgency.ROUTINE,
    )


def gwei(fees: Fees) -> tuple[float, float]:
    return fees.max_fee_wei / GWEI, fees.priority_fee_wei / GWEI


@pytest.mark.parametrize(
    ("base", "rewards", "expected"),
    [
        (20, [1, 3, 2], (42, 2)),  # the median: 2 × 20 + 2
        (20, [3, 1, 9, 2], (43, 3)),  # of an even number the higher of the two in the middle
        (20, [0, 0, 0], (40.1, 0.1)),  # a quiet chain answers nothing: the floor
        (20, [], (40.1, 0.1)),  # a node without fee history: the floor
        (0, [0], (0.1, 0.1)),  # a chain without a base fee
        (60, [1], (100, 1)),  # 2 × 60 + 1 is clipped at the cap
        (95, [30], (100, 5)),  # the cap leaves 5 for the miner
        (99.9, [30], (100, 0.1)),  # the cap just pays base and floor
    ],
)
def test_suggest_fees__worked_by_hand(
    base: float, rewards: list[float], expected: tuple[float, float]
) -> None:
    assert gwei(suggested(base, rewards)) == expected


def test_suggest_fees__five_rises_in_a_row__are_still_paid() -> None:
    fees = suggested(20, [1])
    base_fee_wei = 20 * GWEI
    for _ in range(5):
        base_fee_wei += base_fee_wei // 8
    assert fees.max_fee_wei >= base_fee_wei + fees.priority_fee_wei


def test_suggest_fees__cap_below_the_next_block__raises_with_both_figures_and_the_remedy() -> None:
    with pytest.raises(FeeCapReachedError, match=r"120\.10 gwei.*100\.00.*max_fee_gwei"):
        suggested(120, [1])
    with pytest.raises(FeeCapReachedError):
        suggested(99.95, [1])


def test_fee_cap_reached__figures_beyond_any_float__can_be_said() -> None:
    error = FeeCapReachedError(10**400 + 129 * 10**7, hard(5 * 10**8))
    assert f"1{'0' * 390}1.29 gwei" in str(error)
    assert "= 0.50;" in str(error)


@pytest.mark.parametrize(
    ("base", "tips", "floor", "tip"),
    [
        (1, 1_000_000, 0.1, 10),  # on a quiet chain ten gwei
        (50, 1_000_000, 0.1, 200),  # on a busy one four times the base fee
        (1, 1_000_000, 30, 30),  # the owner's floor, where it is higher
        (50, 199, 0.1, 199),
    ],
)
def test_suggest_fees__a_node_tells_of_huge_tips__a_first_offer_follows_the_base_fee(
    base: float, tips: float, floor: float, tip: float
) -> None:
    _, priority = gwei(suggested(base, [tips] * 10, floor=floor, cap=10**9))
    assert priority == tip


def test_suggest_fees__blocks_went_by_a_bid__follows_the_market_by_doubling() -> None:
    fees = suggested(1, [100] * 10, cap=10**6)
    tips = []
    for _ in range(5):
        fees = suggest_fees(
            base_fee_wei=Wei(GWEI),
            rewards_wei=[100 * GWEI] * 10,
            floor_wei=Wei(1),
            ceiling=hard(10**6 * GWEI),
            urgency=Urgency.URGENT,
            outbid=fees,
        )
        tips.append(fees.priority_fee_wei // GWEI)
    assert tips == [20, 40, 80, 100, 100]


wei = st.integers(0, 10**12)


@given(wei, st.lists(wei, max_size=10), wei, wei)
def test_suggest_fees__any_market__pays_the_next_block_within_the_cap(
    base: int, rewards: list[int], floor: int, cap: int
) -> None:
    def fees() -> Fees:
        return suggest_fees(
            base_fee_wei=Wei(base),
            rewards_wei=rewards,
            floor_wei=Wei(floor),
            ceiling=hard(cap),
            urgency=Urgency.ROUTINE,
        )

    if base + floor > cap:
        with pytest.raises(FeeCapReachedError):
            fees()
        return
    found = fees()
    assert floor <= found.priority_fee_wei <= found.max_fee_wei <= cap
    assert found.max_fee_wei >= base + found.priority_fee_wei
