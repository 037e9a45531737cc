"""Trying a plan on the node's state: simulated, priced and given a nonce in one POST."""

from collections.abc import Callable
from typing import Any

import pytest

from keeper.abi.multicall import MULTICALL3
from keeper.abi.words import Function
from keeper.chain.fees import FeeCapReachedError, Fees
from keeper.chain.prepare import NotPrepared, Prepared, Preparer, Proposal
from keeper.chain.rpc import EndpointUnavailableError, RpcError
from keeper.chain.settings import FeeSettings
from keeper.chain.simulate import (
    FALLBACK_GAS_LIMIT,
    SimulationFailedError,
    SimulationUnavailableError,
)
from keeper.model.reading import Call
from keeper.model.units import Wei
from keeper.model.values import PositionId, Transaction
from tests.unit.fake_rpc import FakeRpc, address, aggregated, head_at, multicall, refused, word

GWEI = 10**9
HEAD = head_at(100)
MARGIN_S = 600
ALICE, BOB, POOL, TOKEN = (address(two) for two in ("a1", "b2", "c3", "d4"))
DEBT = Function("debt(address)")
APPROVE = Transaction(to=TOKEN, data=b"\x01\x02\x03\x04" + word(5), purpose="approve")
REPAY = Transaction(to=POOL, data=b"\x05\x06\x07\x08" + word(5), purpose="Repay")
FEES = FeeSettings(
    max_fee_wei=Wei(100 * GWEI), min_priority_fee_wei=Wei(GWEI // 10), deadline_blocks=5
)


def proposal(account: Any = ALICE, *transactions: Transaction) -> Proposal:
    return Proposal(
        position=PositionId(chain_id=31_337, market="toy", account=account),
        signer=account,
        transactions=transactions or (APPROVE, REPAY),
        reads=(DEBT(POOL, account), DEBT(TOKEN, account)),
    )


def reread(call: Call) -> bytes | None:
    return word(77) if call.target == POOL else word(88)


def simulated(*outcomes: bytes | None) -> Callable[..., Any]:
    """A node's eth_simulateV1: None succeeds, bytes are a revert."""

    def answer(options: Any, block: str) -> Any:
        (asked,) = options["blockStateCalls"]
        *transactions, reads = asked["calls"]
        assert block == HEAD.hash
        assert reads["to"] == MULTICALL3
        calls: list[dict[str, Any]] = [
            {"status": "0x1", "gasUsed": hex(50_000 + index), "returnData": "0x"}
            if outcome is None
            else {
                "status": "0x0",
                "gasUsed": "0x1",
                "returnData": "0x",
                "error": {"code": 3, "message": "reverted", "data": "0x" + outcome.hex()},
            }
            for index, outcome in enumerate(outcomes or [None] * len(transactions))
        ]
        read = aggregated(reread, bytes.fromhex(reads["data"][2:]))
        calls.append({"status": "0x1", "gasUsed": "0x1", "returnData": "0x" + read.hex()})
        return [{"timestamp": asked["blockOverrides"]["time"], "calls": calls}]

    return answer


@pytest.fixture
def rpc() -> FakeRpc:
    return FakeRpc(
        {
            "eth_simulateV1": simulated(),
            "eth_getTransactionCount": lambda account, _: {ALICE: "0x7", BOB: "0x0"}[account],
            "eth_feeHistory": lambda *_: {"reward": [["0x3b9aca00"], ["0x77359400"], ["0x0"]]},
        }
    )


@pytest.fixture
def preparer(rpc: FakeRpc) -> Preparer:
    return Preparer(rpc=rpc, multicall=MULTICALL3, fees=FEES, margin_s=MARGIN_S)


def prepared(outcome: Prepared | NotPrepared) -> Prepared:
    assert isinstance(outcome, Prepared), outcome
    return outcome


async def test_prepare__two_proposals__take_one_post_at_the_head(
    rpc: FakeRpc, preparer: Preparer
) -> None:
    first, second = map(
        prepared, await preparer.prepare([proposal(ALICE), proposal(BOB, REPAY)], HEAD)
    )
    assert rpc.methods == [
        [
            "eth_simulateV1",
            "eth_getTransactionCount",
            "eth_simulateV1",
            "eth_getTransactionCount",
            "eth_feeHistory",
        ]
    ]
    assert rpc.sent("eth_getTransactionCount") == [
        (ALICE, {"blockHash": HEAD.hash}),
        (BOB, {"blockHash": HEAD.hash}),
    ]
    assert rpc.sent("eth_feeHistory")[0][1] == hex(HEAD.number)
    assert (first.chain_nonce, second.chain_nonce) == (7, 0)
    # The median tip is 1 gwei: 2 × 1 + 1.
    assert first.fees == Fees(max_fee_wei=Wei(3 * GWEI), priority_fee_wei=Wei(GWEI))
    assert first.simulation.timestamp == HEAD.timestamp + MARGIN_S
    assert first.simulation.gas_used == (50_000, 50_001)
    assert (first.simulation.reread.word(0), first.simulation.reread.word(1)) == (77, 88)


async def test_prepare__one_proposal_would_revert__the_other_is_prepared(
    rpc: FakeRpc, preparer: Preparer
) -> None:
    rpc.answers["eth_simulateV1"] = lambda options, block: simulated(
        *([None, b"no"] if len(options["blockStateCalls"][0]["calls"]) == 3 else [None])
    )(options, block)
    failed, other = await preparer.prepare([proposal(ALICE), proposal(BOB, REPAY)], HEAD)
    assert isinstance(failed, SimulationFailedError)
    assert (failed.purpose, failed.output) == ("Repay", b"no")
    assert prepared(other).proposal == proposal(BOB, REPAY)


@pytest.mark.parametrize(
    "history",
    [
        refused("eth_feeHistory"),
        lambda *_: {"baseFeePerGas": ["0x1"]},
        lambda *_: {"reward": None},
        lambda *_: {"reward": [[], []]},
        lambda *_: None,
    ],
)
async def test_prepare__no_fee_history__pays_the_floor(
    rpc: FakeRpc, preparer: Preparer, history: Any
) -> None:
    rpc.answers["eth_feeHistory"] = history
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert prepared(outcome).fees.priority_fee_wei == GWEI // 10


async def test_prepare__gas_beyond_the_cap__is_an_outcome(rpc: FakeRpc) -> None:
    cheap = FeeSettings(max_fee_wei=Wei(GWEI), min_priority_fee_wei=Wei(1), deadline_blocks=5)
    preparer = Preparer(rpc=rpc, multicall=MULTICALL3, fees=cheap, margin_s=MARGIN_S)
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, FeeCapReachedError)


