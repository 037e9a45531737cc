"""Candles of one market: read from a file, spliced from several, or the ratio of two markets."""

import csv
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Floats
from keeper.model.candles import Candles
from keeper.model.errors import ConfigurationError, Problem

Mask = NDArray[np.bool_]
HEADER: Final = ("timestamp", "open", "high", "low", "close")
RAW: Final = ("timestamp", "answer", "decimals")
LATEST: Final = 2**33
"""Unix seconds in the year 2242: what is later is counted in milliseconds."""
LEAP: Final = 1_000
"""No price moves by this factor from one row to the next; a number of other decimals does."""
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


class NoPricesError(HistoryError):
    """There are none of a pair, which is no fault of any file."""


def read(path: Path, step_s: int) -> Candles:
    """The candles of a CSV file, gzipped if its name ends in `.gz`, with unfollowed wicks clipped.

    Raises `HistoryError` with the line for a row that cannot be: see `checked`.
    """
    return clipped(parsed(path, step_s))


def parsed(path: Path, step_s: int) -> Candles:
    """The candles of a file as they stand there: rows of `HEADER`, or a feed's answers of `RAW`, all
    with the same decimals."""
    rows: list[tuple[float, ...]] = []
    try:
        with _opened(path) as file:
            reader = csv.reader(file)
            header = tuple(next(reader, []))
            raw = header[: len(RAW)] == RAW
            if not raw and header[: len(HEADER)] != HEADER:
                expected = f"{','.join(HEADER)}, or {','.join(RAW)} of a feed's answers"
                raise HistoryError(path, f"the first line must begin with {expected}", 1)
            width = len(RAW if raw else HEADER)
            for row in reader:
                rows.append(tuple(map(float, row[:width])))
                if len(rows[-1]) < width:
                    raise HistoryError(path, f"{width} numbers needed", reader.line_num)
    except UnicodeDecodeError as error:
        raise HistoryError(path, "not text", len(rows) + 2) from error
    except (OSError, EOFError, zlib.error) as error:
        raise HistoryError(path, f"cannot be read: {error}") from error
    except (ValueError, csv.Error) as error:
        raise HistoryError(path, f"not a number: {error}", len(rows) + 2) from error
    if not rows:
        raise HistoryError(path, "holds no prices")
    table = np.array(rows)
    candles = checked(path, _scaled(path, table) if raw else table, step_s)
    if step_s and len(candles) > 1 and (nearest := int(np.diff(candles.starts).min())) > step_s:
        raise HistoryError(
            path,
            f"no two rows are {step_s} s apart, but {nearest} s at least: of another step",
            fix="give the file's name, or --step, the step that its rows have",
        )
    return candles


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8")
    return path.open(newline="", encoding="utf-8")


def _scaled(path: Path, raw: Floats) -> Floats:
    """Answers in whole units, as rows of `HEADER`."""
    decimals: Floats = raw[:, 2]
    others: Mask = np.not_equal(decimals, decimals[0])
    _refuse(path, 2, [("mixed decimals: another number than in the first row", others)])
    prices = raw[:, 1] / 10.0 ** decimals[0]
    return np.stack([raw[:, 0], prices, prices, prices, prices], axis=1)


def checked(place: Path | str, table: Floats, step_s: int, *, first_line: int = 2) -> Candles:
    """Candles from rows of `HEADER`. Raises `HistoryError` with the line of the first row that is a
    duplicate, unsorted, not positive, impossible, or of other decimals or another step than the rest,
    or that begins within a step of its kind: no exchange counts hours from half past.
    """
    starts, begins = table[:, 0], min(max(step_s, 1), 3_600)
    open_, high, low, close = table[:, 1:].T.copy()
    lowest, highest = table[:, 1:].min(axis=1), table[:, 1:].max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        leap = np.abs(np.diff(np.log(close), prepend=np.log(close[:1])))
    _refuse(
        place,
        first_line,
        [
            (
                "a price must be positive and finite",
                ~((lowest > 0.0) & (highest < np.inf)),
            ),
            ("the time must be whole Unix seconds, not milliseconds", ~_is_time(starts)),
            ("the time of the row before, again", np.diff(starts, prepend=starts[0] - 1) == 0),
            ("older than the row before: sort by time", np.diff(starts, prepend=starts[0]) < 0),
            (
                f"more than {LEAP:,} times the row before, or less than its {LEAP:,}th: mixed decimals",
                leap > log(LEAP),
            ),
            (
                "the high is below, or the low above, another price of the row",
                (high < highest) | (low > lowest),
            ),
            (
                "the candle before has not ended: mixed steps in one file",
                np.diff(starts, prepend=starts[0] - step_s) < step_s,
            ),
            (
                f"a candle of {step_s} s begins at a full {begins} s",
                starts % begins != 0,
            ),
        ],
    )
    seconds = starts.astype(np.int64)
    return Candles(
        starts=seconds, ends=seconds + step_s, open=open_, high=high, low=low, close=close
    )


def _is_time(seconds: Floats) -> Mask:
    whole: Mask = np.equal(seconds, np.floor(seconds))
    return whole & (seconds >= 0.0) & (seconds < LATEST)


def _refuse(place: Path | str, first_line: int, faults: Sequence[tuple[str, Mask]]) -> None:
    for reason, bad in faults:
        if bad.any():
            raise HistoryError(place, reason, int(np.flatnonzero(bad)[0]) + first_line)


def clipped(candles: Candles) -> Candles:
    """Without the wicks that no oracle followed: see `WICK`."""
    top = np.maximum(candles.open, candles.close)
    bottom = np.minimum(candles.open, candles.close)
    return replace(
        candles,
        high=np.where(candles.high > WICK * top, top, candles.high),
        low=np.where(candles.low < bottom / WICK, bottom, candles.low),
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
