"""A pair fitted on its own rounds: laws that are known, no look into the future, and the store."""

from collections.abc import AsyncIterator
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from structlog.testing import capture_logs

from keeper.backtest.shipped import shipped
from keeper.engine.calibrator import Calibrator
from keeper.forecast.first_passage import MONITORING_SHIFT
from keeper.forecast.names import Asset
from keeper.forecast.realised import DAY_S, HORIZONS_S, HOUR_S, Variation
from keeper.forecast.refit import PairFit, TooShortError, refit
from keeper.forecast.tables import GRID
from keeper.forecast.volatility import RoundSeries
from keeper.model.book import Floats
from keeper.model.units import SECONDS_PER_YEAR, Price
from keeper.protocols.chainlink import Round
from keeper.storage.pair_fits import StoredFit
from keeper.storage.store import Store
from tests.unit.fake_rpc import address

SHIPPED = shipped()
START = 1_700_006_400
STEP_S = 300
CHAIN_ID, FEED = 1, address("fe")


def rounds(returns: Floats) -> RoundSeries:
    return RoundSeries(
        times=START + STEP_S * np.arange(len(returns) + 1, dtype=np.int64),
        log_prices=np.concatenate(([0.0], np.cumsum(returns))),
    )


def brownian(days: int, per_year: float = 0.8, seed: int = 1) -> RoundSeries:
    scale = per_year * sqrt(STEP_S / SECONDS_PER_YEAR)
    return rounds(np.random.default_rng(seed).normal(0.0, scale, days * DAY_S // STEP_S))


def end_of(known: RoundSeries) -> int:
    return int(known.times[-1])


def fitted(known: RoundSeries, pair: str = "NEW/USD") -> PairFit:
    return refit(SHIPPED, pair, known, end_of(known))


def test_refit__brownian_year__comes_near_the_reflection_principle() -> None:
    known = brownian(365)
    made = fitted(known).over(SHIPPED)
    now = np.array([float(end_of(known))])
    rates = Variation.of_rounds(known.times.astype(float), known.log_prices).log_rates(now)
    true = 0.8 / sqrt(SECONDS_PER_YEAR)
    z = np.array([1.0, 2.0, 2.5])
    after, before = (
        cal.probability(z * true * sqrt(HOUR_S), cal.sigma(rates, now, HOUR_S, pair), HOUR_S, pair)
        for cal, pair in ((made, "NEW/USD"), (SHIPPED, None))
    )
    # Looked at twelve times an hour, the boundary is crossed as one 0.5826 of a step's σ further away.
    expected = 2.0 * norm.sf(z + MONITORING_SHIFT * sqrt(STEP_S / HOUR_S))
    assert after == pytest.approx(expected, rel=0.25)
    assert np.abs(after - expected).sum() < 0.25 * np.abs(before - expected).sum()


def test_refit__garch_year__its_level_follows_the_pair() -> None:
    # GARCH(1,1) by the hour, of twice and of half the volatility: the levels are 2·ln 4 apart but
    # for the shared weights, and both sigmas end near their own rates.
    def path(scale: float) -> RoundSeries:
        rng = np.random.default_rng(4)
        variance, moves = 1.0, []
        for shock in rng.normal(size=365 * DAY_S // HOUR_S):
            moves.append(sqrt(variance) * shock)
            variance = 0.02 + 0.08 * moves[-1] ** 2 + 0.90 * variance
        steps = np.repeat(np.array(moves) / 12.0, HOUR_S // STEP_S)
        return rounds(scale * steps)

    wild, calm = fitted(path(0.02)), fitted(path(0.005))
    day = HORIZONS_S.index(DAY_S)
    pull = 1.0 - SHIPPED.har.weights[day, :4].sum()
    assert wild.levels[day] - calm.levels[day] == pytest.approx(pull * np.log(16.0), rel=0.25)


def test_refit__rare_jumps__are_in_the_pairs_own_table() -> None:
    rng = np.random.default_rng(5)
    count = 365 * DAY_S // STEP_S
    calm = rng.normal(0.0, 0.2 * sqrt(STEP_S / SECONDS_PER_YEAR), count)
    jumps = np.where(rng.random(count) < 12 / (60 * 24), -0.03, 0.0)
    without, having = fitted(rounds(calm)), fitted(rounds(calm + jumps))
    at = np.searchsorted(GRID, 3.0)
    hour = HORIZONS_S.index(HOUR_S)
    assert having.reached[hour, at] > 3.0 * without.reached[hour, at]


def test_refit__a_month__moves_short_horizons_more_than_long_ones() -> None:
    fit = fitted(brownian(40), pair="ETH/USD")
    moved = np.abs(fit.reached - SHIPPED.tables.reached["ETH/USD"]).max(axis=1)
    assert moved[HORIZONS_S.index(HOUR_S)] > 3.0 * moved[HORIZONS_S.index(7 * DAY_S)]
    assert (np.diff(fit.reached, axis=1) <= 1e-12).all()


def test_refit__less_than_thirty_days__is_refused() -> None:
    with pytest.raises(TooShortError, match=r"29\.0 days of rounds known, 30 needed"):
        fitted(brownian(29))


def test_refit__silence_of_a_week__no_episode_spans_it() -> None:
    known = brownian(60)
    gone = (known.times > START + 20 * DAY_S) & (known.times < START + 27 * DAY_S)
    fit = fitted(replace(known, times=known.times[~gone], log_prices=known.log_prices[~gone] * 1.0))
    assert np.isfinite(fit.levels).all()
    # The week's move, taken in one step, would be a run of many σ in the hour before its end.
    hour = HORIZONS_S.index(HOUR_S)
    assert fit.reached[hour, np.searchsorted(GRID, 6.0)] < 2e-3


def test_refit__rounds_that_came_later__are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    known = brownian(60)
    until = START + 45 * DAY_S
    crash = replace(
        known, log_prices=np.where(known.times > until, 5.0 * known.log_prices, known.log_prices)
    )
    then, now = (refit(SHIPPED, "ETH/USD", each, until) for each in (known, crash))
    assert (then.levels == now.levels).all()
    assert (then.reached == now.reached).all()
    # The same check sees a leak where one is planted: in the horizons that reach beyond the end.
    monkeypatch.setattr(RoundSeries, "until", lambda own, _: own)
    monkeypatch.setattr("keeper.forecast.refit._whole", lambda _, origins, *__: origins > 0)
    leaky = refit(SHIPPED, "ETH/USD", crash, until)
    assert (leaky.levels[3:] != then.levels[3:]).all()


def test_pair_fit__written_and_read__is_the_same() -> None:
    fit = fitted(brownian(40))
    again = PairFit.from_json(fit.to_json())
    assert (again.pair, again.since, again.until) == (fit.pair, fit.since, fit.until)
    assert again.levels == pytest.approx(fit.levels, rel=1e-5)
    assert again.reached == pytest.approx(fit.reached, rel=1e-4, abs=1e-9)


def broken(**changes: Any) -> dict[str, Any]:
    return fitted(brownian(40)).to_json() | changes


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "another version": ({"version": 0}, "another version"),
    "another grid": ({"grid": 3}, "another version"),
    "levels short": ({"levels": [1.0]}, "one number for each horizon"),
    "levels nan": ({"levels": [float("nan")] * 6}, "one number for each horizon"),
    "levels text": ({"levels": "x"}, "could not convert"),
    "shape": ({"reached": [[0.5]]}, "another shape"),
    "no probability": ({"reached": [[2.0] * len(GRID)] * 6}, "no probability"),
    "rising": ({"reached": [np.linspace(0, 1, len(GRID)).tolist()] * 6}, "rise with the distance"),
    "empty": ({"until": None}, "it is not a fit"),
}


@pytest.mark.parametrize("case", BAD)
def test_pair_fit__malformed__is_refused_with_the_reason(case: str) -> None:
    changes, reason = BAD[case]
    with pytest.raises(ValueError, match=reason):
        PairFit.from_json(broken(**changes))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "journal.sqlite3")
    yield made
    made.close()


def calibrator(store: Store) -> Calibrator:
    return Calibrator(shipped=SHIPPED, store=store, chain_id=CHAIN_ID)


async def published(store: Store, days: int) -> dict[Any, RoundSeries]:
    """A feed of hourly rounds in the store, and the part that a keeper has in memory."""
    known = brownian(days)
    hourly = range(0, len(known.times), HOUR_S // STEP_S)
    await store.run(
        store.prices.add,
        CHAIN_ID,
        FEED,
        [
            Round(
                id=n + 1,
                price=Price(
                    value=round(float(np.exp(known.log_prices[n])) * 10**8),
                    decimals=8,
                    updated_at=int(known.times[n]),
                ),
            )
            for n in hourly
        ],
    )
    return {FEED: replace(known.until(START), asset=Asset.of("ETH / USD"))}


async def test_calibrator__rounds_of_two_months__are_fitted_kept_and_found_again(
    store: Store,
) -> None:
    series, now = await published(store, 60), START + 60 * DAY_S
    first = calibrator(store)
    await first.refit(series, now)
    assert first.calibration is not SHIPPED
    second = calibrator(store)
    await second.load(now + DAY_S)
    curve, own = (each.calibration.tables.curve(HOUR_S, "ETH/USD") for each in (second, first))
    assert curve == pytest.approx(own, rel=1e-4, abs=1e-9)
    assert second.calibration.spans["ETH/USD"] == (START, now)
    assert (curve != SHIPPED.tables.curve(HOUR_S, "ETH/USD")).any()


async def test_calibrator__fit_of_today__is_left_until_tomorrow(store: Store) -> None:
    series, now = await published(store, 60), START + 60 * DAY_S
    made = calibrator(store)
    await made.refit(series, now)
    before = made.calibration
    await made.refit(series, now + HOUR_S)
    assert made.calibration is before
    await made.refit(series, now + DAY_S)
    assert made.calibration is not before


async def test_calibrator__history_too_short_or_without_a_name__what_ships_serves(
    store: Store,
) -> None:
    series, now = await published(store, 20), START + 20 * DAY_S
    made = calibrator(store)
    await made.refit(series, now)
    await made.refit({FEED: replace(series[FEED], asset=None)}, now)
    assert made.calibration is SHIPPED
    assert await store.run(store.pair_fits.all, CHAIN_ID) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"version": 0}, "it was fitted by another version"),
        ({"until": START - 61 * DAY_S}, "its rounds end 61 days ago, 60 allowed"),
        ({"until": START + DAY_S}, "its rounds end -1 days ago, 60 allowed"),
        ({"pair": "BTC/USD"}, "it is of BTC/USD"),
    ],
)
async def test_calibrator__unusable_stored_fit__is_told_and_what_ships_serves(
    store: Store, changes: dict[str, Any], what: str
) -> None:
    document = broken(pair="ETH/USD", until=START) | changes
    stored = StoredFit(pair="ETH/USD", fitted_at=START, document=document)
    await store.run(store.pair_fits.keep, CHAIN_ID, stored)
    made = calibrator(store)
    with capture_logs() as logs:
        await made.load(START)
    assert made.calibration is SHIPPED
    (warned,) = (line for line in logs if line["event"] == "calibration.unusable")
    assert (warned["where"], warned["what"]) == ("the stored fit of ETH/USD", what)
    assert warned["fix"]
