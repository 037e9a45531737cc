"""Aave v3.0 (@aave/core-v3 1.19.3, pool revision 1): the adapter's public face.

Any deployment is found by its PoolAddressesProvider; other revisions are refused by name. The
arithmetic is in `aave_v3_math` and `aave_v3_reserve`, a position in `aave_v3_position`.
"""

from keeper.model.values import ImpossibleActionError
from keeper.protocols.aave_v3_actions import (
    encode,
    liquidation_terms,
    objection,
    options,
    payees,
    predict,
    reductions,
    spending,
    tokens,
    unwinds,
)
from keeper.protocols.aave_v3_book import BookRows, book_rows
from keeper.protocols.aave_v3_errors import decode_error
from keeper.protocols.aave_v3_market import (
    AaveMarket,
    UnsupportedMarketError,
    UnsupportedRevisionError,
    contracts,
    derived_tokens,
    discover,
    hedges,
    price_sources,
)
from keeper.protocols.aave_v3_position import (
    AavePosition,
    deltas,
    exposure,
    matches,
)
from keeper.protocols.aave_v3_reading import AaveSnapshot, snapshot
from keeper.protocols.aave_v3_readset import ReadSet
from keeper.protocols.errors import (
    MarketChangedError,
    UnreadablePositionError,
)

__all__ = [
    "AaveMarket",
    "AavePosition",
    "AaveSnapshot",
    "BookRows",
    "ImpossibleActionError",
    "MarketChangedError",
    "ReadSet",
    "UnreadablePositionError",
    "UnsupportedMarketError",
    "UnsupportedRevisionError",
    "book_rows",
    "contracts",
    "decode_error",
    "deltas",
    "derived_tokens",
    "discover",
    "encode",
    "exposure",
    "hedges",
    "liquidation_terms",
    "matches",
    "objection",
    "options",
    "payees",
    "predict",
    "price_sources",
    "reductions",
    "snapshot",
    "spending",
    "tokens",
    "unwinds",
]
