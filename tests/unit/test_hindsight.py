"""What had become of a position that was left alone, worked by hand."""

from typing import Any

import pytest

from keeper.engine.hindsight import LeftAlone, left_alone

ETHER, DOLLAR = "0xfeed", "0xd011"


def term(feed: str | None, price: float, covers: float, owes: float) -> dict[str, Any]:
    return {"asset": "", "feed": feed, "price": price, "covers_usd": covers, "owes_usd": owes}


# 10 ether at 200 counted at 80 % against 1,400 dollars: 1600 / 1400 = 1.142857.
TERMS = [
    term(None, 1.0, 0.0, 0.0),
    term(ETHER, 200.0, 1_600.0, 0.0),
    term(DOLLAR, 1.0, 0.0, 1_400.0),
]


def test_left_alone__price_falls_through_the_boundary__tells_when_and_how_far() -> None:
    # At 175: 1400/1400 = 1 exactly, which is not below; at 170: 1360/1400; at 160: 1280/1400.
    rounds = {ETHER: [(110, 190.0), (120, 175.0), (130, 170.0), (140, 160.0), (150, 210.0)]}
    found = left_alone(TERMS, rounds, since=100, until=200)
    assert found is not None
    assert found.lowest_health == pytest.approx(1_280 / 1_400)
    assert (found.at, found.liquidatable_at) == (140, 130)


def test_left_alone__fall_after_the_time_looked_at__does_not_count() -> None:
    rounds = {ETHER: [(90, 100.0), (110, 190.0), (201, 100.0)]}
    found = left_alone(TERMS, rounds, since=100, until=200)
    assert found is not None
    assert found.lowest_health == pytest.approx(1_520 / 1_400)
    assert found.liquidatable_at is None


def test_left_alone__what_is_owed_rises__counts_as_well() -> None:
    found = left_alone(TERMS, {DOLLAR: [(150, 1.2)]}, since=100, until=200)
    assert found is not None
    assert found.lowest_health == pytest.approx(1_600 / 1_680)
    assert found.liquidatable_at == 150


def test_left_alone__no_round_since__is_what_it_was() -> None:
    found = left_alone(TERMS, {}, since=100, until=200)
    assert found == LeftAlone(lowest_health=1_600 / 1_400, at=100, liquidatable_at=None)


@pytest.mark.parametrize("terms", [[], [term(ETHER, 200.0, 1_600.0, 0.0)]])
def test_left_alone__nothing_known_or_owed__is_not_told(terms: list[dict[str, Any]]) -> None:
    assert left_alone(terms, {ETHER: [(150, 1.0)]}, since=100, until=200) is None
