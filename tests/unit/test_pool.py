"""Several endpoints as one: who is asked, who is passed over, and whose word is not used."""

import asyncio
from typing import Any

import pytest

from keeper.chain import standing
from keeper.chain.pool import Endpoint, Pool, WrongChainError
from keeper.chain.rpc import EndpointUnavailableError, RateLimitedError, Request, RpcError
from keeper.chain.settings import Use
from keeper.chain.sitting import Sitting
from keeper.chain.standing import EndpointState, Standing
from tests.unit.fake_rpc import FakeRpc, refused

CHAIN_ID = 31_337
ASKED = Request(method="eth_getBalance", params=())


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def node(name: str, balance: Any = "0x1", *, chain_id: int = CHAIN_ID) -> FakeRpc:
    rpc = FakeRpc({"eth_chainId": lambda: hex(chain_id), "eth_getBalance": lambda: balance})
    rpc.name = name
    return rpc


def pool_of(clock: Clock, *nodes: FakeRpc) -> Pool:
    return Pool([Endpoint(each, chain_id=CHAIN_ID, clock=clock) for each in nodes])


def raises(error: Exception) -> Any:
    def answer(*_: Any) -> Any:
        raise error

    return answer


# -- one after the other -------------------------------------------------------------------------


async def test_batch__first_is_alive__the_others_are_not_asked(clock: Clock) -> None:
    one, two = node("one", "0x1"), node("two", "0x2")
    assert await pool_of(clock, one, two).batch([ASKED, ASKED]) == ["0x1", "0x1"]
    assert one.methods == [["eth_chainId", "eth_getBalance", "eth_getBalance"]]
    assert two.posts == []


async def test_batch__first_is_down__the_next_answers_in_the_same_call_and_from_then_on(
    clock: Clock,
) -> None:
    one, two = node("one"), node("two", "0x2")
    one.down = True
    pool = pool_of(clock, one, two)
    assert await pool.batch([ASKED]) == ["0x2"]
    assert await pool.read("eth_getBalance") == "0x2"
    assert (len(one.posts), len(two.posts), pool.name) == (1, 2, "two")


