"""Candles of an exchange: pages, holes, what has not ended, and what cannot be."""

from collections.abc import Collection, Sequence

import numpy as np
import pytest

from keeper.backtest.candles import HistoryError
from keeper.backtest.exchange import PAGE, Row, Wanted, fetched, missing, wanted
from keeper.model.candles import Candles, PriceSource
from keeper.model.errors import ConfigurationError, TemporaryError

STEP_S = 300
LENGTH = 1_200
END = LENGTH * STEP_S


class FakeExchange:
    """Five-minute candles of one market, with a hole of `PAGE` candles and more."""

    name = "fake"

    def __init__(self) -> None:
        self.pages_left: int | None = None
        """After so many pages it is down."""
        self.rows: dict[int, list[float]] = {
            n * STEP_S: [n * STEP_S * 1_000.0, 100.0, 101.0, 99.0, 100.5, 7.0]
            for n in range(LENGTH)
            if not 100 <= n < 100 + PAGE + 50
        }

    def symbols(self) -> Collection[str]:
        return ["ETH/USDT", "ETH/USDT:USDT"]

    def steps(self) -> Collection[str]:
        return ["5m", "1h"]

    def page(self, symbol: str, step: str, since_ms: int, limit: int) -> Sequence[Row]:
        assert (symbol, step) == ("ETH/USDT", "5m")
        if self.pages_left is not None:
            if not self.pages_left:
                raise TemporaryError("fake is unavailable")
            self.pages_left -= 1
        inside = [row for start, row in sorted(self.rows.items()) if start * 1_000 >= since_ms]
        # As some do: nothing at all where the page would begin in a hole.
        if inside and inside[0][0] > since_ms + limit * STEP_S * 1_000:
            return []
        return inside[:limit]


def asked(exchange: FakeExchange, symbol: str = "ETH/USDT", step: str = "5m") -> Wanted:
    return wanted(exchange, symbol, step, STEP_S, since=0, until=END + 17)


def everything(of: Wanted, span: tuple[int, int]) -> list[int]:
    return [start for _, page in fetched(of, span) for start in page.starts.tolist()]


def candles(starts: list[int]) -> Candles:
    times, ones = np.array(starts, dtype=np.int64), np.ones(len(starts))
    return Candles(starts=times, ends=times + STEP_S, open=ones, high=ones, low=ones, close=ones)


def test_wanted__spot_and_perpetual__are_venues_of_their_own() -> None:
    spot, perp = asked(FakeExchange()), asked(FakeExchange(), "ETH/USDT:USDT")
    assert spot.source == PriceSource(pair="ETH/USD", venue="SPOT_FAKE", step_s=STEP_S)
    assert perp.source.venue == "PERP_FAKE"
    assert spot.until == END  # the candle that has begun is not asked for


@pytest.mark.parametrize(
    ("symbol", "step", "said"),
    [
        ("ETH/USD", "5m", "write ETH/USDT"),
        ("nonsense", "5m", "write it as in ETH/USDT"),
        ("ETH/USDT", "7m", "write one of 5m, 1h"),
    ],
)
def test_wanted__what_the_exchange_does_not_have__is_refused(
    symbol: str, step: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        asked(FakeExchange(), symbol, step)


def test_fetched__a_hole_longer_than_a_page__stays_a_hole_and_what_follows_comes() -> None:
    exchange = FakeExchange()
    assert everything(asked(exchange), (0, END)) == sorted(exchange.rows)


def test_missing__some_is_there__only_the_rest_is_asked_for() -> None:
    of = asked(FakeExchange())
    held = candles([0, 300, 1_500, 1_800, END + 600])
    assert missing(held, of) == [(600, 1_500), (2_100, END)]
    assert missing(candles([]), of) == [(0, END)]
    assert missing(candles(list(range(0, END, STEP_S))), of) == []


def test_fetched__a_wick_that_no_oracle_followed__is_clipped() -> None:
    exchange = FakeExchange()
    exchange.rows[0][3] = 0.01
    (_, page), *_ = fetched(asked(exchange), (0, 600))
    assert page.low.tolist() == [100.0, 99.0]


def test_fetched__candles_that_cannot_be__are_refused_with_their_place() -> None:
    exchange = FakeExchange()
    exchange.rows[300][1] = -1.0
    with pytest.raises(HistoryError, match="positive") as refused:
        list(fetched(asked(exchange), (0, END)))
    assert str(refused.value).startswith("fake ETH/USDT 5m:2:")
