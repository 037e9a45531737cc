"""Positions to be replayed: from a file, or drawn from a seed."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from keeper.backtest.sheet import day
from keeper.backtest.terms import terms
from keeper.backtest.tracks import STEP_S, Track
from keeper.forecast.realised import DAY_S, HOUR_S
from keeper.model.book import Floats
from keeper.model.errors import ConfigurationError, Problem

EPISODE_S: Final = 30 * DAY_S
"""How long a position is watched: as long as moved money is taken to stay (`CARRY_S`)."""
SHORTEST_S: Final = DAY_S
"""Where the prices end before."""
PER_PAIR: Final = 1_000
COLUMNS: Final = (
    "pair",
    "collateral_amount",
    "debt_amount",
    "health_start",
    "gas_usd",
    "latency_min",
    "reserve_share",
    "start",
)
Known = Mapping[str, Sequence[Track]]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """One entry per episode. Amounts in units of the pair's base and quote; `quote_usd` is what a
    unit of the quote is worth at the start, by which the whole episode's costs are told in dollars.
    `track` is a place in `tracks`, `first` the step of it at which the episode starts, `steps` how
    many follow.
    """

    tracks: tuple[Track, ...]
    track: Ints
    first: Ints
    steps: Ints
    collateral: Floats
    debt: Floats
    threshold: Floats
    health_start: Floats
    gas_usd: Floats
    latency_s: Floats
    reserve_share: Floats
    quote_usd: Floats

    def __len__(self) -> int:
        return len(self.track)

    @property
    def pairs(self) -> list[str]:
        """Of every episode."""
        names = [track.pair for track in self.tracks]
        return [names[n] for n in self.track.tolist()]

    @property
    def starts(self) -> Floats:
        """Unix seconds."""
        begin = np.array([track.start for track in self.tracks], dtype=np.float64)
        return begin[self.track] + STEP_S * self.first

    def term(self, name: str) -> Floats:
        """One of each position's `Terms`."""
        each = np.array([getattr(terms(track.pair), name) for track in self.tracks])
        return each[self.track].astype(np.float64)

    def where(self, chosen: Ints) -> Self:
        """These episodes."""
        arrays = {f.name: getattr(self, f.name)[chosen] for f in fields(self)[1:]}
        return type(self)(tracks=self.tracks, **arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One position as it is written. Raises nothing: see `placed`."""

    place: str
    pair: str
    collateral_amount: float
    debt_amount: float
    health_start: float
    gas_usd: float
    latency_min: float
    reserve_share: float
    start: float


def refused(place: str, what: str, fix: str) -> ConfigurationError:
    """A position that cannot be replayed."""
    why = "every position is replayed from what its row says"
    return ConfigurationError(Problem(where=place, what=what, why=why, fix=fix))


def read(path: Path) -> list[Row]:
    """The rows of a CSV file with the columns `COLUMNS` in any order. `start` is a date, a date and
    time (UTC), or Unix seconds. Raises `ConfigurationError` with the file and line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise refused(
                    f"{path}:1",
                    f"the column {', '.join(missing)} is missing",
                    f"begin the file with {','.join(COLUMNS)}",
                )
            rows = [_row(f"{path}:{reader.line_num}", line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise refused(str(path), f"cannot be read: {error}", "name a CSV file") from None
    if not rows:
        raise refused(str(path), "holds no positions", "write one position per line")
    return rows


_LIMITS: Final[Mapping[str, tuple[float, float, str]]] = {
    "collateral_amount": (0.0, 1e15, "positive"),
    "debt_amount": (0.0, 1e15, "positive"),
    "health_start": (1.0, 1e6, "above 1: it would be liquidated at its start"),
    "gas_usd": (-1e-12, 1e6, "not negative"),
    "latency_min": (-1e-12, 1_440.0, "between 0 and 1440 minutes"),
    "reserve_share": (-1e-12, 1e6, "not negative"),
}


def _row(place: str, line: Mapping[str, str | None]) -> Row:
    numbers = {}
    for name, (least, most, wanted) in _LIMITS.items():
        written = (line[name] or "").strip()
        try:
            value = float(written)
        except ValueError:
            value = float("nan")
        if not (isfinite(value) and least < value <= most):
            raise refused(place, f"{name} is {written!r}", f"give a number that is {wanted}")
        numbers[name] = max(value, 0.0)
    pair = (line["pair"] or "").strip()
    start = moment((line["start"] or "").strip())
    if start is None:
        raise refused(
            place, f"start is {line['start']!r}", "give a date such as 2020-03-12, or Unix seconds"
        )
    return Row(place=place, pair=pair, start=start, **numbers)


def moment(written: str) -> float | None:
    """Unix seconds of a date, a date and time, or Unix seconds; None for what is none."""
    try:
        return float(int(written))
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(written)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def placed(rows: Sequence[Row], known: Known, *, end: float) -> Positions:
    """Every row on the prices that it needs, until `EPISODE_S` after its start, the end of its
    prices or `end`, whichever is first. Raises `ConfigurationError` with the row's file and line."""
    check_pairs(rows, known)
    names: dict[int, int] = {}
    used: list[Track] = []
    columns: dict[str, list[float]] = {f.name: [] for f in fields(Positions)[1:]}
    for row in rows:
        own, steps = _covering(row, known, end)
        place = names.setdefault(id(own), len(used))
        if place == len(used):
            used.append(own)
        first = own.step(row.start)
        price = float(own.oracle[first])
        threshold = row.health_start * row.debt_amount / (row.collateral_amount * price)
        if not 0.0 < threshold <= 1.0:
            raise refused(
                row.place,
                f"health {row.health_start:g} of {row.collateral_amount:g} × {price:g} against "
                f"{row.debt_amount:g} asks for a liquidation threshold of {threshold:.4g}",
                "health_start × debt_amount / (collateral_amount × price) must lie in (0, 1]",
            )
        for name, value in {
            "track": place,
            "first": first,
            "steps": steps,
            "collateral": row.collateral_amount,
            "debt": row.debt_amount,
            "threshold": threshold,
            "health_start": row.health_start,
            "gas_usd": row.gas_usd,
            "latency_s": 60.0 * row.latency_min,
            "reserve_share": row.reserve_share,
            "quote_usd": quote_usd(row.pair, row.start, known, row.place),
        }.items():
            columns[name].append(value)
    at, begins, counts = (
        np.array(columns.pop(name), dtype=np.intp) for name in ("track", "first", "steps")
    )
    rest = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    return Positions(tracks=tuple(used), track=at, first=begins, steps=counts, **rest)


def check_pairs(rows: Sequence[Row], known: Known) -> None:
    """Raises `ConfigurationError` for the first row whose pair has no prices."""
    for row in rows:
        if row.pair not in known:
            raise refused(
                row.place,
                f"pair {row.pair!r}: there are no prices of it",
                f"write pairs like ETH/USD; there are {', '.join(known) or 'none of its pairs'}",
            )


def _covering(row: Row, known: Known, end: float) -> tuple[Track, int]:
    """The best track that has the whole episode, else the longest part of it from its start."""
    own = known[row.pair]
    around = [track for track in own if track.start <= row.start <= track.end - SHORTEST_S]
    if not around:
        spans = ", ".join(f"{day(t.start)} to {day(t.end)}" for t in own)
        raise refused(
            row.place,
            f"{row.pair} has no prices from {day(row.start)} on for a day",
            f"start it within {spans}, or give other price files",
        )
    # The last moment of an episode, and whether a gap would be within.
    clear = [
        track
        for track in around
        if track.gap_within(row.start, min(row.start + EPISODE_S, track.end, end)) is None
    ]
    if not clear:
        gap = around[0].gap_within(row.start, row.start + EPISODE_S) or (0, 0)
        raise refused(
            row.place,
            f"{row.pair} has no prices from {day(gap[0])} to {day(gap[1])}, longer than a feed "
            "is ever silent",
            "start it elsewhere, or give price files without the gap",
        )
    best = max(clear, key=lambda track: min(track.end, row.start + EPISODE_S))
    last = min(row.start + EPISODE_S, best.end, end)
    return best, int((last - row.start) // STEP_S)


def quote_usd(pair: str, start: float, known: Known, place: str) -> float:
    """Dollars for a unit of the pair's quote at a moment. Raises `ConfigurationError` where there is
    no price of it."""
    found = _dollars(pair, start, known)
    if found is not None:
        return found
    quote = pair.partition("/")[2]
    raise refused(
        place,
        f"{pair} is told in dollars by {quote}/USD, of which there is no price at {day(start)}",
        f"add a price file of {quote}USDT",
    )


def _dollars(pair: str, moment: float, known: Known) -> float | None:
    quote = pair.partition("/")[2]
    if quote == "USD":
        return 1.0
    for track in known.get(f"{quote}/USD", ()):
        if track.has(moment, moment + 1.0):
            return float(track.oracle[track.step(moment)])
    return None


def drawn(
    known: Known, *, start: float, end: float, seed: int, per_pair: int = PER_PAIR
) -> list[Row]:
    """The mixed set: of every pair the same number of positions.

    Uniform draws: start, a full hour whose thirty days are all priced; health_start from 1.05 to
    1.6; latency 1, 5 or 15 minutes; reserve_share 0, 0.1, 0.25 or 0.5. Log-uniform: debt from 5,000
    to 1,000,000 USD and gas_usd from 1 to 200. The liquidation threshold is the pair's (`terms`).
    """
    rows: list[Row] = []
    for n, (pair, own) in enumerate(known.items()):
        origins = _whole_hours(own, start, end)
        origins = origins[
            [_dollars(pair, origin, known) is not None for origin in origins.tolist()]
        ]
        if not len(origins):
            continue
        random = np.random.default_rng([seed, n])
        begins = random.choice(origins, per_pair)
        debts = np.exp(random.uniform(np.log(5e3), np.log(1e6), per_pair))
        healths = random.uniform(1.05, 1.6, per_pair)
        gas = np.exp(random.uniform(0.0, np.log(200.0), per_pair))
        latencies = random.choice([1.0, 5.0, 15.0], per_pair)
        reserves = random.choice([0.0, 0.1, 0.25, 0.5], per_pair)
        for k, begin in enumerate(begins.tolist()):
            place = f"drawn position {k + 1} of {pair}"
            track = next(t for t in own if t.has(begin, begin + EPISODE_S))
            debt = debts[k] / quote_usd(pair, begin, known, place)
            price = float(track.oracle[track.step(begin)])
            rows.append(
                Row(
                    place=place,
                    pair=pair,
                    collateral_amount=healths[k] * debt / (terms(pair).threshold * price),
                    debt_amount=debt,
                    health_start=healths[k],
                    gas_usd=gas[k],
                    latency_min=latencies[k],
                    reserve_share=reserves[k],
                    start=begin,
                )
            )
    return rows


def _whole_hours(own: Sequence[Track], start: float, end: float) -> Floats:
    found = [
        hours[[track.gap_within(h, h + EPISODE_S) is None for h in hours.tolist()]]
        for track in own
        if len(
            hours := np.arange(
                np.ceil(max(track.start, start) / HOUR_S) * HOUR_S,
                min(track.end, end) - EPISODE_S + 0.5,
                HOUR_S,
                dtype=np.float64,
            )
        )
    ]
    return np.unique(np.concatenate(found)) if found else np.empty(0)