async def test_batch__first_hangs__the_next_answers(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeper.chain.pool.PATIENCE_S", 0.01)
    one, two = node("one"), node("two", "0x2")

    async def never(requests: Any) -> Any:
        await asyncio.Event().wait()

    one.batch = never  # type: ignore[method-assign]  # an endpoint that does not answer
    pool = pool_of(clock, one, two)
    assert await pool.batch([ASKED]) == ["0x2"]
    assert pool.endpoints[0].state.standing is Standing.UNREACHABLE


async def test_batch__serves_another_chain__none_of_its_answers_is_used_and_it_is_out_for_good(
    clock: Clock,
) -> None:
    one, two = node("one", "0xbad"), node("two", "0x2")
    pool = pool_of(clock, one, two)
    assert await pool.batch([ASKED]) == ["0xbad"]
    # Behind its URL another node has taken over.
    one.answers["eth_chainId"] = lambda: "0x1"
    assert await pool.batch([ASKED]) == ["0x2"]
    one.answers["eth_chainId"] = lambda: hex(CHAIN_ID)
    asked = len(one.posts)
    two.down = True
    clock.now_s += 3_600
    with pytest.raises(EndpointUnavailableError, match="fake is unavailable"):
        await pool.batch([ASKED])
    assert len(one.posts) == asked
    with pytest.raises(WrongChainError):
        await pool.endpoints[0].call("eth_sendRawTransaction", "0x")


async def test_batch__the_only_one_serves_another_chain__is_not_used_until_it_is_right_again(
    clock: Clock,
) -> None:
    one = node("one", chain_id=1)
    pool = pool_of(clock, one)
    for _ in range(2):
        with pytest.raises(WrongChainError, match="one serves chain 1, not 31337"):
            await pool.batch([ASKED])
    one.answers["eth_chainId"] = lambda: hex(CHAIN_ID)
    assert await pool.batch([ASKED]) == ["0x1"]
    assert pool.endpoints[0].state.standing is Standing.ALIVE


@pytest.mark.parametrize("told", [None, "soon", {}, 5])
async def test_batch__does_not_tell_its_chain__is_not_used(clock: Clock, told: Any) -> None:
    one = node("one")
    one.answers["eth_chainId"] = lambda: told
    with pytest.raises(EndpointUnavailableError, match="does not tell its chain"):
        await pool_of(clock, one).batch([ASKED])


async def test_batch__refuses_everything__another_is_asked_and_the_first_is_still_alive(
    clock: Clock,
) -> None:
    one, two = node("one"), node("two", "0x2")
    one.answers["eth_getBalance"] = refused("eth_getBalance", -32000, "missing trie node")
    pool = pool_of(clock, one, two)
    assert await pool.batch([ASKED, ASKED]) == ["0x2", "0x2"]
    assert pool.endpoints[0].state.standing is Standing.ALIVE
    two.answers |= one.answers
    first, _ = await pool.batch([ASKED, ASKED])
    assert isinstance(first, RpcError)


@pytest.mark.parametrize("message", ["header not found", "missing trie node 4b2a (path )"])
async def test_batch__refuses_all_state_but_not_what_rides_along__another_is_asked_and_first_for_a_while(
    clock: Clock, message: str
) -> None:
    """A node that has forgotten the block's state still knows receipts and fees."""
    ride = Request(method="eth_getTransactionReceipt", params=("0xab",))
    one, two = node("one"), node("two", "0x2")
    for each in (one, two):
        each.answers["eth_getTransactionReceipt"] = lambda _: None
    one.answers["eth_getBalance"] = refused("eth_getBalance", -32000, message)
    pool = pool_of(clock, one, two)
    assert await pool.batch([ASKED, ride]) == ["0x2", None]
    # It is alive, and still asked for its own word; but the other is read without asking it first.
    assert pool.beside(pool.endpoints[1]) == [pool.endpoints[0]]
    posts = len(one.posts)
    assert await pool.batch([ASKED, ride]) == ["0x2", None]
    assert len(one.posts) == posts
    clock.now_s += standing.AFTER_OTHERS_S
    one.answers["eth_getBalance"] = lambda: "0x1"
    assert await pool.batch([ASKED, ride]) == ["0x1", None]


async def test_batch__nobody_has_the_state__what_rides_along_is_told_by_the_first(
    clock: Clock,
) -> None:
    ride = Request(method="eth_getTransactionReceipt", params=("0xab",))
    nodes = [node("one"), node("two")]
    for number, each in enumerate(nodes):
        each.answers["eth_getTransactionReceipt"] = lambda _, n=number: n
        each.answers["eth_getBalance"] = refused("eth_getBalance", -32000, "header not found")
    pool = pool_of(clock, *nodes)
    balance, receipt = await pool.batch([ASKED, ride])
    assert isinstance(balance, RpcError)
    assert receipt == 0
    assert not any(each.comes_last for each in pool.endpoints)


@pytest.mark.parametrize(
    ("code", "message"), [(3, "execution reverted: no"), (-32601, "the method does not exist")]
)
async def test_batch__refuses_for_another_reason_than_lack_of_state__is_asked_first_again(
    clock: Clock, code: int, message: str
) -> None:
    one, two = node("one"), node("two", "0x2")
    one.answers["eth_getBalance"] = refused("eth_getBalance", code, message)
    pool = pool_of(clock, one, two)
    assert await pool.batch([ASKED]) == ["0x2"]
    assert pool.in_order()[0].name == "one"


async def test_batch__all_are_down__each_is_tried_and_the_last_is_never_dropped(
    clock: Clock,
) -> None:
    nodes = [node("one"), node("two")]
    for each in nodes:
        each.down = True
    pool = pool_of(clock, *nodes)
    for times in (1, 2, 3):
        with pytest.raises(EndpointUnavailableError):
            await pool.batch([ASKED])
        assert [len(each.posts) for each in nodes] == [times, times]
    nodes[1].down = False
    assert await pool.batch([ASKED]) == ["0x1"]


@pytest.mark.parametrize(
    "limit",
    [
        raises(RateLimitedError("HTTP status 429", retry_after_s=30.0)),
        refused("eth_getBalance", 429, "slow down"),
        refused("eth_getBalance", -32005, "daily request limit reached"),
    ],
)
async def test_batch__rate_limited__another_is_asked_until_it_may_be_asked_again(
    clock: Clock, limit: Any
) -> None:
    one, two = node("one"), node("two", "0x2")
    working = one.answers["eth_getBalance"]
    one.answers["eth_getBalance"] = limit
    pool = pool_of(clock, one, two)
    assert await pool.batch([ASKED]) == ["0x2"]
    state = pool.endpoints[0].state
    assert state.standing is Standing.RATE_LIMITED
    assert 0 < pool.endpoints[0].pause_s <= 30.0
    one.answers["eth_getBalance"] = working
    assert await pool.batch([ASKED]) == ["0x2"]
    # A poll finds it well again.
    clock.now_s += 60
    await pool.endpoints[0].read("eth_getBalance")
    assert await pool.batch([ASKED]) == ["0x1"]


async def test_sitting__another_is_asked_first_by_now__goes_on_with_the_one_that_answered(
    clock: Clock,
) -> None:
    one, two = node("one", "0x1"), node("two", "0x2")
    pool = pool_of(clock, one, two)
    sitting = Sitting(pool)
    assert await sitting.batch([ASKED]) == ["0x1"]
    pool.endpoints[1].showed_head(7, 7)
    assert await sitting.batch([ASKED]) == ["0x1"]
    assert sitting.reader is pool.endpoints[0]
    assert [each.name for each in pool.beside(sitting.reader)] == ["two"]
    one.down = True
    with pytest.raises(EndpointUnavailableError):
        await sitting.batch([ASKED])
    assert two.posts == []


async def test_call__goes_to_one_endpoint_alone(clock: Clock) -> None:
    one, two = node("one"), node("two")
    one.down = True
    with pytest.raises(EndpointUnavailableError):
        await pool_of(clock, one, two).call("eth_getBalance")
    assert (len(one.posts), two.posts) == (1, [])


async def test_in_order__one_lacks_the_newest_head__the_other_is_asked_first(clock: Clock) -> None:
    pool = pool_of(clock, node("one"), node("two"))
    pool.endpoints[0].showed_head(99, 100)
    pool.endpoints[1].showed_head(100, 100)
    assert [each.name for each in pool.in_order()] == ["two", "one"]


def test_readers__those_that_only_send__are_not_read(clock: Clock) -> None:
    uses = (Use.SEND, Use.ALL, Use.PRIVATE, Use.READ)
    pool = Pool(
        [Endpoint(node(use.value), chain_id=CHAIN_ID, use=use, clock=clock) for use in uses]
    )
    assert [each.name for each in pool.readers] == ["all", "read"]


# -- all at once ---------------------------------------------------------------------------------


async def test_ask_all__some_fail_and_some_refuse__what_the_others_say(clock: Clock) -> None:
    nodes = [node("a", "0x1"), node("b", "0x2"), node("c"), node("d")]
    nodes[2].down = True
    nodes[3].answers["eth_getBalance"] = refused("eth_getBalance")
    assert await pool_of(clock, *nodes).ask_all(ASKED) == ["0x1", "0x2"]
    assert [len(each.posts) for each in nodes] == [1] * 4


# -- how an endpoint stands ----------------------------------------------------------------------


def test_standing__failures_in_a_row__lengthen_the_pause_to_a_minute() -> None:
    state, pauses = EndpointState(), []
    for _ in range(12):
        state = standing.failed(state, now_s=100.0)
        pauses.append(state.retry_at_s - 100.0)
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == standing.LONGEST_PAUSE_S
    assert standing.answered(state, now_s=100.0) == EndpointState()


def test_standing__retry_after__is_honoured_up_to_a_bound() -> None:
    state = standing.limited(EndpointState(), now_s=100.0, retry_after_s=7.0)
    assert (state.standing, state.retry_at_s) == (Standing.RATE_LIMITED, 107.0)
    state = standing.limited(state, now_s=100.0, retry_after_s=10_000.0)
    assert state.retry_at_s == 100.0 + standing.LONGEST_RETRY_AFTER_S


def test_standing__falls_behind__is_out_of_sync_until_it_has_caught_up() -> None:
    state = standing.showed_head(EndpointState(), 97, pool_head=100)
    assert state.standing is Standing.ALIVE
    state = standing.showed_head(state, 50, pool_head=100)
    assert state.standing is Standing.OUT_OF_SYNC
    assert standing.answered(state, now_s=1.0).standing is Standing.OUT_OF_SYNC
    assert standing.showed_head(state, 100, pool_head=100).standing is Standing.ALIVE


def test_standing__outvoted__is_not_read_for_a_while() -> None:
    state = standing.contradicted(EndpointState(), now_s=100.0)
    assert standing.answered(state, now_s=101.0).standing is Standing.OUTVOTED
    assert standing.failed(state, now_s=101.0).standing is Standing.OUTVOTED
    later_s = 100.0 + standing.OUTVOTED_S
    assert standing.answered(state, now_s=later_s).standing is Standing.ALIVE


def test_standing__another_chain__is_out_for_good_whatever_follows() -> None:
    state = standing.of_another_chain(EndpointState(), now_s=0.0)
    for after in (
        standing.answered(state, now_s=1e9),
        standing.failed(state, now_s=1e9),
        standing.limited(state, now_s=1e9, retry_after_s=None),
        standing.contradicted(state, now_s=1e9),
        standing.showed_head(state, 5, pool_head=5),
    ):
        assert after.standing is Standing.WRONG_CHAIN
