"""Perp v2, curie (@perp/curie-contract 2.8.4): the adapter's public face.

Any deployment is found by its ClearingHouse; other versions are refused by name, and so are
accounts that make a market. The arithmetic is in `perp_v2_math`, an account in `perp_v2_position`.
"""

from keeper.model.values import ImpossibleActionError
from keeper.protocols.errors import (
    UnreadablePositionError,
)
from keeper.protocols.perp_v2_actions import (
    decode_error,
    deltas,
    encode,
    exposure,
    liquidation_terms,
    matches,
    objection,
    options,
    payees,
    predict,
    reductions,
    spending,
    tokens,
    unwinds,
)
from keeper.protocols.perp_v2_book import BookRows, book_rows
from keeper.protocols.perp_v2_market import (
    PerpVenue,
    UnsupportedVenueError,
    contracts,
    derived_tokens,
    discover,
    hedges,
    price_sources,
)
from keeper.protocols.perp_v2_position import PerpPosition
from keeper.protocols.perp_v2_reading import PerpSnapshot, snapshot
from keeper.protocols.perp_v2_readset import ReadSet

__all__ = [
    "BookRows",
    "ImpossibleActionError",
    "PerpPosition",
    "PerpSnapshot",
    "PerpVenue",
    "ReadSet",
    "UnreadablePositionError",
    "UnsupportedVenueError",
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
