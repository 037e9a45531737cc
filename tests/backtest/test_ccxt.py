"""Candles through ccxt's own client and parsing, from a server that answers as Kraken's does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from keeper.backtest.ccxt_exchange import CcxtExchange, ExchangeDownError, opened
from keeper.backtest.exchange import fetched, wanted
from keeper.model.errors import ConfigurationError

STEP_S = 300
LENGTH = 1_000
PAIR = {
    "altname": "ETHUSD",
    "wsname": "ETH/USD",
    "aclass_base": "currency",
    "base": "XETH",
    "aclass_quote": "currency",
    "quote": "ZUSD",
    "lot": "unit",
    "cost_decimals": 5,
    "pair_decimals": 2,
    "lot_decimals": 8,
    "lot_multiplier": 1,
    "leverage_buy": [],
    "leverage_sell": [],
    "fees": [[0, 0.4]],
    "fees_maker": [[0, 0.25]],
    "fee_volume_currency": "ZUSD",
    "ordermin": "0.01",
    "costmin": "0.5",
    "tick_size": "0.01",
    "status": "online",
}
ASSETS = {
    "XETH": {"aclass": "currency", "altname": "ETH", "decimals": 10, "display_decimals": 5},
    "ZUSD": {"aclass": "currency", "altname": "USD", "decimals": 4, "display_decimals": 2},
}


class Kraken(BaseHTTPRequestHandler):
    """The public REST endpoints, in their documented shapes, with made-up prices."""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        since = int(parse_qs(asked.query).get("since", ["0"])[0])
        candles = [
            [n * STEP_S, "100.0", "101.0", "99.0", "100.5", "100.2", "7.0", 3]
            for n in range(1, LENGTH)
            if n * STEP_S > since
        ]
        answers: dict[str, Any] = {
            "/0/public/Assets": ASSETS,
            "/0/public/AssetPairs": {"XETHZUSD": PAIR},
            "/0/public/OHLC": {"XETHZUSD": candles[:720], "last": LENGTH * STEP_S},
        }
        result = answers.get(asked.path, {})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"error": [], "result": result}).encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def kraken() -> Iterator[CcxtExchange]:
    ccxt = pytest.importorskip("ccxt", reason="the extra `exchange` is not installed")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kraken)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        exchange = ccxt.kraken({"enableRateLimit": False})
        for kind in exchange.urls["api"]:
            exchange.urls["api"][kind] = f"http://127.0.0.1:{server.server_port}"
        yield CcxtExchange(ccxt, exchange)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_fetched__through_ccxt__every_candle_comes_once(kraken: CcxtExchange) -> None:
    asked = wanted(kraken, "ETH/USD", "5m", STEP_S, since=STEP_S, until=LENGTH * STEP_S)
    pages = [page for _, page in fetched(asked, (asked.since, asked.until))]
    starts = [start for page in pages for start in page.starts.tolist()]
    assert starts == [n * STEP_S for n in range(1, LENGTH)]
    assert (asked.source.pair, asked.source.venue) == ("ETH/USD", "SPOT_KRAKEN")
    assert pages[0].close[0] == 100.5


def test_page__server_that_is_down__is_temporary(kraken: CcxtExchange) -> None:
    kraken.symbols()
    for kind in kraken._exchange.urls["api"]:
        kraken._exchange.urls["api"][kind] = "http://127.0.0.1:9"
    with pytest.raises(ExchangeDownError, match="kraken is unavailable"):
        kraken.page("ETH/USD", "5m", 0, 10)


def test_opened__name_that_ccxt_does_not_know__offers_what_is_near() -> None:
    pytest.importorskip("ccxt", reason="the extra `exchange` is not installed")
    with pytest.raises(ConfigurationError, match="write kraken"):
        opened("krakn")
