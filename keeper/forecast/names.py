"""What a feed's own description says it prices, in the names that the tables were fitted under."""

import re
from dataclasses import dataclass
from typing import Final, Self

DOLLARS: Final = frozenset(
    [
        "USD",
        "USDC",
        "USDT",
        "DAI",
        "FRAX",
        "LUSD",
        "GHO",
        "PYUSD",
        "USDS",
        "CRVUSD",
        "TUSD",
        "BUSD",
        "USDP",
        "SUSD",
        "USDC.E",
        "USDBC",
    ]
)
"""Written USD, as the histories are: a stablecoin's own moves are small beside what it faces, and
between two of them the jump of `keeper.forecast.depeg` counts."""
_STAKED: Final = {"STETH": "stETH", "WSTETH": "wstETH"}
_SAME: Final = {"WETH": "ETH", "WBTC": "BTC", "CBBTC": "BTC", "TBTC": "BTC"}
PEGS: Final = {
    **dict.fromkeys(DOLLARS - {"USD"}, "USD"),
    **dict.fromkeys(("STETH", "RETH", "CBETH", "WSTETH", "WEETH"), "ETH"),
    **dict.fromkeys(("WBTC", "CBBTC", "TBTC"), "BTC"),
}
"""Assets that are meant to keep a value in another, or to gain on it slowly."""
_DESCRIPTION: Final = re.compile(r"\s*(?P<base>[\w.]+)\s*/\s*(?P<quote>[\w.]+)\s*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """What a column prices. `name` is as in the tables, `symbol` as the feed writes it, in capitals."""

    name: str
    quote: str
    symbol: str

    @classmethod
    def of(cls, description: str) -> Self | None:
        """From `ETH / USD` and the like; None for what is not of this form."""
        match = _DESCRIPTION.fullmatch(description)
        if match is None:
            return None
        symbol = match["base"].upper()
        return cls(name=_named(symbol), quote=_named(match["quote"].upper()), symbol=symbol)

    @property
    def pair(self) -> str:
        """Such as ETH/USD; what is pegged to its quote keeps its own symbol, as in USDC/USD."""
        return f"{self.symbol if self.name == self.quote else self.name}/{self.quote}"

    @property
    def anchor(self) -> str:
        """What its value is held to: itself, for what has no peg."""
        return PEGS.get(self.symbol, self.name)


def _named(symbol: str) -> str:
    if symbol in DOLLARS:
        return "USD"
    return _SAME.get(symbol) or _STAKED.get(symbol, symbol)
