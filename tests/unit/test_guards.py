"""What makes a price or a chain too doubtful to swap by."""

from dataclasses import replace

import pytest

from keeper.policy.guards import (
    DISTRUST_S,
    HOUR_S,
    FeedAnswer,
    Level,
    feed_anomalies,
    sequencer_anomaly,
)
from tests.unit.fake_rpc import address

NOW = 1_700_000_000
FEED = address("f0")
USUAL = FeedAnswer(answer=2_000 * 10**8, started_at=NOW, updated_at=NOW, decimals=8)


def names(
    latest: FeedAnswer | None, *, level: Level | None = None, heartbeat_s: int | None = HOUR_S
) -> list[str]:
    found = feed_anomalies(
        FEED,
        latest,
        name="the feed",
        first=USUAL,
        level=level or Level(answer=USUAL.answer),
        heartbeat_s=heartbeat_s,
        now=NOW,
    )
    return [each.name for each in found]


def aged(age_s: int) -> FeedAnswer:
    return replace(USUAL, updated_at=NOW - age_s)


def test_feed__as_usual__is_not_doubted() -> None:
    assert names(USUAL) == []


@pytest.mark.parametrize(
    ("heartbeat_s", "fresh_s", "stale_s"),
    [
        # One and a half times an hour is 90 minutes.
        (HOUR_S, 90 * 60, 90 * 60 + 1),
        # Never before half an hour.
        (60, 30 * 60, 30 * 60 + 1),
        # A rhythm that is not known may be a day.
        (None, 25 * HOUR_S, 25 * HOUR_S + 1),
    ],
)
def test_feed__silent_beyond_its_own_rhythm__is_stale(
    heartbeat_s: int | None, fresh_s: int, stale_s: int
) -> None:
    assert names(aged(fresh_s), heartbeat_s=heartbeat_s) == []
    assert names(aged(stale_s), heartbeat_s=heartbeat_s) == ["oracle.stale"]


@pytest.mark.parametrize("answer", [0, -1])
def test_feed__zero_or_negative__is_doubted(answer: int) -> None:
    assert names(replace(USUAL, answer=answer)) == ["oracle.not_positive"]


@pytest.mark.parametrize("decimals", [18, None])
def test_feed__other_decimals_than_before__is_doubted(decimals: int | None) -> None:
    assert names(replace(USUAL, decimals=decimals)) == ["oracle.decimals_changed"]


def test_feed__does_not_answer_any_more__is_doubted() -> None:
    assert names(None) == ["oracle.silent"]


def level_after(*answers: tuple[int, int], market: int | None = None) -> Level:
    """Of (answer, seconds from now)."""
    level = Level(answer=2_000)
    for answer, later_s in answers:
        level = level.followed_by(answer, now=NOW + later_s, market=market)
    return level


def test_level__fifth_up_or_down__is_no_jump() -> None:
    assert level_after((2_400, 0)).before is None
    assert level_after((1_600, 0)).before is None


@pytest.mark.parametrize("answer", [2_401, 1_599, 20_000])
def test_level__more_than_a_fifth__is_doubted_until_it_has_stood_long_enough(answer: int) -> None:
    assert level_after((answer, 0)).before == 2_000
    assert level_after((answer, 0), (answer, DISTRUST_S - 1)).before == 2_000
    assert level_after((answer, 0), (answer, DISTRUST_S)).before is None
    assert names(USUAL, level=level_after((answer, 0))) == ["oracle.jumped"]


def test_level__jump_taken_back__is_doubted_no_more() -> None:
    assert level_after((20_000, 0), (2_100, 12)) == Level(answer=2_100)


def test_level__zero_between__leaves_the_level_as_it_was() -> None:
    assert level_after((0, 0), (-5, 12)) == Level(answer=2_000)
    assert level_after((0, 0), (2_100, 12)) == Level(answer=2_100)


def test_level__jump_that_the_market_bears_out__is_believed() -> None:
    assert level_after((1_500, 0), market=1_575).before is None
    assert level_after((1_500, 0), market=1_600).before == 2_000


def uptime(answer: int, for_s: int) -> FeedAnswer:
    since = NOW - for_s
    return FeedAnswer(answer=answer, started_at=since, updated_at=since, decimals=0)


@pytest.mark.parametrize(
    ("latest", "name"),
    [
        (uptime(1, 5 * HOUR_S), "sequencer.down"),
        (uptime(0, NOW), "sequencer.down"),  # A feed that was never written says 0 since 0.
        (None, "sequencer.down"),
        (uptime(0, HOUR_S - 1), "sequencer.grace"),
        (uptime(0, HOUR_S), None),
    ],
)
def test_sequencer__down_or_just_back__is_doubted(
    latest: FeedAnswer | None, name: str | None
) -> None:
    found = sequencer_anomaly(FEED, latest, grace_s=HOUR_S, now=NOW)
    assert (found and found.name) == name
