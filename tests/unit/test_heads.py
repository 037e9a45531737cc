"""Heads: newest first, none older, the missed ones told; the poll is the truth behind the socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Self

import pytest
import websockets
from structlog.testing import capture_logs

from keeper.chain import heads as heads_module
from keeper.chain.header import decode_head
from keeper.chain.heads import (
    BACKFILL_BLOCKS,
    POLLS_BELOW,
    HeadChange,
    Heads,
)
from keeper.chain.plausibility import MAX_LEAD_BLOCKS, SLACK_S, doubt
from keeper.chain.pool import Endpoint, Pool
from keeper.chain.rpc import EndpointUnavailableError, RpcError
from keeper.chain.standing import MAX_LAG_BLOCKS, Standing
from keeper.model.values import Head
from tests.unit.fake_rpc import FakeRpc, block_hash, head_at, header, refused


class Node:
    """Serves the blocks it has; `latest` is what it says of the newest."""

    def __init__(self, *blocks: Head) -> None:
        self.blocks: dict[int, Head] = {}
        self.asked = asyncio.Event()
        self.latest: Callable[[], Any] = lambda: header(self.blocks[max(self.blocks)])
        self.missing: Any = None
        """What it says of a block that it does not have."""
        self.rpc = FakeRpc({"eth_getBlockByNumber": self.block, "eth_chainId": lambda: "0x7a69"})
        self.mine(*blocks)

    def mine(self, *blocks: Head) -> None:
        self.blocks |= {block.number: block for block in blocks}

    def block(self, number: str, full: bool) -> Any:
        assert full is False
        if number == "latest":
            self.asked.set()
            return self.latest()
        found = self.blocks.get(int(number, 16))
        if found is None and isinstance(self.missing, Exception):
            raise self.missing
        return self.missing if found is None else header(found)

    def backfills(self) -> list[list[str]]:
        """The blocks asked for by their numbers, POST by POST."""
        asked = [[each.params[0] for each in post if each.params] for post in self.rpc.posts]
        return [post for post in asked if post and post != ["latest"]]

    def heads(self, **options: Any) -> Heads:
        return Heads(self.rpc, **{"ws_url": None, "poll_interval_s": 0.0} | options)


async def polled(node: Node) -> None:
    """Wait until the endpoint has answered two polls, so that the first of them has been taken."""
    for _ in range(2):
        node.asked.clear()
        await node.asked.wait()


# -- polling -------------------------------------------------------------------------------------


async def test_heads__chain_grows__each_newest_head_comes_once() -> None:
    node = Node(head_at(7))
    async with aclosing(node.heads().changes()) as changes:
        assert (await anext(changes)) == HeadChange(
            head=head_at(7), missed=range(7, 7), reorged_blocks=0
        )
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
        assert node.backfills() == []
        assert change == HeadChange(head=head_at(14), missed=range(11, 14), reorged_blocks=0)
        node.mine(head_at(15))
        assert (await anext(changes)).missed == range(0)
        await polled(node)
    assert node.backfills() == [["0xb", "0xc", "0xd"]]


async def test_heads__back_fill_does_not_come__the_next_head_does() -> None:
    node = Node(head_at(10))
    stuck = asyncio.Event()
    batch = node.rpc.batch

    async def never(requests: Any) -> Any:
        stuck.set()
        await asyncio.Event().wait()

    node.rpc.batch = never  # type: ignore[method-assign]  # an endpoint that does not answer
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.mine(head_at(13))
        await anext(changes)
        node.mine(head_at(14))
        assert (await anext(changes)).head == head_at(14)
        await stuck.wait()
    node.rpc.batch = batch  # type: ignore[method-assign]  # as above


async def test_heads__announced_while_the_consumer_was_busy__are_not_fetched_again() -> None:
    node = Node(head_at(10))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        for number in (11, 12):
            node.mine(head_at(number))
            await polled(node)
        change = await anext(changes)
        assert (change.head, change.missed) == (head_at(12), range(11, 12))
        node.mine(head_at(13))
        await anext(changes)
        await polled(node)
    assert set(node.rpc.sent("eth_getBlockByNumber")) == {("latest", False)}


async def test_heads__long_gap__is_back_filled_as_far_as_anything_could_matter() -> None:
    node = Node(head_at(1))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.mine(*(head_at(number) for number in range(2, 1_001)))
        assert (await anext(changes)).missed == range(2, 1_000)
        node.mine(head_at(1_001))
        await anext(changes)
        await polled(node)
    (asked,) = node.backfills()
    assert asked == [hex(number) for number in range(1_000 - BACKFILL_BLOCKS, 1_000)]


@pytest.mark.parametrize("trouble", [None, {}, "busy", EndpointUnavailableError("timed out")])
async def test_heads__back_fill_fails__the_newest_head_comes_all_the_same(trouble: Any) -> None:
    node = Node(head_at(1))
    node.missing = trouble
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        for number in (5, 9):
            node.blocks = {number: head_at(number)}
            assert (await anext(changes)).head == head_at(number)
        await polled(node)
    assert node.backfills()


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
        assert await anext(changes) == HeadChange(head=sibling, missed=range(0), reorged_blocks=1)
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
        lambda: header(head_at(6)) | {"hash": None},
        lambda: header(head_at(6)) | {"number": hex(2**63)},
        lambda: header(head_at(6)) | {"timestamp": hex(2**256)},
        lambda: header(head_at(6)) | {"timestamp": "-0x1"},
        lambda: header(head_at(6)) | {"baseFeePerGas": hex(2**63)},
        lambda: header(head_at(6)) | {"baseFeePerGas": "0x" + "f" * 400},
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
        assert len(asyncio.all_tasks() - before) == 2
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

    def __init__(self, chain_id: Any = "0x7a69") -> None:
        self.frames: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.asked: list[str] = []
        self._chain_id = chain_id

    def put(self, *frames: Any) -> None:
        for frame in frames:
            self.frames.put_nowait(json.dumps(frame))

    def announce(self, head: Head) -> None:
        self.put({"method": "eth_subscription", "params": {"result": header(head)}})

    async def send(self, message: str) -> None:
        asked = json.loads(message)
        self.asked.append(asked["method"])
        answer = self._chain_id if asked["method"] == "eth_chainId" else "0xsubscription"
        # Answered ahead of what a test has put there to follow.
        waiting = [self.frames.get_nowait() for _ in range(self.frames.qsize())]
        self.put({"jsonrpc": "2.0", "id": asked["id"], "result": answer})
        for frame in waiting:
            self.frames.put_nowait(frame)
            self.frames.task_done()

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
        socket.announce(head_at(2))
        assert (await anext(changes)).head == head_at(2)
        # A slow consumer again: announced headers are the missed ones, no request is made.
        for number in (3, 4, 5):
            socket.announce(head_at(number))
        await socket.frames.join()
        change = await anext(changes)
    assert (change.head, change.missed) == (head_at(5), range(3, 5))
    assert socket.asked == ["eth_chainId", "eth_subscribe"]
    assert len(node.rpc.sent("eth_getBlockByNumber")) == 1


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


async def test_heads__socket_of_another_chain__is_told_and_not_used(sockets: list[Socket]) -> None:
    node, socket = Node(head_at(1)), Socket(chain_id="0x1")
    sockets += [socket, Socket()]
    async with aclosing(node.heads(ws_url="ws://node").changes()) as changes:
        with capture_logs() as logs:
            socket.announce(head_at(9))
            assert (await anext(changes)).head == head_at(1)
            await polled(node)
            node.mine(head_at(2))
            assert (await anext(changes)).head == head_at(2)
    (line,) = logs
    assert line["event"] == "heads.websocket_of_another_chain"
    assert (line["chain_id"], line["expected"], line["log_level"]) == (1, 31_337, "error")
    assert socket.asked == ["eth_chainId"]
    assert len(sockets) == 1


@pytest.mark.parametrize("chain_id", [None, 5, "soon"])
async def test_heads__socket_does_not_tell_its_chain__is_not_used(
    sockets: list[Socket], chain_id: Any
) -> None:
    node, socket = Node(head_at(1)), Socket(chain_id=chain_id)
    sockets.append(socket)
    async with aclosing(node.heads(ws_url="ws://node").changes()) as changes:
        await anext(changes)
        socket.announce(head_at(9))
        await polled(node)
        node.mine(head_at(2))
        assert (await anext(changes)).head == head_at(2)
    assert socket.asked == ["eth_chainId"]


async def test_heads__announced_far_ahead__is_taken_when_the_poll_has_seen_it(
    sockets: list[Socket],
) -> None:
    node, socket = Node(head_at(1)), Socket()
    sockets.append(socket)
    heads = node.heads(ws_url="ws://node", poll_interval_s=3_600.0)
    async with aclosing(heads.changes()) as changes:
        await anext(changes)
        # Nobody has this one: the poll is asked at once, and says otherwise.
        socket.announce(head_at(2 + MAX_LEAD_BLOCKS))
        socket.announce(head_at(1 + MAX_LEAD_BLOCKS))
        assert (await anext(changes)).head == head_at(1 + MAX_LEAD_BLOCKS)
        # This one it has.
        node.mine(head_at(500))
        socket.announce(head_at(500))
        assert (await anext(changes)).head == head_at(500)


async def test_heads__announced_and_never_confirmed__gives_way_to_the_poll(
    sockets: list[Socket],
) -> None:
    node, socket = Node(head_at(1)), Socket()
    sockets.append(socket)
    async with aclosing(node.heads(ws_url="ws://node").changes()) as changes:
        await anext(changes)
        socket.announce(head_at(50))
        assert (await anext(changes)).head == head_at(50)
        node.mine(head_at(2))
        with capture_logs() as logs:
            assert (await anext(changes)).head == head_at(2)
            node.mine(head_at(3))
            assert (await anext(changes)).head == head_at(3)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "heads.not_confirmed"
    ]


async def test_heads__chain_faster_than_the_poll__the_socket_is_believed(
    sockets: list[Socket],
) -> None:
    node, socket = Node(head_at(1)), Socket()
    sockets.append(socket)
    async with aclosing(node.heads(ws_url="ws://node").changes()) as changes:
        await anext(changes)
        for number in range(2, 3 * POLLS_BELOW):
            # Every poll finds the block before the one that was announced.
            node.latest = lambda number=number: header(head_at(number - 1))  # type: ignore[misc]  # bound early
            await polled(node)
            socket.announce(head_at(number))
            assert (await anext(changes)).head == head_at(number)


async def test_heads__poll_breaks_on_something_unforeseen__the_consumer_hears_of_it() -> None:
    node = Node(head_at(1))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.latest = lambda: _raise(ZeroDivisionError("a bug"))
        with pytest.raises(ZeroDivisionError):
            await anext(changes)


async def test_heads__listener_breaks_on_something_unforeseen__the_consumer_hears_of_it(
    sockets: list[Socket],
) -> None:
    node, socket = Node(head_at(1)), Socket()
    sockets.append(socket)
    async with aclosing(node.heads(ws_url="ws://node").changes()) as changes:
        await anext(changes)
        socket.frames.put_nowait(ZeroDivisionError("a bug"))
        with pytest.raises(ZeroDivisionError):
            await anext(changes)


# -- several endpoints ---------------------------------------------------------------------------


def pool_of(*nodes: Node) -> Pool:
    for number, node in enumerate(nodes):
        node.rpc.name = f"node {number}"
    return Pool([Endpoint(node.rpc, chain_id=31_337) for node in nodes])


async def test_heads__several_endpoints__the_one_that_is_ahead_leads() -> None:
    slow, quick = Node(head_at(5)), Node(head_at(5))
    pool = pool_of(slow, quick)
    async with aclosing(Heads(pool, poll_interval_s=0.0).changes()) as changes:
        assert (await anext(changes)).head == head_at(5)
        quick.mine(head_at(6))
        assert (await anext(changes)).head == head_at(6)
        await polled(slow)
        assert [each.name for each in pool.in_order()] == ["node 1", "node 0"]
        slow.mine(head_at(6), head_at(7))
        assert (await anext(changes)).head == head_at(7)


async def test_heads__leader_dies_and_the_other_is_far_behind__never_goes_backward() -> None:
    ahead, behind = Node(head_at(60)), Node(head_at(10))
    pool = pool_of(ahead, behind)
    async with aclosing(Heads(pool, poll_interval_s=0.0).changes()) as changes:
        while (await anext(changes)).head != head_at(60):
            pass
        ahead.rpc.down = True
        waiting = asyncio.ensure_future(anext(changes))
        for _ in range(2 * POLLS_BELOW):
            await polled(behind)
        assert not waiting.done()
        assert pool.endpoints[1].state.standing is Standing.OUT_OF_SYNC
        behind.mine(head_at(61))
        assert (await waiting).head == head_at(61)


async def test_heads__leader_dies_and_the_other_is_very_far_behind__rather_none_comes() -> None:
    ahead, behind = Node(head_at(200)), Node(head_at(130))
    pool = pool_of(ahead, behind)
    async with aclosing(Heads(pool, poll_interval_s=0.0).changes()) as changes:
        assert (await anext(changes)).head == head_at(200)
        ahead.rpc.down = True
        waiting = asyncio.ensure_future(anext(changes))
        for _ in range(3 * POLLS_BELOW):
            await polled(behind)
            behind.mine(head_at(max(behind.blocks) + 1))
        assert not waiting.done()
        behind.mine(head_at(201))
        assert (await waiting).head == head_at(201)


async def test_heads__one_of_three_shows_heights_not_reached_yet__puts_nobody_out_of_step() -> None:
    """Whoever is out of step is not asked for its word: one alone must not silence the others."""
    liar, *honest = Node(head_at(5)), Node(head_at(5)), Node(head_at(5))
    pool = pool_of(liar, *honest)
    async with aclosing(Heads(pool, poll_interval_s=0.0).changes()) as changes:
        assert (await anext(changes)).head == head_at(5)
        for number in range(6, 20):
            liar.mine(head_at(number + 10))
            assert (await anext(changes)).head == head_at(number + 10)
            for node in honest:
                node.mine(head_at(number))
                await polled(node)
            assert {each.state.standing for each in pool.endpoints} == {Standing.ALIVE}


async def test_heads__two_of_three_stand_still__are_out_of_step() -> None:
    fresh, *frozen = Node(head_at(5)), Node(head_at(5)), Node(head_at(5))
    pool = pool_of(fresh, *frozen)
    async with aclosing(Heads(pool, poll_interval_s=0.0).changes()) as changes:
        assert (await anext(changes)).head == head_at(5)
        for number in range(6, 6 + MAX_LAG_BLOCKS + 1):
            fresh.mine(head_at(number))
            assert (await anext(changes)).head == head_at(number)
        for node in frozen:
            await polled(node)
        standings = [each.state.standing for each in pool.endpoints]
        assert standings == [Standing.ALIVE, Standing.OUT_OF_SYNC, Standing.OUT_OF_SYNC]


async def test_heads__first_answer_is_of_the_one_that_is_behind__the_first_head_waits_for_all() -> (
    None
):
    fresh, stale = Node(head_at(200)), Node(head_at(20))
    answer, answered = fresh.rpc.batch, asyncio.Event()

    async def later(requests: Any) -> Any:
        await answered.wait()
        return await answer(requests)

    fresh.rpc.batch = later  # type: ignore[method-assign]  # one that is further away
    async with aclosing(Heads(pool_of(fresh, stale), poll_interval_s=0.0).changes()) as changes:
        first = asyncio.ensure_future(anext(changes))
        await polled(stale)
        assert not first.done()
        answered.set()
        assert (await first).head == head_at(200)


async def test_heads__one_tells_an_absurd_height_from_the_beginning__is_not_followed() -> None:
    liar, honest = Node(head_at(10**9)), Node(head_at(5))
    pool = pool_of(liar, honest)
    async with aclosing(Heads(pool, poll_interval_s=0.0).changes()) as changes:
        assert (await anext(changes)).head == head_at(5)
        for _ in range(3 * POLLS_BELOW):
            await polled(liar)
        honest.mine(head_at(6))
        assert (await anext(changes)).head == head_at(6)
        # Nor is it asked first for having the newest block.
        assert pool.in_order()[0].name == "node 1"
        assert pool.endpoints[0].state.head_number == 0


@pytest.mark.parametrize("leap_s", [3 * SLACK_S, 30 * 86_400, -2 * SLACK_S])
async def test_heads__one_tells_another_time_than_can_be__is_not_followed(leap_s: int) -> None:
    liar, honest = Node(head_at(5)), Node(head_at(5))
    now_s = float(head_at(5).timestamp)
    heads = Heads(
        pool_of(liar, honest), poll_interval_s=0.0, clock=lambda: now_s, wall_clock=lambda: now_s
    )
    async with aclosing(heads.changes()) as changes:
        assert (await anext(changes)).head == head_at(5)
        time = head_at(6).timestamp + leap_s
        liar.mine(head_at(6, timestamp=time))
        with capture_logs() as logs:
            for _ in range(2 * POLLS_BELOW):
                await polled(liar)
        assert [line["event"] for line in logs] == ["heads.doubted"]


async def test_heads__all_show_a_leap_in_time__are_followed() -> None:
    """The chain stood still, or this machine's clock does."""
    one, two = Node(head_at(5)), Node(head_at(5))
    heads = Heads(pool_of(one, two), poll_interval_s=0.0, clock=lambda: 0.0, wall_clock=lambda: 0.0)
    async with aclosing(heads.changes()) as changes:
        assert (await anext(changes)).head == head_at(5)
        leaped = head_at(6, timestamp=head_at(6).timestamp + 86_400)
        one.mine(leaped)
        two.mine(leaped)
        assert (await anext(changes)).head == leaped


