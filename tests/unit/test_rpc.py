"""One endpoint: what its answers become, and what its errors show."""

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import tenacity
from multidict import CIMultiDict
from yarl import URL

from keeper.chain.rpc import (
    EndpointUnavailableError,
    RateLimitedError,
    Request,
    Rpc,
    RpcError,
    retry_reads,
)
from keeper.model.errors import TemporaryError

SECRET = "k3y-of-the-provider"
ASKED = Request(method="eth_call", params=({}, "0x1"))


class Provider:
    """Stands for web3's HTTP provider: one response, or an exception, for each POST."""

    def __init__(self, *responses: Any) -> None:
        self.responses = list(responses)
        self.posts: list[Any] = []

    async def make_request(self, method: str, params: Any) -> Any:
        return self._post((method, params))

    async def make_batch_request(self, requests: Any) -> Any:
        return self._post(requests)

    def _post(self, body: Any) -> Any:
        self.posts.append(body)
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response


def endpoint(*responses: Any) -> tuple[Rpc, Provider]:
    rpc = Rpc(f"https://user:{SECRET}@node.example:8545/v3/{SECRET}?key={SECRET}")
    provider = Provider(*responses)
    rpc._provider = provider  # type: ignore[assignment]  # stands in for web3's
    rpc._connected = True
    return rpc, provider


def test_rpc__name__shows_no_secret() -> None:
    rpc, _ = endpoint()
    assert rpc.name == "node.example:8545"


@pytest.mark.parametrize(
    "message",
    [
        f"no project {SECRET}",
        f"https://node.example/v3/{SECRET} is over its limit",
        f"user {SECRET.upper()} or {SECRET}: no",
    ],
)
async def test_rpc__node_repeats_its_url__the_key_is_hidden(message: str) -> None:
    rpc, _ = endpoint({"error": {"code": -32005, "message": message}}, {"error": message})
    for _ in range(2):
        with pytest.raises(RpcError) as caught:
            await rpc.call("eth_call")
        assert SECRET not in f"{caught.value} {caught.value.message}"


async def test_call__answer_to_another_question__is_unavailable() -> None:
    for wrong in ({"id": 7, "result": "0x1"}, {"id": None, "result": "0x1"}):
        rpc, _ = endpoint(wrong)
        with pytest.raises(EndpointUnavailableError, match="another question"):
            await rpc.call("eth_chainId")


async def test_call__question_not_read__its_error_comes_without_an_id() -> None:
    rpc, _ = endpoint({"id": None, "error": {"code": -32700, "message": "parse error"}})
    with pytest.raises(RpcError, match="parse error"):
        await rpc.call("eth_chainId")


BATCHES = [
    "[null]",
    '["x"]',
    '[{"id": 1, "result": 1}, {"id": "x", "result": 2}]',
    '[{"id": {}, "result": 1}, {"id": {}, "result": 2}]',
    "null",
    "5",
    "",
]


@pytest.mark.parametrize("body", BATCHES, ids=lambda body: body[:20])
async def test_batch__any_json__is_unavailable(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    rpc = Rpc("http://node.example")
    rpc._connected = True

    async def post(*_: Any, **__: Any) -> bytes:
        return body.encode()

    manager = rpc._provider._request_session_manager
    monkeypatch.setattr(manager, "async_make_post_request", post)
    with pytest.raises(EndpointUnavailableError):
        await rpc.batch([ASKED, ASKED])


async def test_call__result__is_returned_from_one_post() -> None:
    rpc, provider = endpoint({"id": 0, "result": "0x1", "error": None})
    assert await rpc.call("eth_chainId") == "0x1"
    assert provider.posts == [("eth_chainId", ())]


async def test_call__result_null__is_none() -> None:
    rpc, _ = endpoint({"id": 0, "result": None})
    assert await rpc.call("eth_getTransactionReceipt", "0x") is None


async def test_call__error__keeps_code_message_and_payload() -> None:
    rpc, _ = endpoint({"error": {"code": 3, "message": "reverted", "data": "0x08"}})
    with pytest.raises(RpcError, match=r"eth_call: reverted \(code 3\)") as caught:
        await rpc.call("eth_call")
    assert (caught.value.code, caught.value.payload) == (3, "0x08")


@pytest.mark.parametrize("error", ["too many requests", {"message": "no code"}, {"code": None}, 5])
async def test_call__error_of_another_shape__is_an_error_all_the_same(error: object) -> None:
    rpc, _ = endpoint({"error": error})
    with pytest.raises(RpcError):
        await rpc.call("eth_call")


@pytest.mark.parametrize("response", [{}, {"id": 0}, [], "busy", None])
async def test_call__neither_result_nor_error__is_unavailable(response: object) -> None:
    rpc, _ = endpoint(response)
    with pytest.raises(EndpointUnavailableError, match=r"node\.example:8545 answered eth_call"):
        await rpc.call("eth_call")


def http_error(status: int) -> aiohttp.ClientResponseError:
    url = URL(f"https://node.example/v3/{SECRET}")
    info = aiohttp.RequestInfo(url, "POST", headers=None, real_url=url)  # type: ignore[arg-type]  # unread
    return aiohttp.ClientResponseError(info, (), status=status, message=f"at {url}")


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (http_error(429), "HTTP status 429"),
        (TimeoutError(), "timed out"),
        (aiohttp.ServerTimeoutError(f"to {SECRET}"), "timed out"),
        (aiohttp.ClientPayloadError(SECRET), "it cut the connection"),
        (ValueError(f"no JSON from {SECRET}"), "no JSON-RPC"),
        (RecursionError("maximum recursion depth exceeded"), "no JSON-RPC"),
    ],
)
@pytest.mark.parametrize(
    "ask", [lambda rpc: rpc.call("eth_call"), lambda rpc: rpc.batch([ASKED])], ids=["call", "batch"]
)
async def test_rpc__no_answer__is_temporary_and_shows_no_url(
    ask: Callable[[Rpc], Any], trouble: Exception, reason: str
) -> None:
    rpc, _ = endpoint(trouble)
    with pytest.raises(EndpointUnavailableError, match=reason) as caught:
        await ask(rpc)
    assert isinstance(caught.value, TemporaryError)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__  # nor in a traceback


