"""Gates of the recording proxy: where the daemon is held, cut off or served by a poorer node."""

import asyncio
import json
from collections.abc import Callable

from keeper.devnet.proxy import DroppedError, Gate
from keeper.devnet.recording import Json
from tests.devnet.keeping.process import WITHIN_S

Wanted = Callable[[list[Json]], bool]


def carries(method: str) -> Wanted:
    """POSTs with a request of this method."""
    return lambda requests: any(request["method"] == method for request in requests)


def nth(number: int, wanted: Wanted) -> Wanted:
    """Only the `number`-th POST that is wanted, counted from 1."""
    seen = 0

    def chosen(requests: list[Json]) -> bool:
        nonlocal seen
        seen += wanted(requests)
        return wanted(requests) and seen == number

    return chosen


class Hold(Gate):
    """Holds the first POST that is wanted: before the node sees it, or its answer."""

    def __init__(self, wanted: Wanted, *, answer: bool = False) -> None:
        self._wanted = wanted
        self._answer = answer
        self._reached = asyncio.Event()
        self._release = asyncio.Event()

    async def before(self, requests: list[Json]) -> None:
        if not self._answer:
            await self._hold(requests)

    async def after(self, requests: list[Json]) -> None:
        if self._answer:
            await self._hold(requests)

    async def reached(self) -> None:
        """Wait until a POST is held."""
        async with asyncio.timeout(WITHIN_S):
            await self._reached.wait()

    def release(self) -> None:
        """Let it go on."""
        self._release.set()

    async def _hold(self, requests: list[Json]) -> None:
        if not self._reached.is_set() and self._wanted(requests):
            self._reached.set()
            await self._release.wait()


class Pass(Gate):
    """Holds nothing; says when a POST that is wanted has come."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._seen = asyncio.Event()

    async def before(self, requests: list[Json]) -> None:
        if self._wanted(requests):
            self._seen.set()

    async def seen(self) -> None:
        """Wait until it has come."""
        async with asyncio.timeout(WITHIN_S):
            await self._seen.wait()


class Outage(Gate):
    """While it lasts, the endpoint cuts every connection."""

    def __init__(self, *, down: bool) -> None:
        self.down = down

    async def before(self, requests: list[Json]) -> None:
        if self.down:
            raise DroppedError(requests)

    def frame(self, text: str) -> bool:
        if self.down:
            raise DroppedError(text)
        return True


class Lost(Gate):
    """Loses one POST that is wanted: the request on its way there, or the answer."""

    def __init__(self, wanted: Wanted, *, answer: bool = False) -> None:
        self._wanted = wanted
        self._answer = answer
        self.lost = 0

    async def before(self, requests: list[Json]) -> None:
        if not self._answer:
            self._lose(requests)

    async def after(self, requests: list[Json]) -> None:
        if self._answer:
            self._lose(requests)

    def _lose(self, requests: list[Json]) -> None:
        if not self.lost and self._wanted(requests):
            self.lost += 1
            raise DroppedError(requests)


class Unheard(Gate):
    """Heads below `from_block` are announced in vain: their frames do not arrive, although the
    connection stands."""

    def __init__(self) -> None:
        self.from_block = 0
        self._subscribed = asyncio.Event()

    def frame(self, text: str) -> bool:
        message = json.loads(text)
        if "params" not in message:
            if message["id"] == 2:
                # The first answer was the chain's id.
                self._subscribed.set()
            return True
        return int(message["params"]["result"]["number"], 16) >= self.from_block

    async def subscribed(self) -> None:
        """Wait until the node has answered the subscription."""
        async with asyncio.timeout(WITHIN_S):
            await self._subscribed.wait()


class WithoutMethod(Gate):
    """A node that does not know a method: it answers -32601."""

    def __init__(self, method: str) -> None:
        self._method = method.encode()

    def forwarded(self, body: bytes) -> bytes:
        return body.replace(self._method, b"keeper_unknownMethod")