async def test_heads__the_only_one_that_answers_shows_a_leap_in_time__is_followed() -> None:
    one, dead = Node(head_at(5)), Node(head_at(5))
    heads = Heads(
        pool_of(one, dead), poll_interval_s=0.0, clock=lambda: 0.0, wall_clock=lambda: 0.0
    )
    async with aclosing(heads.changes()) as changes:
        assert (await anext(changes)).head == head_at(5)
        dead.rpc.down = True
        posts = len(dead.rpc.posts)
        while len(dead.rpc.posts) == posts:
            await polled(one)
        leaped = head_at(6, timestamp=head_at(6).timestamp + 86_400)
        one.mine(leaped)
        assert (await anext(changes)).head == leaped


@pytest.mark.parametrize(
    ("lead", "since_s", "believed"),
    [
        (MAX_LEAD_BLOCKS, 0, True),  # no further than is not looked at
        (MAX_LEAD_BLOCKS + 1, 0, False),
        (200, 10, True),  # 20 blocks a second
        (201, 10, False),
        (300, -10, False),
    ],
)
def test_doubt__further_ahead_than_any_chain_gets__is_not_believed(
    lead: int, since_s: int, believed: bool
) -> None:
    other = head_at(100, timestamp=10_000)
    head = head_at(100 + lead, timestamp=10_000 + since_s)
    assert (doubt(head, others=[other], newest=None, now_s=10_100) == "") is believed
    assert doubt(head, others=[other, head], newest=None, now_s=10_100) == ""
    assert doubt(head, others=[], newest=None, now_s=10_100) == ""


