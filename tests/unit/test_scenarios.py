"""The packaged scenarios: each is the stretch of history that it says it is, seen through a feed."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from keeper.devnet.feeds import DECIMALS, Round, is_due
from keeper.devnet.path import past_rounds, ticks
from keeper.devnet.scenario import packaged_scenario
from keeper.devnet.stage import SETUP_S
from keeper.devnet.twins import HEALTH_AT_START
from keeper.forecast.first_passage import forecast
from keeper.forecast.volatility import RoundSeries, covariance
from keeper.model.book import QUOTE, Book, Column
from keeper.model.units import WAD, Address

NAMES = ("black-thursday", "may-2021", "wick", "slow-bleed", "calm")
FEED = Column(source=Address("0x" + "11" * 20), label="WETH")
FLOOR, TRIGGER = 1.15, 0.05
"""The forecast twin's."""
DAY_S = 86_400


@dataclass(frozen=True)
class Untouched:
    """The start position left alone, at each block: what the oracle and the forecast say of it."""

    past: tuple[Round, ...]
    oracle: tuple[Round, ...]
    """The feed's newest round at each block."""
    healths: tuple[float, ...]
    probabilities: tuple[float, ...]

    def first_below(self, floor: float) -> int:
        """The first block whose health is below; one past the end if none is."""
        return next((i for i, h in enumerate(self.healths) if h < floor), len(self.healths))

    def first_likelier(self, trigger: float) -> int:
        return next((i for i, p in enumerate(self.probabilities) if p > trigger), len(self.healths))


@pytest.fixture(scope="module")
def untouched(request: pytest.FixtureRequest) -> Untouched:
    scenario = packaged_scenario(request.param)
    path = ticks(scenario)
    past = past_rounds(scenario, "WETH", scenario.start - SETUP_S)
    rounds, oracle, probabilities = list(past), [], []
    health_per_answer = HEALTH_AT_START / WAD / past[-1].answer
    pool = path[0].prices["WETH"]
    for tick in path:
        # As the market does it: a feed publishes what the pool said at the end of the block before.
        if is_due(rounds[-1], pool, tick.timestamp):
            rounds.append(Round(round(pool * 10**DECIMALS), tick.timestamp))
        pool = tick.prices["WETH"]
        oracle.append(rounds[-1])
        probabilities.append(breach_probability(rounds, health_per_answer, tick.timestamp))
    healths = tuple(one.answer * health_per_answer for one in oracle)
    return Untouched(past, tuple(oracle), healths, tuple(probabilities))


def breach_probability(rounds: list[Round], health_per_answer: float, now: int) -> float:
    """Within 24 h, of one collateral against dollars."""
    series = RoundSeries.of(
        ((one.updated_at, one.answer) for one in rounds if one.updated_at > now - 31 * DAY_S),
        decimals=DECIMALS,
    )
    price = rounds[-1].answer / 10**DECIMALS
    debt = price / (rounds[-1].answer * health_per_answer)
    book = Book(
        C=np.array([[0.0, 1.0]]),
        D=np.array([[debt, 0.0]]),
        p=np.array([1.0, price]),
        columns=(QUOTE, FEED),
    )
    assert FEED.source
    sigma = covariance(book.columns, {FEED.source: series}, now)
    return float(forecast(book, sigma, horizon_s=DAY_S, monitored_every_s=0.0).probability[0])


@pytest.mark.parametrize("name", NAMES)
def test_packaged_scenario__length__is_shown_within_two_minutes(name: str) -> None:
    scenario = packaged_scenario(name)
    blocks = len(ticks(scenario))
    assert 450 <= blocks <= 600
    # The rest of the two minutes is for bringing the chain and the keeper up.
    assert blocks * scenario.wall_seconds <= 90


@pytest.mark.parametrize("name", NAMES)
def test_packaged_scenario__seed__is_its_date(name: str) -> None:
    scenario = packaged_scenario(name)
    date = np.datetime64(scenario.start, "s").astype("datetime64[D]")
    assert scenario.seed == int(str(date).replace("-", ""))


@pytest.mark.parametrize(
    ("name", "first", "last", "lowest"),
    [
        ("black-thursday", 194.61, 116.63, 86.0),
        ("may-2021", 3_403.33, 2_438.92, 1_888.0),
        ("wick", 2_723.95, 2_388.13, 1_785.85),
        ("slow-bleed", 474.25, 288.0, 253.24),
        ("calm", 1_829.1, 1_845.5, 1_826.54),
    ],
)
def test_ticks__scenario__starts_ends_and_bottoms_at_the_recorded_prices(
    name: str, first: float, last: float, lowest: float
) -> None:
    prices = [tick.prices["WETH"] for tick in ticks(packaged_scenario(name))]
    assert (prices[0], prices[-1]) == pytest.approx((first, last))
    # Noise between two knots near the low may go a little beyond it.
    assert min(prices) == pytest.approx(lowest, rel=0.01)


@pytest.mark.parametrize(
    ("untouched", "recorded"),
    [("may-2021", 1.36), ("wick", 1.65), ("slow-bleed", 0.70), ("calm", 0.29)],
    indirect=["untouched"],
)
def test_past_rounds__month_before__has_the_volatility_of_recorded_hourly_prices(
    untouched: Untouched, recorded: float
) -> None:
    end = untouched.past[-1].updated_at
    month = [one.answer for one in untouched.past if one.updated_at > end - 30 * DAY_S]
    per_year = np.sqrt(np.sum(np.diff(np.log(month)) ** 2) * 365 / 30)
    assert per_year == pytest.approx(recorded, rel=0.1)


@pytest.mark.parametrize("untouched", ["wick"], indirect=True)
def test_wick__oracle__one_round_fifteen_percent_lower_and_back(untouched: Untouched) -> None:
    answers = [b.answer / a.answer for a, b in pairwise(untouched.oracle)]
    fall = answers.index(min(answers))
    # 1.50 × 2101 / 2723.95 = 1.157, and 15 % less is 0.983.
    assert untouched.healths[fall : fall + 3] == pytest.approx((1.157, 0.983, 1.157), abs=0.001)
    others = answers[:fall] + answers[fall + 2 :]
    assert 0.97 < min(others) < max(others) < 1.04


@pytest.mark.parametrize("untouched", ["may-2021", "wick"], indirect=True)
def test_forecast__crash__foresees_the_breach_above_the_floor(untouched: Untouched) -> None:
    assert untouched.first_likelier(TRIGGER) < untouched.first_below(FLOOR)
    assert min(untouched.healths) < 1.0


@pytest.mark.parametrize("untouched", ["slow-bleed"], indirect=True)
def test_forecast__slow_bleed__the_floor_comes_first(untouched: Untouched) -> None:
    # Quiet rounds for weeks: nothing within a day looks likely, and yet 1.0 is crossed at last.
    assert untouched.first_below(FLOOR) < untouched.first_likelier(TRIGGER)
    assert min(untouched.healths) < 1.0


@pytest.mark.parametrize("untouched", ["calm"], indirect=True)
def test_forecast__calm__nothing_is_likely(untouched: Untouched) -> None:
    assert packaged_scenario("calm").calm
    assert max(untouched.probabilities) < 1e-6
    assert min(untouched.healths) > 1.45
