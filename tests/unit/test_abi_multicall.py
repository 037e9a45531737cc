"""The fixed-layout codec against a general ABI coder, byte for byte, in both directions."""

import numpy as np
import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import NonEmptyPaddingBytes
from hypothesis import given
from hypothesis import strategies as st

from keeper.abi.multicall import (
    MalformedAnswerError,
    decode_aggregate3,
    encode_aggregate3,
    float64_from_words,
    join_results,
)
from keeper.model.reading import Call, CallFailedError
from keeper.model.units import Address

RESULTS = "(bool,bytes)[]"

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))
calldata = st.integers(0, 5).flatmap(lambda k: st.binary(min_size=4 + 32 * k, max_size=4 + 32 * k))
calls_made = st.lists(st.builds(Call, target=addresses, data=calldata), max_size=40).map(tuple)
one_word = st.binary(min_size=32, max_size=32)
results_given = st.lists(
    st.tuples(st.booleans(), one_word | st.binary(max_size=100)), min_size=1, max_size=40
)


def answer_of(results: list[tuple[bool, bytes]]) -> bytes:
    return bytes(encode([RESULTS], [results]))


@given(calls_made)
def test_encode_aggregate3__any_calls__equals_the_general_coder(calls: tuple[Call, ...]) -> None:
    expected = encode(
        ["(address,bool,bytes)[]"], [[(call.target, True, call.data) for call in calls]]
    )
    assert encode_aggregate3(calls) == bytes.fromhex("82ad56cb") + expected


def test_encode_aggregate3__data_of_another_length__is_refused() -> None:
    call = Call(target=Address("0x" + "11" * 20), data=b"\0" * 35)
    with pytest.raises(ValueError, match="call 0 carries 35 bytes"):
        encode_aggregate3((call,))


@given(results_given)
def test_decode_aggregate3__any_results__equals_the_general_coder(
    results: list[tuple[bool, bytes]],
) -> None:
    decoded = decode_aggregate3(answer_of(results), len(results))
    words, has_word = decoded.words(), decoded.has_word()
    assert len(decoded) == len(words) == len(has_word) == len(results)
    for index, (succeeded, output) in enumerate(results):
        assert decoded.ok(index) == succeeded
        assert has_word[index] == (succeeded and len(output) >= 32)
        assert words[index].tobytes() == (output[:32] if has_word[index] else bytes(32))
        if succeeded:
            assert decoded.output(index) == output
        else:
            with pytest.raises(CallFailedError) as failed:
                decoded.output(index)
            assert (failed.value.index, failed.value.output) == (index, output)
        if has_word[index]:
            assert decoded.word(index) == int.from_bytes(output[:32], "big")
        else:
            with pytest.raises(CallFailedError):
                decoded.word(index)


@given(results_given, st.data())
def test_part_and_join__results_split_anywhere__are_the_same(
    results: list[tuple[bool, bytes]], choose: st.DataObject
) -> None:
    cut = choose.draw(st.integers(0, len(results)))
    whole = decode_aggregate3(answer_of(results), len(results))
    halves = [
        decode_aggregate3(answer_of(half), len(half)) for half in (results[:cut], results[cut:])
    ]
    for view in (join_results(halves), join_results([whole.part(0, cut), whole.part(cut, 99)])):
        assert (view.words() == whole.words()).all()
        assert (view.has_word() == whole.has_word()).all()
        assert [view._raw(i) for i in range(len(view))] == [output for _, output in results]


@given(results_given, st.data())
def test_decode_aggregate3__truncated__is_refused(
    results: list[tuple[bool, bytes]], choose: st.DataObject
) -> None:
    answer = answer_of(results)
    kept = choose.draw(st.integers(0, len(answer) - 1))
    padding_only = kept >= len(answer) - 31 and len(results[-1][1]) % 32 != 0
    if kept % 32 == 0 or not padding_only:
        with pytest.raises(MalformedAnswerError):
            decode_aggregate3(answer[:kept], len(results))


@given(results_given, st.data())
def test_decode_aggregate3__one_byte_changed__never_reads_outside_the_answer(
    results: list[tuple[bool, bytes]], choose: st.DataObject
) -> None:
    broken = bytearray(answer_of(results))
    broken[choose.draw(st.integers(0, len(broken) - 1))] ^= choose.draw(st.integers(1, 255))
    try:
        decoded = decode_aggregate3(bytes(broken), len(results))
    except MalformedAnswerError:
        return
    try:
        (expected,) = decode([RESULTS], bytes(broken))
    except NonEmptyPaddingBytes:
        return  # the rest of a last word carries no meaning; only the general coder minds it
    assert [(decoded.ok(i), decoded._raw(i)) for i in range(len(decoded))] == list(expected)


@pytest.mark.parametrize("answer", [b"", b"\0" * 31, b"\xff" * 64, b"\0" * 64])
def test_decode_aggregate3__not_an_answer__is_refused(answer: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        decode_aggregate3(answer, 1)


def test_decode_aggregate3__another_number_of_results__is_refused() -> None:
    with pytest.raises(MalformedAnswerError, match="1 results for 2 calls"):
        decode_aggregate3(answer_of([(True, b"")]), 2)


@given(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=20))
def test_float64_from_words__any_integers__within_the_stated_error(values: list[int]) -> None:
    words = np.frombuffer(b"".join(v.to_bytes(32, "big") for v in values), np.uint8)
    floats = float64_from_words(words.reshape(-1, 32))
    for value, approximate in zip(values, floats, strict=True):
        assert abs(int(approximate) - value) <= value >> 50
