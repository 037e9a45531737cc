"""Reading 1,000 positions, every balance of every reserve they use."""

import http.client
import json
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from keeper.abi.multicall import encode_aggregate3
from keeper.chain.reader import CALLS_PER_CHUNK, CHUNK_GAS, Reader
from keeper.chain.rpc import Rpc
from keeper.model.reading import Calls
from keeper.model.values import Head
from keeper.protocols import aave_v3
from tests.benchmarks.measuring import Side, take_turns
from tests.benchmarks.peers import Peer
from tests.benchmarks.report import Row, compared, times
from tests.benchmarks.town import Town

NAME = "read 1,000 positions"
WITHOUT_NODE = "… without the node's own time"
ROUNDS = 3


async def discovered(town: Town, reader: Reader, head: Head) -> aave_v3.AaveMarket:
    """The town's market."""
    provider = town.chain.contracts.aave.pool_addresses_provider.address
    reading = aave_v3.discover(provider, chain_id=town.chain.chain_id, name="aave")
    (market,), _ = await reader.read([reading], at=head.hash)
    if not isinstance(market, aave_v3.AaveMarket):
        raise market
    return market


class Ours:
    """The daemon's way, from the second block on: the calls are known from the first."""

    def __init__(self, reader: Reader, market: aave_v3.AaveMarket, town: Town, head: Head) -> None:
        self._reader = reader
        self._market = market
        self._accounts = town.addresses
        self._head = head
        self.known: aave_v3.ReadSet | None = None
        self.rows = 0

    async def read(self) -> list[int]:
        """Every word as an exact integer, and the book's matrices."""
        reading = aave_v3.snapshot(
            self._market, self._accounts, timestamp=self._head.timestamp, known=self.known
        )
        (snapshot,), _ = await self._reader.read([reading], at=self._head.hash)
        if not isinstance(snapshot, aave_v3.AaveSnapshot):
            raise snapshot
        self.known = snapshot.known
        self.rows = len(aave_v3.book_rows(snapshot).accounts)
        words = snapshot.words[snapshot.reads.heads[0] : len(snapshot.reads.calls)].tobytes()
        return [int.from_bytes(words[at : at + 32], "big") for at in range(0, len(words), 32)]


class Posts:
    """Prepared bytes over one kept connection; what comes back is not looked at."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def of(self, requests: Sequence[tuple[str, str, str]], head: Head) -> Callable[[], int]:
        """One batch of calls (to, data, gas)."""
        batch = [
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "eth_call",
                "params": [{"to": to, "data": call, "gas": gas}, {"blockHash": head.hash}],
            }
            for number, (to, call, gas) in enumerate(requests)
        ]
        body = json.dumps(batch).encode()

        def post() -> int:
            self._connection.request(
                "POST", "/", body=body, headers={"Content-Type": "application/json"}
            )
            return len(self._connection.getresponse().read())

        return post


def same_calls(peer: Peer, calls: Calls) -> None:
    """Raise unless the peers ask exactly what keeper asks of the accounts."""
    asked = [(c.address, c.encode_abi(name, arguments)) for c, name, arguments in peer.questions()]
    ours = [(call.target, "0x" + call.data.hex()) for call in calls[-len(asked) :]]
    if asked != ours:
        raise AssertionError("the peers do not make the calls that keeper makes")


async def measure(town: Town) -> tuple[list[Row], str]:
    """The rows of this figure, and what to know of them."""
    rpc = Rpc(town.chain.rpc_url)
    multicall = town.chain.contracts.multicall3
    reader = Reader(rpc, multicall=multicall)
    head = town.head
    market = await discovered(town, reader, head)
    ours, peer = Ours(reader, market, town, head), Peer(town, market, multicall)
    await ours.read()
    calls = ours.known.calls if ours.known else ()
    same_calls(peer, calls)

    posts = Posts(town.chain.rpc_url)
    chunks = [
        (
            multicall,
            "0x" + encode_aggregate3(calls[at : at + CALLS_PER_CHUNK]).hex(),
            hex(CHUNK_GAS),
        )
        for at in range(0, len(calls), CALLS_PER_CHUNK)
    ]
    singles = [(call.target, "0x" + call.data.hex(), hex(CHUNK_GAS)) for call in calls]
    keeper = Side(name="keeper", run=ours.read, repeats=5)
    batch = Side(name="web3 batch_requests", run=peer.read_in_batch)
    multi = Side(name="web3, Multicall3 and eth_abi", run=peer.read_by_multicall)
    bare = Side(name="eth_abi alone around eth_call", run=peer.read_by_eth_abi)
    floor = Side(
        name="floor: the same calls as prepared bytes", run=posts.of(chunks, head), repeats=5
    )
    batch_floor = Side(name="the node's share of it", run=posts.of(singles, head))
    await take_turns([keeper, floor, multi, bare, batch, batch_floor], rounds=ROUNDS)
    await rpc.close()
    if not keeper.found == batch.found == multi.found == bare.found or ours.rows != len(town.homes):
        raise AssertionError("the sides did not read the same values")

    own = max(keeper.median_ms - floor.median_ms, 0.1)
    rows = [
        compared(NAME, keeper, batch, goal=100),
        compared(NAME, keeper, multi, goal=30),
        compared(NAME, keeper, bare),
        compared(NAME, keeper, floor),
        times(WITHOUT_NODE, own, batch.name, batch.median_ms - batch_floor.median_ms),
        times(WITHOUT_NODE, own, multi.name, multi.median_ms - floor.median_ms),
        times(WITHOUT_NODE, own, bare.name, bare.median_ms - floor.median_ms),
    ]
    return rows, (
        f"Reading: {len(calls):,} view calls at one block hash; keeper also makes the market's own "
        f"{len(calls) - len(keeper.found)}, builds the book's matrices and the exact integers. "
        f"The node alone takes {floor.median_ms:.0f} ms for {len(chunks)} chunks of Multicall3 and "
        f"{batch_floor.median_ms:,.0f} ms for single calls, so no client that asks it can read "
        f"{batch.median_ms / floor.median_ms:.0f}× faster than the batch."
    )
