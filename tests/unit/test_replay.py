"""Replays over a handful of rounds, worked by hand."""

import numpy as np
import pytest

from keeper.backtest.ledger import LIQUIDATION, RESERVE, SWAP
from keeper.backtest.replay import Replayed, replay
from keeper.backtest.terms import OTHERS, terms
from keeper.model.book import Floats
from keeper.policy.rule import Rule
from tests.backtest.ground import one

RULE = Rule(floor=1.24, target=1.40, scaled_to_start=False)
# From 2,000 dollars at health 1.25, 1,600 is where health is 1.


@pytest.fixture(autouse=True)
def every_block_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keeper.backtest.replay.failure", lambda move: np.zeros_like(move))


def happened(found: Replayed) -> list[int]:
    return list(found.events.kind.tolist())


# -- liquidation by the protocol's rules -----------------------------------------------------------


def test_replay__health_just_below_one__half_of_the_debt_is_repaid_at_the_bonus() -> None:
    # 1,560 dollars: 7.8125 × 1,560 × 0.8 / 10,000 = 0.975. 5,000 are repaid for 5,250 of collateral:
    # (12,187.5 − 5,250) × 0.8 / 5,000 = 1.11.
    found = replay(one([1_560.0]), {"nothing": None}, seed=1)
    assert happened(found) == [LIQUIDATION]
    event = found.events
    assert event.repaid[0] == pytest.approx(5_000.0)
    assert event.penalty_usd[0] == pytest.approx(250.0)
    assert event.health_before[0] == pytest.approx(0.975)
    assert event.health_after[0] == pytest.approx(1.11)
    assert found.cost_usd[0, 0] == pytest.approx(250.0)


def test_replay__health_at_most_095__all_of_the_debt_is_repaid() -> None:
    # 1,480 dollars: health 0.925.
    found = replay(one([1_480.0]), {"nothing": None}, seed=1)
    assert found.events.repaid.tolist() == pytest.approx([10_000.0])
    assert found.cost_usd[0, 0] == pytest.approx(500.0)


def test_replay__still_below_one_after_a_liquidation__the_next_comes_in_the_same_block() -> None:
    # Collateral that counts 96 % of its value, and a bonus of 10 %: every liquidation makes it worse.
    assert terms("DOGE/USD") == OTHERS
    positions = one(
        [1_950.0],
        pair="DOGE/USD",
        collateral_amount=10_000.0 * 1.02 / (0.96 * 2_000.0),
        health_start=1.02,
    )
    found = replay(positions, {"nothing": None}, seed=1)
    assert found.liquidations[0, 0] == 2
    assert len(set(found.events.time.tolist())) == 1
    # 0.9945: half; then below 0.95: what the collateral pays for.
    assert found.events.repaid[0] == pytest.approx(5_000.0)
    assert found.events.health_before[1] < 0.95


# -- what an action costs --------------------------------------------------------------------------


def test_replay__reserve_reaches_the_target__gas_and_carry_are_its_cost() -> None:
    # 1,980 dollars: health 1.2375, 10,000 − 12,375/1.4 = 1,160.714 to be repaid. The market moved
    # by ln(0.99) = 0.01005: gas is 10 × 1.50252. Carry: 1,160.714 × 4 % × 30/365.
    found = replay(one([1_980.0]), {"ours": RULE}, seed=1)
    assert happened(found) == [RESERVE]
    event = found.events
    assert event.repaid[0] == pytest.approx(1_160.714, abs=1e-3)
    assert event.gas_usd[0] == pytest.approx(15.0252, abs=1e-4)
    assert event.carry_usd[0] == pytest.approx(3.8161, abs=1e-4)
    assert event.health_after[0] == pytest.approx(1.40)
    assert found.cost_usd[0, 0] == pytest.approx(18.8413, abs=1e-4)


def test_replay__no_reserve__collateral_is_sold_at_the_pools_fee_and_impact() -> None:
    # Sells y with (15,468.75 − y) × 0.8 = 1.4 × (10,000 − y × (1 − 0.0005 − y/depth)); the depth of
    # 100 million is 83 million after a move of 1 %: y = 1,625/(1.4 × 0.9995 − 0.8) = 2,712.
    found = replay(one([1_980.0], reserve_share=0.0), {"ours": RULE}, seed=1)
    assert happened(found) == [SWAP]
    event = found.events
    assert event.sold[0] == pytest.approx(2_712.0, abs=1.0)
    assert event.swap_fee_usd[0] == pytest.approx(0.0005 * event.sold[0])
    assert event.impact_usd[0] == pytest.approx(event.sold[0] ** 2 / 83.25e6, rel=1e-3)
    assert event.carry_usd[0] == 0.0
    assert event.health_after[0] == pytest.approx(1.40, abs=1e-6)


