"""One JSON-RPC endpoint, over web3's HTTP provider.

A batch is one HTTP POST. Nothing here retries by itself: web3's own retry would post a raw
transaction five times, so it is switched off, and reads are repeated by `retry_reads` alone.
An answer is bounded in time and in size, and must carry the id of its question.
Errors never show the parts of the URL that may hold an API key, not even those in which the node
repeats them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import aiohttp
import tenacity
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from keeper.chain.secrecy import hider, public_host, secret_parts
from keeper.chain.unanswered import in_words
from keeper.model.errors import TemporaryError


class RpcError(Exception):
    """The endpoint answered with a JSON-RPC error."""

    def __init__(self, method: str, code: int, message: str, payload: object = None) -> None:
        super().__init__(f"{method}: {message} (code {code})")
        self.method = method
        self.code = code
        self.message = message
        self.payload = payload

    @property
    def revert(self) -> bytes:
        """What a call reverted with; empty where the endpoint does not say it in hex. Some write a
        word such as "Reverted" before it."""
        if not isinstance(self.payload, str):
            return b""
        try:
            return bytes.fromhex(self.payload.rpartition("0x")[2])
        except ValueError:
            return b""


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


MAX_ANSWER_BYTES = 64 * 2**20
"""Ten times what 10,000 positions of many reserves read; a node that sends more is not well."""
MAX_QUANTITY = 2**256 - 1
TOO_MANY_REQUESTS = 429
ERRORS_WITH_BODY = frozenset({400, 404, 500})
"""HTTP statuses beside which a node may have sent a JSON-RPC error worth reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One JSON-RPC request of a batch."""

    method: str
    params: tuple[Any, ...]


class Batches(Protocol):
    """Where many questions are asked at once."""

    @property
    def name(self) -> str: ...
    async def batch(self, requests: Sequence[Request]) -> list[Any | RpcError]: ...


class JsonRpc(Batches, Protocol):
    """Where questions are asked: one endpoint, or a pool of them."""

    async def call(self, method: str, *params: Any) -> Any: ...
    async def read(self, method: str, *params: Any) -> Any: ...


class Rpc:
    """JSON-RPC over HTTP. `batch` answers in the order asked; errors stay values there, so that one
    failed call does not lose the others."""

    def __init__(self, url: str, *, name: str | None = None, timeout_s: float = 10.0) -> None:
        self.name = public_host(url) if name is None else name
        self._hide = hider(secret_parts(url))
        self._provider = AsyncHTTPProvider(
            url,
            request_kwargs={"timeout": aiohttp.ClientTimeout(timeout_s)},
            exception_retry_configuration=None,
        )
        self._ids = _Ids()
        self._provider.request_counter = self._ids  # type: ignore[assignment]  # counts like it
        self._connected = False
        self.posted = 0
        """So many requests have been posted."""

    async def call(self, method: str, *params: Any) -> Any:
        """One request, one POST. Raises `RpcError` or `EndpointUnavailableError`."""
        await self._connect()
        asked = self._ids.last + 1
        self.posted += 1
        try:
            response = await self._provider.make_request(RPCEndpoint(method), params)
        except _NO_ANSWER as error:
            self._unavailable(error)
        if not _answers_to(response, asked):
            raise EndpointUnavailableError(f"{self.name} answered another question than {method}")
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
        first = self._ids.last + 1
        self.posted += 1
        try:
            responses = await self._provider.make_batch_request(
                [(RPCEndpoint(request.method), request.params) for request in requests]
            )
        except _NO_ANSWER as error:
            self._unavailable(error)
        if not _is_whole(responses, range(first, first + len(requests))):
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
            await self._provider.cache_async_session(
                aiohttp.ClientSession(response_class=_BoundedResponse)
            )

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
        reason = str(error) if isinstance(error, _TooLongError) else in_words(error)
        said = f"{self.name} is unavailable: {reason}"
        if isinstance(error, aiohttp.ClientResponseError) and error.status == TOO_MANY_REQUESTS:
            header = error.headers.get("Retry-After") if error.headers else None
            raise RateLimitedError(said, retry_after_s=_retry_after_s(header)) from None
        raise EndpointUnavailableError(said) from None


def quantity(answer: Any) -> int | None:
    """The number that an answer tells, at most `MAX_QUANTITY`; None for an error, and for what no
    node should say."""
    try:
        told = int(answer, 16)
    except (TypeError, ValueError):
        return None
    return told if 0 <= told <= MAX_QUANTITY else None


class _TooLongError(ValueError):
    """An answer that nobody asked for at such length; says no more than that."""


class _Ids:
    """Counts requests up, and tells the last number given."""

    def __init__(self) -> None:
        self.last = -1

    def __iter__(self) -> "_Ids":
        return self

    def __next__(self) -> int:
        self.last += 1
        return self.last


class _BoundedResponse(aiohttp.ClientResponse):
    """Reads no more than `MAX_ANSWER_BYTES`, and lets a node's own error through."""

    async def read(self) -> bytes:
        """The whole body. Raises `_TooLongError` as soon as it is too long."""
        if self._body is None:
            parts, size = [], 0
            async for part in self.content.iter_any():
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    self.close()
                    raise _TooLongError(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
                parts.append(part)
            self._body = b"".join(parts)
        return self._body

    def raise_for_status(self) -> None:
        """Some nodes send their JSON-RPC error with a status of its own."""
        if not (self.status in ERRORS_WITH_BODY and self.content_type == "application/json"):
            super().raise_for_status()


def _retry_after_s(header: str | None) -> float | None:
    """Seconds, as an HTTP header gives them; its other form, a date, is left unread."""
    return float(header) if header is not None and header.strip().isdigit() else None


def _answers_to(response: object, asked: int) -> bool:
    """Whether it carries the question's id. An error may carry none: the question was not read."""
    if not isinstance(response, dict) or "id" not in response:
        return True
    given = response["id"]
    return given == asked or (given is None and response.get("error") is not None)


def _is_whole(responses: object, asked: range) -> bool:
    """One response to each request, in their order: web3 sorts them by their ids. An answer in the
    wrong place would be another question's."""
    if not isinstance(responses, list) or len(responses) != len(asked):
        return False
    return [each.get("id") if isinstance(each, dict) else None for each in responses] == list(asked)
