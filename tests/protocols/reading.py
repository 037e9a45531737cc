"""Runs a `Reading` against a local chain, one POST for each yield, all at one block hash."""

from dataclasses import dataclass
from typing import TypeVar

from keeper.abi.multicall import decode_aggregate3, encode_aggregate3
from keeper.chain.settings import MULTICALL3
from keeper.devnet.chain import LocalChain
from keeper.model.reading import Reading

T = TypeVar("T")


@dataclass(slots=True)
class Reader:
    """Reads at the block that is the latest when it is made."""

    chain: LocalChain
    hash: str = ""
    timestamp: int = 0
    round_trips: int = 0

    def __post_init__(self) -> None:
        block = self.chain.rpc.call("eth_getBlockByNumber", "latest", False)
        self.hash, self.timestamp = block["hash"], int(block["timestamp"], 16)

    def run(self, reading: Reading[T]) -> T:
        """The reading's value; `round_trips` counts its yields."""
        try:
            calls = next(reading)
            while True:
                self.round_trips += 1
                answer = self.call(MULTICALL3, encode_aggregate3(calls))
                calls = reading.send(decode_aggregate3(answer, len(calls)))
        except StopIteration as finished:
            value: T = finished.value
            return value

    def call(self, to: str, data: bytes) -> bytes:
        """One eth_call at the reader's block."""
        request = {"to": to, "data": "0x" + data.hex(), "gas": hex(10**12)}
        answer = self.chain.rpc.call("eth_call", request, {"blockHash": self.hash})
        return bytes.fromhex(answer[2:])
