"""What the market pays: pools in either order of their tokens, quicker feeds, and bad addresses."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_abi.abi import encode

from keeper.forecast.oracle_state import MarketPrice
from keeper.forecast.volatility import RoundSeries
from keeper.model.reading import Call, Reading, ReadingError
from keeper.protocols.market_price import (
    SLOT0,
    TOKEN0,
    TOKEN1,
    KnownMarket,
    discover_market,
    market_prices,
)
from keeper.protocols.market_source import FeedMarket, MarketSource, PoolMarket
from keeper.storage.views import explanation
from tests.unit.fake_feed import Feed
from tests.unit.fake_rpc import View, address, word
from tests.unit.test_chainlink import returned
from tests.unit.toy_chain import ALICE, POLICY, USD8, Ground, publish_history

ETHER, DOLLAR, FEED, POOL, QUICK = (address(text) for text in ("e7", "d0", "fe", "b0", "9c"))


class Pool:
    """A Uniswap v3 pool of ether (18 decimals) and dollars (6)."""

    def __init__(self, dollars: float, *, ether_first: bool = True) -> None:
        self.tokens = (ETHER, DOLLAR) if ether_first else (DOLLAR, ETHER)
        raw = dollars * 1e6 / 1e18
        self.sqrt_price = int((raw if ether_first else 1 / raw) ** 0.5 * 2**96)

    def view(self, call: Call) -> bytes | None:
        if call.target in self.tokens:
            return word(18 if call.target == ETHER else 6)
        match call.data[:4]:
            case SLOT0.selector:
                return encode(
                    ["uint160", "int24", "uint16", "uint16", "uint16", "uint8", "bool"],
                    [self.sqrt_price, 0, 0, 1, 1, 0, True],
                )
            case TOKEN0.selector:
                return bytes(12) + bytes.fromhex(self.tokens[0][2:])
            case TOKEN1.selector:
                return bytes(12) + bytes.fromhex(self.tokens[1][2:])
        return None


def drive(reading: Reading[Any], view: View) -> Any:
    try:
        calls = next(reading)
        while True:
            calls = reading.send(returned([view(call) for call in calls]))
    except StopIteration as end:
        return end.value


def found(source: MarketSource, view: View) -> KnownMarket:
    known: KnownMarket = drive(discover_market(source), view)
    return known


@pytest.mark.parametrize("ether_first", [True, False])
def test_market_prices__pool_in_either_order__is_dollars_for_an_ether(ether_first: bool) -> None:
    pool = Pool(2_345.67, ether_first=ether_first)
    known = found(PoolMarket(feed=FEED, pool=POOL, base=ETHER), pool.view)
    prices = drive(market_prices([known]), pool.view)
    assert prices[FEED].price == pytest.approx(2_345.67, rel=1e-9)
    assert prices[FEED].updated_at is None


def test_market_prices__quicker_feed__is_its_answer_and_time() -> None:
    quick = Feed(QUICK, [(1_990 * 10**18, 500)], decimals=18)
    known = found(FeedMarket(feed=FEED, market_feed=QUICK), quick.view)
    prices = drive(market_prices([known]), quick.view)
    assert prices == {FEED: MarketPrice(price=1_990.0, updated_at=500)}


def test_market_prices__source_that_stops_answering__is_left_out() -> None:
    pool, quick = Pool(2_000.0), Feed(QUICK, [(10**8, 500)])
    known = [
        found(PoolMarket(feed=FEED, pool=POOL, base=ETHER), pool.view),
        found(FeedMarket(feed=DOLLAR, market_feed=QUICK), quick.view),
    ]
    pool.sqrt_price = 0
    both = lambda call: quick.view(call) if call.target == QUICK else pool.view(call)  # noqa: E731
    assert drive(market_prices(known), both).keys() == {DOLLAR}
    assert drive(market_prices(known), lambda _: None) == {}
    assert drive(market_prices([]), lambda _: None) == {}


@pytest.mark.parametrize(
    ("source", "view", "reason"),
    [
        (PoolMarket(feed=FEED, pool=POOL, base=FEED), Pool(2_000.0).view, "neither token"),
        (PoolMarket(feed=FEED, pool=POOL, base=ETHER), lambda _: None, "like a Uniswap v3 pool"),
        (PoolMarket(feed=FEED, pool=POOL, base=ETHER), lambda _: b"", "like a Uniswap v3 pool"),
        (FeedMarket(feed=FEED, market_feed=QUICK), lambda _: None, "does not answer like a feed"),
        (FeedMarket(feed=FEED, market_feed=QUICK), Pool(2_000.0).view, "like a feed"),
    ],
)
def test_discover_market__wrong_address__is_told(
    source: MarketSource, view: View, reason: str
) -> None:
    with pytest.raises(ReadingError, match=reason):
        found(source, view)


@pytest.mark.parametrize(
    ("updated_at", "gap"), [(None, np.log(0.98)), (100, np.log(0.98)), (99, None)]
)
def test_gap__market_older_than_the_round__says_nothing(
    updated_at: int | None, gap: float | None
) -> None:
    rounds = RoundSeries.of([(50, 10**8), (100, 2 * 10**8)], decimals=8)
    assert MarketPrice(price=1.96, updated_at=updated_at).gap(rounds, 200) == (
        None if gap is None else pytest.approx(gap)
    )


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    made = Ground(tmp_path / "journal.sqlite3")
    yield made
    made.store.close()


def quick_feed(ground: Ground, dollars: int) -> Feed:
    """A feed that is ahead of the calm oracle of the toy market."""
    oracle = ground.chain.market().feed
    oracle.rounds.clear()
    publish_history(oracle, ground.chain.head.timestamp, hourly_percent=0.2)
    quick = Feed(address("9c"), [(dollars * USD8, ground.chain.head.timestamp)])
    ground.chain.others[quick.address] = quick.view
    ground.market_sources = [FeedMarket(feed=oracle.address, market_feed=quick.address)]
    return quick


async def test_pass__market_falls_before_the_oracle__acts_and_explains(ground: Ground) -> None:
    quick_feed(ground, 1_640)
    ground.watch(ALICE.address, POLICY)
    await ground.start()
    ground.chain.node.rpc.posts.clear()
    await ground.look()
    (decided,) = ground.decisions()
    assert decided.cause == "forecast"
    told = explanation(ground.path, decided.id).document["forecast"]
    assert told["from"] == "table pooled"
    assert told["calibration"] == "fitted on prices from 2017-08-24 to 2024-01-01"
    assert told["oracle_gap"] == pytest.approx(np.log(0.82))
    assert told["distance"] == pytest.approx(np.log(16 / 13), rel=1e-4)
    assert told["oracles"][0]["market_over_oracle"] == pytest.approx(-0.18)
    assert 0.0 <= told["closed_form"]["breach_probability"] <= 1.0
    # One round trip to read: the market's price is in it. The other simulates the plan.
    calls = [post.count("eth_call") for post in ground.chain.node.rpc.methods]
    assert [count for count in calls if count] == [4]


async def test_pass__market_agrees_with_a_calm_oracle__waits(ground: Ground) -> None:
    quick_feed(ground, 2_000)
    ground.watch(ALICE.address, POLICY)
    await ground.start()
    await ground.look()
    assert ground.decisions() == []
    seen = ground.position()
    assert seen.forecast_model == "table pooled"
    assert seen.breach_probability is not None
    assert seen.breach_probability < POLICY.trigger_probability  # type: ignore[operator]  # set
