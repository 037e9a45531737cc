"""Candles from exchanges, page after page."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Protocol

import numpy as np

from keeper.backtest.candles import checked, clipped
from keeper.backtest.history import written_pair
from keeper.model.candles import Candles, PriceSource
from keeper.model.errors import ConfigurationError, Problem

PAGE: Final = 500
"""Candles asked for at once: what the large exchanges give without a key."""
_SYMBOL: Final = re.compile(r"(?P<base>[A-Z0-9]+)/(?P<quote>[A-Z0-9]+)(?P<settled>:[A-Z0-9]+)?")

Row = Sequence[float]
"""Start in milliseconds, open, high, low, close, volume."""


class Exchange(Protocol):
    """Candles of markets; raises `TemporaryError` or `ConfigurationError` and nothing else."""

    @property
    def name(self) -> str: ...
    def symbols(self) -> Collection[str]: ...
    def steps(self) -> Collection[str]: ...
    def page(self, symbol: str, step: str, since_ms: int, limit: int) -> Sequence[Row]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Candles of one symbol of one exchange: from `since` to `until`, Unix seconds at full steps."""

    exchange: Exchange
    symbol: str
    step: str
    source: PriceSource
    since: int
    until: int


def wanted(
    exchange: Exchange, symbol: str, step: str, step_s: int, *, since: int, until: int
) -> Wanted:
    """The request, held against what the exchange has; a perpetual's symbol names what it is
    settled in (`ETH/USDT:USDT`). Raises `ConfigurationError`."""
    symbols = exchange.symbols()
    match = _SYMBOL.fullmatch(symbol)
    if match is None or symbol not in symbols:
        near = get_close_matches(symbol.upper(), symbols, n=3)
        raise refused(
            "--symbol",
            f"{exchange.name} has no market {symbol}",
            f"write {' or '.join(near)}" if near else "write it as in ETH/USDT",
        )
    if step not in exchange.steps():
        raise refused(
            "--step",
            f"{exchange.name} has no candles of {step}",
            f"write one of {', '.join(exchange.steps())}",
        )
    kind = "PERP" if match["settled"] else "SPOT"
    return Wanted(
        exchange=exchange,
        symbol=symbol,
        step=step,
        source=PriceSource(
            pair=written_pair(match["base"], match["quote"]),
            venue=f"{kind}_{exchange.name.upper()}",
            step_s=step_s,
        ),
        since=since // step_s * step_s,
        until=until // step_s * step_s,
    )


def refused(where: str, what: str, fix: str) -> ConfigurationError:
    """What an exchange cannot give."""
    why = "candles can be fetched as an exchange gives them out, and not otherwise"
    return ConfigurationError(Problem(where=where, what=what, why=why, fix=fix))


def missing(held: Candles, asked: Wanted) -> list[tuple[int, int]]:
    """The spans within what is asked that hold no candle yet: first start, and end."""
    within = held.starts[(held.starts >= asked.since) & (held.starts < asked.until)]
    ends = np.concatenate([[asked.since], within + asked.source.step_s])
    starts = np.concatenate([within, [asked.until]])
    gaps = starts > ends
    return list(zip(ends[gaps].tolist(), starts[gaps].tolist(), strict=True))


def fetched(asked: Wanted, span: tuple[int, int]) -> Iterator[tuple[int, Candles]]:
    """Page after page: up to when the span has been asked for, and its candles, their wicks clipped.
    What the exchange does not have is left out: a gap stays a gap.

    Raises `HistoryError` for candles that cannot be."""
    at, end = span
    step_s = asked.source.step_s
    while at < end:
        page = asked.exchange.page(asked.symbol, asked.step, at * 1_000, PAGE)
        candles = _candles(page, asked)
        last = int(candles.starts[-1]) if len(candles) else at - 1
        yield (
            # A page that ends before it was to begin says nothing of what may come after a hole.
            min(end, last + step_s if last >= at else at + PAGE * step_s),
            candles.where((candles.starts >= at) & (candles.starts < end)),
        )
        at = last + step_s if last >= at else at + PAGE * step_s


def _candles(page: Sequence[Row], asked: Wanted) -> Candles:
    table = np.array([row[:5] for row in page], dtype=np.float64).reshape(-1, 5)
    table[:, 0] /= 1_000.0
    place = f"{asked.exchange.name} {asked.symbol} {asked.step}"
    if len(table):
        return clipped(checked(place, table, asked.source.step_s, first_line=1))
    starts, none = np.empty(0, dtype=np.int64), np.empty(0)
    return Candles(starts=starts, ends=starts, open=none, high=none, low=none, close=none)
