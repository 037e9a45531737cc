"""/healthz and /metrics for this machine alone."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from aiohttp import web

from keeper.model.errors import ConfigurationError, Problem

LOOPBACK = "127.0.0.1"

Health = Callable[[], tuple[bool, Mapping[str, Any]]]
"""Whether all is well, and the document that says so."""


@contextlib.asynccontextmanager
async def serving(
    port: int, *, health: Health, metrics: Callable[[], bytes]
) -> AsyncIterator[None]:
    """Answer on loopback within the context; port 0 serves nothing.

    Raises `ConfigurationError` where the port cannot be had."""
    if not port:
        yield
        return

    async def healthz(_: web.Request) -> web.Response:
        well, document = health()
        return web.json_response(
            document, status=200 if well else 503, dumps=lambda value: json.dumps(value, indent=2)
        )

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), content_type="text/plain", charset="utf-8")

    served = web.Application()
    served.add_routes([web.get("/healthz", healthz), web.get("/metrics", exposition)])
    runner = web.AppRunner(served, access_log=None)
    await runner.setup()
    try:
        await _listen(runner, port)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, LOOPBACK, port, shutdown_timeout=1.0).start()
    except OSError as error:
        raise ConfigurationError(
            Problem(
                where="[service] http_port",
                what=f"port {port} of {LOOPBACK} cannot be had ({error.strerror or error})",
                why="a keeper whose health nobody can ask for would look dead, or be another one's",
                fix="stop what listens there, or write another http_port; 0 serves nothing",
            )
        ) from None
