"""The cost guard."""

import numpy as np
import pytest

from keeper.policy.worth import worth_acting

# A debt of 10,000 dollars at a penalty of 5 % and a close factor of one half: a liquidation takes
# 250 dollars, of which 0.4 are 100.


@pytest.mark.parametrize(
    ("cash_cost", "worth"), [(99.99, True), (100.0, True), (100.01, False), (0.0, True)]
)
def test_worth_acting__cost_around_the_share__acts_up_to_it(cash_cost: float, worth: bool) -> None:
    assert worth_acting(cash_cost, 250.0, 0.4) is worth


def test_worth_acting__no_loss_to_spare__acts_for_nothing_only() -> None:
    assert worth_acting(0.0, 0.0)
    assert not worth_acting(0.01, 0.0)


def test_worth_acting__unknown_cost__does_not_keep_from_acting() -> None:
    assert worth_acting(float("nan"), 250.0)


def test_worth_acting__integers_of_a_chain__are_judged_too() -> None:
    assert worth_acting(100 * 10**8, 250 * 10**8, 0.4)
    assert not worth_acting(100 * 10**8 + 1, 250 * 10**8, 0.4)


def test_worth_acting__rows__are_judged_each_by_its_own_share() -> None:
    cost = np.array([100.0, 101.0, 101.0])
    assert worth_acting(cost, np.full(3, 250.0), np.array([0.4, 0.4, 0.5])).tolist() == [
        True,
        False,
        True,
    ]
