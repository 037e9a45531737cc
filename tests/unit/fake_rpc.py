"""An endpoint in memory, with a record of every POST."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address

from keeper.chain.rpc import EndpointUnavailableError, Request, Rpc, RpcError
from keeper.chain.settings import MULTICALL3
from keeper.model.reading import Call
from keeper.model.units import Address, Wei
from keeper.model.values import Head

Answer = Callable[..., Any]
"""Takes a request's parameters; returns the result, or raises what the endpoint would give."""

View = Callable[[Call], bytes | None]
"""What a contract returns; None where it reverts."""


class FakeRpc(Rpc):
    """Answers by method. Methods without an answer do not exist."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.name = "fake"
        self.posted = 0
        self.answers = dict(answers)
        self.posts: list[tuple[Request, ...]] = []
        self.down = False
        """While true, nothing is answered."""

    async def call(self, method: str, *params: Any) -> Any:
        self._post(Request(method=method, params=params))
        return self._answer(self.posts[-1][0])

    async def batch(self, requests: Sequence[Request]) -> list[Any | RpcError]:
        if not requests:
            # As real nodes do: an empty batch is an invalid request.
            raise EndpointUnavailableError("fake did not answer a batch of 0 requests as a batch")
        self._post(*requests)
        answers: list[Any | RpcError] = []
        for request in requests:
            try:
                answers.append(self._answer(request))
            except RpcError as error:
                answers.append(error)
        return answers

    async def close(self) -> None:
        pass

    @property
    def methods(self) -> list[list[str]]:
        """The methods of each POST."""
        return [[request.method for request in post] for post in self.posts]

    def sent(self, method: str) -> list[tuple[Any, ...]]:
        """The parameters of every request of a method."""
        return [each.params for post in self.posts for each in post if each.method == method]

    def _post(self, *requests: Request) -> None:
        self.posts.append(requests)
        if self.down:
            raise EndpointUnavailableError("fake is unavailable: timed out")

    def _answer(self, request: Request) -> Any:
        answer = self.answers.get(request.method)
        if answer is None:
            raise RpcError(request.method, -32601, "the method does not exist")
        return answer(*request.params)


def refused(method: str, code: int = -32000, message: str = "refused") -> Answer:
    """An endpoint that answers a method with an error."""

    def answer(*_: Any) -> Any:
        raise RpcError(method, code, message)

    return answer


def multicall(view: View) -> Answer:
    """`eth_call` of Multicall3's aggregate3, whatever the block."""

    def answer(call: Mapping[str, str], *_: Any) -> str:
        assert call["to"] == MULTICALL3
        return "0x" + aggregated(view, bytes.fromhex(call["data"][2:])).hex()

    return answer


def aggregated(view: View, data: bytes) -> bytes:
    """What aggregate3 returns, coded by a general ABI coder."""
    (calls,) = decode(["(address,bool,bytes)[]"], data[4:])
    outputs = [view(Call(target=address(target), data=call_data)) for target, _, call_data in calls]
    return encode(["(bool,bytes)[]"], [[(out is not None, out or b"") for out in outputs]])


def address(text: str) -> Address:
    """Two hexadecimal digits repeated, or a whole address, as keeper writes it."""
    return Address(to_checksum_address(text if text.startswith("0x") else "0x" + text * 20))


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def block_hash(number: int, fork: str = "") -> str:
    """A hash that tells its number; `fork` makes another one."""
    return f"0x{fork or '0'}{number:063x}"


def head_at(
    number: int, *, fork: str = "", parent_fork: str | None = None, timestamp: int | None = None
) -> Head:
    """Block `number` of a chain with 12 s blocks and a base fee of 1 gwei."""
    return Head(
        number=number,
        hash=block_hash(number, fork),
        parent_hash=block_hash(number - 1, fork if parent_fork is None else parent_fork),
        timestamp=1_700_000_000 + 12 * number if timestamp is None else timestamp,
        base_fee_wei=Wei(10**9),
    )


def header(head: Head) -> dict[str, str]:
    """As a node gives it."""
    return {
        "number": hex(head.number),
        "hash": head.hash,
        "parentHash": head.parent_hash,
        "timestamp": hex(head.timestamp),
        "baseFeePerGas": hex(head.base_fee_wei),
    }