@pytest.mark.parametrize(
    ("timestamp", "believed"),
    [
        (10_000 + SLACK_S, True),
        (10_001 + SLACK_S, False),
        (9_000, True),  # as old as the one before
        (8_999, False),
    ],
)
def test_doubt__time_that_cannot_be__is_not_believed(timestamp: int, believed: bool) -> None:
    """The last one that was believed is of second 9,000; it can be 10,000 by now."""
    other, newest = head_at(100, timestamp=5_000), head_at(100, timestamp=9_000)
    head = head_at(101, timestamp=timestamp)
    assert (doubt(head, others=[other], newest=newest, now_s=10_000) == "") is believed


async def test_heads__two_forks_of_one_height__do_not_change_sides_with_every_poll() -> None:
    one, two = Node(head_at(5)), Node(head_at(5, fork="f"))
    async with aclosing(Heads(pool_of(one, two), poll_interval_s=0.0).changes()) as changes:
        first = (await anext(changes)).head
        waiting = asyncio.ensure_future(anext(changes))
        await polled(one)
        await polled(two)
        assert not waiting.done()
        longer = head_at(6, fork="f")
        two.mine(longer)
        assert first.number == 5
        assert (await waiting).head == longer


async def test_heads__one_tells_an_absurd_height__the_others_lead_on() -> None:
    liar, honest = Node(head_at(5)), Node(head_at(5))
    async with aclosing(Heads(pool_of(liar, honest), poll_interval_s=0.0).changes()) as changes:
        await anext(changes)
        await polled(honest)
        liar.mine(head_at(10**9))
        honest.mine(head_at(6))
        assert (await anext(changes)).head == head_at(6)


