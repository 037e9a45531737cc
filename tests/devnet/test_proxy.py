"""The recording proxy in front of a real node."""

import asyncio
import json

import aiohttp
import pytest

from keeper.devnet.chain import LocalChain
from keeper.devnet.proxy import DroppedError, Gate, RecordingProxy
from keeper.devnet.recording import Json

SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}


class Hold(Gate):
    """Holds a request to mine, or the answer to it, until released."""

    def __init__(self, *, answer: bool) -> None:
        self.answer = answer
        self.reached = asyncio.Event()
        self.release = asyncio.Event()

    async def before(self, requests: list[Json]) -> None:
        if not self.answer:
            await self._hold(requests)

    async def after(self, requests: list[Json]) -> None:
        if self.answer:
            await self._hold(requests)

    async def _hold(self, requests: list[Json]) -> None:
        assert requests[0]["method"] == "evm_mine"
        self.reached.set()
        await self.release.wait()


class Drop(Gate):
    async def before(self, requests: list[Json]) -> None:
        raise DroppedError(requests)


def ask(method: str, *params: object) -> Json:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


async def post(session: aiohttp.ClientSession, url: str, body: object) -> object:
    async with session.post(url, json=body) as answer:
        return await answer.json()


async def test_proxy__single_and_batch__are_passed_and_recorded(chain: LocalChain) -> None:
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url) as proxy,
        aiohttp.ClientSession() as session,
    ):
        single = await post(session, proxy.http_url, ask("eth_chainId"))
        assert single == {"jsonrpc": "2.0", "id": 7, "result": hex(chain.chain_id)}
        batch = await post(session, proxy.http_url, [ask("eth_chainId"), ask("eth_blockNumber")])
        assert isinstance(batch, list)
        assert len(batch) == 2
        assert [one.methods for one in proxy.recording.posts] == [
            ("eth_chainId",),
            ("eth_chainId", "eth_blockNumber"),
        ]


async def test_proxy__new_block__head_is_recorded_before_the_client_has_it(
    chain: LocalChain,
) -> None:
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url) as proxy,
        aiohttp.ClientSession() as session,
        session.ws_connect(proxy.ws_url) as socket,
    ):
        await socket.send_json(SUBSCRIBE)
        assert "result" in await socket.receive_json()
        number = chain.mine()
        frame = json.loads((await socket.receive()).data)
        (head,) = proxy.recording.heads
        assert head.number == number
        assert head.hash == frame["params"]["result"]["hash"]


async def test_proxy__request_held__node_has_not_seen_it(chain: LocalChain) -> None:
    gate = Hold(answer=False)
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url, gate) as proxy,
        aiohttp.ClientSession() as session,
    ):
        before = int(chain.rpc.call("eth_blockNumber"), 16)
        asked = asyncio.create_task(post(session, proxy.http_url, ask("evm_mine")))
        await gate.reached.wait()
        assert int(chain.rpc.call("eth_blockNumber"), 16) == before
        gate.release.set()
        await asked
        assert int(chain.rpc.call("eth_blockNumber"), 16) == before + 1


async def test_proxy__client_leaves_a_held_request__node_never_sees_it(chain: LocalChain) -> None:
    gate = Hold(answer=False)
    async with RecordingProxy(chain.rpc_url, chain.ws_url, gate) as proxy:
        before = int(chain.rpc.call("eth_blockNumber"), 16)
        async with aiohttp.ClientSession() as session:
            asked = asyncio.create_task(post(session, proxy.http_url, ask("evm_mine")))
            await gate.reached.wait()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
    gate.release.set()
    assert int(chain.rpc.call("eth_blockNumber"), 16) == before


async def test_proxy__answer_held__node_has_done_it(chain: LocalChain) -> None:
    gate = Hold(answer=True)
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url, gate) as proxy,
        aiohttp.ClientSession() as session,
    ):
        before = int(chain.rpc.call("eth_blockNumber"), 16)
        asked = asyncio.create_task(post(session, proxy.http_url, ask("evm_mine")))
        await gate.reached.wait()
        assert int(chain.rpc.call("eth_blockNumber"), 16) == before + 1
        assert not asked.done()
        gate.release.set()
        await asked


async def test_proxy__dropped__client_gets_no_answer(chain: LocalChain) -> None:
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url, Drop()) as proxy,
        aiohttp.ClientSession() as session,
    ):
        with pytest.raises(aiohttp.ClientError):
            await post(session, proxy.http_url, ask("eth_chainId"))


async def test_proxy__node_is_gone__answers_bad_gateway() -> None:
    async with (
        RecordingProxy("http://127.0.0.1:9", "ws://127.0.0.1:9") as proxy,
        aiohttp.ClientSession() as session,
        session.post(proxy.http_url, json=ask("eth_chainId")) as answer,
    ):
        assert answer.status == 502
