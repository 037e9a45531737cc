"""Heads: newest first, none older, the missed ones told; the poll is the truth behind the socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any, Self

import pytest
import websockets
from structlog.testing import capture_logs

from keeper.chain import heads as heads_module
from keeper.chain.heads import BACKFILL_BLOCKS, HeadChange, Heads, decode_head
from keeper.chain.rpc import EndpointUnavailableError, RpcError
from keeper.model.values import Head
from tests.unit.fake_rpc import FakeRpc, block_hash, head_at, header, refused


class Node:
    """Serves the blocks it has; `latest` is what it says of the newest."""

    def __init__(self, *blocks: Head) -> None:
        self.blocks: dict[int, Head] = {}
        self.asked = asyncio.Event()
        self.latest: Callable[[], Any] = lambda: header(self.blocks[max(self.blocks)])
        self.rpc = FakeRpc({"eth_getBlockByNumber": self.block})
        self.mine(*blocks)

    def mine(self, *blocks: Head) -> None:
        self.blocks |= {block.number: block for block in blocks}

    def block(self, number: str, full: bool) -> Any:
        assert full is False
        if number == "latest":
            self.asked.set()
            return self.latest()
        found = self.blocks.get(int(number, 16))
        return None if found is None else header(found)

    def heads(self, **options: Any) -> Heads:
        return Heads(self.rpc, **{"ws_url": None, "poll_interval_s": 0.0} | options)


async def polled(node: Node) -> None:
    """Wait until the endpoint has answered two polls, so that the first of them has been taken."""
    for _ in range(2):
        node.asked.clear()
        await node.asked.wait()


def numbers(blocks: Iterable[Head]) -> list[int]:
    return [block.number for block in blocks]


# -- polling -------------------------------------------------------------------------------------


async def test_heads__chain_grows__each_newest_head_comes_once() -> None:
    node = Node(head_at(7))
    async with aclosing(node.heads().changes()) as changes:
        assert (await anext(changes)) == HeadChange(head=head_at(7), missed=(), reorged_blocks=0)
        node.mine(head_at(8))
        assert (await anext(changes)).head == head_at(8)
        waiting = asyncio.ensure_future(anext(changes))
        await polled(node)
        assert not waiting.done()
        node.mine(head_at(9))
        assert (await waiting).head == head_at(9)


async def test_heads__slow_consumer__skips_to_the_newest_and_is_told_what_it_missed() -> None:
    node = Node(head_at(10))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.rpc.posts.clear()
        node.mine(*(head_at(number) for number in (11, 12, 13, 14)))
        change = await anext(changes)
    assert change.head == head_at(14)
    assert numbers(change.missed) == [11, 12, 13]
    assert change.reorged_blocks == 0
    backfills = [post for post in node.rpc.posts if post[0].params[0] != "latest"]
    assert [[each.params[0] for each in post] for post in backfills] == [["0xb", "0xc", "0xd"]]


async def test_heads__announced_while_the_consumer_was_busy__are_not_fetched_again() -> None:
    node = Node(head_at(10))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        for number in (11, 12):
            node.mine(head_at(number))
            await polled(node)
        change = await anext(changes)
    assert (change.head, change.missed) == (head_at(12), (head_at(11),))
    assert set(node.rpc.sent("eth_getBlockByNumber")) == {("latest", False)}


async def test_heads__long_gap__is_back_filled_as_far_as_anything_could_matter() -> None:
    node = Node(head_at(1))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.mine(*(head_at(number) for number in range(2, 1_001)))
        change = await anext(changes)
    assert numbers(change.missed) == list(range(1_000 - BACKFILL_BLOCKS, 1_000))


async def test_heads__back_fill_fails__the_newest_head_comes_all_the_same() -> None:
    node = Node(head_at(1))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.blocks = {5: head_at(5)}
        assert await anext(changes) == HeadChange(head=head_at(5), missed=(), reorged_blocks=0)


async def test_heads__lagging_answer__never_goes_backward() -> None:
    node = Node(head_at(5))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.latest = lambda: header(head_at(4))
        await polled(node)
        node.mine(head_at(6))
        node.latest = lambda: header(head_at(6))
        assert (await anext(changes)).head == head_at(6)


async def test_heads__same_height_another_hash__is_a_reorg_and_a_new_head() -> None:
    node = Node(head_at(5))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        sibling = head_at(5, fork="f", parent_fork="")
        node.mine(sibling)
        assert await anext(changes) == HeadChange(head=sibling, missed=(), reorged_blocks=1)
        node.mine(head_at(6, fork="f"))
        change = await anext(changes)
        assert (change.head.number, change.reorged_blocks) == (6, 0)


async def test_heads__parent_is_not_the_known_one__is_a_reorg() -> None:
    node = Node(head_at(5))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.mine(head_at(6, fork="f"))
        assert (await anext(changes)).reorged_blocks == 1


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: _raise(EndpointUnavailableError("timed out")),
        lambda: _raise(RpcError("eth_getBlockByNumber", -32005, "rate limit")),
        lambda: None,
        lambda: {"number": None, "hash": None},
        lambda: "not a header",
        lambda: header(head_at(6)) | {"timestamp": "soon"},
    ],
)
async def test_heads__poll_fails__is_said_and_survived(trouble: Callable[[], Any]) -> None:
    node = Node(head_at(5))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        working, node.latest = node.latest, trouble
        with capture_logs() as logs:
            await polled(node)
        assert {line["event"] for line in logs} == {"heads.poll_failed"}
        node.mine(head_at(6))
        node.latest = working
        assert (await anext(changes)).head == head_at(6)


def _raise(error: Exception) -> None:
    raise error


async def test_heads__current__raises_when_the_endpoint_refuses() -> None:
    rpc = FakeRpc({"eth_getBlockByNumber": refused("eth_getBlockByNumber", -32005, "slow down")})
    with pytest.raises(EndpointUnavailableError, match="slow down"):
        await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()


async def test_heads__no_longer_followed__leaves_no_task_behind() -> None:
    node = Node(head_at(1))
    before = asyncio.all_tasks()
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before


def test_decode_head__before_london__has_no_base_fee() -> None:
    answer = header(head_at(3))
    del answer["baseFeePerGas"]
    assert decode_head(answer).base_fee_wei == 0
    assert decode_head(header(head_at(3))) == head_at(3)
    assert block_hash(3) == head_at(3).hash


# -- WebSocket -----------------------------------------------------------------------------------


class Socket:
    """A WebSocket in memory: frames put in come out; an exception put in ends it."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.subscribed: list[Any] = []

    def put(self, *frames: Any) -> None:
        for frame in frames:
            self.frames.put_nowait(json.dumps(frame))

    def announce(self, head: Head) -> None:
        self.put({"method": "eth_subscription", "params": {"result": header(head)}})

    async def send(self, message: str) -> None:
        self.subscribed.append(json.loads(message))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[str]:
        while (frame := await self.frames.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame
            self.frames.task_done()


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[Socket]:
    """Each connection opens the next; none left refuses."""
    ready: list[Socket] = []

    def connect(url: str, **_: Any) -> Socket:
        assert url == "ws://node"
        if not ready:
            raise ConnectionRefusedError
        return ready.pop(0)

    monkeypatch.setattr(websockets, "connect", connect)
    monkeypatch.setattr(heads_module, "RECONNECT_S", 0.0)
    return ready


async def test_heads__announced_over_websocket__come_without_a_poll(sockets: list[Socket]) -> None:
    node, socket = Node(head_at(1)), Socket()
    sockets.append(socket)
    heads = node.heads(ws_url="ws://node", poll_interval_s=3_600.0)
    async with aclosing(heads.changes()) as changes:
        assert (await anext(changes)).head == head_at(1)
        socket.put({"jsonrpc": "2.0", "id": 1, "result": "0xsubscription"})
        socket.announce(head_at(2))
        assert (await anext(changes)).head == head_at(2)
        # A slow consumer again: announced headers are the missed ones, no request is made.
        for number in (3, 4, 5):
            socket.announce(head_at(number))
        await socket.frames.join()
        change = await anext(changes)
    assert (change.head, numbers(change.missed)) == (head_at(5), [3, 4])
    assert socket.subscribed[0]["method"] == "eth_subscribe"
    assert len(node.rpc.posts) == 1


async def test_heads__websocket_lost__polling_goes_on_and_it_is_connected_again(
    sockets: list[Socket],
) -> None:
    node, first, second = Node(head_at(1)), Socket(), Socket()
    sockets += [first, second]
    async with aclosing(node.heads(ws_url="ws://node").changes()) as changes:
        await anext(changes)
        with capture_logs() as logs:
            first.frames.put_nowait(websockets.ConnectionClosedError(None, None))
            node.mine(head_at(2))
            assert (await anext(changes)).head == head_at(2)
            second.announce(head_at(3))
            assert (await anext(changes)).head == head_at(3)
    assert [line["event"] for line in logs] == ["heads.websocket_lost"]


@pytest.mark.parametrize(
    "frame",
    [
        [],
        {"params": None},
        {"id": 1, "error": {"code": -32601, "message": "no subscriptions"}},
        {"params": {"result": None}},
        {"params": {"result": {"number": "0x2"}}},
        {"params": {"result": header(head_at(2)) | {"number": 2}}},
    ],
)
async def test_heads__strange_frame__ends_neither_socket_nor_poll(
    sockets: list[Socket], frame: Any
) -> None:
    node, first, second = Node(head_at(1)), Socket(), Socket()
    sockets += [first, second]
    heads = node.heads(ws_url="ws://node", poll_interval_s=3_600.0)
    async with aclosing(heads.changes()) as changes:
        await anext(changes)
        first.put(frame)
        first.announce(head_at(7))
        second.announce(head_at(7))
        assert (await anext(changes)).head == head_at(7)