async def test_batch__one_fails__the_others_keep_their_places() -> None:
    error = {"id": 1, "error": {"code": -32000, "message": "no"}}
    rpc, provider = endpoint([{"id": 0, "result": 1}, error, {"id": 2, "result": 3}])
    one, two, three = await rpc.batch([ASKED, ASKED, ASKED])
    assert (one, three) == (1, 3)
    assert isinstance(two, RpcError)
    assert len(provider.posts) == 1


@pytest.mark.parametrize(
    "response",
    [
        {"error": {"code": -32600, "message": "no batches"}},
        [],
        [{"result": 1}] * 3,
        [{"id": 0, "result": 1}] * 2,
        [{"id": 0, "result": 1}, {"id": 2, "result": 3}],
        [{"id": 7, "result": 1}, {"id": 8, "result": 2}],
        [{"id": 0, "result": 1}, {"id": None, "error": {"code": -32005, "message": "slow down"}}],
        [{"result": 1}, {"result": 2}],
        [{"id": "0", "result": 1}, {"id": "1", "result": 2}],
        [None, None],
    ],
)
async def test_batch__not_answered_as_a_batch__is_unavailable(response: object) -> None:
    rpc, _ = endpoint(response)
    with pytest.raises(EndpointUnavailableError, match="a batch of 2 requests"):
        await rpc.batch([ASKED, ASKED])


async def test_read__refused__is_temporary() -> None:
    rpc, _ = endpoint({"error": {"code": -32005, "message": "rate limit"}})
    with pytest.raises(EndpointUnavailableError, match="refused eth_chainId: rate limit"):
        await rpc.read("eth_chainId")


def at_once(function: Any) -> Any:
    """The policy without its waits."""
    return function.retry_with(wait=tenacity.wait_none())


async def test_retry_reads__endpoint_down_for_a_moment__is_asked_again() -> None:
    rpc, provider = endpoint(TimeoutError(), http_error(503), {"result": "0x1"})

    @retry_reads
    async def ask() -> Any:
        return await rpc.call("eth_chainId")

    assert await at_once(ask)() == "0x1"
    assert len(provider.posts) == 3


async def test_retry_reads__clear_error__is_final() -> None:
    rpc, provider = endpoint({"error": {"code": 3, "message": "reverted"}})

    @retry_reads
    async def ask() -> Any:
        return await rpc.call("eth_call")

    with pytest.raises(RpcError):
        await at_once(ask)()
    assert len(provider.posts) == 1


async def test_retry_reads__endpoint_stays_down__is_given_up_while_the_head_is_fresh() -> None:
    stop: Any = retry_reads(endpoint)
    assert stop.retry.stop.max_delay <= 3


@pytest.mark.parametrize(("header", "after_s"), [("7", 7.0), (None, None), ("Wed, 21 Oct", None)])
async def test_rpc__asked_too_often__says_when_to_come_back(
    header: str | None, after_s: float | None
) -> None:
    error = http_error(429)
    error.headers = CIMultiDict({} if header is None else {"Retry-After": header})
    rpc, _ = endpoint(error)
    with pytest.raises(RateLimitedError) as caught:
        await rpc.call("eth_call")
    assert caught.value.retry_after_s == after_s
