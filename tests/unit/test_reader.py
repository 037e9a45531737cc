"""Readings in lockstep: one POST a step, whatever their number."""

from typing import Any

import pytest
import tenacity
from eth_abi.abi import decode

from keeper.abi.multicall import encode_aggregate3
from keeper.abi.words import Function
from keeper.chain.reader import CALLS_PER_CHUNK, Reader, RefusedReadingError
from keeper.chain.rpc import EndpointUnavailableError, Request, RpcError
from keeper.chain.settings import MULTICALL3
from keeper.model.reading import Call, CallFailedError, Calls, Reading, ReadingError
from keeper.model.units import Address
from tests.unit.fake_rpc import FakeRpc, head_at, header, multicall, refused, word

BLOCK = head_at(7).hash
NUMBER = Function("number(uint256)")
CONTRACT = Address("0x" + "C0" * 20)
TRANSACTION = Request(method="eth_getTransactionReceipt", params=("0xabc",))


def doubled(call: Call) -> bytes | None:
    """Twice the argument; reverts for 13."""
    argument = int.from_bytes(call.data[4:], "big")
    return None if argument == 13 else word(2 * argument)


def ask(*arguments: int) -> Calls:
    return tuple(NUMBER(CONTRACT, argument) for argument in arguments)


def once(*arguments: int) -> Reading[list[int]]:
    returns = yield ask(*arguments)
    return [returns.word(index) for index in range(len(arguments))]


def twice(argument: int) -> Reading[int]:
    """Doubles the double."""
    returns = yield ask(argument)
    returns = yield ask(returns.word(0))
    return returns.word(0)


def nothing() -> Reading[str]:
    """Needs no call at all."""
    yield from ()
    return "known"


@pytest.fixture
def rpc() -> FakeRpc:
    return FakeRpc(
        {"eth_call": multicall(doubled), "eth_getTransactionReceipt": lambda tx: {"for": tx}}
    )


@pytest.fixture
def reader(rpc: FakeRpc) -> Reader:
    return Reader(rpc, multicall=MULTICALL3)


async def test_read__several_readings__share_a_post_at_one_block(
    rpc: FakeRpc, reader: Reader
) -> None:
    values, answers = await reader.read([once(1, 2), once(3), once(4)], at=BLOCK)
    assert (values, answers) == ([[2, 4], [6], [8]], [])
    assert rpc.methods == [["eth_call"] * 3]
    assert {str(params[1]) for params in rpc.sent("eth_call")} == {str({"blockHash": BLOCK})}


async def test_read__two_step_reading__costs_a_second_post_for_itself_alone(
    rpc: FakeRpc, reader: Reader
) -> None:
    values, _ = await reader.read([once(1), twice(5), nothing()], at=BLOCK)
    assert values == [[2], 20, "known"]
    assert rpc.methods == [["eth_call", "eth_call"], ["eth_call"]]


async def test_read__requests_beside__ride_in_the_first_post_only(
    rpc: FakeRpc, reader: Reader
) -> None:
    values, answers = await reader.read([twice(1)], at=BLOCK, beside=[TRANSACTION, TRANSACTION])
    assert (values, answers) == ([4], [{"for": "0xabc"}] * 2)
    assert rpc.methods == [["eth_call", *["eth_getTransactionReceipt"] * 2], ["eth_call"]]


async def test_read__only_requests_beside__are_asked_all_the_same(
    rpc: FakeRpc, reader: Reader
) -> None:
    assert await reader.read([], at=BLOCK, beside=[TRANSACTION]) == ([], [{"for": "0xabc"}])


async def test_read__nothing_to_ask__posts_nothing(rpc: FakeRpc, reader: Reader) -> None:
    assert await reader.read([nothing()], at=BLOCK) == (["known"], [])
    assert rpc.posts == []


