"""The back-test on histories made to a known law: what it finds, and that it cannot see ahead."""

import csv
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from keeper.backtest.calibrate import Known, fit
from keeper.backtest.candles import NoPricesError
from keeper.backtest.coverage import rarity
from keeper.backtest.episodes import episodes
from keeper.backtest.history import Series
from keeper.backtest.models import DEFAULT, Model, left_out, models
from keeper.backtest.score import POOLED, Answers, answers, pools, rows
from keeper.forecast.calibration import Calibration
from keeper.forecast.realised import DAY_S, HOUR_S
from keeper.forecast.scores import reliability
from keeper.model.candles import Candles

STEP_S = 300
DAYS = 330
FITTED_UNTIL = 220 * DAY_S
CALM = 0.0008  # per five minutes: 26 % a year


def five_minutes(log_returns: np.ndarray) -> Series:
    close = 2000.0 * np.exp(np.cumsum(log_returns))
    open_ = np.concatenate([[2000.0], close[:-1]])
    starts = STEP_S * np.arange(len(close))
    candles = Candles(
        starts=starts,
        ends=starts + STEP_S,
        open=open_,
        high=np.maximum(open_, close),
        low=np.minimum(open_, close),
        close=close,
    )
    return Series(pair="ETH/USD", venue="SPOT", candles=candles, files=())


