"""`keeper policy`: what ships, and what a fit writes or refuses."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from keeper.backtest import fitting
from keeper.backtest.policies import load
from keeper.cli import main
from keeper.forecast.realised import HOUR_S

FIRST = 1_609_459_200  # 2021-01-01
DAYS = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four hundred days of hourly prices that jump now and then."""
    random = np.random.default_rng(5)
    moves = random.normal(0.0, 0.004, 24 * DAYS) - 0.08 * (random.random(24 * DAYS) < 0.002)
    close = 2_000.0 * np.exp(np.cumsum(moves - moves.mean()))
    rows = (
        f"{FIRST + n * HOUR_S},{p},{p * 1.001},{p * 0.999},{p}\n"
        for n, p in enumerate(close.tolist())
    )
    text = "timestamp,open,high,low,close\n" + "".join(rows)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ETHUSDT-1h-2021.csv.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One candidate on a handful of positions."""
    for name, value in {
        "PER_PAIR": 4,
        "FLOORS": (1.25,),
        "ROOMS": (0.15,),
        "GUARDS": ((1.0, 10.0),),
        "TUNED_FLOORS": (1.1,),
        "TUNED_ROOMS": (0.2,),
        "RESAMPLED_S": 60 * 86_400,
    }.items():
        monkeypatch.setattr(fitting, name, value)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["keeper", "policy", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.usefixtures("few")
def test_fit__a_year_of_prices__writes_a_policy_that_names_its_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    out = folder / "mine.json"
    code = run(
        monkeypatch, "fit", "--prices", str(folder / "data"), "--until", "2022-01-15",
        "--out", str(out), "--tuned", str(folder),
    )  # fmt: skip
    assert not code
    made = load(out)
    assert made.id == "mine"
    assert made.rule is not None
    assert (made.rule.floor, made.rule.target) == (1.25, 1.40)
    assert 0.0 < made.rule.rare_jump_after_s[60] <= made.rule.rare_jump_after_s[900]
    assert made.fitted is not None
    assert made.fitted.start.isoformat() == "2021-01-01"
    assert made.fitted.until.isoformat() == "2022-01-15"
    assert made.fitted.configurations == 1
    assert made.fitted.inputs.keys() == {"ETHUSDT-1h-2021.csv.gz"}
    assert "of 1 configurations" in capsys.readouterr().out
    plain = load(folder / "fixed_tuned_by_pair.json").rule
    assert plain is not None
    assert plain.by_pair == {"ETH/USD": (1.1, 1.3)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until", "2021-06-01", "--out", "{f}/mine.json"], "--until: there are not 365 days"),
        (["--until", "2030-01-01", "--out", "{f}/mine.json"], "they end on 2022-02-05"),
        (["--out", "{f}/none/mine.json"], "mine.json cannot be written"),
        (["--out", "{f}/mine.json", "--tuned", "{f}/none"], "fixed_tuned.json cannot be written"),
    ],
)
def test_fit__what_cannot_be__is_refused_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    arguments: list[str],
    said: str,
) -> None:
    before = sorted(folder.rglob("*"))
    given = [each.format(f=folder) for each in arguments]
    assert run(monkeypatch, "fit", "--prices", str(folder / "data"), *given) == 78
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert sorted(folder.rglob("*")) == before


def test_list__what_ships__is_told_with_its_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert not run(monkeypatch, "list")
    told = capsys.readouterr().out
    for said in ("fixed_guard_1.25_1.40", "thrifty", "2021-12-31", "1 / health^12"):
        assert said in told


@pytest.mark.parametrize("columns", ["60", "80"])
def test_list__narrow_terminal__cuts_no_name_and_no_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert not run(monkeypatch, "list")
    told = capsys.readouterr().out
    for said in ("expected_value_1.25_1.40", "1 / health^12", "2021-12-31"):
        assert said in told
    assert "…" not in told


def test_list__json__is_the_policies_as_their_files_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run(monkeypatch, "list", "--json")
    told = json.loads(capsys.readouterr().out)["policies"]
    (balanced,) = [each for each in told if each["id"] == "balanced"]
    assert balanced["rule"]["floor"] == 1.25
