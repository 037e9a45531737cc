"""`keeper prices`: what is kept, shown and refused."""

import gzip
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from keeper.backtest import ccxt_exchange
from keeper.backtest.exchange import PAGE
from keeper.backtest.export import export_path
from keeper.backtest.history import price_files
from keeper.cli import main
from keeper.cli.prices import app
from keeper.model.candles import ROUNDS, Candles, PriceSource
from keeper.model.errors import TemporaryError
from keeper.model.units import Address
from keeper.storage.price_store import StoredPrices
from keeper.storage.store import Store
from tests.unit.test_config import VALID
from tests.unit.test_exchange import STEP_S, FakeExchange

HEADER = "timestamp,open,high,low,close\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "keeper.toml"
    path.write_text('[store]\npath = "j.sqlite3"\n')
    return path


def hours(path: Path, count: int, *, begin: int = 0, price: float = 2_000.0) -> Path:
    rows = "".join(f"{(begin + n) * 3600},{price},{price},{price},{price}\n" for n in range(count))
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress((HEADER + rows).encode()))
    else:
        path.write_text(HEADER + rows)
    return path


def told(config: Path, *arguments: str | Path) -> Any:
    done = CliRunner().invoke(app, [*map(str, arguments), "--config", str(config), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> str:
    monkeypatch.setattr(sys, "argv", ["keeper", "prices", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 78
    said = capsys.readouterr()
    assert said.out == ""
    for part in ("keeper: ", "\n  why: ", "\n  fix: "):
        assert part in said.err
    assert "Traceback" not in said.err
    return said.err


def test_import__directory_and_file__are_kept_once_and_shown_with_their_gaps(
    config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    hours(folder / "ETHUSDT-1h-a.csv.gz", 10)
    hours(folder / "ETHUSDT-1h-b.csv.gz", 10, begin=30)
    mine = hours(tmp_path / "mine.csv", 5)
    added = told(config, "import", folder, mine, "--pair", "BTC/USD", "--step", "1h")["added"]
    assert added == {"ETH/USD SPOT 3600 s": 20, "BTC/USD SPOT 3600 s": 5}
    assert not any(told(config, "import", folder)["added"].values())
    bitcoin, ether = told(config, "show")["prices"]
    assert (bitcoin["pair"], bitcoin["rows"], bitcoin["complete"]) == ("BTC/USD", 5, 1.0)
    assert (ether["first"], ether["last"], ether["complete"]) == (0, 39 * 3600, 0.5)


def test_show__narrow_terminal__cuts_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(config, "import", hours(tmp_path / "ETHUSDT-1h-a.csv", 10))
    for columns in ("80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        shown = CliRunner().invoke(app, ["show", "--config", str(config)])
        for said in ("ETH/USD", "SPOT", "3600 s", "1970-01-01 09:00:00", "100.0%"):
            assert said in shown.stdout
        assert "…" not in shown.stdout


def test_fetch__an_exchange_broken_off__goes_on_where_it_stopped(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = FakeExchange()
    monkeypatch.setattr(ccxt_exchange, "opened", lambda _: exchange)
    arguments = ["fetch", "--exchange", "fake", "--symbol", "ETH/USDT", "--since", "1970-01-01"]
    end = ["--until", "1970-01-04"]  # four days of 288 candles, of which a hole takes 550
    exchange.pages_left = 1
    broken = CliRunner().invoke(app, [*arguments, *end, "--config", str(config)])
    assert isinstance(broken.exception, TemporaryError)
    (first,) = told(config, "show")["prices"]
    assert (first["pair"], first["venue"], first["step_s"]) == ("ETH/USD", "SPOT_FAKE", STEP_S)
    exchange.pages_left = None
    added = told(config, *arguments, *end)["added"]
    assert sum(added.values()) + first["rows"] == 4 * 288 - (PAGE + 50)
    assert first["rows"] > 0
    assert not any(told(config, *arguments, *end)["added"].values())


def test_import__a_bad_line_in_one_file__nothing_of_any_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    tmp_path: Path,
) -> None:
    good = hours(tmp_path / "ETHUSDT-1h-a.csv", 3)
    bad = tmp_path / "ETHUSDT-1h-b.csv"
    bad.write_text(HEADER + "0,1,1,1,1\n0,1,1,1,1\n")
    said = refused(monkeypatch, capsys, "import", good, bad, "--config", config)
    assert f"{bad}:3: the time of the row before, again" in said
    assert told(config, "show")["prices"] == []


def test_import__while_a_keeper_runs__is_kept_beside_it(config: Path, tmp_path: Path) -> None:
    keeper = Store(tmp_path / "j.sqlite3")
    try:
        assert told(config, "import", hours(tmp_path / "ETHUSDT-1h-a.csv", 3))["added"]
    finally:
        keeper.close()


def test_import__journal_of_another_version_in_use__is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    tmp_path: Path,
) -> None:
    keeper = Store(tmp_path / "j.sqlite3")
    with sqlite3.connect(tmp_path / "j.sqlite3") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0001'")
    try:
        file = hours(tmp_path / "ETHUSDT-1h-a.csv", 3)
        said = refused(monkeypatch, capsys, "import", file, "--config", config)
    finally:
        keeper.close()
    assert "schema 0001" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "{folder}/none"], "cannot be read as a directory"),
        (["import", "{folder}/empty"], "no file is named"),
        (["import", "{folder}/mine.csv"], "does not say of which pair"),
        (["import", "{folder}/mine.csv", "--pair", "ETHUSD", "--step", "1h"], "ETHUSD is no pair"),
        (["import", "{folder}/mine.csv", "--pair", "ETH/USD"], "nothing is no step"),
        (["import", "{folder}/mine.csv", "--pair", "ETH/USD", "--step", "5x"], "5x is no step"),
        (
            ["import", "{folder}/mine.csv", "--pair", "ETH/USD", "--step", "1h", "--venue", "Q"],
            "begin it with one of SPOT",
        ),
        (["import", "{folder}/mine.csv", "--pair", "ETH/USD", "--step", "2h"], "mixed steps"),
        (["fetch", "--since", "2999-01-01"], "nothing lies between"),
        (["fetch", "--since", "2022-01-02", "--until", "2022-01-01"], "nothing lies between"),
        (["fetch", "--symbol", "ETH/USDT"], "it goes with --exchange"),
        (["fetch", "--until", "2022-01-01", "--since", "2021-01-01"], "it goes with --exchange"),
        (["fetch", "--exchange", "kraken"], "which of the exchange's markets is not said"),
        (
            ["fetch", "--exchange", "kraken", "--symbol", "ETH/USD", "--step", "week"],
            "week is no step",
        ),
        (["fetch", "--exchange", "kraken", "--feed", "0x1"], "a feed is on the chain"),
    ],
)
def test_prices__what_cannot_be__is_told_with_its_fix_and_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    tmp_path: Path,
    arguments: list[str],
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    hours(tmp_path / "mine.csv", 3)
    given = [each.format(folder=tmp_path) for each in arguments]
    assert said in refused(monkeypatch, capsys, *given, "--config", config)
    assert not (tmp_path / "j.sqlite3").exists()


def test_fetch__feed_that_is_no_address__is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    config.write_text(VALID)
    said = refused(monkeypatch, capsys, "fetch", "--feed", "0x12", "--config", config)
    assert '--feed: "0x12" is not an address' in said


def test_import__folder_that_may_not_be_read__is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    tmp_path: Path,
) -> None:
    def forbidden(_: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    said = refused(monkeypatch, capsys, "import", tmp_path, "--config", config)
    assert f"{tmp_path}: cannot be read as a directory: Permission denied" in said


def test_export__what_is_kept__is_read_again_as_it_was(config: Path, tmp_path: Path) -> None:
    told(config, "import", hours(tmp_path / "STETHETH_COINGECKO-1h-a.csv", 10, price=0.1 + 0.2))
    told(config, "import", hours(tmp_path / "ETHUSDT-5m-a.csv.gz", 1))
    folder = tmp_path / "new" / "out"
    told(config, "export", folder)
    files = told(config, "export", folder)["files"]  # in place of the first
    assert files == {
        str(folder / "ETHUSD_SPOT-5m-store.csv.gz"): 1,
        str(folder / "STETHETH_COINGECKO-1h-store.csv.gz"): 10,
    }
    assert {path.name for path in folder.iterdir()} == {Path(name).name for name in files}
    (_, staked) = price_files(folder)
    assert (staked.source.pair, staked.source.step_s) == ("stETH/ETH", 3600)
    assert staked.candles().close.tolist() == [0.1 + 0.2] * 10
    assert staked.candles().starts.tolist() == [n * 3600 for n in range(10)]


def test_export__feed_that_tells_no_pair__has_no_file() -> None:
    feed = Address("0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419")
    for pair, name in (("ETH/USD", "ETHUSD_CHAINLINK-rounds-1-5f4eC3Df.csv.gz"), (feed, None)):
        held = StoredPrices(
            source=PriceSource(pair=pair, venue="CHAINLINK", step_s=ROUNDS),
            name=pair, rows=1, first=0, last=0, load=nothing, chain_id=1, feed=feed,
        )  # fmt: skip
        path = export_path(Path("out"), held)
        assert (None if path is None else path.name) == name


def test_export__folder_that_is_a_file__is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    tmp_path: Path,
) -> None:
    told(config, "import", hours(tmp_path / "ETHUSDT-1h-a.csv", 3))
    said = refused(monkeypatch, capsys, "export", tmp_path / "ETHUSDT-1h-a.csv", "--config", config)
    assert "it cannot be written: File exists" in said


def nothing() -> Candles:
    raise AssertionError("not to be read")
