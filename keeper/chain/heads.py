"""New heads, newest first in line: a slow consumer skips to the newest, and is told what it missed.

Every endpoint is followed. Its WebSocket announces heads early; polling is the truth behind it. A
frame that never comes (a half-open socket) is overtaken by the poll, a head that no poll ever
confirms gives way to it, and a node without WebSocket works by polling alone. Among several
endpoints the one that is ahead leads, if what it shows can be, and unless most others contradict it.
What lags behind never takes the keeper back, however long it is alone: rather no block comes at
all, which is told.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import structlog

from keeper.chain.header import decode_head
from keeper.chain.plausibility import MAX_LEAD_BLOCKS, doubt
from keeper.chain.pool import Pool
from keeper.chain.rpc import EndpointUnavailableError, JsonRpc, Request
from keeper.chain.standing import MAX_LAG_BLOCKS
from keeper.chain.subscription import TROUBLE, AnotherChainError, announced
from keeper.model.values import Head

log = structlog.get_logger()

RECONNECT_S = 1.0
BACKFILL_BLOCKS = 256
"""More missed headers than this are counted, not fetched: nothing that old is acted upon."""
POLLS_BELOW = 10
"""After so many polls that have not come to where a socket's newest head was, the poll is believed."""
FIRST_ROUND_S = 2.0
"""So long the first head waits for every endpoint to have told its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadChange:
    """The newest head, the numbers between it and the last one seen, and how deep the chain changed."""

    head: Head
    missed: range
    reorged_blocks: int


@dataclass(slots=True, kw_only=True)
class _Source:
    """One endpoint and what its polls have said."""

    rpc: JsonRpc
    ws_url: str | None
    showed: Callable[[int, int], None]
    pause_s: Callable[[], float]
    is_outvoted: Callable[[], bool]
    polled: Head | None = None
    tried: bool = False
    answers: bool = False
    """Its last poll was answered."""
    doubted: bool = False
    """Its last head was."""
    moved_at: int = 0
    """How many newest heads there had been when it last showed a higher one."""


class Heads:
    """Follows one endpoint or several. `changes()` yields each newest head once, never an older one."""

    def __init__(
        self,
        rpc: JsonRpc,
        *,
        ws_url: str | None = None,
        poll_interval_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """A `Pool` is followed by each of its endpoints that reads, at the sockets of their own."""
        self._rpc = rpc
        self._sources = (
            [
                _Source(
                    rpc=each,
                    ws_url=each.ws_url,
                    showed=each.showed_head,
                    pause_s=lambda each=each: each.pause_s,  # type: ignore[misc]  # bound early
                    is_outvoted=lambda each=each: rpc.is_outvoted(each),  # type: ignore[misc]
                )
                for each in rpc.readers
            ]
            if isinstance(rpc, Pool)
            else [
                _Source(
                    rpc=rpc,
                    ws_url=ws_url,
                    showed=lambda *_: None,
                    pause_s=lambda: 0.0,
                    is_outvoted=lambda: False,
                )
            ]
        )
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._opened = False
        self._all_tried = asyncio.Event()
        self._newest: Head | None = None
        self._newest_heads = 0
        self._leader: _Source | None = None
        self._moved_at_s: float | None = None
        self._highest_polled = 0
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
        return await _latest(self._rpc)

    @property
    def age_s(self) -> float | None:
        """Seconds of a monotonic clock since the newest head came; None before the first."""
        return None if self._moved_at_s is None else self._clock() - self._moved_at_s

    async def changes(self) -> AsyncGenerator[HeadChange, None]:
        """Heads as they come, until closed. Missed headers are fetched behind the consumer's back,
        after its work on the newest. Raises what nobody foresaw in following an endpoint."""
        async with self._following() as tasks:
            await self._first_round()
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
        tasks = [asyncio.create_task(self._backfill(), name="heads.backfill")]
        for source in self._sources:
            tasks.append(asyncio.create_task(self._poll(source), name="heads.poll"))
            if source.ws_url is not None:
                listening = self._listen(source, source.ws_url)
                tasks.append(asyncio.create_task(listening, name="heads.listen"))
        for task in tasks:
            # Wakes the consumer, which raises what ended the task.
            task.add_done_callback(lambda _: self._all_tried.set())
            task.add_done_callback(lambda _: self._announced.set())
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _first_round(self) -> None:
        """The endpoint that is quickest to answer may be the one that is furthest behind."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ROUND_S):
                await self._all_tried.wait()
        self._opened = True
        told = [(source.polled, source) for source in self._sources if source.polled is not None]
        for head, source in sorted(told, key=lambda each: each[0].number):
            self._believe(head, source)

    # -- polling ---------------------------------------------------------------------------------

    async def _poll(self, source: _Source) -> None:
        while True:
            try:
                self._take(await _latest(source.rpc), source)
            except EndpointUnavailableError as error:
                source.answers = False
                log.warning("heads.poll_failed", reason=str(error))
            source.tried = True
            if all(each.tried for each in self._sources):
                self._all_tried.set()
            # One endpoint alone is asked however it fares, unless it says itself when to come back.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._poll_interval_s, source.pause_s())):
                    await self._in_doubt.wait()
            self._in_doubt.clear()

    def _take(self, head: Head, source: _Source) -> None:
        """Take in what a poll says."""
        if source.is_outvoted():
            source.polled, source.answers = None, False
            return
        if source.polled is None or head.number > source.polled.number:
            source.moved_at = self._newest_heads
        source.polled, source.answers = head, True
        if self._opened:
            self._believe(head, source)

    def _believe(self, head: Head, source: _Source) -> None:
        """Go by it, if it can be, and at length against a socket's word."""
        if self._leader is not None and self._leader.is_outvoted():
            log.warning("heads.leader_outvoted", block=head.number)
            self._forget_from(head.number)
        if self._is_doubtful(head, source):
            return
        source.showed(head.number, self._height_to_keep(source))
        self._polls_below += 1
        if head.number < self._awaited_number and self._polls_below >= POLLS_BELOW:
            self._give_way(head)
        self._announce(head, source)
        self._highest_polled = max(self._highest_polled, head.number)
        if head.number >= self._awaited_number:
            self._polls_below = 0
            self._awaited_number = head.number if self._newest is None else self._newest.number

    def _height_to_keep(self, source: _Source) -> int:
        """By which an endpoint is in step: the newest, or, while it moves and three or more answer,
        the highest that two of them show. One alone that shows heights which nobody has reached would
        else put all others out of step, and those are not asked for their word."""
        if self._newest is None:
            return 0
        told = sorted(each.polled.number for each in self._sources if each.polled and each.answers)
        stands_still = self._newest_heads - source.moved_at > MAX_LAG_BLOCKS
        return self._newest.number if stands_still or len(told) < 3 else told[-2]

    def _is_doubtful(self, head: Head, source: _Source) -> bool:
        """Whether an endpoint tells a head that by all that the others show cannot be."""
        now_s = self._wall_clock()
        if self._newest is not None and self.age_s is not None:
            # This machine's clock may be wrong, and it may have slept.
            now_s = max(now_s, self._newest.timestamp + self.age_s)
        others = [
            each.polled
            for each in self._sources
            if each is not source and each.polled is not None and each.answers
        ]
        why = doubt(head, others=others, newest=self._newest, now_s=now_s)
        if why and not source.doubted:
            name = source.rpc.name
            log.warning("heads.doubted", endpoint=name, number=head.number, reason=why)
        source.doubted = bool(why)
        return source.doubted

    def _give_way(self, head: Head) -> None:
        """Take back a newest head that was announced and that no poll has seen. What lags behind a
        head that was polled takes nothing back: nodes fall behind. Only a single endpoint, which
        has nobody to bear it out, takes back its own word, where that was absurd."""
        unseen = head.number >= self._highest_polled
        alone = len(self._sources) == 1
        absurd = head.number < self._awaited_number - MAX_LEAD_BLOCKS
        if unseen or (alone and absurd):
            log.warning("heads.not_confirmed", number=self._awaited_number, block=head.number)
            self._forget_from(head.number)

    def _forget_from(self, number: int) -> None:
        """Take the next head that is told, however high it is."""
        self._headers = {n: known for n, known in self._headers.items() if n < number}
        self._newest = self._leader = None
        self._awaited_number = self._highest_polled = 0

    # -- listening -------------------------------------------------------------------------------

    async def _listen(self, source: _Source, url: str) -> None:
        """Hear of heads until cancelled, or at once no more where the socket is another chain's."""
        name = source.rpc.name
        while True:
            try:
                if self._chain_id is None:
                    self._chain_id = int(await source.rpc.read("eth_chainId"), 16)
                heard = announced(url, chain_id=self._chain_id, endpoint=name)
                async with contextlib.aclosing(heard):
                    async for head in heard:
                        self._hear(head, source)
                log.info("heads.websocket_closed", endpoint=name)
            except AnotherChainError as error:
                log.error(  # noqa: TRY400 - expected, no traceback wanted
                    "heads.websocket_of_another_chain",
                    endpoint=name,
                    chain_id=error.chain_id,
                    expected=self._chain_id,
                )
                return
            except (*TROUBLE, EndpointUnavailableError) as error:
                log.warning("heads.websocket_lost", endpoint=name, reason=type(error).__name__)
            await asyncio.sleep(RECONNECT_S)

    def _hear(self, head: Head, source: _Source) -> None:
        """Take in what a socket says, unless it is too far ahead of what the poll has seen."""
        if source.is_outvoted():
            return
        near = source.polled is not None and head.number <= source.polled.number + MAX_LEAD_BLOCKS
        if self._opened and near and not self._is_doubtful(head, source):
            self._announce(head, source)
        else:
            self._in_doubt.set()

    def _announce(self, head: Head, source: _Source) -> None:
        newest = self._newest
        if newest is not None and source is not self._leader and head.number <= newest.number:
            # Only the endpoint that showed a head may show another in its place: two that follow
            # different forks for a moment would have us change sides with every poll.
            return
        known = self._headers.get(head.number)
        if known is not None and known.hash == head.hash:
            return
        parent = self._headers.get(head.number - 1)
        if known is not None or (parent is not None and parent.hash != head.parent_hash):
            self._reorged_blocks += 1
        self._headers[head.number] = head
        # A lagging answer must not move the keeper back; an equal height with another hash is a reorg.
        if newest is None or head.number >= newest.number:
            self._newest, self._leader = head, source
            self._newest_heads += 1
            self._moved_at_s = self._clock()
            source.showed(head.number, head.number)
            self._announced.set()

    # -- what was missed -------------------------------------------------------------------------

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


async def _latest(rpc: JsonRpc) -> Head:
    # The only place that says "latest": everything else is read at a head's hash.
    header = await rpc.read("eth_getBlockByNumber", "latest", False)
    if header is None:
        raise EndpointUnavailableError(f"{rpc.name} has no block yet")
    return decode_head(header)
