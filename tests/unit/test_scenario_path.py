"""A scenario's path: knots are met, noise is seeded, blocks keep the file's spacing."""

from itertools import pairwise

import numpy as np
import pytest

from keeper.devnet.feeds import is_due
from keeper.devnet.path import Tick, block_times, past_rounds, ticks, waiting
from keeper.devnet.scenario import Scenario, packaged_scenario


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return packaged_scenario("black-thursday")


@pytest.fixture(scope="module")
def path(scenario: Scenario) -> tuple[Tick, ...]:
    return ticks(scenario)


def test_block_times__black_thursday__one_minute_in_the_crash_hours_else_five(
    scenario: Scenario,
) -> None:
    # 30 h = 1800 min, of which 85 + 50 + 80 = 215 min at one minute: 215 + 1585 / 5 = 532 blocks
    # after the first.
    times = block_times(scenario)
    assert len(times) == 533
    assert (times[0], times[-1]) == (scenario.start, scenario.end)
    assert {b - a for a, b in pairwise(times)} == {60, 300}


def test_block_times__spacing_changes_between_two_blocks__a_block_meets_the_change(
    scenario: Scenario,
) -> None:
    # Every 5 minutes from 0 would jump over 7 min; the minute blocks begin exactly there.
    start = scenario.start
    uneven = scenario.model_copy(
        update={"block_seconds": ((start, 300), (start + 420, 60)), "end": start + 600}
    )
    assert [at - start for at in block_times(uneven)] == [0, 300, 420, 480, 540, 600]


def test_ticks__at_a_knot__price_is_the_historical_one(
    scenario: Scenario, path: tuple[Tick, ...]
) -> None:
    by_time = {tick.timestamp: tick for tick in path}
    for symbol, asset in scenario.assets.items():
        met = [(by_time[at].prices[symbol], price) for at, price in asset.knots if at in by_time]
        assert len(met) >= 20
        found, expected = zip(*met, strict=True)
        assert found == pytest.approx(expected, rel=1e-12)


def test_ticks__black_thursday__falls_from_194_to_86(path: tuple[Tick, ...]) -> None:
    prices = [tick.prices["WETH"] for tick in path]
    assert prices[0] == pytest.approx(194.61)
    assert min(prices) == pytest.approx(86.0)


def test_ticks__same_seed__same_path(scenario: Scenario, path: tuple[Tick, ...]) -> None:
    assert ticks(scenario) == path


def test_ticks__other_seed__other_noise(scenario: Scenario, path: tuple[Tick, ...]) -> None:
    other = ticks(scenario.model_copy(update={"seed": scenario.seed + 1}))
    assert other != path
    assert other[-1].prices == pytest.approx(path[-1].prices)


def test_waiting__half_a_minute__blocks_come_all_along_at_the_first_price_before_the_start(
    path: tuple[Tick, ...],
) -> None:
    # 30 s by 4 s are 8 blocks; 1,800 s of the chain before the start make 9 gaps of 200 s.
    awaited = waiting(path, path[0].timestamp - 1800, wait_s=30, every_s=4)
    gaps = {b.timestamp - a.timestamp for a, b in pairwise([*awaited, path[0]])}
    assert (len(awaited), gaps) == (8, {200})
    assert awaited[0].timestamp == path[0].timestamp - 1600
    assert all(tick.prices == path[0].prices for tick in awaited)


def test_waiting__longer_than_the_chain_has_seconds__no_two_blocks_at_one_time(
    path: tuple[Tick, ...],
) -> None:
    times = [tick.timestamp for tick in waiting(path, path[0].timestamp - 10, 3600, 4)]
    assert times == [path[0].timestamp - 10 + second for second in range(1, 10)]


def test_waiting__not_at_all__is_no_block(path: tuple[Tick, ...]) -> None:
    assert waiting(path, path[0].timestamp - 1800, 0, 4) == ()


def test_past_rounds__thirty_days__rounds_follow_the_publishing_rule(scenario: Scenario) -> None:
    rounds = past_rounds(scenario, "WETH", scenario.start - 60)
    assert rounds[-1] == (19_461_000_000, scenario.start - 60)
    assert rounds[0].updated_at <= scenario.start - 30 * 24 * 3600
    assert all(is_due(a, b.answer / 1e8, b.updated_at) for a, b in pairwise(rounds[:-1]))


def test_past_rounds__volatility__is_the_scenarios(scenario: Scenario) -> None:
    # Rounds that come with a move of 0.5 % keep the path's variance: the sum of squared log
    # returns over 31 days at about 1.0 a year, plus the daily knots' own moves (1.1 a year).
    logs = np.log([one.answer for one in past_rounds(scenario, "WETH", scenario.start - 60)])
    per_year = np.sqrt(np.sum(np.diff(logs) ** 2) * 365 / 31)
    assert 0.8 < per_year < 1.6
