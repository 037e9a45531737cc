"""The exchanges that the package `ccxt` knows; it comes with the extra `exchange`."""

from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from keeper.backtest.exchange import Row, refused
from keeper.model.errors import TemporaryError

P = ParamSpec("P")
R = TypeVar("R")
MESSAGE = 200
"""Characters of an exchange's own words that are passed on: some answer with a whole page."""


class ExchangeDownError(TemporaryError):
    """The exchange did not answer, or asks to slow down."""


class CcxtExchange:
    """One exchange. ccxt keeps to its rate limit."""

    def __init__(self, ccxt: Any, exchange: Any) -> None:
        self._ccxt = ccxt
        self._exchange = exchange

    @property
    def name(self) -> str:
        """As ccxt calls it."""
        return str(self._exchange.id)

    def symbols(self) -> Collection[str]:
        """Its markets, read once."""
        return list(self._asked(self._exchange.load_markets))

    def steps(self) -> Collection[str]:
        """Such as 5m."""
        return list(self._exchange.timeframes or ())

    def page(self, symbol: str, step: str, since_ms: int, limit: int) -> Sequence[Row]:
        """At most `limit` candles, the first at or after `since_ms`."""
        page: Sequence[Row] = self._asked(self._exchange.fetch_ohlcv, symbol, step, since_ms, limit)
        return page

    def _asked(self, ask: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return ask(*args, **kwargs)
        except self._ccxt.OperationFailed as error:
            # Network, rate limit, maintenance: what another time may mend.
            raise ExchangeDownError(f"{self.name} is unavailable: {_short(error)}") from error
        except self._ccxt.BaseError as error:
            raise refused(
                self.name, f"it refused: {_short(error)}", "ask for what it offers"
            ) from error


def opened(name: str) -> CcxtExchange:
    """The exchange of this name. Raises `ConfigurationError` where ccxt or the name is missing."""
    try:
        ccxt = import_module("ccxt")
    except ModuleNotFoundError:
        raise refused(
            "--exchange",
            "the package ccxt, which knows the exchanges, is not installed",
            "install it with keeper's checkout: pip install '.[exchange]'",
        ) from None
    if name not in ccxt.exchanges:
        near = get_close_matches(name.lower(), ccxt.exchanges, n=3)
        raise refused(
            "--exchange",
            f"ccxt knows no exchange {name}",
            f"write {' or '.join(near)}" if near else "write a name such as kraken",
        )
    return CcxtExchange(ccxt, getattr(ccxt, name)())


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MESSAGE]}"
