"""New heads, newest first in line: a slow consumer skips to the newest, and is told what it missed.

WebSocket announces heads early; polling is the truth behind it. A frame that never comes (a
half-open socket) is overtaken by the poll, and a node without WebSocket works by polling alone.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
import websockets

from keeper.chain.rpc import EndpointUnavailableError, Request, Rpc
from keeper.model.units import Wei
from keeper.model.values import Head

log = structlog.get_logger()

WS_PING_S = 20
RECONNECT_S = 1.0
BACKFILL_BLOCKS = 256
"""More missed headers than this are counted, not fetched: nothing that old is acted upon."""


def decode_head(header: Mapping[str, Any]) -> Head:
    """A header as `newHeads` and `eth_getBlockByNumber` give it.

    Raises `EndpointUnavailableError` for one that is not complete, as of a pending block."""
    try:
        return Head(
            number=int(header["number"], 16),
            hash=header["hash"],
            parent_hash=header["parentHash"],
            timestamp=int(header["timestamp"], 16),
            base_fee_wei=Wei(int(header.get("baseFeePerGas") or "0x0", 16)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EndpointUnavailableError(f"a header is not complete: {error!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadChange:
    """The newest head, the ones between it and the last one seen, and how deep the chain changed."""

    head: Head
    missed: tuple[Head, ...]
    reorged_blocks: int


class Heads:
    """Follows one endpoint. `changes()` yields each newest head once, never an older one."""

    def __init__(self, rpc: Rpc, *, ws_url: str | None, poll_interval_s: float) -> None:
        self._rpc = rpc
        self._ws_url = ws_url
        self._poll_interval_s = poll_interval_s
        self._newest: Head | None = None
        self._announced = asyncio.Event()
        self._headers: dict[int, Head] = {}
        self._reorged_blocks = 0

    async def current(self) -> Head:
        """Ask for the newest head once. Raises `EndpointUnavailableError`."""
        # The only place that says "latest": everything else is read at a head's hash.
        header = await self._rpc.read("eth_getBlockByNumber", "latest", False)
        if header is None:
            raise EndpointUnavailableError(f"{self._rpc.name} has no block yet")
        return decode_head(header)

    async def changes(self) -> AsyncGenerator[HeadChange, None]:
        """Heads as they come, until closed."""
        async with self._following():
            last: Head | None = None
            while True:
                await self._announced.wait()
                self._announced.clear()
                newest = self._newest
                if newest is None or (last is not None and newest.hash == last.hash):
                    continue
                yield await self._change(last, newest)
                last = newest

    @asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._poll(), name="heads.poll")]
        if self._ws_url is not None:
            tasks.append(asyncio.create_task(self._listen(self._ws_url), name="heads.listen"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self) -> None:
        while True:
            try:
                self._announce(await self.current())
            except EndpointUnavailableError as error:
                log.warning("heads.poll_failed", reason=str(error))
            await asyncio.sleep(self._poll_interval_s)

    async def _listen(self, url: str) -> None:
        subscribe = json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
        )
        while True:
            try:
                async with websockets.connect(
                    url, ping_interval=WS_PING_S, ping_timeout=WS_PING_S, max_queue=None
                ) as socket:
                    await socket.send(subscribe)
                    async for frame in socket:
                        match json.loads(frame):
                            case {"params": {"result": header}}:
                                self._announce(decode_head(header))
                            case {"error": error}:
                                log.warning("heads.not_subscribed", reason=str(error))
            except (
                OSError,
                websockets.WebSocketException,
                ValueError,
                EndpointUnavailableError,
            ) as error:
                log.warning("heads.websocket_lost", reason=type(error).__name__)
            await asyncio.sleep(RECONNECT_S)

    def _announce(self, head: Head) -> None:
        known = self._headers.get(head.number)
        if known is not None and known.hash == head.hash:
            return
        parent = self._headers.get(head.number - 1)
        if known is not None or (parent is not None and parent.hash != head.parent_hash):
            self._reorged_blocks += 1
        self._headers[head.number] = head
        # A lagging answer must not move the keeper back; an equal height with another hash is a reorg.
        if self._newest is None or head.number >= self._newest.number:
            self._newest = head
            self._announced.set()

    async def _change(self, last: Head | None, newest: Head) -> HeadChange:
        missed: tuple[Head, ...] = ()
        if last is not None:
            since = max(last.number + 1, newest.number - BACKFILL_BLOCKS)
            missed = await self._backfill(range(since, newest.number))
        for number in [n for n in self._headers if n <= newest.number - BACKFILL_BLOCKS]:
            del self._headers[number]
        change = HeadChange(head=newest, missed=missed, reorged_blocks=self._reorged_blocks)
        self._reorged_blocks = 0
        return change

    async def _backfill(self, numbers: range) -> tuple[Head, ...]:
        """The headers of `numbers`: announced ones as they came, the rest in one round trip."""
        unannounced = [number for number in numbers if number not in self._headers]
        if unannounced:
            try:
                answers = await self._rpc.batch(
                    [
                        Request(method="eth_getBlockByNumber", params=(hex(number), False))
                        for number in unannounced
                    ]
                )
            except EndpointUnavailableError as error:
                log.warning("heads.backfill_failed", blocks=len(unannounced), reason=str(error))
                answers = []
            for answer in answers:
                if isinstance(answer, dict):
                    header = decode_head(answer)
                    self._headers[header.number] = header
        return tuple(self._headers[number] for number in numbers if number in self._headers)
