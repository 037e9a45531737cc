"""Prices of the store as files that `keeper.backtest.history` reads."""

import csv
import gzip
from pathlib import Path

from keeper.backtest.candles import HEADER
from keeper.backtest.history import named_source
from keeper.model.candles import PriceSource
from keeper.storage.price_store import StoredPrices

UNITS = {"d": 86_400, "h": 3_600, "m": 60}


def export_path(directory: Path, held: StoredPrices) -> Path | None:
    """Where they go, the same every time; None where no file's name can say what they are, as for a
    feed that does not tell what it prices."""
    span = "store" if held.feed is None else f"{held.chain_id}-{held.feed[2:10]}"
    symbol = held.source.pair.replace("/", "").upper()
    path = directory / f"{symbol}_{held.source.venue}-{_step(held.source)}-{span}.csv.gz"
    return path if named_source(path) == held.source else None


def write(path: Path, held: StoredPrices) -> int:
    """Replace the file; a figure is written so that it is read again to the last bit. Returns the
    rows. Raises `OSError`."""
    candles = held.candles()
    columns = (candles.starts, candles.open, candles.high, candles.low, candles.close)
    half = path.with_name(f".{path.name}")
    with gzip.open(half, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
    half.replace(path)
    return len(candles)


def _step(source: PriceSource) -> str:
    for unit, seconds in UNITS.items():
        if source.step_s and source.step_s % seconds == 0:
            return f"{source.step_s // seconds}{unit}"
    return "rounds"
