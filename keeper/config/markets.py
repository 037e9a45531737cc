"""What a market's settings must say, by its protocol."""

from collections.abc import Iterator
from typing import Final

from keeper.config.document import KeyPath
from keeper.config.schema import MarketTable, Tables
from keeper.config.settings import ENTRY_KEYS
from keeper.config.written import WrongValueError

_NEEDED: Final = {"aave_v3": (), "perp_v2": ("base_tokens",)}
"""Beside the contract that the others are found from."""
_POSSIBLE: Final = {"aave_v3": (), "perp_v2": ("collateral_tokens",)}


def market_contradictions(tables: Tables) -> Iterator[tuple[KeyPath, WrongValueError]]:
    """Settings that a protocol needs and that are not there, or that are another protocol's."""
    for name, table in tables.markets.items():
        entry = ENTRY_KEYS[table.protocol]
        needed = {entry, *_NEEDED[table.protocol]}
        for key in sorted(needed):
            if not getattr(table, key):
                yield ("markets", name, key), _missing(table, key, entry)
        for key in sorted(MarketTable.model_fields.keys() - {"protocol"} - needed):
            if getattr(table, key) and key not in _POSSIBLE[table.protocol]:
                yield (
                    ("markets", name, key),
                    WrongValueError(
                        f"{table.protocol} has no `{key}`",
                        "it belongs to another protocol",
                        f"take it out, or correct `protocol`; {table.protocol} wants `{entry}`",
                    ),
                )


def _missing(table: MarketTable, key: str, entry: str) -> WrongValueError:
    if key == entry:
        return WrongValueError(
            f"{table.protocol} needs `{key}`",
            "its other contracts are found from there",
            f'write {key} = "0x…"',
        )
    return WrongValueError(
        f"{table.protocol} needs `{key}`",
        "the venue does not list its markets: those named here are watched",
        f'write {key} = ["0x…"], as AccountBalance.getBaseTokens lists them',
    )