async def test_read__reading_asks_for_no_calls__is_answered_and_the_others_are_read(
    rpc: FakeRpc, reader: Reader
) -> None:
    def none_at_all() -> Reading[tuple[int, list[bool], bytes]]:
        returns = yield ()
        return len(returns.words()), returns.has_word().tolist(), returns.words().tobytes()

    values, _ = await reader.read([none_at_all(), once(1), none_at_all()], at=BLOCK)
    assert values == [(0, [], b""), [2], (0, [], b"")]
    assert len(rpc.posts[0]) == 1


async def test_read__request_beside_is_refused__its_error_is_its_answer(
    rpc: FakeRpc, reader: Reader
) -> None:
    rpc.answers["eth_getTransactionReceipt"] = refused("eth_getTransactionReceipt")
    values, (answer,) = await reader.read([once(1)], at=BLOCK, beside=[TRANSACTION])
    assert values == [[2]]
    assert isinstance(answer, RpcError)


async def test_read__one_reading_fails__the_others_do_not(reader: Reader) -> None:
    (one, failed, two), _ = await reader.read([once(1), once(2, 13), twice(3)], at=BLOCK)
    assert (one, two) == ([2], 12)
    assert isinstance(failed, CallFailedError)
    assert failed.index == 1


async def test_read__reading_fails_before_its_first_call__the_others_do_not(
    reader: Reader,
) -> None:
    def hopeless() -> Reading[int]:
        raise ReadingError("no market")
        yield ()

    (failed, value), _ = await reader.read([hopeless(), once(1)], at=BLOCK)
    assert isinstance(failed, ReadingError)
    assert value == [2]


async def test_read__more_calls_than_a_node_allows_at_once__are_chunked_in_one_post(
    rpc: FakeRpc, reader: Reader
) -> None:
    count = 2 * CALLS_PER_CHUNK + 1
    arguments = [100 + index for index in range(count)]
    (values,), answers = await reader.read([once(*arguments)], at=BLOCK, beside=[TRANSACTION])
    assert values == [2 * argument for argument in arguments]
    assert answers == [{"for": "0xabc"}]
    assert rpc.methods == [["eth_call"] * 3 + ["eth_getTransactionReceipt"]]


async def test_read__the_same_tuple_again__is_encoded_once(
    rpc: FakeRpc, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Calls] = []

    def counted(calls: Calls) -> bytes:
        encoded.append(calls)
        return encode_aggregate3(calls)

    monkeypatch.setattr("keeper.chain.reader.encode_aggregate3", counted)
    kept = ask(1, 2)

    def reading(calls: Calls) -> Reading[int]:
        returns = yield calls
        return returns.word(1)

    for _ in range(3):
        assert (await reader.read([reading(kept)], at=BLOCK))[0] == [4]
    assert len(encoded) == 1
    # An equal tuple is another one, and so is one made where a forgotten one was.
    for argument in range(200):
        assert (await reader.read([reading(ask(0, argument + 20))], at=BLOCK))[0] == [
            2 * (argument + 20)
        ]
    assert (await reader.read([reading(kept)], at=BLOCK))[0] == [4]
    assert len(encoded) == 202


# -- a node in trouble ---------------------------------------------------------------------------


@pytest.fixture
def impatient(reader: Reader) -> Reader:
    return reader.impatient()


@pytest.mark.parametrize("answer", ["0x", "0x1234", "0xzz", None, "0x" + word(32).hex()])
async def test_read__answer_that_is_none_of_multicall__is_unavailable(
    rpc: FakeRpc, impatient: Reader, answer: Any
) -> None:
    rpc.answers["eth_call"] = lambda *_: answer
    with pytest.raises(EndpointUnavailableError, match="fake misread"):
        await impatient.read([once(1)], at=BLOCK)


async def test_read__block_unknown__is_unavailable(rpc: FakeRpc, impatient: Reader) -> None:
    rpc.answers["eth_call"] = refused("eth_call", -32000, "header for hash not found")
    with pytest.raises(EndpointUnavailableError, match="header for hash not found"):
        await impatient.read([once(1)], at=BLOCK)
    assert len(rpc.posts) == 1


