"""Heads as a node's WebSocket announces them, until the connection ends."""

import json
from collections.abc import AsyncGenerator

import structlog
import websockets

from keeper.chain.header import decode_head
from keeper.model.values import Head

log = structlog.get_logger()

PING_S = 20
"""A socket that leaves a ping unanswered for as long again is half open, and closed."""


class AnotherChainError(Exception):
    """The socket answers for another chain."""

    def __init__(self, chain_id: int) -> None:
        super().__init__(f"the socket answers for chain {chain_id}")
        self.chain_id = chain_id


async def announced(url: str, *, chain_id: int, endpoint: str) -> AsyncGenerator[Head, None]:
    """Each head as it is announced; ends when the node closes the connection.

    Raises `AnotherChainError` before the first head, and whatever a socket or a strange frame may
    raise: see `TROUBLE`."""
    async with websockets.connect(
        url, ping_interval=PING_S, ping_timeout=PING_S, max_queue=None
    ) as socket:
        await socket.send(_request(1, "eth_chainId"))
        async for frame in socket:
            match json.loads(frame):
                case {"id": 1, "result": found}:
                    if int(found, 16) != chain_id:
                        raise AnotherChainError(int(found, 16))
                    await socket.send(_request(2, "eth_subscribe", "newHeads"))
                case {"params": {"result": header}}:
                    yield decode_head(header)
                case {"error": error}:
                    log.warning("heads.not_subscribed", endpoint=endpoint, reason=str(error))


TROUBLE = (OSError, websockets.WebSocketException, TypeError, ValueError, RecursionError)
"""What ends a connection that did not end by itself, beside a header that is not complete."""


def _request(number: int, method: str, *params: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
