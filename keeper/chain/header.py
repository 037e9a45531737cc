"""A block's header as nodes give it."""

from collections.abc import Mapping
from typing import Any

from keeper.chain.rpc import EndpointUnavailableError
from keeper.model.units import Wei
from keeper.model.values import Head

_MAX_INTEGER = 2**63
"""No height and no time reaches what a store's 64 bits cannot hold."""


def decode_head(header: Mapping[str, Any]) -> Head:
    """A header as `newHeads` and `eth_getBlockByNumber` give it.

    Raises `EndpointUnavailableError` for one that is not complete, as of a pending block."""
    try:
        head = Head(
            number=int(header["number"], 16),
            hash=_text(header["hash"]),
            parent_hash=_text(header["parentHash"]),
            timestamp=int(header["timestamp"], 16),
            base_fee_wei=Wei(int(header.get("baseFeePerGas") or "0x0", 16)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EndpointUnavailableError(f"a header is not complete: {error!r}") from error
    if max(head.number, head.timestamp) >= _MAX_INTEGER:
        raise EndpointUnavailableError("a header makes no sense: its number or time is absurd")
    return head


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not text")
    return value
