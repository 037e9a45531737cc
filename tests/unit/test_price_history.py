"""Rounds on disk: exact, once, oldest first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.model.units import Price
from keeper.protocols.chainlink import Round
from keeper.storage.database import open_database
from keeper.storage.prices import PriceHistory
from tests.unit.fake_rpc import address

FEED = address("f1")
PHASE = 5 << 64
"""Beyond what SQLite's integers hold."""


def at(number: int, updated_at: int, value: int = 2**200) -> Round:
    return Round(id=PHASE + number, price=Price(value=value, decimals=8, updated_at=updated_at))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[PriceHistory]:
    engine = open_database(tmp_path / "journal.sqlite3")
    yield PriceHistory(engine)
    engine.dispose()


def test_since__rounds_of_one_feed__are_exact_and_oldest_first(history: PriceHistory) -> None:
    history.add(1, FEED, [at(9, 90), at(10, 100)])
    history.add(1, FEED, [at(8, 80)])
    history.add(1, address("f2"), [at(1, 95)])
    history.add(2, FEED, [at(1, 95)])
    assert history.since(1, FEED, 0) == [at(8, 80), at(9, 90), at(10, 100)]
    assert history.since(1, FEED, 90) == [at(9, 90), at(10, 100)]
    assert history.since(1, FEED, 101) == []


def test_since__rounds_of_the_same_second__are_in_the_order_of_their_ids(
    history: PriceHistory,
) -> None:
    history.add(1, FEED, [at(10, 100), at(9, 100), at(11, 100)])
    assert history.since(1, FEED, 0) == [at(9, 100), at(10, 100), at(11, 100)]


def test_add__round_read_again__changes_nothing(history: PriceHistory) -> None:
    history.add(1, FEED, [at(1, 10, value=5)])
    history.add(1, FEED, [at(1, 10, value=6), at(2, 20)])
    history.add(1, FEED, [])
    assert history.since(1, FEED, 0) == [at(1, 10, value=5), at(2, 20)]
