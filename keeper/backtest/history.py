"""Price histories from a directory of files `SYMBOL[_VENUE]-STEP-SPAN.csv.gz`.

SYMBOL is a base and a quote (`ETHUSDT`, `STETHETH`); dollars of any kind are written USD. Without
VENUE the file is a spot market. STEP is `1m`, `5m`, `1h` …, or `rounds` for a feed's own updates.
Prices of one venue are spliced, the finest candle for every moment. Venues are never mixed: each
episode is of one venue alone, the first of `VENUES` that has it without a gap.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Final

from keeper.backtest.candles import Candles, HistoryError, joined, ratio, read, spliced

VENUES: Final = ("SPOT", "COINGECKO", "CHAINLINK", "IMPLIED", "PERP", "PERP_OKX", "PERP_BYBIT")
"""Best first: spot before perpetuals, since what an oracle reports follows spot."""
_NAME: Final = re.compile(
    r"(?P<base>[A-Z0-9]+?)(?P<quote>USDT|USD|BTC|ETH)(?:_(?P<venue>[A-Z_]+))?"
    r"-(?:(?P<count>\d+)(?P<unit>[mhd])|rounds)-[\w-]+\.csv\.gz"
)
_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_WRITTEN: Final = {"STETH": "stETH", "WSTETH": "wstETH", "USDT": "USD"}
_OBSERVED: Final = frozenset({"COINGECKO", "CHAINLINK", "IMPLIED"})
"""Venues whose rows are observations, not intervals, though a step may be named."""
Leg = dict[int, list["PriceFile"]]
"""A pair's files on one venue by their step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFile:
    """What a file's name says."""

    path: Path
    pair: str
    venue: str
    step_s: int
    """0 for a feed's rounds."""

    @property
    def interval_s(self) -> int:
        """How long each row lasts: 0 for observations."""
        return 0 if self.venue in _OBSERVED else self.step_s

    def sha256(self) -> str:
        """Of the file as it lies on disk."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One venue's prices of one pair, and the files they come from."""

    pair: str
    venue: str
    candles: Candles
    files: tuple[PriceFile, ...]


def price_files(directory: Path) -> tuple[PriceFile, ...]:
    """The price files of a directory, by name; other files are left alone."""
    if not directory.is_dir():
        raise HistoryError(directory, "no such directory", fix="name a directory of price files")
    found = []
    for path in sorted(directory.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        venue = match["venue"] or "SPOT"
        if venue not in VENUES:
            raise HistoryError(path, f"venue {venue} is unknown: one of {', '.join(VENUES)}")
        base, quote = (_WRITTEN.get(match[side], match[side]) for side in ("base", "quote"))
        step_s = int(match["count"]) * _UNITS[match["unit"]] if match["count"] else 0
        found.append(PriceFile(path=path, pair=f"{base}/{quote}", venue=venue, step_s=step_s))
    if not found:
        raise HistoryError(
            directory,
            "no file is named SYMBOL[_VENUE]-STEP-SPAN.csv.gz",
            fix="name files like ETHUSDT-5m-2023.csv.gz",
        )
    return tuple(found)


def series(files: Iterable[PriceFile], pair: str) -> tuple[Series, ...]:
    """Every venue's prices of a pair, best venue first. A pair of two assets that has no file of
    its own is the ratio of their dollar prices on one venue. Raises `HistoryError` if neither is there.
    """
    known = tuple(files)
    base, _, quote = pair.partition("/")
    legs_of: dict[str, tuple[Leg, ...]] = {
        venue: (leg,) for venue, leg in _by_venue(known, pair).items()
    }
    if not legs_of and quote != "USD":
        tops, bottoms = _by_venue(known, f"{base}/USD"), _by_venue(known, f"{quote}/USD")
        shared = (tops.keys() & bottoms.keys()) - _OBSERVED
        legs_of = {venue: (tops[venue], bottoms[venue]) for venue in shared}
    if not legs_of:
        raise HistoryError(
            pair,
            "no price file has this pair, nor both its dollar prices",
            fix="write pairs like ETH/USD, and put their files into the directory",
        )
    return tuple(
        _series(pair, venue, legs_of[venue]) for venue in sorted(legs_of, key=VENUES.index)
    )


def _series(pair: str, venue: str, legs: tuple[Leg, ...]) -> Series:
    steps = [
        {step: joined([read(f.path, f.interval_s) for f in of]) for step, of in leg.items()}
        for leg in legs
    ]
    if len(steps) == 2:
        top, bottom = steps
        steps = [{step: ratio(top[step], bottom[step]) for step in top.keys() & bottom.keys()}]
    by_step = [steps[0][step] for step in sorted(steps[0], reverse=True) if len(steps[0][step])]
    if not by_step:
        raise HistoryError(pair, f"its two prices on {venue} have no time in common")
    files = tuple(f for leg in legs for of in leg.values() for f in of)
    return Series(pair=pair, venue=venue, candles=reduce(spliced, by_step), files=files)


def _by_venue(files: tuple[PriceFile, ...], pair: str) -> dict[str, Leg]:
    chosen = sorted((f for f in files if f.pair == pair), key=lambda f: (f.venue, f.step_s, f.path))
    return {
        venue: {step: list(of) for step, of in groupby(list(group), key=lambda f: f.step_s)}
        for venue, group in groupby(chosen, key=lambda f: f.venue)
    }
