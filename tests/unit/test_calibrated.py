"""The calibrated forecast of a book, on histories whose volatility and correlation are known."""

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest

from keeper.backtest.shipped import shipped
from keeper.forecast import first_passage
from keeper.forecast.calibrated import SIMULATED, Asked, forecast
from keeper.forecast.calibration import Calibration
from keeper.forecast.depeg import with_jumps
from keeper.forecast.first_passage import CLOSED_FORM, Forecast
from keeper.forecast.names import Asset
from keeper.forecast.realised import DAY_S, HOUR_S, Variation
from keeper.forecast.scales import Scales
from keeper.forecast.simulation import MOST_ROWS, breach_frequency, standardised
from keeper.forecast.volatility import RoundSeries, covariance
from keeper.model.book import QUOTE, Book, Column, Floats
from keeper.model.units import SECONDS_PER_YEAR, Address

NOW = 1_700_000_000
MONTH_HOURS = 31 * 24
SHIPPED = shipped()
ETH, BTC, USDC, STETH, UNKNOWN = (Address(f"0x{n:040x}") for n in range(1, 6))
DESCRIPTIONS = {
    ETH: "ETH / USD",
    BTC: "BTC / USD",
    USDC: "USDC / USD",
    STETH: "STETH / USD",
    UNKNOWN: "an LP token",
}
COLUMNS = (QUOTE, *(Column(source=feed, label=text) for feed, text in DESCRIPTIONS.items()))
PRICES = np.array([1.0, 2_000.0, 40_000.0, 1.0, 2_000.0, 7.0])


def walks(
    *, hours: int = MONTH_HOURS, rho: float = 0.8, per_year: float = 0.8
) -> dict[str, Floats]:
    """Hourly log returns of ether and, correlated with it, bitcoin; the dollar stands nearly still."""
    rng = np.random.default_rng(31)
    shared, own, third = rng.normal(0.0, per_year / sqrt(8_760), (3, hours))
    return {
        ETH: shared,
        BTC: rho * shared + sqrt(1.0 - rho**2) * own,
        USDC: third * 1e-3,
        STETH: shared + third * 0.05,
        UNKNOWN: third,
    }


def histories(returns: dict[str, Floats] | None = None) -> dict[Address, RoundSeries]:
    return {
        Address(feed): RoundSeries(
            times=NOW - HOUR_S * np.arange(len(moves), -1, -1, dtype=np.int64),
            log_prices=np.concatenate(([0.0], np.cumsum(moves))),
            asset=Asset.of(DESCRIPTIONS[Address(feed)]),
        )
        for feed, moves in (returns or walks()).items()
    }


def book(*rows: tuple[dict[int, float], dict[int, float]]) -> Book:
    """Rows of what counts and what is owed, by column."""
    C, D = np.zeros((len(rows), len(COLUMNS))), np.zeros((len(rows), len(COLUMNS)))
    for n, (has, owes) in enumerate(rows):
        for k, amount in has.items():
            C[n, k] = amount
        for k, amount in owes.items():
            D[n, k] = amount
    return Book(C=C, D=D, p=PRICES, columns=COLUMNS)


def look(
    rows: Book,
    *,
    horizon_s: float | Floats = DAY_S,
    series: dict[Address, RoundSeries] | None = None,
    market: dict[int, float] | None = None,
    calibration: Calibration = SHIPPED,
) -> Forecast:
    known = series or histories()
    prices = rows.p.copy()
    for column, ratio in (market or {}).items():
        prices[column] *= ratio
    asked = Asked(
        scales=Scales.of(COLUMNS, known, calibration, NOW),
        market_prices=prices,
        short=covariance(COLUMNS, known, NOW),
    )
    return forecast(rows, asked, horizon_s=horizon_s)


def sigma_of(log_prices: Floats, pair: str | None, horizon_s: float = DAY_S) -> float:
    """The calibration's own volatility of one history of hourly rounds, per √second."""
    times = NOW - HOUR_S * np.arange(len(log_prices) - 1, -1, -1, dtype=np.float64)
    rates = Variation.of_rounds(times, log_prices).log_rates(np.array([float(NOW)]))
    return float(SHIPPED.sigma(rates, np.array([float(NOW)]), horizon_s, pair)[0])


def source(found: Forecast, row: int = 0) -> str:
    return found.sources[int(found.source[row])]


