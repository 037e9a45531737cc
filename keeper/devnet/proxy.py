"""A proxy between the keeper and its node that records what passes, and can hold or drop it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp import web

from keeper.devnet.recording import Json, Recording

MAX_BODY_BYTES = 64 * 2**20
STOP_WITHIN_S = 0.5


class DroppedError(Exception):
    """A gate's way to cut the client's connection without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a POST is answered with."""

    body: bytes
    status: int = 200


Node = Callable[[bytes], Awaitable[Answer]]
"""Passes a POST's body on to the node."""


class Gate:
    """Where a test holds the traffic: override a hook, await in it, or raise `DroppedError`.

    A request held in `before` never reaches the node if its client goes away meanwhile.
    """

    async def exchange(self, requests: list[Json], body: bytes, node: Node) -> Answer:
        """One POST and its answer; the other hooks, unless overridden."""
        await self.before(requests)
        answer = await node(self.forwarded(body))
        await self.after(requests)
        return answer

    def forwarded(self, body: bytes) -> bytes:
        """What the node is to see of a POST's body."""
        return body

    def frame(self, text: str) -> bool:  # noqa: ARG002 - for gates that look at it
        """Whether a WebSocket frame from the node is passed on."""
        return True

    async def before(self, requests: list[Json]) -> None:
        """A POST has arrived and is not yet passed on."""

    async def after(self, requests: list[Json]) -> None:
        """The node has answered and the answer is not yet passed back."""


class RecordingProxy:
    """HTTP and WebSocket on one free loopback port, at any path, as an asynchronous context manager."""

    def __init__(self, upstream_http: str, upstream_ws: str, gate: Gate | None = None) -> None:
        self.recording = Recording()
        self.gate = gate or Gate()
        self._upstream_http = upstream_http
        self._upstream_ws = upstream_ws
        self._address = ""

    @property
    def http_url(self) -> str:
        return f"http://{self._address}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self._address}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/{path:.*}", self._pass_post)
        app.router.add_get("/{path:.*}", self._pass_websocket)
        # Without a limit on connections none waits for another; without cancellation a held
        # request would outlive the client that made it.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=STOP_WITHIN_S
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._address = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_post(self, request: web.Request) -> web.Response:
        body = await request.read()
        message = json.loads(body)
        requests: list[Json] = message if isinstance(message, list) else [message]
        self.recording.post(time.monotonic(), requests)
        try:
            answer = await self.gate.exchange(requests, body, self._forward)
        except DroppedError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=type(error).__name__)
        return web.Response(body=answer.body, status=answer.status, content_type="application/json")

    async def _forward(self, body: bytes) -> Answer:
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._upstream_http, data=body, headers=headers) as answer:
            return Answer(body=await answer.read(), status=answer.status)

    async def _pass_websocket(self, request: web.Request) -> web.WebSocketResponse:
        client = web.WebSocketResponse(compress=False, max_msg_size=MAX_BODY_BYTES)
        await client.prepare(request)
        async with self._session.ws_connect(self._upstream_ws, max_msg_size=MAX_BODY_BYTES) as node:
            ways = {
                asyncio.create_task(self._pass_requests(client, node)),
                asyncio.create_task(self._pass_frames(node, client)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        await client.close()
        return client

    async def _pass_requests(
        self, client: web.WebSocketResponse, node: aiohttp.ClientWebSocketResponse
    ) -> None:
        async for frame in client:
            if frame.type is aiohttp.WSMsgType.TEXT:
                await node.send_str(frame.data)

    async def _pass_frames(
        self, node: aiohttp.ClientWebSocketResponse, client: web.WebSocketResponse
    ) -> None:
        async for frame in node:
            if frame.type is aiohttp.WSMsgType.TEXT and self.gate.frame(frame.data):
                self.recording.frame(time.monotonic(), frame.data)
                await client.send_str(frame.data)
