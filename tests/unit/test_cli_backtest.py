"""`keeper backtest`: what it prints, and what it refuses."""

import csv
import gzip
import json
import math
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
        str(folder / "p.csv"), "--policy", "nothing", "fixed_1.10_1.30", "--json", "--table",
        str(folder / "t.md"),
    )  # fmt: skip
    told = capsys.readouterr()
    assert f"{folder / 't.md'} is written" in told.err
    rows = json.loads(told.out)["rows"]
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


@pytest.mark.parametrize("columns", ["60", "80", "120", "200"])
def test_backtest__terminal_of_any_width__cuts_no_figure(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    run(
        monkeypatch, "backtest", "--prices", str(folder / "data"), "--positions",
        str(folder / "p.csv"), "--policy", "fixed_guard_at_once_1.25_1.40",
    )  # fmt: skip
    told = capsys.readouterr().out
    for said in ("fixed_guard_at_once_1.25_1.40", "pooled", "0.00%", "liquidated", "needless"):
        assert said in told
    assert "…" not in told
    words = " ".join(told.split())
    for term in ("CVaR99", "economic", "worsened", "needless"):
        assert f"{term}: " in words


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


# -- what anyone can recompute ---------------------------------------------------------------------


def recomputed(dump: Path) -> dict[tuple[str, str], dict[str, float]]:
    """The table from the dump alone: a row starts an episode, the others add to its cost."""
    cost: dict[tuple[str, str], float] = {}
    lost, acted = set(), []
    with gzip.open(dump, "rt") as file:
        for row in csv.DictReader(file):
            key = (row["policy"], row["episode"])
            assert float(row["cost_usd"]) == pytest.approx(
                sum(
                    float(row[name] or 0.0)
                    for name in row
                    if name.endswith("_usd") and name not in ("cost_usd", "quote_usd")
                )
            )
            cost[key] = cost.get(key, 0.0) + float(row["cost_usd"])
            if row["kind"] == "liquidation":
                lost.add(key)
            elif row["kind"] != "start":
                acted.append(key)
    found = {}
    for policy in dict.fromkeys(key[0] for key in cost):
        own = {key: value for key, value in cost.items() if key[0] == policy}
        found[policy, "pooled"] = {
            "episodes": len(own),
            "mean_usd": sum(own.values()) / len(own),
            "cvar99_usd": float(
                np.mean(sorted(own.values())[-max(1, math.ceil(len(own) / 100)) :])
            ),
            "liquidated_share": len(lost & own.keys()) / len(own),
            "actions": sum(key[0] == policy for key in acted),
        }
    return found


def test_backtest__dump__gives_the_table_and_the_prices_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    lines = [
        f"ETH/USD,10,{debt},1.{health},{gas},{latency},{reserve},2022-01-{day:02d}"
        for day in range(5, 25, 4)
        for debt, health, gas, latency, reserve in (
            (12_000, "05", 5, 1, 0.0),
            (14_000, "15", 30, 15, 0.1),
            (11_000, "3", 60, 5, 0.5),
        )
    ]
    (folder / "p.csv").write_text("\n".join([COLUMNS, *lines]) + "\n")
    dump = folder / "dump.csv.gz"
    run(
        monkeypatch, "backtest", "--prices", str(folder / "data"), "--positions",
        str(folder / "p.csv"), "--policy", "nothing,fixed_1.10_1.30,fixed_guard_1.25_1.40",
        "--dump", str(dump), "--report", str(folder / "out.html"), "--json",
    )  # fmt: skip
    rows = json.loads(capsys.readouterr().out)["rows"]
    again = recomputed(dump)
    assert again.keys() == {(row["policy"], "pooled") for row in rows if row["group"] == "pooled"}
    for row in rows:
        if row["group"] == "pooled":
            for name, value in again[row["policy"], "pooled"].items():
                assert row[name] == pytest.approx(value), (row["policy"], name)
    assert sum(row["actions"] for row in rows) > 0
    # Every price is the last round's: within half a per cent and an hour of the market's close.
    with gzip.open(folder / "data" / "ETHUSDT-1h-2022.csv.gz", "rt") as file:
        closes = {int(r["timestamp"]) + HOUR_S: float(r["close"]) for r in csv.DictReader(file)}
    with gzip.open(dump, "rt") as file:
        for entry in csv.DictReader(file):
            hour = -(-int(entry["time"]) // HOUR_S) * HOUR_S
            near = [closes[hour + n * HOUR_S] for n in (-1, 0)]
            assert min(near) * 0.985 < float(entry["price"]) < max(near) * 1.015
    page = (folder / "out.html").read_text()
    for said in ("data:image/png", "Lowest starting health", "Against fixed_guard_1.25_1.40"):
        assert said in page
