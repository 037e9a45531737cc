"""Flaws of a node, as values that compose: each stands between the daemon and what is behind it.

A fault is called with a POST and with the node behind it, which may itself be faulty. It may answer
alone, change what is asked or answered, be slow, or cut the line with `DroppedError`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keeper.devnet.proxy import Answer, DroppedError, Gate
from keeper.devnet.proxy import Node as Upstream
from keeper.devnet.recording import SEND, Json

HARMLESS = "web3_clientVersion"
"""Asked in the place of a request that the node must not see."""


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP POST with its JSON-RPC requests."""

    requests: tuple[Json, ...]
    batch: bool

    @property
    def body(self) -> bytes:
        """As sent."""
        return json.dumps(self.requests if self.batch else self.requests[0]).encode()

    def has(self, chosen: "Chosen") -> bool:
        """Whether one of its requests is of a chosen method."""
        return any(chosen(request["method"]) for request in self.requests)


Methods = str | Collection[str] | None
"""One method, several, or every one."""
Chosen = Callable[[str], bool]


def _chosen(methods: Methods) -> Chosen:
    match methods:
        case None:
            return lambda _: True
        case str():
            return methods.__eq__
        case _:
            return methods.__contains__


Node = Callable[[Post], Awaitable[Answer]]
Fault = Callable[[Post, Node], Awaitable[Answer]]


class Faulty(Gate):
    """The gate of an endpoint with faults, the first one nearest to the daemon. They may be changed
    while it is used."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        self.mute = False
        """The WebSocket stands and says nothing: it is half-open."""
        self.cut = False
        """The WebSocket is closed whenever it would speak."""

    async def exchange(self, requests: list[Json], body: bytes, node: Upstream) -> Answer:
        async def honest(post: Post) -> Answer:
            return await node(post.body)

        outermost: Node = honest
        for fault in reversed(self.faults):
            outermost = _behind(outermost, fault)
        return await outermost(Post(tuple(requests), batch=body.lstrip().startswith(b"[")))

    def frame(self, text: str) -> bool:
        if self.cut:
            raise DroppedError(text)
        return not self.mute


def _behind(node: Node, fault: Fault) -> Node:
    async def flawed(post: Post) -> Answer:
        return await fault(post, node)

    return flawed


# -- when -----------------------------------------------------------------------------------------


def only(methods: Methods, fault: Fault) -> Fault:
    """For POSTs with a request of these methods."""
    chosen = _chosen(methods)

    async def flawed(post: Post, node: Node) -> Answer:
        return await (fault(post, node) if post.has(chosen) else node(post))

    return flawed


def first(count: int, fault: Fault) -> Fault:
    """For the first POSTs that come to it, so that `only(SEND, first(1, …))` is the first send."""
    left = count

    async def flawed(post: Post, node: Node) -> Answer:
        nonlocal left
        left -= 1
        return await (fault(post, node) if left >= 0 else node(post))

    return flawed


def gated(gate: Gate) -> Fault:
    """A gate of the recording proxy, such as one that holds a POST, as a fault."""

    async def flawed(post: Post, node: Node) -> Answer:
        await gate.before(list(post.requests))
        answer = await node(post)
        await gate.after(list(post.requests))
        return answer

    return flawed


# -- the line -------------------------------------------------------------------------------------


async def down(post: Post, node: Node) -> Answer:
    """Every connection is cut before the node sees anything."""
    raise DroppedError(post)


async def accepted_then_dropped(post: Post, node: Node) -> Answer:
    """The node has done it; the answer is lost."""
    await node(post)
    raise DroppedError(post)


def slow(seconds: float) -> Fault:
    """Answers after that long."""

    async def flawed(post: Post, node: Node) -> Answer:
        answer = await node(post)
        await asyncio.sleep(seconds)
        return answer

    return flawed


def status(code: int) -> Fault:
    """Refuses with an HTTP status."""

    async def flawed(post: Post, node: Node) -> Answer:
        return Answer(body=b'{"message": "try again later"}', status=code)

    return flawed


def garbled(change: Callable[[bytes], bytes]) -> Fault:
    """The body of the answer is changed."""

    async def flawed(post: Post, node: Node) -> Answer:
        answer = await node(post)
        return replace(answer, body=change(answer.body))

    return flawed


truncated = garbled(lambda body: body[: len(body) // 2])


# -- single requests --------------------------------------------------------------------------------

Change = Callable[[Json, Json], Json]
"""From a request and the response to it to another response."""


def changed(methods: Methods, change: Change) -> Fault:
    """Other responses to requests of these methods."""
    chosen = _chosen(methods)

    async def flawed(post: Post, node: Node) -> Answer:
        answer = await node(post)
        if not post.has(chosen) or answer.status != 200:
            return answer
        parsed = json.loads(answer.body)
        responses = {response["id"]: response for response in (parsed if post.batch else [parsed])}
        for request in post.requests:
            if chosen(request["method"]):
                responses[request["id"]] = change(request, responses[request["id"]])
        ordered = [responses[request["id"]] for request in post.requests]
        return Answer(body=json.dumps(ordered if post.batch else ordered[0]).encode())

    return flawed


def result(methods: Methods, lie: Callable[[Json, Any], Any]) -> Fault:
    """Other results, from the request's own parameters and the true result."""
    return changed(
        methods,
        lambda request, response: {
            "jsonrpc": "2.0",
            "id": response["id"],
            "result": lie(request, response.get("result")),
        },
    )


def error(methods: Methods, message: str, *, code: int = -32000, data: object = None) -> Fault:
    """The node does what it is asked and answers with an error all the same."""
    told = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return changed(
        methods, lambda _, response: {"jsonrpc": "2.0", "id": response["id"], "error": told}
    )


def withheld(methods: Methods, fault: Fault) -> Fault:
    """The node never sees requests of these methods; `fault` says what is answered to them."""
    chosen = _chosen(methods)

    async def flawed(post: Post, node: Node) -> Answer:
        async def blind(asked: Post) -> Answer:
            seen = [
                {**request, "method": HARMLESS, "params": []}
                if chosen(request["method"])
                else request
                for request in asked.requests
            ]
            return await node(Post(tuple(seen), asked.batch))

        return await fault(post, blind)

    return flawed


def refused(message: str, *, code: int = -32000) -> Fault:
    """The node does not take transactions, and says so."""
    return only(SEND, withheld(SEND, error(SEND, message, code=code)))


def swallowed(hash_of: Callable[[str], str]) -> Fault:
    """Says OK to a transaction and never passes it on."""
    return only(SEND, withheld(SEND, result(SEND, lambda asked, _: hash_of(asked["params"][0]))))


def believing(overrides: Json) -> Fault:
    """Reads at a state that is not the chain's: `overrides`, as `eth_call` takes them, hold for
    every call and simulation."""

    async def flawed(post: Post, node: Node) -> Answer:
        return await node(
            Post(tuple(_overridden(each, overrides) for each in post.requests), post.batch)
        )

    return only({"eth_call", "eth_simulateV1"}, flawed)


def _overridden(request: Json, overrides: Json) -> Json:
    params: Sequence[Any] = request["params"]
    match request["method"]:
        case "eth_call":
            call, block, *more = params
            own = more[0] if more else {}
            return {**request, "params": [call, block, {**overrides, **own}]}
        case "eth_simulateV1":
            options, block = params
            states = [
                {**each, "stateOverrides": {**overrides, **each.get("stateOverrides", {})}}
                for each in options["blockStateCalls"]
            ]
            return {**request, "params": [{**options, "blockStateCalls": states}, block]}
        case _:
            return request
