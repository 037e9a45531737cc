"""Trying a plan's transactions on the node's state, and reading the position after them.

`eth_simulateV1` where the node offers it; else one `eth_call` in which a state override gives the
signer's account the code of Multicall3, so that it makes the calls itself, one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keeper.abi.multicall import (
    MalformedAnswerError,
    Results,
    decode_aggregate3,
    encode_aggregate3,
)
from keeper.chain.rpc import Request, RpcError, quantity
from keeper.model.reading import Call, CallFailedError, Calls
from keeper.model.units import Address
from keeper.model.values import Head, Transaction

NOT_SUPPORTED = frozenset({-32601, -32004, -32600, -32602})
"""What nodes answer to a method or parameters that they do not know: method not found and not
supported, invalid request, invalid parameters (EIP-1474)."""

MOST_GAS = 2**63
"""No gas reaches what the journal's 64 bits cannot hold."""
FALLBACK_GAS_LIMIT = 900_000
"""Per transaction where the node cannot say: thrice what an Aave v3 repayment takes."""


class SimulationFailedError(Exception):
    """A transaction of the plan would revert."""

    def __init__(self, purpose: str, output: bytes) -> None:
        super().__init__(f"{purpose} would revert with 0x{output.hex()}")
        self.purpose = purpose
        self.output = output


class SimulationUnavailableError(Exception):
    """The node did not simulate; says what it answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What the node saw."""

    timestamp: int
    gas_used: tuple[int, ...]
    reread: Results
    returned: tuple[bytes, ...] = ()
    """By each transaction."""


def simulate_v1(
    *,
    head: Head,
    sender: Address,
    multicall: Address,
    transactions: Sequence[Transaction],
    reads: Calls,
    timestamp: int,
) -> Request:
    """The request: the transactions, then the reads, in one block on top of `head`."""
    calls = [
        {"from": sender, "to": tx.to, "data": "0x" + tx.data.hex(), "value": hex(tx.value_wei)}
        for tx in transactions
    ]
    calls.append({"from": sender, "to": multicall, "data": "0x" + encode_aggregate3(reads).hex()})
    block = {"blockOverrides": {"time": hex(timestamp)}, "calls": calls}
    return Request(
        method="eth_simulateV1",
        params=({"blockStateCalls": [block], "validation": False}, head.hash),
    )


def decode_simulate_v1(
    answer: Any, transactions: Sequence[Transaction], reads: Calls
) -> Simulation:
    """Raises `SimulationFailedError` or `SimulationUnavailableError`."""
    if isinstance(answer, RpcError):
        raise SimulationUnavailableError(str(answer))
    try:
        (block,) = answer
        *done, last = block["calls"]
        for tx, call in zip(transactions, done, strict=True):
            if int(call["status"], 16) != 1:
                output = call.get("error", {}).get("data") or call.get("returnData") or "0x"
                raise SimulationFailedError(tx.purpose, bytes.fromhex(output[2:]))
        return Simulation(
            timestamp=_number(block["timestamp"]),
            gas_used=tuple(_number(call["gasUsed"]) for call in done),
            returned=tuple(bytes.fromhex(call["returnData"][2:]) for call in done),
            reread=_results(last["returnData"], len(reads)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SimulationUnavailableError("eth_simulateV1 answered no simulation") from error


def _number(told: Any) -> int:
    number = quantity(told)
    if number is None or number >= MOST_GAS:
        raise ValueError("a number that makes no sense")
    return number


def simulate_by_override(
    *,
    head: Head,
    sender: Address,
    multicall_code: str,
    transactions: Sequence[Transaction],
    reads: Calls,
) -> Request:
    """The request for nodes without eth_simulateV1: the sender itself makes all calls."""
    calls = (*(Call(target=tx.to, data=tx.data) for tx in transactions), *reads)
    return Request(
        method="eth_call",
        params=(
            {"to": sender, "data": "0x" + encode_aggregate3(calls).hex()},
            {"blockHash": head.hash},
            {sender: {"code": multicall_code}},
        ),
    )


def decode_by_override(
    answer: Any, head: Head, transactions: Sequence[Transaction], reads: Calls
) -> Simulation:
    """Raises `SimulationFailedError` or `SimulationUnavailableError`."""
    if isinstance(answer, RpcError):
        raise SimulationUnavailableError(str(answer))
    count = len(transactions)
    results = _results(answer, count + len(reads))
    for index, tx in enumerate(transactions):
        try:
            results.output(index)
        except CallFailedError as error:
            raise SimulationFailedError(tx.purpose, error.output) from error
    return Simulation(
        timestamp=head.timestamp,
        gas_used=(FALLBACK_GAS_LIMIT,) * count,
        returned=tuple(results.output(index) for index in range(count)),
        reread=results.part(count, count + len(reads)),
    )


def _results(answer: str, count: int) -> Results:
    try:
        return decode_aggregate3(bytes.fromhex(answer[2:]), count)
    except (MalformedAnswerError, TypeError, ValueError) as error:
        raise SimulationUnavailableError(str(error)) from error