LONG = ({1: 1.0}, {0: 1_900.0})
SHORT = ({0: 2_100.0}, {1: 1.0})
BITCOIN_DEBT = ({1: 21.0}, {2: 1.0})


def test_forecast__ether_against_dollars__is_the_table_of_the_pair_at_its_own_volatility() -> None:
    found = look(book(LONG))
    sigma = sigma_of(histories()[ETH].log_prices, "ETH/USD")
    expected = SHIPPED.probability(np.array([log(2_000 / 1_900)]), sigma, DAY_S, "ETH/USD")
    assert found.probability == pytest.approx(expected, rel=1e-9)
    assert found.volatility_per_year == pytest.approx(sigma * sqrt(SECONDS_PER_YEAR))
    assert source(found) == "table ETH/USD"


def test_forecast__interest_that_is_lost__brings_the_boundary_nearer_and_gained_changes_nothing() -> (
    None
):
    rates = np.log([0.995, 1.005]) / DAY_S
    found = look(replace(book(LONG, LONG), carry=rates))
    nearer, as_it_is = look(book(({1: 0.995}, {0: 1_900.0}), LONG)).probability
    assert found.probability == pytest.approx([nearer, as_it_is], rel=1e-9)
    assert found.carry == pytest.approx([np.log(0.995), 0.0])
    assert found.distance == pytest.approx([log(2_000 / 1_900)] * 2)


def test_forecast__interest_until_the_horizon_exceeds_the_distance__is_a_breach() -> None:
    # The second row's price stands still: thousands of σ lie within what it loses.
    rows = book(LONG, ({3: 1_000.0}, {0: 995.0}))
    lost = np.array([-0.06, -0.3]) / 300
    found = look(replace(rows, carry=lost), series=histories(walks(per_year=1e-3)), horizon_s=300.0)
    assert found.probability.tolist() == [1.0, 1.0]


def test_forecast__dollars_against_ether__has_the_same_table_and_volatility() -> None:
    found = look(book(LONG, SHORT))
    assert source(found, 1) == "table ETH/USD"
    assert found.volatility_per_year[1] == pytest.approx(found.volatility_per_year[0])
    assert found.distance[1] == pytest.approx(log(2_100 / 2_000))


def test_forecast__ether_against_a_stablecoin__is_read_as_ether_against_dollars() -> None:
    found = look(book(LONG, ({1: 1.0}, {3: 1_900.0})))
    assert source(found, 1) == "table ETH/USD"
    assert found.probability[1] == pytest.approx(found.probability[0], rel=0.02)


def test_forecast__ether_against_bitcoin__has_the_volatility_of_the_ratio() -> None:
    found = look(book(BITCOIN_DEBT))
    known = histories()
    ratio = known[ETH].log_prices - known[BTC].log_prices
    sigma = sigma_of(ratio, "ETH/BTC") * sqrt(SECONDS_PER_YEAR)
    assert source(found) == "table ETH/BTC"
    # From both feeds' rates and a month's correlation, not from the ratio's own last hours.
    assert found.volatility_per_year[0] == pytest.approx(sigma, rel=0.15)


def test_forecast__basket__has_the_covariance_along_its_weights_and_the_pooled_table() -> None:
    # Half ether, half bitcoin against dollars: d = (0.5, 0.5).
    found = look(book(({1: 10.0, 2: 0.5}, {0: 36_000.0})))
    scale = Scales.of(COLUMNS, histories(), SHIPPED, NOW).at(DAY_S)
    sigma = sqrt(float(0.25 * scale.per_second[1:3, 1:3].sum()))
    assert source(found) == "table pooled"
    assert found.volatility_per_year == pytest.approx(sigma * sqrt(SECONDS_PER_YEAR))
    expected = SHIPPED.probability(found.distance, sigma, DAY_S)
    assert found.probability == pytest.approx(expected, rel=1e-9)


def test_forecast__perp_on_ether__has_its_table_though_its_margin_is_a_second_column() -> None:
    found = look(book(({0: 200.0 - 2_000.0, 1: 1.0}, {1: 0.05})))
    assert source(found) == "table ETH/USD"
    assert found.distance == pytest.approx([-log(0.9 / 0.95)])


def test_forecast__price_that_names_no_pair__takes_the_pooled_table() -> None:
    found = look(book(({5: 1_000.0}, {0: 6_500.0})))
    assert source(found) == "table pooled"
    assert 0.0 < found.probability[0] < 1.0