async def test_heads__leader_is_outvoted__the_others_are_followed_from_where_they_are() -> None:
    made_up = head_at(9, fork="f", parent_fork="0")
    liar, honest = Node(made_up), Node(head_at(8))
    pool = pool_of(liar, honest)
    async with aclosing(Heads(pool, poll_interval_s=0.0).changes()) as changes:
        while (await anext(changes)).head != made_up:
            pass
        pool.endpoints[0].contradicted()
        assert (await anext(changes)).head == head_at(8)
        liar.mine(head_at(12, fork="f"))
        await polled(liar)
        honest.mine(head_at(9))
        assert (await anext(changes)).head == head_at(9)


async def test_heads__outvoted_one_is_the_last_alive__is_followed() -> None:
    outvoted, dead = Node(head_at(8)), Node(head_at(8))
    pool = pool_of(outvoted, dead)
    async with aclosing(Heads(pool, poll_interval_s=0.0).changes()) as changes:
        await anext(changes)
        dead.rpc.down = True
        pool.endpoints[0].contradicted()
        outvoted.mine(head_at(9))
        assert (await anext(changes)).head == head_at(9)


async def test_heads__one_hangs__the_others_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads_module, "FIRST_ROUND_S", 0.01)
    stuck, node = Node(head_at(5)), Node(head_at(5))

    async def never(requests: Any) -> Any:
        await asyncio.Event().wait()

    stuck.rpc.batch = never  # type: ignore[method-assign]  # an endpoint that does not answer
    async with aclosing(Heads(pool_of(stuck, node), poll_interval_s=0.0).changes()) as changes:
        assert (await anext(changes)).head == head_at(5)
        node.mine(head_at(6))
        assert (await anext(changes)).head == head_at(6)


