"""Price files: what is read from them, what is refused, and how they are put together."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from keeper.backtest.candles import HistoryError, NoPricesError, ratio, read, spliced
from keeper.backtest.history import price_files, series
from keeper.model.candles import Candles

HEADER = "timestamp,open,high,low,close,volume\n"


def written(path: Path, *rows: str, header: str = HEADER) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(header + "".join(row + "\n" for row in rows))
    return path


def flat(start: int, step: int, count: int, price: float = 100.0) -> Candles:
    starts = start + step * np.arange(count)
    prices = np.full(count, price)
    return Candles(
        starts=starts, ends=starts + step, open=prices, high=prices, low=prices, close=prices
    )


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        (("0,1,1,1,1,0", "3600,0,1,0,1,0"), 3, "positive"),
        (("0,1,1,1,1,0", "3600,1,inf,1,1,0"), 3, "positive and finite"),
        (("0,1,1,1,1,0", "0,1,1,1,1,0"), 3, "again"),
        (("3600,1,1,1,1,0", "0,1,1,1,1,0"), 3, "sort by time"),
        (("0,1,1,1,1,0", "300,1,1,1,1,0"), 3, "mixed steps"),
        (("0,1,1,1,1,0", "3600,2,1.5,1,1,0"), 3, "the high is below"),
        (("0,1,1,1,1,0", "3600,one,1,1,1,0"), 3, "not a number"),
        (("0,1,1,1",), 2, "5 numbers"),
        (("0,1,1,1,1,0", "3600,1e8,1e8,1e8,1e8,0"), 3, "mixed decimals"),
        (("0,1,1,1,1,0", "1700000000000,1,1,1,1,0"), 3, "not milliseconds"),
        (("0.5,1,1,1,1,0",), 2, "whole Unix seconds"),
        (("0,1,1,1,1,0", "5400,1,1,1,1,0"), 3, "begins at a full 3600 s"),
    ],
)
def test_read__a_row_that_cannot_be__is_refused_with_its_line(
    tmp_path: Path, rows: tuple[str, ...], line: int, said: str
) -> None:
    path = written(tmp_path / "ETHUSDT-1h-x.csv.gz", *rows)
    with pytest.raises(HistoryError, match=said) as refused:
        read(path, 3600)
    assert refused.value.line == line
    assert str(path) in str(refused.value)


def test_read__a_name_of_another_step__is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "ETHUSDT-5m-x.csv.gz", *(f"{3600 * n},1,1,1,1,0" for n in range(9)))
    with pytest.raises(HistoryError, match="no two rows are 300 s apart, but 3600 s"):
        read(path, 300)


def test_read__answers_of_a_feed__are_scaled_and_of_one_number_of_decimals(tmp_path: Path) -> None:
    path = tmp_path / "ETHUSD_CHAINLINK-rounds-x.csv"
    path.write_text("timestamp,answer,decimals\n10,200000000000,8\n20,200100000000,8\n")
    assert read(path, 0).close.tolist() == [2000.0, 2001.0]
    path.write_text("timestamp,answer,decimals\n10,200000000000,8\n20,2001000000,6\n")
    with pytest.raises(HistoryError, match="mixed decimals") as refused:
        read(path, 0)
    assert refused.value.line == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the first line"),
        (b"date,price\n", "the first line"),
        (b"timestamp,open,high,low,close\n", "holds no prices"),
        (b"timestamp,open,high,low,close\n0,1,1,\xff,1\n", "not text"),
        (b"timestamp,open,high,low,close\n0,1,1,\0,1\n", "not a number"),
        (None, "cannot be read"),
    ],
)
def test_read__a_file_that_is_none__is_refused_by_name(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "ETHUSDT-1h-x.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HistoryError, match=said) as refused:
        read(path, 3600)
    assert str(path) in str(refused.value)


def test_read__a_file_that_was_cut_or_is_not_gzip__is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "ETHUSDT-1h-x.csv.gz", *(f"{3600 * n},1,1,1,1,0" for n in range(99)))
    whole = path.read_bytes()
    for content in (whole[:-20], b"timestamp,open,high,low,close\n"):
        path.write_bytes(content)
        with pytest.raises(HistoryError, match="cannot be read"):
            read(path, 3600)


def test_read__a_print_that_no_oracle_followed__is_clipped_to_its_candle(tmp_path: Path) -> None:
    # LINK/USDT on Binance, 2020-03-12 10:00; and a real crash candle, SOL/USDT 2021-05-19 12:00.
    path = written(
        tmp_path / "LINKUSDT-1h-x.csv.gz",
        "0,3.0634,3.0765,0.0001,2.4693,0",
        "3600,43.943,44.502,26.5,35.49,0",
    )
    assert read(path, 3600).low.tolist() == [2.4693, 26.5]


def test_spliced__fine_candles_cover_an_hour_in_part__the_hour_stays() -> None:
    hours, minutes = flat(0, 3600, 3), flat(3600, 300, 12 + 6, price=101.0)
    both = spliced(hours, minutes)
    assert both.starts.tolist() == [0, *range(3600, 7200, 300), 7200]
    assert (both.ends - both.starts).tolist() == [3600, *[300] * 12, 3600]


def test_spliced__fine_candles_outside_the_coarse_ones__are_kept() -> None:
    both = spliced(flat(0, 3600, 1), flat(7200, 300, 2))
    assert both.starts.tolist() == [0, 7200, 7500]


def test_ratio__candles_that_only_one_side_has__are_left_out() -> None:
    both = ratio(flat(0, 3600, 4, price=2000.0), flat(3600, 3600, 2, price=40_000.0))
    assert both.starts.tolist() == [3600, 7200]
    assert both.close.tolist() == [0.05, 0.05]


def test_series__spot_perpetual_and_other_quote__each_is_its_own_and_spot_is_first(
    tmp_path: Path,
) -> None:
    row = "0,2,2,2,2,0"
    written(tmp_path / "ETHUSDT-1h-2020.csv.gz", row)
    written(tmp_path / "ETHUSDT_PERP-5m-2020.csv.gz", row)
    written(tmp_path / "BTCUSDT-1h-2020.csv.gz", "0,40,40,40,40,0")
    written(tmp_path / "STETHETH_CHAINLINK-rounds-2020.csv.gz", "17,1,1,1,1,")
    (tmp_path / "MANIFEST.md").write_text("not prices")
    files = price_files(tmp_path)
    assert {file.source.pair for file in files} == {"ETH/USD", "BTC/USD", "stETH/ETH"}
    assert [venue.venue for venue in series(files, "ETH/USD")] == ["SPOT", "PERP"]
    (rounds,) = series(files, "stETH/ETH")
    assert rounds.candles.ends.tolist() == [17]
    (cross,) = series(files, "ETH/BTC")
    assert (cross.venue, cross.candles.close.tolist()) == ("SPOT", [0.05])
    with pytest.raises(NoPricesError, match="no price file has this pair"):
        series(files, "SOL/USD")


def test_series__candles_longer_than_an_hour__are_left_aside(tmp_path: Path) -> None:
    written(tmp_path / "ETHUSDT-1d-2020.csv.gz", "0,2,2,2,2,0", "86400,2,2,2,2,0")
    with pytest.raises(NoPricesError, match="by the hour or finer"):
        series(price_files(tmp_path), "ETH/USD")
    written(tmp_path / "ETHUSDC-1h-2020.csv.gz", "0,3,3,3,3,0")
    (found,) = series(price_files(tmp_path), "ETH/USD")
    assert found.candles.close.tolist() == [3.0]


def test_series__a_file_that_cannot_be_read__is_no_missing_pair(tmp_path: Path) -> None:
    (tmp_path / "ETHUSDT-1h-2020.csv.gz").write_bytes(b"cut")
    with pytest.raises(HistoryError, match="cannot be read") as refused:
        series(price_files(tmp_path), "ETH/USD")
    assert not isinstance(refused.value, NoPricesError)


def test_price_files__a_venue_nobody_ranked__is_refused(tmp_path: Path) -> None:
    written(tmp_path / "ETHUSDT_NOWHERE-1h-2020.csv.gz", "0,2,2,2,2,0")
    with pytest.raises(HistoryError, match="NOWHERE"):
        price_files(tmp_path)
