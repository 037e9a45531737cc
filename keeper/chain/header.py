"""A block's header as nodes give it."""

from collections.abc import Mapping
from typing import Any

from keeper.chain.rpc import EndpointUnavailableError, quantity
from keeper.model.units import Wei
from keeper.model.values import Head

_MAX_INTEGER = 2**63
"""No height, no time and no price of gas in wei reaches what a store's 64 bits cannot hold."""


def decode_head(header: Mapping[str, Any]) -> Head:
    """A header as `newHeads` and `eth_getBlockByNumber` give it.

    Raises `EndpointUnavailableError` for one that is not complete, as of a pending block, and for one
    with a number in it that makes no sense."""
    try:
        return Head(
            number=_number(header, "number"),
            hash=_text(header["hash"]),
            parent_hash=_text(header["parentHash"]),
            timestamp=_number(header, "timestamp"),
            base_fee_wei=Wei(
                _number(header, "baseFeePerGas") if header.get("baseFeePerGas") else 0
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EndpointUnavailableError(f"a header is not complete: {error!r:.200}") from error


def _number(header: Mapping[str, Any], name: str) -> int:
    told = quantity(header[name])
    if told is None or told >= _MAX_INTEGER:
        raise ValueError(f"its {name} makes no sense: {header[name]!r:.40}")
    return told


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not text")
    return value
