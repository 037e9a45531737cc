"""`keeper forecast fit` and `score`: what they refuse, and prices that come from the store."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from keeper.cli import main
from keeper.cli.forecast import app as forecast
from keeper.cli.prices import app as prices
from keeper.forecast.realised import HOUR_S

HOURS = 24 * 140


NEWER = 1_704_067_200
"""2024-01-01, when the prices end on which the shipped calibration was fitted."""


def written(path: Path, hours: int, start: int = 0) -> None:
    """Hourly prices."""
    path.parent.mkdir(exist_ok=True)
    close = 2_000.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.0, 0.006, hours)))
    rows = (
        f"{start + n * HOUR_S},{p},{p * 1.004},{p * 0.996},{p}\n"
        for n, p in enumerate(close.tolist())
    )
    text = "timestamp,open,high,low,close\n" + "".join(rows)
    path.write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration, and 140 days of hourly prices."""
    (tmp_path / "keeper.toml").write_text('[store]\npath = "j.sqlite3"\n')
    written(tmp_path / "data" / "ETHUSDT-1h-1970.csv.gz", HOURS)
    written(tmp_path / "short" / "ETHUSDT-1h-1970.csv.gz", 72)
    written(tmp_path / "other" / "AAVEUSDT-1h-1970.csv.gz", 72)
    (tmp_path / "empty").mkdir()
    return tmp_path


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    monkeypatch.setattr(sys, "argv", ["keeper", "forecast", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 78
    said = capsys.readouterr()
    assert said.out == ""
    for part in ("keeper: ", "\n  why: ", "\n  fix: "):
        assert part in said.err
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "--data", "{f}/none"], "cannot be read as a directory: No such file"),
        (["score", "--data", "{f}/keeper.toml"], "cannot be read as a directory: Not a directory"),
        (["score", "--data", "{f}/empty"], "no file is named SYMBOL"),
        (["score", "--data", "{f}/data", "--pairs", "DOGE/USD"], "pair DOGE/USD: no price file"),
        (["score", "--data", "{f}/data", "--pairs", "ETH/USD,"], "there are ETH/USD"),
        (["score", "--data", "{f}/data"], "no episode begins at or after"),
        (["score", "--data", "{f}/short", "--pairs", "ETH/USD"], "prices hold no episode"),
        (["score", "--data", "{f}/short"], "no episode of ETH/USD"),
        (["score", "--data", "{f}/other"], "there are AAVE/USD"),
        (["score", "--data", "{f}/data", "--fit-until", "1970-02-01"], "ninety days"),
        (
            ["score", "--data", "{f}/data", "--from", "2025-02-01", "--to", "2025-01-01"],
            "the last day scored lies before the first, 2025-02-01",
        ),
        (
            ["score", "--data", "{f}/data", "--report", "{f}/none/r.html"],
            "r.html cannot be written",
        ),
        (["score", "--data", "{f}/data", "--dump", "{f}/empty"], "empty cannot be written"),
        (["score", "--config", "{f}/keeper.toml"], "the store holds no prices"),
        (["fit", "--data", "{f}/data", "--out", "{f}/none/c.json"], "c.json cannot be written"),
        (["fit", "--data", "{f}/data", "--out", "{f}/c", "--until", "1970-02-01"], "ninety days"),
    ],
)
def test_forecast__what_cannot_be__is_told_with_its_fix_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    arguments: list[str],
    said: str,
) -> None:
    before = sorted(folder.rglob("*"))
    given = [each.format(f=folder) for each in arguments]
    assert said in refused(monkeypatch, capsys, *given)
    assert sorted(folder.rglob("*")) == before


def test_forecast_score__later_prices_alone__are_held_to_what_was_known_before_them(
    tmp_path: Path,
) -> None:
    data = tmp_path / "later"
    written(data / "ETHUSDT-1h-2024.csv.gz", 24 * 60, NEWER)
    written(data / "BTCUSDT-1h-2024.csv.gz", 72, NEWER)
    (data / "gas-prices.csv").write_text("timestamp,gwei\n")
    told = CliRunner().invoke(
        forecast, ["score", "--data", str(data), "--json", "--report", str(tmp_path / "r.html")]
    )
    assert told.exit_code == 0, told.output
    assert "left out: BTC/USD, its prices hold no episode" in told.stderr
    assert "left out: table_ewma, for which the prices do not go back" in told.stderr
    assert "left alone, not being named SYMBOL[_VENUE]-STEP-SPAN: gas-prices.csv" in told.stderr
    assert "Warning" not in told.stderr
    scored = {
        (row["model"], row["pair"], row["horizon_s"]): row
        for row in json.loads(told.stdout)["rows"]
    }
    assert {pair for _, pair, _ in scored} == {"pooled", "ETH/USD"}
    default = scored["table_log_har", "pooled", HOUR_S]
    reference = scored["climatology", "pooled", HOUR_S]
    assert (default["default"], reference["default"]) == (True, False)
    # Of 2017 to 2023, not a half: an hour's breach from health 1.2 is a rarity.
    assert reference["calibration_error"] < 0.1
    assert default["brier_skill"] < 0.5


def test_forecast_score__prices_of_the_store__are_scored_as_those_of_their_files(
    folder: Path,
) -> None:
    config, data = str(folder / "keeper.toml"), str(folder / "data")
    kept = CliRunner().invoke(prices, ["import", data, "--config", config])
    assert kept.exit_code == 0, kept.output
    told = [
        CliRunner().invoke(forecast, ["score", *source, "--fit-until", "1970-05-01", "--json"])
        for source in (["--data", data], ["--config", config])
    ]
    of_files, of_store = (json.loads(each.stdout)["rows"] for each in told)
    assert of_files == of_store
    assert {row["model"] for row in of_files} >= {"table_ewma", "table_garman_klass"}
