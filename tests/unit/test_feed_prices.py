"""Feeds' rounds: loaded once from store and chain, added to at every block."""

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

import pytest

from keeper.chain.prices import HISTORY_S, MOST_MISSED, FeedPrices
from keeper.chain.reader import Reader
from keeper.chain.rpc import RpcError
from keeper.chain.settings import MULTICALL3
from keeper.model.reading import Call
from keeper.model.units import Address
from keeper.protocols.chainlink import Round
from tests.unit.fake_feed import Feed
from tests.unit.fake_rpc import FakeRpc, address, head_at, multicall

P = ParamSpec("P")
R = TypeVar("R")

CHAIN_ID = 31_337
HEAD = head_at(1_000_000)
NOW = HEAD.timestamp
HOUR = 3_600


class Rounds:
    """A price history in memory."""

    def __init__(self) -> None:
        self.kept: dict[Address, dict[int, Round]] = {}
        self.broken = False

    def add(self, chain_id: int, feed: Address, rounds: Iterable[Round]) -> None:
        assert chain_id == CHAIN_ID
        if self.broken:
            raise OSError("the disk is full")
        self.kept.setdefault(feed, {}).update({each.id: each for each in rounds})

    def since(self, chain_id: int, feed: Address, timestamp: int) -> list[Round]:
        assert chain_id == CHAIN_ID
        found = self.kept.get(feed, {}).values()
        return [each for each in found if each.price.updated_at >= timestamp]