@pytest.mark.parametrize("answer", [refused("eth_getTransactionCount"), lambda *_: None])
async def test_prepare__no_nonce__is_an_outcome(
    rpc: FakeRpc, preparer: Preparer, answer: Any
) -> None:
    rpc.answers["eth_getTransactionCount"] = answer
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, SimulationUnavailableError)


@pytest.mark.parametrize(
    "answer",
    [
        refused("eth_simulateV1", -32000, "out of gas"),
        lambda *_: None,
        lambda *_: [],
        lambda *_: [{"timestamp": "0x1", "calls": []}],
        lambda *_: [{"calls": [{"status": "0x1", "gasUsed": "0x1", "returnData": "0x"}] * 3}],
        lambda *_: [{"timestamp": "0x1", "calls": [{"status": "0x1", "gasUsed": "0x1"}] * 3}],
        lambda *_: [{"timestamp": "0x1", "calls": [{"status": "0x1"}] * 2}],
        lambda *_: "busy",
    ],
)
async def test_prepare__simulation_of_no_use__is_an_outcome(
    rpc: FakeRpc, preparer: Preparer, answer: Any
) -> None:
    rpc.answers["eth_simulateV1"] = answer
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, SimulationUnavailableError)
    assert str(outcome)


# -- nodes without eth_simulateV1 ----------------------------------------------------------------


CODE = "0x6080"


def overridden(outcomes: dict[Any, bytes | None]) -> Callable[..., Any]:
    """A node's eth_call in which the sender's account answers as Multicall3. What `outcomes` names
    by target reverts."""

    def view(call: Call) -> bytes | None:
        if call.data in (APPROVE.data, REPAY.data):
            return outcomes.get(call.target, b"")
        return reread(call)

    def answer(call: Any, block: Any, state: Any) -> str:
        assert block == {"blockHash": HEAD.hash}
        assert state == {call["to"]: {"code": CODE}}
        return str(multicall(view)(call | {"to": MULTICALL3}))

    return answer


@pytest.fixture
def older(rpc: FakeRpc) -> FakeRpc:
    """The same node before it had eth_simulateV1."""
    del rpc.answers["eth_simulateV1"]
    rpc.answers |= {"eth_call": overridden({}), "eth_getCode": lambda *_: CODE}
    return rpc


async def test_prepare__without_simulate_v1__a_state_override_tries_it(
    older: FakeRpc, preparer: Preparer
) -> None:
    outcomes = [
        prepared(each) for each in await preparer.prepare([proposal(), proposal(BOB)], HEAD)
    ]
    assert [post[0] for post in older.methods] == ["eth_simulateV1", "eth_getCode", "eth_call"]
    for outcome in outcomes:
        assert outcome.simulation.timestamp == HEAD.timestamp
        assert outcome.simulation.gas_used == (FALLBACK_GAS_LIMIT,) * 2
        assert outcome.simulation.reread.word(0) == 77
    older.posts.clear()
    await preparer.prepare([proposal()], HEAD)
    assert older.methods == [["eth_call", "eth_getTransactionCount", "eth_feeHistory"]]


async def test_prepare__override_reverts__names_the_transaction(
    older: FakeRpc, preparer: Preparer
) -> None:
    older.answers["eth_call"] = overridden({TOKEN: None})
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, SimulationFailedError)
    assert outcome.purpose == "approve"


@pytest.mark.parametrize("answer", [refused("eth_call"), lambda *_: None, lambda *_: "0x"])
async def test_prepare__override_of_no_use__is_an_outcome(
    older: FakeRpc, preparer: Preparer, answer: Any
) -> None:
    older.answers["eth_call"] = answer
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, SimulationUnavailableError)


async def test_prepare__code_refused__is_the_nodes_trouble(
    older: FakeRpc, preparer: Preparer
) -> None:
    def answer(*_: Any) -> Any:
        older.down = True  # so that the retries end as the policy says
        raise RpcError("eth_getCode", -32005, "rate limit")

    older.answers["eth_getCode"] = answer
    with pytest.raises(EndpointUnavailableError, match="rate limit"):
        await type(preparer)._ask.__wrapped__(
            preparer, [proposal()], HEAD
        )  # without the policy's waits
