"""One reader for every protocol of a chain: all readings of a pass in lockstep, one POST a step."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from keeper.abi.multicall import (
    MalformedAnswerError,
    Results,
    decode_aggregate3,
    encode_aggregate3,
    join_results,
)
from keeper.chain.header import decode_head
from keeper.chain.rpc import Batches, EndpointUnavailableError, Request, RpcError, retry_reads
from keeper.model.reading import Calls, Reading, ReadingError
from keeper.model.units import Address
from keeper.model.values import Head

CALLS_PER_CHUNK = 3_000
"""About 25M gas at two cold storage slots a call: below the common eth_call caps of 30M to 50M."""

CHUNK_GAS = 50_000_000

ENCODINGS_KEPT = 32


class RefusedReadingError(ReadingError):
    """The node refused the calls of one reading, or answered them with what nobody can read."""


class Reader:
    """Drives readings at a block hash. Raises `EndpointUnavailableError` when the node does not
    answer or refuses every reading, as it does a block it does not know: a later head mends that."""

    def __init__(self, rpc: Batches, *, multicall: Address, patient: bool = True) -> None:
        """`patient`: ask again for a moment what did not come through."""
        self._rpc = rpc
        self._multicall = multicall
        self._post = retry_reads(rpc.batch) if patient else rpc.batch
        # Readings ask for the same tuple of calls block after block: its encoding is kept. Holding
        # the tuple keeps its id from being used again.
        self._encodings: OrderedDict[int, tuple[Calls, tuple[str, ...]]] = OrderedDict()

    async def read(
        self, readings: Sequence[Reading[Any]], *, at: str, beside: Sequence[Request] = ()
    ) -> tuple[list[Any], list[Any | RpcError]]:
        """The readings' values, a `ReadingError` where one failed, a `RefusedReadingError` where the
        node is to blame; and the answers of `beside`, which ride along in the first POST. As many
        POSTs as the longest reading yields."""
        values: list[Any] = [None] * len(readings)
        waiting: list[tuple[int, Calls]] = []
        for index, reading in enumerate(readings):
            self._step(index, reading, None, values, waiting)
        asking = {index for index, _ in waiting}
        answers: list[Any | RpcError] = []
        while waiting or beside:
            asked, waiting = waiting, []
            results, extra = await self._asked([calls for _, calls in asked], at, beside)
            answers, beside = (extra if beside else answers), ()
            for (index, _), returns in zip(asked, results, strict=True):
                self._step(index, readings[index], returns, values, waiting)
            refused = [values[each] for each in asking]
            if refused and all(isinstance(each, RefusedReadingError) for each in refused):
                raise EndpointUnavailableError(str(refused[0]))
        return values, answers

    def impatient(self) -> "Reader":
        """The same, asking once: for blocks that the node may have forgotten."""
        return Reader(self._rpc, multicall=self._multicall, patient=False)

    def over(self, rpc: Batches) -> "Reader":
        """The same, asking somebody else; what it has encoded is kept in common."""
        other = Reader(rpc, multicall=self._multicall)
        other._encodings = self._encodings
        return other

    async def head(self, block_hash: str) -> Head:
        """The header of a block that is known by its hash."""
        asked = Request(method="eth_getBlockByHash", params=(block_hash, False))
        (header,) = await self._post([asked])
        if not isinstance(header, dict):
            raise EndpointUnavailableError(f"{self._rpc.name} does not know block {block_hash}")
        return decode_head(header)

    def _step(
        self,
        index: int,
        reading: Reading[Any],
        returns: Results | RefusedReadingError | None,
        values: list[Any],
        waiting: list[tuple[int, Calls]],
    ) -> None:
        if isinstance(returns, RefusedReadingError):
            values[index] = returns
            return
        try:
            calls = next(reading) if returns is None else reading.send(returns)
        except StopIteration as stop:
            values[index] = stop.value
        except ReadingError as error:
            values[index] = error
        else:
            waiting.append((index, calls))

    async def _asked(
        self, asked: Sequence[Calls], at: str, beside: Sequence[Request]
    ) -> tuple[list[Results | RefusedReadingError], list[Any | RpcError]]:
        chunks = [self._encoded(calls) for calls in asked]
        block = {"blockHash": at}
        requests = [
            Request(
                method="eth_call",
                params=({"to": self._multicall, "data": chunk, "gas": hex(CHUNK_GAS)}, block),
            )
            for encoded in chunks
            for chunk in encoded
        ]
        answers = await self._post([*requests, *beside])
        results: list[Results | RefusedReadingError] = []
        start = 0
        for calls, encoded in zip(asked, chunks, strict=True):
            parts = answers[start : start + len(encoded)]
            start += len(encoded)
            try:
                results.append(join_results(list(map(self._decoded, parts, _sizes(len(calls))))))
            except RefusedReadingError as error:
                results.append(error)
        return results, answers[start:]

    def _encoded(self, calls: Calls) -> tuple[str, ...]:
        kept = self._encodings.get(id(calls))
        if kept is None:
            chunks = tuple(
                "0x" + encode_aggregate3(calls[start : start + CALLS_PER_CHUNK]).hex()
                for start in range(0, len(calls), CALLS_PER_CHUNK)
            )
            kept = self._encodings[id(calls)] = (calls, chunks)
            if len(self._encodings) > ENCODINGS_KEPT:
                self._encodings.popitem(last=False)
        else:
            self._encodings.move_to_end(id(calls))
        return kept[1]

    def _decoded(self, answer: Any | RpcError, count: int) -> Results:
        if isinstance(answer, RpcError):
            raise RefusedReadingError(f"{self._rpc.name} refused a read: {answer}")
        try:
            return decode_aggregate3(bytes.fromhex(answer[2:]), count)
        except (MalformedAnswerError, ValueError, TypeError) as error:
            raise RefusedReadingError(f"{self._rpc.name} misread: {error}") from error


def _sizes(count: int) -> list[int]:
    return [min(CALLS_PER_CHUNK, count - start) for start in range(0, count, CALLS_PER_CHUNK)]
