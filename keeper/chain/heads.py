"""New heads, newest first in line: a slow consumer skips to the newest, and is told what it missed.

WebSocket announces heads early; polling is the truth behind it. A frame that never comes (a
half-open socket) is overtaken by the poll, a head that the poll never confirms gives way to it, and
a node without WebSocket works by polling alone.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
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
MAX_LEAD_BLOCKS = 64
"""A head announced further ahead of the last poll is taken when a poll has seen it."""
POLLS_BELOW = 10
"""After so many polls that have not come to where the newest head was, the poll is believed."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadChange:
    """The newest head, the numbers between it and the last one seen, and how deep the chain changed."""

    head: Head
    missed: range
    reorged_blocks: int


class Heads:
    """Follows one endpoint. `changes()` yields each newest head once, never an older one."""

    def __init__(self, rpc: Rpc, *, ws_url: str | None, poll_interval_s: float) -> None:
        self._rpc = rpc
        self._ws_url = ws_url
        self._poll_interval_s = poll_interval_s
        self._newest: Head | None = None
        self._polled: Head | None = None
        self._awaited_number = 0
        self._polls_below = 0
        self._chain_id: int | None = None
        self._announced = asyncio.Event()
        self._in_doubt = asyncio.Event()
        self._gaps: asyncio.Queue[range] = asyncio.Queue()
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
        """Heads as they come, until closed. Missed headers are fetched behind the consumer's back,
        after its work on the newest. Raises what nobody foresaw in following the endpoint."""
        async with self._following() as tasks:
            last: Head | None = None
            while True:
                await self._announced.wait()
                self._announced.clear()
                for task in tasks:
                    if task.done():
                        task.result()
                newest = self._newest
                if newest is None or (last is not None and newest.hash == last.hash):
                    continue
                missed = range(newest.number if last is None else last.number + 1, newest.number)
                change = HeadChange(head=newest, missed=missed, reorged_blocks=self._reorged_blocks)
                self._reorged_blocks = 0
                yield change
                last = newest
                self._gaps.put_nowait(missed[-BACKFILL_BLOCKS:])
                for number in [n for n in self._headers if n <= newest.number - BACKFILL_BLOCKS]:
                    del self._headers[number]

    @contextlib.asynccontextmanager
    async def _following(self) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
        tasks = [
            asyncio.create_task(self._poll(), name="heads.poll"),
            asyncio.create_task(self._backfill(), name="heads.backfill"),
        ]
        if self._ws_url is not None:
            tasks.append(asyncio.create_task(self._listen(self._ws_url), name="heads.listen"))
        for task in tasks:
            # Wakes the consumer, which raises what ended the task.
            task.add_done_callback(lambda _: self._announced.set())
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self) -> None:
        while True:
            try:
                self._believe(await self.current())
            except EndpointUnavailableError as error:
                log.warning("heads.poll_failed", reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_interval_s):
                    await self._in_doubt.wait()
            self._in_doubt.clear()

    def _believe(self, head: Head) -> None:
        """Take in what the poll says, and at length its word against the socket's."""
        self._polled = head
        self._polls_below += 1
        if head.number < self._awaited_number and self._polls_below >= POLLS_BELOW:
            log.warning("heads.not_confirmed", number=self._awaited_number, block=head.number)
            self._headers = {n: known for n, known in self._headers.items() if n < head.number}
            self._newest = None
            self._awaited_number = 0
        self._announce(head)
        if head.number >= self._awaited_number:
            self._polls_below = 0
            self._awaited_number = head.number if self._newest is None else self._newest.number

    async def _listen(self, url: str) -> None:
        """Hear of heads until cancelled, or at once no more where the socket is another chain's."""
        while True:
            try:
                if self._chain_id is None:
                    self._chain_id = int(await self._rpc.read("eth_chainId"), 16)
                async with websockets.connect(
                    url, ping_interval=WS_PING_S, ping_timeout=WS_PING_S, max_queue=None
                ) as socket:
                    await socket.send(_request(1, "eth_chainId"))
                    async for frame in socket:
                        match json.loads(frame):
                            case {"id": 1, "result": found}:
                                if int(found, 16) != self._chain_id:
                                    log.error(
                                        "heads.websocket_of_another_chain",
                                        chain_id=int(found, 16),
                                        expected=self._chain_id,
                                    )
                                    return
                                await socket.send(_request(2, "eth_subscribe", "newHeads"))
                            case {"params": {"result": header}}:
                                self._hear(decode_head(header))
                            case {"error": error}:
                                log.warning("heads.not_subscribed", reason=str(error))
            except (
                OSError,
                websockets.WebSocketException,
                TypeError,
                ValueError,
                RecursionError,
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

    def _hear(self, head: Head) -> None:
        """Take in what the socket says, unless it is too far ahead of what the poll has seen."""
        if self._polled is not None and head.number <= self._polled.number + MAX_LEAD_BLOCKS:
            self._announce(head)
        else:
            self._in_doubt.set()

    async def _backfill(self) -> None:
        """The headers of each gap: announced ones as they came, the rest in one round trip."""
        while True:
            gap = await self._gaps.get()
            unannounced = [number for number in gap if number not in self._headers]
            if not unannounced:
                continue
            try:
                answers = await self._rpc.batch(
                    [
                        Request(method="eth_getBlockByNumber", params=(hex(number), False))
                        for number in unannounced
                    ]
                )
                headers = [decode_head(answer) for answer in answers if isinstance(answer, dict)]
            except EndpointUnavailableError as error:
                log.warning("heads.backfill_failed", blocks=len(unannounced), reason=str(error))
                continue
            for header in headers:
                self._headers.setdefault(header.number, header)
            log.info("heads.backfilled", blocks=len(headers))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not text")
    return value


def _request(number: int, method: str, *params: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
