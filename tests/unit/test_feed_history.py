"""A feed's whole history into the store: every phase, in chunks, going on after an interruption."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.chain.feed_history import FeedHistory, FetchedRounds
from keeper.chain.heads import Heads
from keeper.chain.reader import Reader
from keeper.chain.rpc import EndpointUnavailableError
from keeper.chain.settings import MULTICALL3
from keeper.model.errors import ConfigurationError
from keeper.protocols.chainlink import CHUNK
from keeper.storage.database import open_database
from keeper.storage.prices import PriceHistory
from tests.unit.fake_rpc import FakeRpc, head_at, header, multicall
from tests.unit.test_chainlink import FEED, HOUR, Proxy, hourly

CHAIN_ID = 1
LENGTH = 1_300


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PriceHistory]:
    engine = open_database(tmp_path / "journal.sqlite3")
    yield PriceHistory(engine)
    engine.dispose()


class Chain:
    """A proxy behind a node."""

    def __init__(self, proxy: Proxy, store: PriceHistory) -> None:
        self.rpc = FakeRpc(
            {
                "eth_call": multicall(proxy.answer),
                "eth_getBlockByNumber": lambda *_: header(head_at(5)),
            }
        )
        self.history = FeedHistory(
            reader=Reader(self.rpc, multicall=MULTICALL3, patient=False),
            heads=Heads(self.rpc, ws_url=None, poll_interval_s=1.0),
            chain_id=CHAIN_ID,
            store=store,
        )

    async def fetch(self, since: int) -> list[FetchedRounds]:
        return [progress async for progress in self.history.fetch(FEED, since)]

    @property
    def calls(self) -> int:
        return len(self.rpc.sent("eth_call"))


def times(store: PriceHistory) -> list[int]:
    return [each.price.updated_at for each in store.since(CHAIN_ID, FEED, 0)]


async def test_fetch__two_phases__all_rounds_are_kept_with_the_pair_and_told_in_chunks(
    store: PriceHistory,
) -> None:
    phases = {1: hourly(1, 40), 2: hourly(1, LENGTH, start=40 * HOUR)}
    chain = Chain(Proxy(phases, description="ETH / USD"), store)
    told = await chain.fetch(0)
    assert times(store) == [HOUR * n for n in range(1, LENGTH + 41)]
    assert [each.read for each in told] == [CHUNK, 2 * CHUNK, LENGTH, LENGTH + 40]
    assert told[-1].oldest == HOUR
    (held,) = store.feeds()
    assert (held.pair, held.rounds, held.first) == ("ETH/USD", LENGTH + 40, HOUR)


async def test_fetch__again__asks_for_nothing_that_is_there(store: PriceHistory) -> None:
    chain = Chain(Proxy({1: hourly(1, LENGTH)}), store)
    await chain.fetch(0)
    before = chain.calls
    assert [each.read for each in await chain.fetch(0)][-1] == 0
    assert chain.calls == before + 1  # the newest round


async def test_fetch__broken_off__what_came_is_kept_and_the_rest_follows(
    store: PriceHistory,
) -> None:
    chain = Chain(Proxy({1: hourly(1, LENGTH)}), store)
    fetch = chain.history.fetch(FEED, 0)
    await anext(fetch)
    chain.rpc.down = True
    with pytest.raises(EndpointUnavailableError):
        await anext(fetch)
    assert times(store) == [HOUR * n for n in range(LENGTH - CHUNK + 1, LENGTH + 1)]
    chain.rpc.down = False
    await chain.fetch(0)
    assert times(store) == [HOUR * n for n in range(1, LENGTH + 1)]


async def test_fetch__hole_left_by_a_keeper_that_stood_still__is_filled(
    store: PriceHistory,
) -> None:
    chain = Chain(Proxy({1: hourly(1, LENGTH)}), store)
    await chain.fetch(0)
    rounds = store.since(CHAIN_ID, FEED, 0)
    other = PriceHistory(open_database(Path(":memory:")))
    other.add(CHAIN_ID, FEED, [*rounds[:300], *rounds[-100:]])
    holed = Chain(Proxy({1: hourly(1, LENGTH)}), other)
    await holed.fetch(0)
    assert other.since(CHAIN_ID, FEED, 0) == rounds


async def test_fetch__since_a_day__ends_with_the_chunk_that_reaches_it(
    store: PriceHistory,
) -> None:
    await Chain(Proxy({1: hourly(1, 2_000)}), store).fetch(1_999 * HOUR)
    assert len(times(store)) == CHUNK


async def test_fetch__old_aggregator_that_went_on_publishing__is_left_out_where_it_was_no_answer(
    store: PriceHistory,
) -> None:
    phases = {1: hourly(1, 60), 2: hourly(1, 30, start=40 * HOUR)}
    await Chain(Proxy(phases), store).fetch(0)
    found = times(store)
    assert len(found) == len([n for n in range(1, 61) if n <= 41]) + 30
    assert max(found) == 70 * HOUR


async def test_fetch__address_that_is_no_feed__is_a_problem_to_be_put_right(
    store: PriceHistory,
) -> None:
    with pytest.raises(ConfigurationError, match="do not answer with a positive price"):
        await Chain(Proxy({1: {}}), store).fetch(0)
