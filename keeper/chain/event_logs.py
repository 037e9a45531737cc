"""Events over many blocks, asked for in ranges as wide as the endpoint answers."""

from collections.abc import Callable, Mapping
from typing import Any

from keeper.chain.rpc import Rpc, RpcError, retry_reads

FEWEST_BLOCKS = 100
"""An endpoint that refuses so few blocks refuses for another reason."""

Progress = Callable[[int], None]
"""Told up to which block was asked."""


async def logs_between(
    rpc: Rpc, wanted: Mapping[str, Any], from_block: int, to_block: int, progress: Progress
) -> list[dict[str, Any]]:
    """The logs that fit `wanted`, as eth_getLogs takes it without its blocks.

    Raises `RpcError` where the endpoint gives no events, `EndpointUnavailableError`."""
    call = retry_reads(rpc.call)
    found: list[dict[str, Any]] = []
    first, width = from_block, max(to_block - from_block + 1, 1)
    while first <= to_block:
        last = min(first + width - 1, to_block)
        try:
            found += await call(
                "eth_getLogs", {**wanted, "fromBlock": hex(first), "toBlock": hex(last)}
            )
        except RpcError:
            # Endpoints cap blocks or results, each with words of its own.
            if width <= FEWEST_BLOCKS:
                raise
            width //= 2
            continue
        first = last + 1
        progress(last)
    return found
