"""Receivers on loopback: one that takes, one that answers never."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

WITHIN_S = 20.0
TOKEN = "T0K3Nf0rTheHook9876543210"


class Receiver:
    """Keeps what is posted to it; while `status` is not 200 it refuses."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.status = 200
        self.hanging = False
        self.news = asyncio.Condition()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        async with self.news:
            self.bodies.append(body)
            self.paths.append(request.path_qs)
            self.news.notify_all()
        if self.hanging:
            await asyncio.Event().wait()
        return web.Response(status=self.status)

    async def came(self, count: int = 1, *, title: str = "") -> list[Any]:
        """So many bodies, whose title ends so if one is given."""

        def fitting() -> list[Any]:
            return [body for body in self.bodies if body.get("title", "").endswith(title)]

        async with asyncio.timeout(WITHIN_S), self.news:
            await self.news.wait_for(lambda: len(fitting()) >= count)
        return fitting()


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Its `url` is `HOST:PORT/TOKEN`, without a scheme."""
    found = Receiver()
    served = web.Application()
    served.add_routes([web.post("/{path:.*}", found.take)])
    runner = web.AppRunner(served, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"127.0.0.1:{runner.addresses[0][1]}/{TOKEN}"
        yield found
    finally:
        await runner.cleanup()
