"""Candles of one market: read from a file, spliced from several, or the ratio of two markets."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Floats
from keeper.model.errors import ConfigurationError, Problem

HEADER: Final = ("timestamp", "open", "high", "low", "close")
WICK: Final = 1.5
"""A high above this multiple of its candle's body, or a low below this part of it, is a print of one
exchange that no oracle followed (LINK/USDT at 0.0001, USDC/USDT at 0.20 and 3.99); it is clipped to
the body. The largest wicks that all exchanges saw lie within 1.34 (SOL/USDT, 2021-05-19)."""


class HistoryError(ConfigurationError):
    """A price history that cannot be used: which file and line, and why."""

    def __init__(
        self, place: Path | str, reason: str, line: int | None = None, fix: str | None = None
    ) -> None:
        super().__init__(
            Problem(
                where=f"{place}" if line is None else f"{place}:{line}",
                what=reason,
                why="a forecast is only as good as the prices it is fitted and scored on",
                fix=fix or "correct or remove the row, or leave the file out of the directory",
            )
        )
        self.line, self.reason = line, reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candles:
    """Prices of one venue, oldest first, never overlapping. `starts` and `ends` are Unix seconds;
    equal where the row is an observation and no interval."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, mask: NDArray[np.bool_]) -> "Candles":
        """The candles that the mask picks."""
        return Candles(
            starts=self.starts[mask],
            ends=self.ends[mask],
            open=self.open[mask],
            high=self.high[mask],
            low=self.low[mask],
            close=self.close[mask],
        )


def read(path: Path, step_s: int) -> Candles:
    """The candles of a gzipped CSV whose rows begin with timestamp, open, high, low, close.

    Raises `HistoryError` with the line for a duplicate, unsorted, non-positive or impossible row.
    """
    rows: list[tuple[float, ...]] = []
    try:
        with gzip.open(path, "rt", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if tuple(header[:5]) != HEADER:
                raise HistoryError(path, f"the first line must begin with {','.join(HEADER)}", 1)
            for row in reader:
                rows.append(tuple(map(float, row[:5])))
                if len(rows[-1]) < 5:
                    raise HistoryError(path, "five numbers needed", reader.line_num)
    except (OSError, EOFError) as error:
        raise HistoryError(path, f"cannot be read: {error}") from error
    except ValueError as error:
        raise HistoryError(path, f"not a number: {error}", len(rows) + 2) from error
    if not rows:
        raise HistoryError(path, "holds no prices")
    return _checked(path, np.array(rows), step_s)


def _checked(path: Path, table: Floats, step_s: int) -> Candles:
    starts = table[:, 0].astype(np.int64)
    open_, high, low, close = table[:, 1:].T.copy()
    faults = (
        (
            "a price must be positive and finite",
            ~(np.isfinite(table).all(axis=1) & (table[:, 1:] > 0.0).all(axis=1)),
        ),
        ("the time of the row before, again", np.diff(starts, prepend=starts[0] - 1) == 0),
        ("older than the row before: sort by time", np.diff(starts, prepend=starts[0]) < 0),
        (
            "the high is below, or the low above, another price of the row",
            (high < table[:, 1:].max(axis=1)) | (low > table[:, 1:].min(axis=1)),
        ),
        (
            "the candle before has not ended: mixed steps in one file",
            np.diff(starts, prepend=starts[0] - step_s) < step_s,
        ),
    )
    for reason, bad in faults:
        if bad.any():
            raise HistoryError(path, reason, int(np.flatnonzero(bad)[0]) + 2)
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    return Candles(
        starts=starts,
        ends=starts + step_s,
        open=open_,
        high=np.where(high > WICK * top, top, high),
        low=np.where(low < bottom / WICK, bottom, low),
        close=close,
    )


def joined(parts: Sequence[Candles]) -> Candles:
    """The candles of files of one venue and one step; of two with the same start the first file's."""
    starts = np.concatenate([part.starts for part in parts])
    _, first = np.unique(starts, return_index=True)
    columns = ("starts", "ends", "open", "high", "low", "close")
    return Candles(
        **{name: np.concatenate([getattr(part, name) for part in parts])[first] for name in columns}
    )


def spliced(coarse: Candles, fine: Candles) -> Candles:
    """The coarse candles, each replaced by the fine ones where those cover all of it; fine candles
    outside all coarse ones are kept, those that cover one in part are dropped."""
    within = np.searchsorted(coarse.starts, fine.starts, side="right") - 1
    inside = (within >= 0) & (fine.ends <= coarse.ends[within])
    covered = np.bincount(
        within[inside], weights=(fine.ends - fine.starts)[inside], minlength=len(coarse)
    )
    whole = covered >= coarse.ends - coarse.starts
    following = np.minimum(within + 1, len(coarse) - 1)
    clear = ((within < 0) | (fine.starts >= coarse.ends[within])) & (
        (following == within) | (fine.ends <= coarse.starts[following])
    )
    return joined([coarse.where(~whole), fine.where((inside & whole[within]) | clear)])


def ratio(numerator: Candles, denominator: Candles) -> Candles:
    """The price of one market in units of the other, over the candles that both have. The extremes
    of a ratio cannot be known from two candles: its ends stand for them."""
    common, mine, theirs = np.intersect1d(
        numerator.starts, denominator.starts, assume_unique=True, return_indices=True
    )
    opened = numerator.open[mine] / denominator.open[theirs]
    closed = numerator.close[mine] / denominator.close[theirs]
    return Candles(
        starts=common,
        ends=numerator.ends[mine],
        open=opened,
        high=np.maximum(opened, closed),
        low=np.minimum(opened, closed),
        close=closed,
    )
