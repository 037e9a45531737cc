"""One endpoint over real HTTP: answers that are too long, cut off, late or somebody else's."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from keeper.chain import rpc as rpc_module
from keeper.chain.rpc import EndpointUnavailableError, RateLimitedError, Request, Rpc, RpcError

ASKED = Request(method="eth_chainId", params=())
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def endpoint(serve: Serve, *, timeout_s: float = 10.0) -> AsyncIterator[Rpc]:
    app = web.Application()
    app.router.add_post("/", serve)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    rpc = Rpc(f"http://{host}:{port}", timeout_s=timeout_s)
    try:
        yield rpc
    finally:
        await rpc.close()
        await runner.cleanup()


async def honest(request: web.Request) -> web.Response:
    asked = json.loads(await request.read())
    return web.json_response(
        [{"jsonrpc": "2.0", "id": each["id"], "result": each["method"]} for each in asked]
        if isinstance(asked, list)
        else {"jsonrpc": "2.0", "id": asked["id"], "result": asked["method"]}
    )


async def test_rpc__honest_node__is_asked_over_one_connection() -> None:
    ports = set()

    async def serve(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        return await honest(request)

    async with endpoint(serve) as rpc:
        assert await rpc.call("eth_chainId") == "eth_chainId"
        assert await rpc.batch([ASKED, ASKED]) == ["eth_chainId"] * 2
    assert len(ports) == 1


async def test_rpc__answer_without_end__is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rpc_module, "MAX_ANSWER_BYTES", 1_000_000)
    written = 0

    async def serve(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 100_000)
            written += 100_000

    async with endpoint(serve) as rpc:
        with pytest.raises(EndpointUnavailableError, match="longer than 1000000 bytes"):
            await rpc.call("eth_chainId")
    assert written < 50_000_000  # what the sockets' buffers may have taken


async def test_rpc__answer_cut_off__is_unavailable() -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"jsonrpc": "2.0", "id": 0, "resu')
        assert request.transport is not None
        request.transport.close()
        return response

    async with endpoint(serve) as rpc:
        with pytest.raises(EndpointUnavailableError, match="it cut the connection"):
            await rpc.call("eth_chainId")


@pytest.mark.parametrize("begin", [False, True], ids=["silent", "drips"])
async def test_rpc__slow_node__is_given_up(begin: bool) -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if begin:
            await response.prepare(request)
            await response.write(b"{")
        await asyncio.Event().wait()
        return response

    async with endpoint(serve, timeout_s=0.1) as rpc:
        with pytest.raises(EndpointUnavailableError, match="timed out"):
            await rpc.call("eth_chainId")


async def test_rpc__answer_of_an_earlier_question__is_unavailable() -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.json_response([{"jsonrpc": "2.0", "id": 0, "result": "0x1"}])

    async with endpoint(serve) as rpc:
        assert await rpc.batch([ASKED]) == ["0x1"]
        with pytest.raises(EndpointUnavailableError, match="did not answer a batch"):
            await rpc.batch([ASKED])


async def test_rpc__error_with_a_status_of_its_own__is_the_nodes_error() -> None:
    async def serve(_: web.Request) -> web.Response:
        error = {"code": -32000, "message": "already known"}
        return web.json_response({"jsonrpc": "2.0", "id": 0, "error": error}, status=400)

    async with endpoint(serve) as rpc:
        with pytest.raises(RpcError, match="already known"):
            await rpc.call("eth_sendRawTransaction", "0x")


@pytest.mark.parametrize("status", [401, 403, 502, 503])
async def test_rpc__http_error__is_unavailable(status: int) -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(status=status, text="no")

    async with endpoint(serve) as rpc:
        with pytest.raises(EndpointUnavailableError, match=f"HTTP status {status}"):
            await rpc.call("eth_chainId")


async def test_rpc__too_many_requests__says_when_to_come_back() -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3"})

    async with endpoint(serve) as rpc:
        with pytest.raises(RateLimitedError) as caught:
            await rpc.batch([ASKED])
    assert caught.value.retry_after_s == 3.0