async def test_heads__polled_head_is_not_shown_again__is_kept() -> None:
    """A node that lost its last blocks: what was polled once is not taken back."""
    node = Node(head_at(5))
    async with aclosing(node.heads().changes()) as changes:
        await anext(changes)
        node.latest = lambda: header(head_at(3))
        waiting = asyncio.ensure_future(anext(changes))
        for _ in range(2 * POLLS_BELOW):
            await polled(node)
        assert not waiting.done()
        node.latest = lambda: header(head_at(6))
        assert (await waiting).head == head_at(6)


async def test_heads__age__counts_from_the_last_new_head() -> None:
    node, now_s = Node(head_at(5)), 100.0
    heads = node.heads(clock=lambda: now_s)
    assert heads.age_s is None
    async with aclosing(heads.changes()) as changes:
        await anext(changes)
        now_s = 130.0
        await polled(node)
        assert heads.age_s == 30.0
        node.mine(head_at(6))
        await anext(changes)
        assert heads.age_s == 0.0


async def test_heads__websocket_closed_cleanly__is_said_and_connected_again(
    sockets: list[Socket],
) -> None:
    node, first, second = Node(head_at(1)), Socket(), Socket()
    sockets += [first, second]
    async with aclosing(node.heads(ws_url="ws://node").changes()) as changes:
        await anext(changes)
        with capture_logs() as logs:
            first.frames.put_nowait(None)
            second.announce(head_at(2))
            assert (await anext(changes)).head == head_at(2)
    assert "heads.websocket_closed" in [line["event"] for line in logs]


async def test_heads__a_thousand_announced_at_once__only_the_newest_comes(
    sockets: list[Socket],
) -> None:
    node, socket = Node(head_at(1)), Socket()
    sockets.append(socket)
    async with aclosing(node.heads(ws_url="ws://node").changes()) as changes:
        await anext(changes)
        node.mine(head_at(1_000))
        for number in range(2, 1_001):
            socket.announce(head_at(number))
        await socket.frames.join()
        await polled(node)
        seen = [(await anext(changes)).head.number]
    assert seen == [1_000]
