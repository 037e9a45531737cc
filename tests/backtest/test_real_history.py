"""The figures the forecast is to reach, on real prices where they lie beside the checkout."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from keeper.backtest.calibrate import Known, fit
from keeper.backtest.episodes import episodes
from keeper.backtest.history import PriceFile, price_files, series
from keeper.backtest.models import models
from keeper.backtest.report import FIGURES, falls_short
from keeper.backtest.score import POOLED, Row, answers, pools, rows
from keeper.cli.scoring import PAIRS
from keeper.forecast.calibration import HEALTHS, Calibration
from keeper.forecast.oracle_path import LogPath, extremes
from keeper.forecast.realised import DAY_S, HOUR_S, Variation

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
UNTIL = datetime(2022, 1, 1, tzinfo=UTC).timestamp()
END = datetime(2024, 1, 1, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def files() -> tuple[PriceFile, ...]:
    if not BESIDE.is_dir():
        pytest.skip("the price histories are no part of the project")
    return price_files(BESIDE)


@pytest.fixture(scope="module")
def known(files: tuple[PriceFile, ...]) -> Known:
    return {pair: episodes(series(files, pair)) for pair in PAIRS}


@pytest.fixture(scope="module")
def calibration(known: Known) -> Calibration:
    """Fitted on prices up to 2021."""
    return fit(known, UNTIL, {})


@pytest.fixture(scope="module")
def scored(known: Known, calibration: Calibration) -> list[Row]:
    """Scored on 2022 and 2023, all pairs together."""
    chosen = models(calibration, known, UNTIL)
    given = list(answers(known, chosen, start=UNTIL, end=END))
    return [row for pool in pools(given) if pool.pair == POOLED for row in rows(pool)]


def test_pooled_forecast__two_unseen_years__reaches_its_figures(scored: list[Row]) -> None:
    assert [said for row in scored for said in falls_short(row).values()] == []


def test_pooled_forecast__two_unseen_years__beats_every_baseline(scored: list[Row]) -> None:
    baselines = {"climatology", "climatology_running", "brownian_30d", "riskmetrics"}
    baselines |= {"brownian_log_har", "gjr_garch_t"}
    assert baselines <= {row.model for row in scored}
    for row in scored:
        if row.model in baselines and row.horizon_s in FIGURES:
            assert row.dm_t > 3.0, row


@pytest.mark.parametrize("horizon", [HOUR_S, 4 * HOUR_S, DAY_S])
def test_forecast__from_the_rounds_of_real_feeds__says_how_often_these_will_breach(
    files: tuple[PriceFile, ...], calibration: Calibration, horizon: int
) -> None:
    came, said = 0.0, 0.0
    for pair in ("ETH/USD", "BTC/USD"):
        (feed,) = (venue for venue in series(files, pair) if venue.venue == "CHAINLINK")
        rounds = LogPath(
            times=feed.candles.ends.astype(np.float64), log_prices=np.log(feed.candles.close)
        )
        first, last = rounds.times[0] + 30 * DAY_S, rounds.times[-1] - horizon
        origins = np.arange(np.ceil(first / HOUR_S) * HOUR_S, last, HOUR_S)
        rates = Variation.of_rounds(rounds.times, rounds.log_prices).log_rates(origins)
        sigma = calibration.sigma(rates, origins, horizon, pair)
        low, _ = extremes(rounds, origins, horizon)
        for health in HEALTHS:
            distance = np.full(len(origins), np.log(health))
            came += float(np.sum(low <= -distance))
            said += float(calibration.probability(distance, sigma, horizon, pair).sum())
    assert 0.8 < came / said < 1.3