def test_forecast__a_week_not_yet_known__is_the_closed_form() -> None:
    known = histories(walks(hours=6 * 24))
    found = look(book(LONG), series=known)
    by_form = first_passage.forecast(
        book(LONG), covariance(COLUMNS, known, NOW), horizon_s=DAY_S, monitored_every_s=0.0
    )
    assert source(found) == CLOSED_FORM
    assert found.probability == pytest.approx(by_form.probability)
    assert (
        Scales.of(COLUMNS, known, SHIPPED, NOW).reasons[1] == "6.0 days of rounds known, 7 needed"
    )


def test_forecast__one_young_feed__leaves_the_others_to_their_tables() -> None:
    known = histories() | {BTC: histories(walks(hours=48))[BTC]}
    found = look(book(LONG, BITCOIN_DEBT), series=known)
    assert [source(found, row) for row in (0, 1)] == ["table ETH/USD", CLOSED_FORM]
    assert found.probability[0] == look(book(LONG)).probability[0]


def test_forecast__feed_never_read__is_cold_and_a_breach_certain_all_the_same() -> None:
    known = histories()
    del known[ETH]
    found = look(book(LONG, ({1: 1.0}, {0: 2_001.0})), series=known)
    assert found.cold.tolist() == [True, True]
    assert np.isnan(found.probability[0])
    assert found.probability[1] == 1.0


def test_forecast__market_nearer_than_the_oracle__counts_from_the_market() -> None:
    found = look(book(LONG), market={1: 0.99})
    nearer = look(book(({1: 0.99}, {0: 1_900.0})))
    assert found.gap == pytest.approx([log(0.99)])
    assert found.distance == pytest.approx([log(2_000 / 1_900)])
    assert found.probability == pytest.approx(nearer.probability)


def test_forecast__market_further_than_the_oracle__changes_nothing() -> None:
    found = look(book(LONG), market={1: 1.03})
    assert found.gap.tolist() == [0.0]
    assert found.probability == pytest.approx(look(book(LONG)).probability)


@pytest.mark.parametrize(("row", "ratio"), [(LONG, 0.94), (SHORT, 1.06)])
def test_forecast__breach_that_the_market_implies__counts_as_one(
    row: tuple[dict[int, float], dict[int, float]], ratio: float
) -> None:
    found = look(book(row), market={1: ratio})
    assert found.probability.tolist() == [1.0]
    assert found.distance[0] + found.gap[0] == 0.0


def test_forecast__staked_ether_against_ether__can_jump_without_warning() -> None:
    calm = {feed: moves * (0.0 if feed == STETH else 1.0) for feed, moves in walks().items()}
    calm[STETH] = calm[ETH]
    found = look(book(({4: 1.0}, {1: 0.9}), ({1: 1.0}, {4: 0.9})), series=histories(calm))
    jump = with_jumps(np.zeros(1), found.distance[:1], DAY_S)
    assert found.probability[0] >= jump[0] > 1e-4
    # Ether does not fall off staked ether.
    assert found.probability[1] < found.probability[0]


def test_with_jumps__small_distances__come_at_the_counted_rate() -> None:
    year = with_jumps(np.zeros(2), np.array([0.01, 0.10]), SECONDS_PER_YEAR)
    assert -np.log1p(-year) == pytest.approx([5 / 12, 2 / 12])


BASKET = ({1: 10.0, 2: 0.5}, {0: 36_000.0})


def triggered(rows: Book, trigger: float, known: dict[Address, RoundSeries]) -> Forecast:
    asked = Asked(
        scales=Scales.of(COLUMNS, known, SHIPPED, NOW),
        market_prices=rows.p,
        short=covariance(COLUMNS, known, NOW),
        trigger=np.full(len(rows.C), trigger),
    )
    return forecast(rows, asked, horizon_s=DAY_S)


def falling_together() -> dict[Address, RoundSeries]:
    """Ether and bitcoin alone most of the time; once in two days both fall by 4 % in one hour."""
    returns = walks(rho=0.0, per_year=0.3)
    crash = np.arange(MONTH_HOURS) % 48 == 24
    for feed in (ETH, BTC):
        returns[feed] = np.where(crash, -0.04, returns[feed])
    return histories(returns)