def test_replay__action_dearer_than_the_guard__is_not_made() -> None:
    # A liquidation takes 250 dollars, of which 0.4 are 100; even in calm gas and carry are
    # 99 + 3.82, or gas and a swap 99 + 1.36.
    assert happened(replay(one([1_980.0], gas_usd=99.0), {"ours": RULE}, seed=1)) == []
    free = Rule(floor=1.24, target=1.40, scaled_to_start=False, guard_share=None)
    assert happened(replay(one([1_980.0], gas_usd=99.0), {"ours": free}, seed=1)) == [RESERVE]


def test_replay__steep_guard__dear_action_waits_until_the_danger_is_worth_it() -> None:
    # At 1.2375 the share is 1.2375^−10 = 0.119, 30 dollars: not worth 15 × 2. At 1.10 (1,760) it is
    # 0.386 of 250, 96 dollars, and gas is 20 × 6.9.
    steep = Rule(
        floor=1.24, target=1.40, scaled_to_start=False, guard_share=1.0, guard_steepness=10.0
    )
    path = [1_980.0] * 20 + [1_950.0] * 20
    assert happened(replay(one(path, gas_usd=40.0), {"ours": steep}, seed=1)) == []
    deeper = [1_980.0] * 20 + [1_760.0] * 20
    found = replay(one(deeper, gas_usd=40.0), {"ours": steep}, seed=1)
    assert happened(found) == [RESERVE]
    # An hour later gas is calm again.
    assert found.events.gas_usd[0] == pytest.approx(40.0)


# -- what is seen, and when it lands ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("latency_min", "kinds"),
    [
        (1.0, [RESERVE]),
        (4.9, [RESERVE]),
        (5.0, [LIQUIDATION, RESERVE]),
        (15.0, [LIQUIDATION, RESERVE]),
    ],
)
def test_replay__liquidating_round_follows_at_once__only_a_quick_response_is_before_it(
    latency_min: float, kinds: list[int]
) -> None:
    # 1,950: health 1.21875. 1,590: 0.994 for who has not acted; 1.114 for who has.
    found = replay(one([1_950.0, 1_590.0], latency_min=latency_min), {"ours": RULE}, seed=1)
    assert happened(found)[: len(kinds)] == kinds


def test_replay__first_round_liquidates__no_policy_is_quick_enough() -> None:
    found = replay(one([1_590.0], latency_min=0.0), {"ours": RULE}, seed=1)
    assert happened(found)[0] == LIQUIDATION


def test_replay__transaction_misses_every_block__nothing_lands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(move: Floats) -> Floats:
        return np.ones_like(move)

    monkeypatch.setattr("keeper.backtest.replay.failure", never)
    assert happened(replay(one([1_950.0, 1_590.0]), {"ours": RULE}, seed=1)) == [LIQUIDATION]


def test_replay__price_came_back_while_the_transaction_waited__it_is_dropped() -> None:
    # 2,300 dollars: health 1.4375, above the target.
    assert happened(replay(one([1_980.0, 2_300.0], latency_min=5.0), {"ours": RULE}, seed=1)) == []


# -- the same for all ------------------------------------------------------------------------------


def test_replay__other_rules_beside__change_nothing() -> None:
    positions = one([1_950.0, 1_700.0, 1_900.0, 1_590.0], reserve_share=0.1)
    alone = replay(positions, {"ours": RULE}, seed=3)
    beside = replay(positions, {"nothing": None, "ours": RULE, "other": RULE}, seed=3)
    assert alone.cost_usd[0].tolist() == beside.cost_usd[1].tolist() == beside.cost_usd[2].tolist()


def test_replay__hosted_service__leaves_small_debts_alone() -> None:
    hosted = Rule(floor=1.24, target=1.40, scaled_to_start=False, least_debt_usd=30_000.0)
    assert happened(replay(one([1_980.0]), {"hosted": hosted}, seed=1)) == []
    large = one([1_980.0], debt_amount=40_000.0, collateral_amount=31.25)
    assert happened(replay(large, {"hosted": hosted}, seed=1)) == [RESERVE]
