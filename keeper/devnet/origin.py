"""The chain that a fork copies: asked what it is, then read through a relay.

The relay keeps the origin's URL, which may hold an API key, out of the node's command line and out
of what the node tells its clients; and it passes nothing on but reads.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from keeper.chain.unanswered import in_words
from keeper.devnet.proxy import DroppedError, Gate, RecordingProxy
from keeper.devnet.recording import Json
from keeper.model.errors import ConfigurationError, Problem, TemporaryError

READS = (
    *("eth_get", "eth_call", "eth_chainId", "eth_blockNumber", "eth_gasPrice", "eth_feeHistory"),
    *("eth_estimateGas", "eth_createAccessList", "eth_blobBaseFee", "net_", "web3_", "trace_"),
    *("debug_trace",),
)
"""Methods, or how their names begin, that cannot change the origin."""

TIMEOUT_S = 30.0
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500
NOBODY = "0x" + "00" * 20


class OriginUnavailableError(TemporaryError):
    """The origin does not answer at present. The message holds its host, not its URL."""


class OriginError(ConfigurationError):
    """The origin answers, and cannot be forked as asked."""

    def __init__(self, where: str, what: str, *, why: str, fix: str) -> None:
        super().__init__(Problem(where=where, what=what, why=why, fix=fix))


class OriginRefusedError(OriginError):
    """The origin answered a question with a JSON-RPC error."""

    def __init__(self, host: str, method: str, reason: str) -> None:
        super().__init__(
            f"--rpc {host}",
            f"{method} is refused: {reason}",
            why="the fork reads accounts and contracts from it",
            fix="ask the node's operator, or give another node's URL",
        )
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A chain at one of its blocks."""

    url: str = field(repr=False)
    chain_id: int
    block: int


async def examined(url: str, block: int | None) -> Origin:
    """The chain behind `url` at `block`, or at its newest, with that block's state at hand.

    Raises `OriginUnavailableError` or `OriginError`.
    """
    timeout = aiohttp.ClientTimeout(TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        chain_id = int(await _ask(session, url, "eth_chainId"), 16)
        newest = int(await _ask(session, url, "eth_blockNumber"), 16)
        if block is not None and block > newest:
            raise OriginError(
                f"--block {block}",
                f"chain {chain_id} has no such block yet",
                why=f"its newest is {newest}",
                fix="give an older block, or none for the newest",
            )
        chosen = newest if block is None else block
        try:
            await _ask(session, url, "eth_getBalance", NOBODY, hex(chosen))
        except OriginRefusedError as refused:
            raise OriginError(
                f"--block {chosen}",
                f"{_host(url)} does not have the state of this block: {refused.reason}",
                why="a node that is no archive keeps the states of its newest blocks only",
                fix="give a newer block, or the URL of an archive node",
            ) from None
        return Origin(url=url, chain_id=chain_id, block=chosen)


async def _ask(session: aiohttp.ClientSession, url: str, method: str, *params: object) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    try:
        async with session.post(url, json=body) as answer:
            status, content = answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OriginUnavailableError(f"{_host(url)} is unavailable: {in_words(error)}") from None
    if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
        raise OriginUnavailableError(f"{_host(url)} is unavailable: HTTP status {status}")
    try:
        message = json.loads(content)
    except ValueError:
        message = None
    if not isinstance(message, dict) or not {"result", "error"} & message.keys():
        raise OriginError(
            f"--rpc {_host(url)}",
            f"no JSON-RPC endpoint answers there (HTTP status {status})",
            why="the fork reads accounts and contracts from it",
            fix="give the node's whole URL, its path and API key included",
        )
    if refusal := message.get("error"):
        reason = refusal.get("message") if isinstance(refusal, dict) else refusal
        raise OriginRefusedError(_host(url), method, str(reason))
    return message["result"]


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


class ReadsOnly(Gate):
    """Drops whatever might change the origin."""

    async def before(self, requests: list[Json]) -> None:
        for request in requests:
            if not str(request.get("method")).startswith(READS):
                raise DroppedError(request)


@contextmanager
def relayed(url: str) -> Iterator[str]:
    """A loopback URL that passes reads on to `url`, for as long as the context lasts."""
    # In a thread of its own: the one that starts the node waits for the node's first reads.
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()
    proxy = RecordingProxy(url, "", ReadsOnly())
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
        try:
            yield proxy.http_url
        finally:
            asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