def test_forecast__basket_below_its_trigger__hears_of_falls_that_come_together() -> None:
    known = falling_together()
    table = triggered(book(BASKET), np.nan, known)
    assert source(table) == "table pooled"
    trigger = float(table.probability[0]) * 1.5
    simulated = triggered(book(BASKET), trigger, known)
    assert simulated.probability[0] >= table.probability[0]
    scales = Scales.of(COLUMNS, known, SHIPPED, NOW)
    alone = breach_frequency(book(BASKET), scales, scales.at(DAY_S), PRICES)
    assert simulated.probability[0] == max(alone[0], table.probability[0])
    # The same paths at every look.
    assert triggered(book(BASKET), trigger, known).probability.tolist() == (
        simulated.probability.tolist()
    )


def test_forecast__decision_that_stands__is_not_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def count(rows: Book, *_: object) -> Floats:
        asked.append(len(rows.C))
        return np.ones(len(rows.C))

    monkeypatch.setattr("keeper.forecast.calibrated.breach_frequency", count)
    chance = float(look(book(BASKET)).probability[0])
    for trigger in (chance / 1.01, chance * 3.5, np.nan):
        triggered(book(BASKET), trigger, histories())
    triggered(book(LONG), float(look(book(LONG)).probability[0]) * 1.5, histories())
    assert asked == []
    found = triggered(book(*[BASKET] * 100), chance * 1.5, histories())
    assert asked == [MOST_ROWS]
    assert (found.probability == 1.0).sum() == MOST_ROWS
    assert source(found, int(found.probability.argmax())) == SIMULATED


def test_breach_frequency__brownian_prices__is_near_the_closed_form() -> None:
    known = histories(walks(hours=MONTH_HOURS))
    scales = Scales.of(COLUMNS, known, SHIPPED, NOW)
    scale = scales.at(DAY_S)
    rows = book(({1: 1.0}, {0: 1_900.0}), ({1: 10.0, 2: 0.5}, {0: 37_500.0}))
    found = breach_frequency(rows, scales, scale, PRICES)
    # In units of the volatility that was forecast for each hour, the month's returns have a variance
    # of their own: the closed form is asked with it, looked at every hour.
    own = standardised(scales)
    for row, weights in enumerate((np.array([1.0, 0.0]), np.array([0.5, 0.5]))):
        moves = own[:, 1:3] * scale.sigma[1:3, 0]
        sigma = sqrt(float(weights @ (moves.T @ moves / len(moves)) @ weights))
        distance = look(rows).distance[[row]]
        expected = first_passage.first_passage(
            distance, np.array([sigma]), np.zeros(1), horizon_s=DAY_S, monitored_every_s=HOUR_S
        )
        assert found[row] == pytest.approx(expected[0], abs=0.04)


def test_forecast__several_horizons__are_each_what_they_are_alone() -> None:
    rows = book(LONG, SHORT, BITCOIN_DEBT)
    found = look(rows, horizon_s=np.array([HOUR_S, DAY_S, HOUR_S]))
    for row, horizon in enumerate((HOUR_S, DAY_S, HOUR_S)):
        alone = look(rows, horizon_s=float(horizon))
        assert found.probability[row] == alone.probability[row]
        assert found.source[row] == alone.source[row]


def test_forecast__nothing_watched__is_empty() -> None:
    found = look(book(), horizon_s=np.empty(0))
    assert found.probability.shape == (0,)


def later(known: dict[Address, RoundSeries]) -> dict[Address, RoundSeries]:
    """With a crash in the hours after now."""
    return {
        feed: replace(
            own,
            times=np.append(own.times, NOW + HOUR_S * np.arange(1, 25)),
            log_prices=np.append(own.log_prices, own.log_prices[-1] - 0.05 * np.arange(1, 25)),
        )
        for feed, own in known.items()
    }


def test_forecast__rounds_that_came_later__are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = book(LONG, BITCOIN_DEBT, ({1: 10.0, 2: 0.5}, {0: 36_000.0}))
    then = look(rows).probability
    assert look(rows, series=later(histories())).probability.tolist() == then.tolist()
    # The same check sees a leak where one is planted: variance until the day after.
    honest = Variation.up_to
    monkeypatch.setattr(RoundSeries, "until", lambda own, _: own)
    monkeypatch.setattr(Variation, "up_to", lambda own, moments: honest(own, moments + DAY_S))
    assert (look(rows, series=later(histories())).probability != look(rows).probability).all()
