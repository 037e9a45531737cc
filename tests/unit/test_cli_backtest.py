"""`keeper backtest`: what it prints, and what it refuses."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from keeper.cli import main
from keeper.forecast.realised import HOUR_S

HOURS = 24 * 100
FIRST = 1_640_995_200  # 2022-01-01
COLUMNS = "pair,collateral_amount,debt_amount,health_start,gas_usd,latency_min,reserve_share,start"
# 10 ether at about 2,000 dollars against 12,000 at health 1.3 count 78 %.
LOAN = "ETH/USD,10,12000,1.3,5,1,0.2,2022-01-20"


def write_prices(path: Path, hours: "np.ndarray", seed: int = 3) -> None:
    close = 2_000.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.003, len(hours))))
    rows = (
        f"{FIRST + n * HOUR_S},{p},{p * 1.002},{p * 0.998},{p}\n"
        for n, p in zip(hours.tolist(), close.tolist(), strict=True)
    )
    text = "timestamp,open,high,low,close\n" + "".join(rows)
    path.write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A hundred days of hourly prices, the same with a hole of three days, and a position."""
    for name in ("data", "holed"):
        (tmp_path / name).mkdir()
    hours = np.arange(HOURS)
    write_prices(tmp_path / "data" / "ETHUSDT-1h-2022.csv.gz", hours)
    write_prices(
        tmp_path / "holed" / "ETHUSDT-1h-2022.csv.gz", hours[(hours < 24 * 30) | (hours >= 24 * 33)]
    )
    (tmp_path / "p.csv").write_text(f"{COLUMNS}\n{LOAN}\n")
    (tmp_path / "old.json").write_text(json.dumps({"version": 0}))
    (tmp_path / "out.html").write_text("an older report")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["keeper", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    if ended.value.code:
        raise ended.value


def test_backtest__positions_of_a_file__a_row_for_every_policy_and_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    run(
        monkeypatch, "backtest", "--prices", str(folder / "data"), "--positions",
        str(folder / "p.csv"), "--policy", "nothing", "fixed_1.10_1.30", "--json",
    )  # fmt: skip
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["policy"], row["group"]) for row in rows] == [
        ("nothing", "pooled"),
        ("fixed_1.10_1.30", "pooled"),
        ("nothing", "ETH/USD"),
        ("fixed_1.10_1.30", "ETH/USD"),
    ]
    assert rows[0].keys() >= {
        "policy", "group", "episodes", "mean_usd", "p95_usd", "p99_usd", "cvar99_usd",
        "liquidated_share", "economic_liquidated_share", "worsened", "actions", "default",
    }  # fmt: skip
    assert rows[0]["episodes"] == 1


def test_backtest__one_price_file_and_no_positions__draws_a_thousand_of_its_pair(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    prices = folder / "data" / "ETHUSDT-1h-2022.csv.gz"
    run(monkeypatch, "backtest", "--prices", str(prices), "--policy", "nothing", "--json")
    said = capsys.readouterr()
    rows = json.loads(said.out)["rows"]
    assert {row["group"]: row["episodes"] for row in rows} == {"pooled": 1_000, "ETH/USD": 1_000}
    assert "left out: SOL/USD" in said.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "DOGE/USD,10,12000,1.3,5,1,0.2,2022-01-20",
            "p.csv:2: pair 'DOGE/USD': there are no prices",
        ),
        ("ETH/USD,ten,12000,1.3,5,1,0.2,2022-01-20", "p.csv:2: collateral_amount is 'ten'"),
        ("ETH/USD,10,-1,1.3,5,1,0.2,2022-01-20", "p.csv:2: debt_amount is '-1'"),
        ("ETH/USD,10,12000,0.9,5,1,0.2,2022-01-20", "p.csv:2: health_start is '0.9'"),
        ("ETH/USD,10,12000,1.3,nan,1,0.2,2022-01-20", "p.csv:2: gas_usd is 'nan'"),
        ("ETH/USD,10,12000,1.3,5,-1,0.2,2022-01-20", "p.csv:2: latency_min is '-1'"),
        ("ETH/USD,10,12000,1.3,5,1,,2022-01-20", "p.csv:2: reserve_share is ''"),
        ("ETH/USD,10,12000,1.3,5,1,0.2,soon", "p.csv:2: start is 'soon'"),
        (
            "ETH/USD,10,12000,1.3,5,1,0.2,2021-01-20",
            "p.csv:2: ETH/USD has no prices from 2021-01-20",
        ),
        (
            "ETH/USD,10,12000,1.3,5,1,0.2,2022-04-11",
            "p.csv:2: ETH/USD has no prices from 2022-04-11",
        ),
        ("ETH/USD,1,12000,1.3,5,1,0.2,2022-01-20", "p.csv:2: health 1.3 of 1 × "),
        ("ETH/USD,10,12000", "p.csv:2: health_start is ''"),
    ],
)
def test_backtest__position_that_cannot_be__is_told_with_file_and_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    line: str,
    said: str,
) -> None:
    (folder / "p.csv").write_text(f"{COLUMNS}\n{line}\n")
    error = refused(monkeypatch, capsys, folder, "--positions", "{f}/p.csv")
    assert said in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--positions", "{f}/none.csv"], "none.csv: cannot be read"),
        (["--positions", "{f}/old.json"], "old.json:1: the column pair, collateral_amount"),
        (["--from", "2030-01-01"], "--from: 2030-01-01 lies beyond the prices, 2022-01-01"),
        (["--to", "2030-01-01"], "--to: 2030-01-01 lies beyond the prices, 2022-01-01"),
        (
            ["--from", "2022-03-01", "--to", "2022-02-01"],
            "--to: the last day lies before the first",
        ),
        (["--from", "2022-04-01"], "no position has thirty days of prices"),
        (["--positions", "{f}/p.csv", "--from", "2022-02-01"], "no position starts between"),
        (["--policy", "luck"], "luck is neither a file nor a policy that ships"),
        (
            ["--policy", "{f}/old.json"],
            "old.json: it cannot be used as a policy: it is of version 0",
        ),
        (["--prices", "{f}/p.csv"], "p.csv: no file is named SYMBOL"),
        (["--prices", "{f}/none"], "none: cannot be read as a directory"),
        (
            ["--prices", "{f}/holed", "--positions", "{f}/p.csv"],
            "p.csv:2: ETH/USD has no prices from 2022-01-31",
        ),
    ],
)
def test_backtest__what_cannot_be__is_refused_and_nothing_is_written_over(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    arguments: list[str],
    said: str,
) -> None:
    assert said in refused(monkeypatch, capsys, folder, *arguments)


def refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    *arguments: str,
) -> str:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    given = ["backtest", "--prices", "{f}/data", *arguments]
    monkeypatch.setattr(sys, "argv", ["keeper", *(each.format(f=folder) for each in given)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 78
    told = capsys.readouterr()
    assert told.out == ""
    for part in ("keeper: ", "\n  why: ", "\n  fix: "):
        assert part in told.err
    assert "Traceback" not in told.err
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return told.err
