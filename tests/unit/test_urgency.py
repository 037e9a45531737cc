"""How near liquidation is, and what keeping it away may cost in gas."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.chain.fees import BASE_FEE_HEADROOM, Ceiling, suggest_fees
from keeper.model.lifecycle import Urgency
from keeper.model.units import WAD, Bps, Wad, Wei
from keeper.model.values import LiquidationTerms
from keeper.policy.urgency import liquidation_loss_usd8, urgency_of

GWEI = 10**9
TERMS = LiquidationTerms(close_factor=Bps(5_000), liquidation_penalty=Bps(500))


@pytest.mark.parametrize(
    ("health", "probability", "urgency"),
    [
        # Floor 1.20: the middle of the way is 1.10.
        (1.10, None, Urgency.ROUTINE),
        (1.0999, None, Urgency.URGENT),
        (0.97, None, Urgency.URGENT),
        (1.19, 0.5, Urgency.ROUTINE),
        (1.19, 0.51, Urgency.URGENT),
        (None, None, Urgency.ROUTINE),
    ],
)
def test_urgency_of__health_and_forecast__the_nearer_danger_counts(
    health: float | None, probability: float | None, urgency: Urgency
) -> None:
    wad = None if health is None else Wad(round(health * 10_000) * WAD // 10_000)
    assert urgency_of(wad, Wad(WAD * 12 // 10), probability) is urgency


def test_liquidation_loss_usd8__worked_by_hand__half_the_debt_at_five_per_cent() -> None:
    assert liquidation_loss_usd8(1_000 * 10**8, TERMS) == 25 * 10**8
    assert liquidation_loss_usd8(39, TERMS) == 0
    whole = replace(TERMS, close_factor=Bps(10_000))
    assert liquidation_loss_usd8(1_000 * 10**8, whole) == 50 * 10**8


amounts = st.integers(1, 10**13)


@given(base=amounts, rewards=st.lists(amounts, max_size=10), most=st.integers(1, 10**15))
def test_suggest_fees__urgent__bids_no_less_than_routine_within_one_ceiling(
    base: int, rewards: list[int], most: int
) -> None:
    allowed = Ceiling(max_fee_wei=Wei(most + base + 1), bound="max_share_of_loss")
    routine, urgent = (
        suggest_fees(
            base_fee_wei=Wei(base),
            rewards_wei=rewards,
            floor_wei=Wei(1),
            ceiling=allowed,
            urgency=urgency,
        )
        for urgency in Urgency
    )
    assert routine.max_fee_wei <= urgent.max_fee_wei <= allowed.max_fee_wei
    assert urgent.priority_fee_wei <= urgent.max_fee_wei
    assert urgent.max_fee_wei >= min(BASE_FEE_HEADROOM[Urgency.URGENT] * base, most + base + 1)
