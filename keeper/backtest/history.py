"""Price histories from a directory of files `SYMBOL[_VENUE]-STEP-SPAN.csv.gz`.

SYMBOL is a base and a quote (`ETHUSDT`, `STETHETH`); dollars of any kind are written USD. Without
VENUE the file is a spot market. STEP is `1m`, `5m`, `1h` …, or `rounds` for a feed's own updates.
Prices of one venue are spliced, the finest candle for every moment, none longer than an hour: a
feed speaks every hour, and longer ones do not say when. Venues are never mixed: each
episode is of one venue alone, the best by `KINDS` that has it without a gap.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol

from keeper.backtest.candles import HistoryError, NoPricesError, joined, ratio, read, spliced
from keeper.model.candles import OBSERVED, ROUNDS, Candles, PriceSource

KINDS: Final = ("SPOT", "COINGECKO", "CHAINLINK", "IMPLIED", "PERP")
"""Best first: spot before perpetuals, since what an oracle reports follows spot. A venue is one of
these or one of these and a name, such as PERP_OKX."""
_NAME: Final = re.compile(
    r"(?P<base>[A-Z0-9]+?)(?P<quote>USDT|USDC|USD|BTC|ETH)(?:_(?P<venue>[A-Z_]+))?"
    r"-(?P<step>[1-9]\d*[mhd]|rounds)-[\w-]+\.csv(?:\.gz)?"
)
_STEP: Final = re.compile(r"(?P<count>[1-9]\d*)(?P<unit>[mhd])")
_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_WRITTEN: Final = {"STETH": "stETH", "WSTETH": "wstETH"}
LONGEST_S: Final = 3_600
_DOLLARS: Final = frozenset({"USDT", "USDC"})


class Prices(Protocol):
    """Prices of one source, on disk or in the store."""

    @property
    def source(self) -> PriceSource: ...
    @property
    def name(self) -> str: ...
    def candles(self) -> Candles: ...
    def sha256(self) -> str: ...


Leg = dict[int, list[Prices]]
"""A pair's prices on one venue by their step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFile:
    """A file, and what its name says."""

    path: Path
    source: PriceSource

    @property
    def name(self) -> str:
        """Of the file, without its directory."""
        return self.path.name

    def candles(self) -> Candles:
        """What stands in it. Raises `HistoryError`."""
        return read(self.path, self.source.interval_s)

    def sha256(self) -> str:
        """Of the file as it lies on disk."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One venue's prices of one pair, and what they come from."""

    pair: str
    venue: str
    candles: Candles
    files: tuple[Prices, ...]


def price_files(directory: Path) -> tuple[PriceFile, ...]:
    """The price files of a directory, by name; other files are left alone. Raises `HistoryError`."""
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        raise HistoryError(
            directory,
            f"cannot be read as a directory: {error.strerror}",
            fix="name a directory of price files that keeper's user may read",
        ) from error
    return _named(directory, paths)


def prices_at(path: Path) -> tuple[PriceFile, ...]:
    """One price file, or those of a directory. Raises `HistoryError`."""
    return _named(path, [path]) if path.is_file() else price_files(path)


def _named(place: Path, paths: Iterable[Path]) -> tuple[PriceFile, ...]:
    found = [
        PriceFile(path=path, source=source)
        for path in paths
        if (source := named_source(path)) is not None
    ]
    if not found:
        raise HistoryError(
            place,
            "no file is named SYMBOL[_VENUE]-STEP-SPAN.csv.gz",
            fix="name files like ETHUSDT-5m-2023.csv.gz",
        )
    return tuple(found)


def named_source(path: Path) -> PriceSource | None:
    """What a file's name says, None where it is not named like a price file. Raises `HistoryError`
    for a venue that nobody ranked."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    venue = match["venue"] or "SPOT"
    if rank(venue) is None:
        raise HistoryError(
            path,
            f"venue {venue} is unknown",
            fix=f"begin it with one of {', '.join(KINDS)}, as in PERP_OKX",
        )
    return PriceSource(
        pair=written_pair(match["base"], match["quote"]),
        venue=venue,
        step_s=step_seconds(match["step"]) or ROUNDS,
    )


def written_pair(base: str, quote: str) -> str:
    """As pairs are written here: `ETH/USD`, dollars of any kind as USD."""
    quote = "USD" if quote in _DOLLARS else _WRITTEN.get(quote, quote)
    return f"{_WRITTEN.get(base, base)}/{quote}"


def rank(venue: str) -> int | None:
    """The place of a venue's kind among `KINDS`, None where it is none of them."""
    kind = venue.partition("_")[0]
    return KINDS.index(kind) if kind in KINDS else None


def step_seconds(written: str) -> int | None:
    """A step such as `5m` in seconds; None for what is none."""
    match = _STEP.fullmatch(written)
    return int(match["count"]) * _UNITS[match["unit"]] if match else None


def series(files: Iterable[Prices], pair: str) -> tuple[Series, ...]:
    """Every venue's prices of a pair, best venue first. A pair of two assets that has no file of
    its own is the ratio of their dollar prices on one venue. Raises `NoPricesError` if neither is
    there, and `HistoryError` for a file that cannot be used."""
    known = tuple(files)
    base, _, quote = pair.partition("/")
    legs_of: dict[str, tuple[Leg, ...]] = {
        venue: (leg,) for venue, leg in _by_venue(known, pair).items()
    }
    if not legs_of and quote != "USD":
        tops, bottoms = _by_venue(known, f"{base}/USD"), _by_venue(known, f"{quote}/USD")
        shared = (tops.keys() & bottoms.keys()) - OBSERVED
        legs_of = {venue: (tops[venue], bottoms[venue]) for venue in shared}
    if not legs_of:
        there = ", ".join(sorted({each.source.pair for each in known}))
        raise NoPricesError(
            f"pair {pair}",
            "no price file has this pair, nor both its dollar prices, by the hour or finer",
            fix=f"write pairs like ETH/USD; there are {there}",
        )
    return tuple(
        _series(pair, venue, legs_of[venue])
        for venue in sorted(legs_of, key=lambda name: (rank(name) or 0, name))
    )


def _series(pair: str, venue: str, legs: tuple[Leg, ...]) -> Series:
    steps = [{step: joined([f.candles() for f in of]) for step, of in leg.items()} for leg in legs]
    if len(steps) == 2:
        top, bottom = steps
        steps = [{step: ratio(top[step], bottom[step]) for step in top.keys() & bottom.keys()}]
    by_step = [steps[0][step] for step in sorted(steps[0], reverse=True) if len(steps[0][step])]
    if not by_step:
        raise NoPricesError(pair, f"its two prices on {venue} have no time in common")
    files = tuple(f for leg in legs for of in leg.values() for f in of)
    return Series(pair=pair, venue=venue, candles=reduce(spliced, by_step), files=files)


def _by_venue(files: tuple[Prices, ...], pair: str) -> dict[str, Leg]:
    usable = (f for f in files if f.source.pair == pair and f.source.interval_s <= LONGEST_S)
    chosen = sorted(usable, key=lambda f: (f.source, f.name))
    return {
        venue: {step: list(of) for step, of in groupby(list(group), key=lambda f: f.source.step_s)}
        for venue, group in groupby(chosen, key=lambda f: f.source.venue)
    }
