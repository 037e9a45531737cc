"""The figures the forecast is to reach, on real prices where they lie beside the checkout."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from keeper.backtest.calibrate import fit
from keeper.backtest.episodes import episodes
from keeper.backtest.history import price_files, series
from keeper.backtest.models import models
from keeper.backtest.report import FIGURES, falls_short
from keeper.backtest.score import POOLED, Row, answers, pools, rows
from keeper.cli.forecast import PAIRS

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
UNTIL = datetime(2022, 1, 1, tzinfo=UTC).timestamp()
END = datetime(2024, 1, 1, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def scored() -> list[Row]:
    """Fitted on prices up to 2021, scored on 2022 and 2023, all pairs together."""
    if not BESIDE.is_dir():
        pytest.skip("the price histories are no part of the project")
    files = price_files(BESIDE)
    known = {pair: episodes(series(files, pair)) for pair in PAIRS}
    chosen = models(fit(known, UNTIL, {}), known, UNTIL)
    given = list(answers(known, chosen, fitted_until=UNTIL, start=UNTIL, end=END))
    return [row for pool in pools(given) if pool.pair == POOLED for row in rows(pool)]


def test_pooled_forecast__two_unseen_years__reaches_its_figures(scored: list[Row]) -> None:
    assert [missed for row in scored for missed in falls_short(row)] == []


def test_pooled_forecast__two_unseen_years__beats_every_baseline(scored: list[Row]) -> None:
    baselines = ("climatology", "climatology_running", "brownian_30d", "riskmetrics")
    for row in scored:
        if row.model in baselines and row.horizon_s in FIGURES:
            assert row.dm_t > 3.0, row
