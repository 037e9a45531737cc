"""Multicall3.aggregate3, encoded and decoded with NumPy.

    aggregate3((address target, bool allowFailure, bytes callData)[]) -> (bool, bytes)[]

Every call is allowed to fail, so that one bad contract does not lose the answers of the others.
Equal to a general ABI coder byte for byte; a thousand positions of eleven calls each cost a few
milliseconds instead of a few hundred.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from eth_utils.crypto import keccak
from numpy.typing import NDArray

from keeper.abi.words import WORD, address_bytes
from keeper.model.reading import CallFailedError, Calls
from keeper.model.units import Address

AGGREGATE3 = "aggregate3((address,bool,bytes)[])"
_SELECTOR = keccak(text=AGGREGATE3)[:4]
_TUPLE_HEAD = 3
"""Words of one Call3 before its bytes: target, allowFailure, offset of callData."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class MalformedAnswerError(Exception):
    """What came back is not the ABI encoding of aggregate3's result for the calls made.

    An empty answer means that no Multicall3 lives at the address called.
    """


def encode_aggregate3(calls: Calls) -> bytes:
    """The calldata. Raises `ValueError` if a call's data is not 4 + 32k bytes long."""
    count = len(calls)
    sizes = np.fromiter((len(call.data) for call in calls), np.int64, count)
    if (sizes % WORD != 4).any():
        odd = int(np.flatnonzero(sizes % WORD != 4)[0])
        raise ValueError(f"call {odd} carries {sizes[odd]} bytes; 4 + 32k were expected")
    data_words = sizes // WORD + 1
    tuple_words = _TUPLE_HEAD + 1 + data_words
    starts = 2 + count + np.cumsum(tuple_words) - tuple_words
    out = np.zeros((2 + count + int(tuple_words.sum()), WORD), np.uint8)
    _put(out, np.arange(2), np.array([WORD, count]))
    _put(out, 2 + np.arange(count), (starts - 2) * WORD)
    out[starts, 12:] = _targets(calls)
    out[starts + 1, -1] = 1
    out[starts + 2, -1] = _TUPLE_HEAD * WORD
    _put(out, starts + 3, sizes)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        joined = b"".join(calls[row].data for row in rows)
        padded = np.zeros((len(rows), int(size) // WORD + 1, WORD), np.uint8)
        padded.reshape(len(rows), -1)[:, :size] = np.frombuffer(joined, np.uint8).reshape(-1, size)
        out[starts[rows][:, None] + 4 + np.arange(padded.shape[1])] = padded
    return _SELECTOR + out.tobytes()


def _put(out: Bytes, rows: Ints, values: Ints) -> None:
    """Write small integers as big-endian words."""
    out[rows, WORD - 8 :] = values.astype(">u8").view(np.uint8).reshape(-1, 8)


def _targets(calls: Calls) -> Bytes:
    known: dict[Address, bytes] = {}
    for call in calls:
        if call.target not in known:
            known[call.target] = address_bytes(call.target)
    joined = b"".join(known[call.target] for call in calls)
    return np.frombuffer(joined, np.uint8).reshape(-1, 20)


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What the calls of one aggregate3 returned, in their order; see `Returns` for the methods."""

    matrix: Bytes
    """Everything that was answered, as words (w, 32); the last one is zero."""
    succeeded: NDArray[np.bool_]
    first: Ints
    """Row of each return's first word."""
    sizes: Ints
    """Bytes of each return."""

    def __len__(self) -> int:
        return len(self.sizes)

    def ok(self, index: int) -> bool:
        return bool(self.succeeded[index])

    def output(self, index: int) -> bytes:
        output = self._raw(index)
        if not self.succeeded[index]:
            raise CallFailedError(index, output)
        return output

    def word(self, index: int) -> int:
        if not self.succeeded[index] or self.sizes[index] < WORD:
            raise CallFailedError(index, self._raw(index))
        return int.from_bytes(self.matrix[self.first[index]].tobytes(), "big")

    def words(self) -> Bytes:
        return self.matrix[np.where(self.has_word(), self.first, len(self.matrix) - 1)]

    def has_word(self) -> NDArray[np.bool_]:
        return self.succeeded & (self.sizes >= WORD)

    def part(self, start: int, stop: int) -> "Results":
        """The returns of the calls `start` to `stop`, sharing the memory."""
        window = slice(start, stop)
        return Results(self.matrix, self.succeeded[window], self.first[window], self.sizes[window])

    def _raw(self, index: int) -> bytes:
        row, size = int(self.first[index]), int(self.sizes[index])
        return self.matrix[row : row + -(-size // WORD)].tobytes()[:size]


def decode_aggregate3(answer: bytes, count: int) -> Results:
    """The results of `count` calls. Raises `MalformedAnswerError`."""
    return join_results([_decode(answer, count)])


def join_results(parts: Sequence[Results]) -> Results:
    """The results of several chunks as one, in order; no chunk is no call."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        none = np.zeros(0, np.int64)
        return Results(np.zeros((1, WORD), np.uint8), none.astype(np.bool_), none, none)
    shifts = np.cumsum([0, *(len(part.matrix) for part in parts)])
    return Results(
        np.concatenate([part.matrix for part in parts]),
        np.concatenate([part.succeeded for part in parts]),
        np.concatenate([part.first + shift for part, shift in zip(parts, shifts, strict=False)]),
        np.concatenate([part.sizes for part in parts]),
    )


def _decode(answer: bytes, count: int) -> Results:
    if not answer or len(answer) % WORD:
        raise MalformedAnswerError(f"aggregate3 answered {len(answer)} bytes, not whole words")
    found = np.frombuffer(answer, np.uint8).reshape(-1, WORD)
    (array,) = _rows(found, np.zeros(1, np.int64), np.zeros(1, np.int64))
    (length,) = _integers(found, np.array([array]))
    if length != count:
        raise MalformedAnswerError(f"aggregate3 answered {length} results for {count} calls")
    base = np.full(count, array + 1)
    tuples = _rows(found, base + np.arange(count), base)
    succeeded = _integers(found, tuples)
    if (succeeded > 1).any():
        raise MalformedAnswerError("aggregate3 answered a success flag that is not a boolean")
    heads = _rows(found, tuples + 1, tuples)
    sizes = _integers(found, heads)
    if (heads + 1 + -(-sizes // WORD) > len(found)).any():
        raise MalformedAnswerError("aggregate3's answer ends before its last result")
    matrix = np.concatenate([found, np.zeros((1, WORD), np.uint8)])
    return Results(matrix, succeeded.astype(np.bool_), heads + 1, sizes)


def _integers(found: Bytes, rows: Ints) -> Ints:
    """Words that count bytes or items: anything of 2^31 or more cannot be true."""
    if rows.size and rows.max() >= len(found):
        raise MalformedAnswerError("aggregate3's answer ends early or points beyond its end")
    words = found[rows]
    if words[:, : WORD - 4].any() or (words[:, WORD - 4] > 127).any():
        raise MalformedAnswerError("aggregate3 answered an offset or a size beyond any answer")
    return np.ascontiguousarray(words[:, WORD - 4 :]).view(">i4").reshape(-1).astype(np.int64)


def _rows(found: Bytes, at: Ints, base: Ints) -> Ints:
    """Where the byte offsets written in rows `at` lead, counted from row `base`."""
    offsets = _integers(found, at)
    if (offsets % WORD).any():
        raise MalformedAnswerError("aggregate3 answered an offset that is not whole words")
    return base + offsets // WORD


def float64_from_words(words: Bytes) -> NDArray[np.float64]:
    """(…, 32) big-endian unsigned integers as floats; relative error below 2^-50.

    For ranking and forecasts: an amount never comes back from here.
    """
    limbs = np.ascontiguousarray(words).view(">u8").astype(np.float64)
    high, mid, low, last = np.moveaxis(limbs, -1, 0)
    scale = 2.0**64
    combined: NDArray[np.float64] = ((high * scale + mid) * scale + low) * scale + last
    return combined
