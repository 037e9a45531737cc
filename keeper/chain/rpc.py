"""One JSON-RPC endpoint, over web3's HTTP provider.

A batch is one HTTP POST. Nothing here retries by itself: web3's own retry would post a raw
transaction five times, so it is switched off, and reads are repeated by `retry_reads` alone.
Errors never show the parts of the URL that may hold an API key, not even those in which the node
repeats them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import aiohttp
import tenacity
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from keeper.chain.secrecy import hider, public_host, secret_parts
from keeper.model.errors import TemporaryError


class RpcError(Exception):
    """The endpoint answered with a JSON-RPC error."""

    def __init__(self, method: str, code: int, message: str, payload: object = None) -> None:
        super().__init__(f"{method}: {message} (code {code})")
        self.method = method
        self.code = code
        self.message = message
        self.payload = payload


class EndpointUnavailableError(TemporaryError):
    """No usable answer came back: refused, timed out, HTTP error or malformed JSON. Transient."""


class RateLimitedError(EndpointUnavailableError):
    """The endpoint asks us to come back later; `retry_after_s` if it says when."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


retry_reads = tenacity.retry(
    retry=tenacity.retry_if_exception_type(EndpointUnavailableError),
    stop=tenacity.stop_after_delay(3),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=1),
    reraise=True,
)
"""The one retry policy of the code base: for POSTs that read, never around a send.

Only what did not come through is asked again, and only for a moment, since a newer head may be
waiting. A node's refusal is an answer: the next head mends it, or nothing does.
"""

_NO_ANSWER = (
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    # JSON of a shape that web3 did not expect, or nested beyond measure.
    AttributeError,
    TypeError,
    RecursionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One JSON-RPC request of a batch."""

    method: str
    params: tuple[Any, ...]


class Rpc:
    """JSON-RPC over HTTP. `batch` answers in the order asked; errors stay values there, so that one
    failed call does not lose the others."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        self.name = public_host(url)
        self._hide = hider(secret_parts(url))
        self._provider = AsyncHTTPProvider(
            url,
            request_kwargs={"timeout": aiohttp.ClientTimeout(timeout_s)},
            exception_retry_configuration=None,
        )
        self._connected = False

    async def call(self, method: str, *params: Any) -> Any:
        """One request, one POST. Raises `RpcError` or `EndpointUnavailableError`."""
        await self._connect()
        try:
            response = await self._provider.make_request(RPCEndpoint(method), params)
        except _NO_ANSWER as error:
            self._unavailable(error)
        return self._result(method, response)

    async def read(self, method: str, *params: Any) -> Any:
        """As `call`, for what every node can answer: an error is then the node's trouble, such as a
        rate limit. Raises `EndpointUnavailableError`."""
        try:
            return await self.call(method, *params)
        except RpcError as error:
            raise EndpointUnavailableError(f"{self.name} refused {error}") from error

    async def batch(self, requests: Sequence[Request]) -> list[Any | RpcError]:
        """Many requests, one POST: a result or an `RpcError` each.

        Raises `EndpointUnavailableError` if the batch as a whole was not answered."""
        await self._connect()
        try:
            responses = await self._provider.make_batch_request(
                [(RPCEndpoint(request.method), request.params) for request in requests]
            )
        except _NO_ANSWER as error:
            self._unavailable(error)
        if not _is_whole(responses, len(requests)):
            raise EndpointUnavailableError(
                f"{self.name} did not answer a batch of {len(requests)} requests as a batch"
            )
        answers: list[Any | RpcError] = []
        for request, response in zip(requests, responses, strict=True):
            try:
                answers.append(self._result(request.method, response))
            except RpcError as error:
                answers.append(error)
        return answers

    async def close(self) -> None:
        """Close the connections."""
        await self._provider.disconnect()

    async def _connect(self) -> None:
        """Keep connections between requests: web3's own session opens a new one for each."""
        if not self._connected:
            self._connected = True
            await self._provider.cache_async_session(aiohttp.ClientSession(raise_for_status=True))

    def _result(self, method: str, response: object) -> Any:
        match response:
            case {"error": {"code": int(code), "message": message, **more}}:
                raise RpcError(method, code, self._hide(str(message)), more.get("data"))
            case {"error": error} if error is not None:
                raise RpcError(method, 0, self._hide(str(error)))
            case {"result": result}:
                return result
        raise EndpointUnavailableError(f"{self.name} answered {method} without result or error")

    def _unavailable(self, error: Exception) -> NoReturn:
        # aiohttp puts the whole URL into its messages; the type says enough.
        reason = (
            f"HTTP status {error.status}"
            if isinstance(error, aiohttp.ClientResponseError)
            else "timed out"
            if isinstance(error, asyncio.TimeoutError)
            else type(error).__name__
        )
        raise EndpointUnavailableError(f"{self.name} is unavailable: {reason}") from None


def _is_whole(responses: object, count: int) -> bool:
    """One response to each request, in their order: web3 sorts them by the ids that it counted up.
    An answer in the wrong place would be another question's."""
    if not isinstance(responses, list) or len(responses) != count:
        return False
    ids = [each.get("id") if isinstance(each, dict) else None for each in responses]
    return not ids or (isinstance(ids[0], int) and ids == list(range(ids[0], ids[0] + count)))