def brownian(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(0.0, 2.0 * CALM, n)


def garch(rng: np.random.Generator, n: int) -> np.ndarray:
    """GARCH(1,1) whose variance comes half the way back in three days."""
    shocks = rng.normal(size=n)
    returns, variance = np.empty(n), (2.0 * CALM) ** 2
    usual = variance
    for k in range(n):
        returns[k] = np.sqrt(variance) * shocks[k]
        variance = usual * 0.0008 + 0.0292 * returns[k] ** 2 + 0.97 * variance
    return returns


def jumping(rng: np.random.Generator, n: int) -> np.ndarray:
    """Calm, and once in 250 hours a jump of 4 to 6 %, up or down."""
    jump = rng.uniform(size=n) < 1.0 / (250 * 12)
    size = rng.uniform(0.04, 0.06, n) * rng.choice([-1.0, 1.0], n)
    return rng.normal(0.0, CALM, n) + np.where(jump, size, 0.0)


Law = Callable[[np.random.Generator, int], np.ndarray]


def history(law: Law, seed: int = 1) -> Series:
    return five_minutes(law(np.random.default_rng(seed), DAYS * DAY_S // STEP_S))


def asked(known: Known) -> list[Answers]:
    calibration = fit(known, FITTED_UNTIL, {})
    chosen = models(calibration, known, FITTED_UNTIL)
    return list(answers(known, chosen, start=FITTED_UNTIL, end=np.inf))


@pytest.mark.parametrize("law", [brownian, garch, jumping])
def test_default__any_law_it_was_fitted_on__means_what_it_says(law: Law) -> None:
    given = asked({"ETH/USD": episodes([history(law)])})
    for pool in pools(given):
        if pool.pair == POOLED and HOUR_S <= pool.horizon_s <= 4 * HOUR_S:
            p = pool.probabilities[DEFAULT]
            assert reliability(p, pool.happened).error < 0.012
            assert p.mean() == pytest.approx(pool.happened.mean(), rel=0.2)


def test_scores__jumps__are_seen_by_the_table_and_missed_by_the_closed_form() -> None:
    scored = {
        row.model: row
        for pool in pools(asked({"ETH/USD": episodes([history(jumping)])}))
        for row in rows(pool)
        if pool.pair == POOLED and pool.horizon_s == HOUR_S
    }
    table, closed = scored[DEFAULT], scored["brownian_30d"]
    assert table.log_skill > closed.log_skill
    assert table.calibration_error < closed.calibration_error
    assert table.default
    assert not closed.default


def test_scores__clustered_variance__is_forecast_better_than_by_climatology() -> None:
    for pool in pools(asked({"ETH/USD": episodes([history(garch)])})):
        if pool.pair == POOLED and pool.horizon_s in (HOUR_S, 4 * HOUR_S):
            best = next(row for row in rows(pool) if row.default)
            assert best.brier_skill > 0.02
            assert best.log_skill > 0.02


def changed_by(series: Series, moment: int, factor: float) -> Series:
    """The same history, but from `moment` on every price is so many times as high."""
    known = series.candles
    times = np.where(known.starts >= moment, factor, 1.0)
    prices = {name: getattr(known, name) * times for name in ("open", "high", "low", "close")}
    return replace(series, candles=replace(known, **prices))


def by_the_hour(fine: Candles) -> Candles:
    return Candles(
        starts=fine.starts[::12],
        ends=fine.ends[11::12],
        open=fine.open[::12],
        high=fine.high.reshape(-1, 12).max(axis=1),
        low=fine.low.reshape(-1, 12).min(axis=1),
        close=fine.close[11::12],
    )


def test_climatology__prices_of_later_years_alone__is_that_of_the_fit() -> None:
    whole = history(garch)
    starts = whole.candles.starts
    earlier = replace(whole, candles=whole.candles.where(starts < FITTED_UNTIL))
    later = replace(whole, candles=whole.candles.where(starts >= FITTED_UNTIL))
    past = {"ETH/USD": episodes([earlier])}
    document = json.loads(json.dumps(fit(past, FITTED_UNTIL, {}).to_json()))
    known = {"ETH/USD": episodes([later])}
    chosen = models(Calibration.from_json(document), known, FITTED_UNTIL)
    assert "table_ewma" not in chosen
    assert any(said.startswith("table_ewma, for which the prices") for said in left_out(chosen))
    for part in answers(known, chosen, start=FITTED_UNTIL, end=np.inf):
        frequency = np.mean(past["ETH/USD"][part.horizon_s].low <= -np.log(part.health))
        for name in ("climatology", "climatology_running"):
            assert part.probabilities[name][0] == pytest.approx(frequency, rel=1e-5)


def test_climatology__pair_without_a_past__has_that_of_all_pairs_and_none_is_unknown() -> None:
    hours = replace(history(garch), candles=by_the_hour(history(garch).candles))
    made = fit({"ETH/USD": episodes([hours])}, FITTED_UNTIL, {})
    assert made.frequency("SOL/USD", DAY_S, 1.05) == made.frequency("ETH/USD", DAY_S, 1.05)
    assert np.isnan(made.frequency("ETH/USD", 300, 1.05))


def test_rarity__the_law_that_was_fitted__is_spread_evenly() -> None:
    known = {"ETH/USD": episodes([history(garch)])}
    own = known["ETH/USD"][HOUR_S].within(FITTED_UNTIL, np.inf, HOUR_S)
    chance = rarity(own, fit(known, FITTED_UNTIL, {}), "ETH/USD", HOUR_S)
    shares = np.histogram(chance, bins=10, range=(0.0, 1.0))[0] / len(chance)
    assert np.abs(shares - 0.1).max() < 0.03


def changed_after(series: Series, moment: int) -> Series:
    """The same history, but from `moment` on every price is another."""
    known = series.candles
    factor = np.where(known.starts >= moment, 1.0 + 0.3 * np.sin(known.starts / 7_000.0), 1.0)
    return replace(
        series,
        candles=Candles(
            starts=known.starts,
            ends=known.ends,
            open=known.open * factor,
            high=known.high * factor,
            low=known.low * factor,
            close=known.close * factor,
        ),
    )


def seen_ahead(made: Callable[[Known], Mapping[str, Model]]) -> set[str]:
    """The models whose forecasts change when only prices after their origin do."""
    before = history(garch)
    cut = FITTED_UNTIL + 20 * DAY_S
    versions = []
    for series in (before, changed_after(before, cut)):
        known = {"ETH/USD": episodes([series])}
        chosen = made(known)
        versions.append(
            {
                (part.horizon_s, part.health, name, origin): chance
                for part in answers(known, chosen, start=FITTED_UNTIL, end=np.inf)
                for name, chances in part.probabilities.items()
                for origin, chance in zip(part.origins, chances, strict=True)
                if origin <= cut - HOUR_S
            }
        )
    one, other = versions
    assert one.keys() == other.keys()
    return {name for key, chance in one.items() if other[key] != chance for name in [key[2]]}


def test_no_model__prices_after_the_origin_change__changes_its_forecast() -> None:
    assert (
        seen_ahead(lambda known: models(fit(known, FITTED_UNTIL, {}), known, FITTED_UNTIL)) == set()
    )


def test_a_planted_leak__of_volatility_or_of_the_fit__is_caught() -> None:
    def leaky(known: Known) -> dict[str, Model]:
        honest = fit(known, FITTED_UNTIL, {})
        until_later = fit(known, np.inf, {})
        return {
            DEFAULT: models(honest, known, FITTED_UNTIL)[DEFAULT],
            "climatology": lambda q: np.full(len(q.asked), 0.1),
            "volatility that follows": lambda q: honest.probability(
                np.full(len(q.asked), q.distance),
                np.exp(0.5 * q.asked.log_rate_after),
                q.horizon_s,
                q.pair,
            ),
            "fitted on what follows": models(until_later, known, np.inf)[DEFAULT],
        }

    assert seen_ahead(leaky) == {"volatility that follows", "fitted on what follows"}


def silenced(series: Series, begin_s: int, length_s: int) -> Series:
    """Without the candles of a while."""
    starts = series.candles.starts
    silent = (starts >= begin_s) & (starts < begin_s + length_s)
    return replace(series, candles=series.candles.where(~silent))


@pytest.mark.parametrize("silence_s", [600, HOUR_S, 5 * HOUR_S])
def test_episodes__a_silence__belongs_to_no_episode(silence_s: int) -> None:
    by_horizon = episodes([silenced(history(brownian), 100 * DAY_S, silence_s)])
    for horizon, own in by_horizon.items():
        end = own.origins + horizon
        across = (own.origins < 100 * DAY_S + silence_s) & (end > 100 * DAY_S)
        assert not across.any()
    lost = len(episodes([history(brownian)])[DAY_S]) - len(by_horizon[DAY_S])
    assert lost == 24 + -(-silence_s // HOUR_S) - 1


def test_episodes__one_candle_of_five_minutes_is_missing__only_its_five_minutes_are_lost() -> None:
    whole, lacking = history(brownian), silenced(history(brownian), 100 * DAY_S, STEP_S)
    before, after = episodes([whole]), episodes([lacking])
    lost = {horizon: len(own) - len(after[horizon]) for horizon, own in before.items()}
    assert lost == {horizon: int(horizon == STEP_S) for horizon in before}


def test_episodes__after_a_month_of_silence__history_begins_anew() -> None:
    gapped = silenced(history(brownian), 100 * DAY_S, 30 * DAY_S)
    own = episodes([changed_by(gapped, 100 * DAY_S, 3.0)])[HOUR_S]
    resumed = own.where(own.origins > 100 * DAY_S)
    assert resumed.origins[0] == 137 * DAY_S
    # Neither the move that nobody saw nor the month before it counts as recent variance.
    usual = 2.0 * np.log(2.0 * CALM / np.sqrt(STEP_S))
    week_and_month = resumed.log_rates[:, 2:]
    assert np.abs(week_and_month - usual).max() < 0.2


def test_episodes__hours_that_begin_at_half_past__have_none() -> None:
    hours = by_the_hour(history(brownian).candles)
    late = replace(hours, starts=hours.starts + 1_800, ends=hours.ends + 1_800)
    with pytest.raises(NoPricesError, match="hold no episode"):
        episodes([Series(pair="ETH/USD", venue="SPOT", candles=late, files=())])


def test_episodes__two_venues__are_never_mixed() -> None:
    spot, perpetual = history(brownian, 1), replace(history(brownian, 2), venue="PERP")
    first_half = replace(spot, candles=spot.candles.where(spot.candles.starts < 150 * DAY_S))
    both, alone = episodes([first_half, perpetual]), episodes([perpetual])
    chosen = both[DAY_S]
    later = chosen.origins > 149 * DAY_S
    known = np.isin(alone[DAY_S].origins, chosen.origins[later])
    assert (chosen.low[later] == alone[DAY_S].low[known]).all()
    assert (chosen.log_rates[later] == alone[DAY_S].log_rates[known]).all()


def test_fit__hourly_prices_alone__serve_without_horizons_below_an_hour() -> None:
    hourly = by_the_hour(history(garch).candles)
    known = {"ETH/USD": episodes([Series(pair="ETH/USD", venue="SPOT", candles=hourly, files=())])}
    assert min(horizon for horizon, own in known["ETH/USD"].items() if len(own)) == HOUR_S
    pooled = [pool for pool in pools(asked(known)) if pool.pair == POOLED]
    assert {pool.horizon_s for pool in pooled} == {HOUR_S, 4 * HOUR_S, DAY_S, 7 * DAY_S}
    assert reliability(pooled[0].probabilities[DEFAULT], pooled[0].happened).error < 0.012


@pytest.fixture(scope="module")
def price_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("prices")
    candles = history(garch).candles
    with gzip.open(directory / "ETHUSDT-5m-1970.csv.gz", "wt", compresslevel=1) as file:
        file.write("timestamp,open,high,low,close,volume\n")
        columns = (candles.starts, candles.open, candles.high, candles.low, candles.close)
        file.writelines(
            f"{t},{o!r},{h!r},{low!r},{c!r},0\n"
            for t, o, h, low, c in zip(*(column.tolist() for column in columns), strict=True)
        )
    return directory


def test_forecast_score__a_directory_of_prices__tells_scores_report_and_every_episode(
    price_directory: Path, tmp_path: Path
) -> None:
    from keeper.cli.forecast import app

    told = CliRunner().invoke(
        app,
        [
            *("score", "--data", str(price_directory), "--fit-until", "1970-08-08", "--json"),
            *("--report", str(tmp_path / "r.html"), "--dump", str(tmp_path / "d.csv.gz")),
        ],
    )
    assert told.exit_code == 0, told.output
    scored = json.loads(told.stdout)["rows"]
    assert {
        "model",
        "default",
        "pair",
        "horizon_s",
        "n",
        "base_rate",
        "brier_skill",
        "log_skill",
    } | {
        "calibration_error",
        "observed_over_predicted_1_5",
    } <= scored[0].keys()
    assert {row["model"] for row in scored if row["default"]} == {DEFAULT}
    assert "Reliability" in (tmp_path / "r.html").read_text()

    with gzip.open(tmp_path / "d.csv.gz", "rt") as file:
        dumped = list(csv.DictReader(file))
    hour = [row for row in dumped if row["horizon_s"] == "3600"]
    errors = {
        name: np.mean([(float(row[name]) - float(row["happened"])) ** 2 for row in hour])
        for name in (DEFAULT, "climatology")
    }
    (pooled,) = (
        row
        for row in scored
        if row["default"] and row["pair"] == POOLED and row["horizon_s"] == HOUR_S
    )
    assert pooled["n"] == len(hour)
    assert pooled["brier_skill"] == pytest.approx(
        1 - errors[DEFAULT] / errors["climatology"], abs=1e-4
    )


def test_forecast_score__from_a_day_within_the_fit__is_refused(price_directory: Path) -> None:
    from keeper.cli.forecast import app
    from keeper.model.errors import ConfigurationError

    told = CliRunner().invoke(
        app,
        [
            *("score", "--data", str(price_directory), "--fit-until", "1970-08-08"),
            *("--from", "1970-08-01"),
        ],
    )
    assert isinstance(told.exception, ConfigurationError)
    assert "looks better than it is" in str(told.exception)