async def run(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return method(*args, **kwargs)


class Chain:
    """Two feeds behind a reader."""

    def __init__(self) -> None:
        self.ether = Feed(address("e0"))
        self.bitcoin = Feed(address("b0"))
        self.feeds = (self.ether.address, self.bitcoin.address)
        self.rpc = FakeRpc({"eth_call": multicall(self.view)})
        self.store = Rounds()
        self.prices = self.restarted()

    def restarted(self) -> FeedPrices:
        reader = Reader(self.rpc, multicall=MULTICALL3)
        return FeedPrices(reader=reader, chain_id=CHAIN_ID, store=self.store, run=run)

    def view(self, call: Call) -> bytes | None:
        return (self.ether if call.target == self.ether.address else self.bitcoin).view(call)

    async def look(self) -> dict[Address, tuple[Round, ...]]:
        """One block: read, take in, keep."""
        reader = Reader(self.rpc, multicall=MULTICALL3)
        (new,), _ = await reader.read([self.prices.latest()], at=HEAD.hash)
        self.prices.observe(new, HEAD)
        await self.prices.store()
        return dict(new)

    def times(self, feed: Feed) -> list[int]:
        return [int(time) for time in self.prices.series[feed.address].times]


@pytest.fixture
def chain() -> Chain:
    chain = Chain()
    chain.ether.publish(*((2_000_00000000 + n, NOW - (10 - n) * HOUR) for n in range(10)))
    chain.bitcoin.publish((40_000_00000000, NOW - HOUR))
    return chain


async def test_load__fresh_store__reads_a_month_from_the_chain_and_keeps_it(chain: Chain) -> None:
    chain.ether.rounds.insert(0, (1, NOW - HISTORY_S - 1))
    await chain.prices.load(chain.feeds, HEAD)
    assert chain.times(chain.ether) == [NOW - (10 - n) * HOUR for n in range(10)]
    assert chain.prices.warm == set(chain.feeds)
    assert len(chain.store.kept[chain.ether.address]) == 10
    assert chain.store.kept[chain.bitcoin.address] == {
        chain.bitcoin.round(1).id: chain.bitcoin.round(1)
    }


async def test_load__after_a_restart__reads_only_what_the_store_lacks(chain: Chain) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.ether.publish((2_100_00000000, NOW))
    chain.rpc.posts.clear()
    chain.prices = chain.restarted()
    await chain.prices.load(chain.feeds, HEAD)
    assert chain.times(chain.ether) == [*(NOW - (10 - n) * HOUR for n in range(10)), NOW]
    assert len(chain.rpc.posts) == 1
    assert len(chain.store.kept[chain.ether.address]) == 11


async def test_load__source_without_rounds__is_cold_with_a_reason_and_tried_again(
    chain: Chain,
) -> None:
    published, chain.bitcoin.rounds = chain.bitcoin.rounds, []
    await chain.prices.load(chain.feeds, HEAD)
    assert chain.prices.warm == {chain.ether.address}
    assert "latestRoundData" in str(chain.prices.series[chain.bitcoin.address].cold)
    assert set(await chain.look()) == set()
    chain.bitcoin.rounds = published
    await chain.prices.load([chain.bitcoin.address], HEAD)
    assert chain.prices.warm == set(chain.feeds)
    assert chain.times(chain.bitcoin) == [NOW - HOUR]


async def test_latest__all_feeds_cold__asks_for_nothing(chain: Chain) -> None:
    chain.ether.rounds, chain.bitcoin.rounds = [], []
    await chain.prices.load(chain.feeds, HEAD)
    chain.rpc.posts.clear()
    assert await chain.look() == {}
    assert chain.rpc.posts == []


async def test_latest__no_feeds_at_all__asks_for_nothing(chain: Chain) -> None:
    assert await chain.look() == {}


async def test_latest__nothing_new__is_one_post_and_no_rounds(chain: Chain) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.rpc.posts.clear()
    assert await chain.look() == {}
    assert len(chain.rpc.posts) == 1


async def test_latest__one_new_round__is_one_post(chain: Chain) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.rpc.posts.clear()
    chain.ether.publish((2_100_00000000, NOW))
    assert await chain.look() == {chain.ether.address: (chain.ether.round(11),)}
    assert len(chain.rpc.posts) == 1
    assert chain.times(chain.ether)[-2:] == [NOW - HOUR, NOW]
    assert chain.store.kept[chain.ether.address][chain.ether.round(11).id] == chain.ether.round(11)


async def test_latest__several_rounds_since_the_last_pass__are_fetched_in_a_second_post(
    chain: Chain,
) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.rpc.posts.clear()
    chain.ether.publish((2_100_00000000, NOW - 20), (2_200_00000000, NOW - 10), (2, NOW))
    found = await chain.look()
    assert found == {chain.ether.address: tuple(map(chain.ether.round, (11, 12, 13)))}
    assert len(chain.rpc.posts) == 2
    assert await chain.look() == {}


async def test_latest__too_many_rounds_missed__takes_the_newest_and_leaves_a_gap(
    chain: Chain,
) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.ether.publish(*((2_000_00000000, NOW) for _ in range(MOST_MISSED + 2)))
    stored = dict(chain.store.kept[chain.ether.address])
    found = await chain.look()
    assert [len(rounds) for rounds in found.values()] == [1]
    # Nothing beyond the gap is stored, so that the next loading fills it.
    chain.ether.publish((2_000_00000000, NOW))
    await chain.look()
    assert chain.store.kept[chain.ether.address] == stored
    assert chain.prices.warm == {chain.bitcoin.address}
    await chain.prices.load([chain.ether.address], HEAD)
    assert chain.prices.warm == set(chain.feeds)
    assert len(chain.times(chain.ether)) == len(chain.ether.rounds)
    assert len(chain.store.kept[chain.ether.address]) == len(chain.ether.rounds)


async def test_latest__feed_stops_answering__keeps_what_is_known(chain: Chain) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.ether.rounds = []
    assert await chain.look() == {}
    assert len(chain.times(chain.ether)) == 10


async def test_observe__rounds_older_than_the_history__are_dropped(chain: Chain) -> None:
    chain.ether.rounds = [(2_000_00000000, NOW - HISTORY_S), (2_000_00000000, NOW)]
    await chain.prices.load(chain.feeds, HEAD)
    assert chain.times(chain.ether) == [NOW - HISTORY_S, NOW]
    later = head_at(HEAD.number + 1, timestamp=NOW + 12)
    chain.ether.publish((2_000_00000000, NOW + 12))
    chain.prices.observe({chain.ether.address: (chain.ether.round(3),)}, later)
    assert chain.times(chain.ether) == [NOW, NOW + 12]


async def test_store__pass_failed_after_taking_rounds_in__the_next_one_stores_them(
    chain: Chain,
) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.ether.publish((2_100_00000000, NOW - 12))
    chain.prices.observe({chain.ether.address: (chain.ether.round(11),)}, HEAD)
    chain.ether.publish((2_200_00000000, NOW))
    await chain.look()
    assert len(chain.store.kept[chain.ether.address]) == 12


async def test_store__disk_full_for_a_while__nothing_is_lost(chain: Chain) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.ether.publish((2_100_00000000, NOW))
    chain.store.broken = True
    with pytest.raises(OSError, match="disk is full"):
        await chain.look()
    chain.store.broken = False
    await chain.look()
    assert len(chain.store.kept[chain.ether.address]) == 11


async def test_load__one_feed_refused__the_others_are_loaded_and_it_is_tried_again(
    chain: Chain,
) -> None:
    there = chain.rpc.answers["eth_call"]

    def answer(call: Any, *params: Any) -> Any:
        if chain.bitcoin.address[2:].lower() in call["data"]:
            raise RpcError("eth_call", -32000, "out of gas")
        return there(call, *params)

    chain.rpc.answers["eth_call"] = answer
    await chain.prices.load(chain.feeds, HEAD)
    assert chain.prices.warm == {chain.ether.address}
    assert "out of gas" in str(chain.prices.series[chain.bitcoin.address].cold)
    chain.rpc.answers["eth_call"] = there
    await chain.prices.load([chain.bitcoin.address], HEAD)
    assert chain.prices.warm == set(chain.feeds)


async def test_store__disk_full__the_pass_knows_but_the_rounds_are_in_memory(chain: Chain) -> None:
    await chain.prices.load(chain.feeds, HEAD)
    chain.ether.publish((2_100_00000000, NOW))
    chain.store.broken = True
    with pytest.raises(OSError, match="disk is full"):
        await chain.look()
    assert chain.times(chain.ether)[-1] == NOW