async def test_read__block_unknown__is_left_to_the_next_head(rpc: FakeRpc, reader: Reader) -> None:
    rpc.answers["eth_call"] = refused("eth_call", -32000, "header for hash not found")
    with pytest.raises(EndpointUnavailableError, match="header for hash not found"):
        await reader.read([once(1), twice(2)], at=BLOCK, beside=[TRANSACTION])
    assert len(rpc.posts) == 1


async def test_read__node_away_for_a_moment__is_asked_again(
    rpc: FakeRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = multicall(doubled)
    away = iter([True, True, False])

    def answer(*params: Any) -> Any:
        if next(away):
            raise EndpointUnavailableError("fake is unavailable: timed out")
        return there(*params)

    rpc.answers["eth_call"] = answer
    reader = Reader(rpc, multicall=MULTICALL3)
    reader._post = reader._post.retry_with(wait=tenacity.wait_none())  # type: ignore[attr-defined]  # the policy without its waits
    values, answers = await reader.read([once(1)], at=BLOCK, beside=[TRANSACTION])
    assert (values, answers) == ([[2]], [{"for": "0xabc"}])
    assert rpc.methods == [["eth_call", "eth_getTransactionReceipt"]] * 3


def only_for(*arguments: int) -> Any:
    """A node that refuses a chunk with any other argument."""
    there = multicall(doubled)

    def answer(call: Any, *params: Any) -> Any:
        (calls,) = decode(["(address,bool,bytes)[]"], bytes.fromhex(call["data"][10:]))
        if any(int.from_bytes(data[4:], "big") not in arguments for _, _, data in calls):
            raise RpcError("eth_call", -32000, "out of gas")
        return there(call, *params)

    return answer


async def test_read__one_chunk_refused__the_other_readings_are_read(
    rpc: FakeRpc, reader: Reader
) -> None:
    rpc.answers["eth_call"] = only_for(1, 2, 3, 4)
    (one, refusal, two), answers = await reader.read(
        [once(1), once(9), twice(2)], at=BLOCK, beside=[TRANSACTION]
    )
    assert (one, two, answers) == ([2], 8, [{"for": "0xabc"}])
    assert isinstance(refusal, RefusedReadingError)
    assert "out of gas" in str(refusal)
    assert len(rpc.posts) == 2


async def test_read__second_step_refused__what_is_read_stays(rpc: FakeRpc, reader: Reader) -> None:
    rpc.answers["eth_call"] = only_for(1, 2)
    (one, refusal), _ = await reader.read([once(1), twice(2)], at=BLOCK)
    assert one == [2]
    assert isinstance(refusal, RefusedReadingError)


async def test_read__one_of_several_chunks_refused__the_reading_is(
    rpc: FakeRpc, reader: Reader
) -> None:
    rpc.answers["eth_call"] = only_for(*range(CALLS_PER_CHUNK))
    (refusal, one), _ = await reader.read([once(*range(CALLS_PER_CHUNK + 1)), once(1)], at=BLOCK)
    assert isinstance(refusal, RefusedReadingError)
    assert one == [2]


async def test_head__known_by_its_hash__is_decoded(rpc: FakeRpc, reader: Reader) -> None:
    rpc.answers["eth_getBlockByHash"] = lambda *_: header(head_at(7))
    assert await reader.head(BLOCK) == head_at(7)
    assert rpc.sent("eth_getBlockByHash") == [(BLOCK, False)]


async def test_head__unknown_or_refused__is_unavailable(rpc: FakeRpc, reader: Reader) -> None:
    rpc.answers["eth_getBlockByHash"] = lambda *_: None
    with pytest.raises(EndpointUnavailableError, match="does not know block"):
        await reader.head(BLOCK)
    rpc.answers["eth_getBlockByHash"] = refused("eth_getBlockByHash")
    with pytest.raises(EndpointUnavailableError):
        await reader.head(BLOCK)
