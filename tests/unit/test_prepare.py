"""Trying a plan on the node's state: simulated, priced and given a nonce in one POST."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keeper.abi.words import Function
from keeper.chain.fees import FeeCapReachedError, Fees
from keeper.chain.prepare import EtherMissingError, NotPrepared, Prepared, Preparer, Proposal
from keeper.chain.settings import MULTICALL3, FeeSettings
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
            "eth_getBalance": lambda *_: hex(10**18),
            "eth_feeHistory": lambda *_: {
                "baseFeePerGas": [hex(9 * GWEI), hex(2 * GWEI)],
                "reward": [["0x3b9aca00"], ["0x77359400"], ["0x0"]],
            },
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
            *["eth_simulateV1"] * 2,
            "eth_feeHistory",
            *["eth_getTransactionCount", "eth_getBalance"] * 2,
        ]
    ]
    assert rpc.sent("eth_getTransactionCount") == [
        (ALICE, {"blockHash": HEAD.hash}),
        (BOB, {"blockHash": HEAD.hash}),
    ]
    assert rpc.sent("eth_feeHistory")[0][1] == hex(HEAD.number)
    assert (first.chain_nonce, second.chain_nonce) == (7, 0)
    assert rpc.sent("eth_getBalance") == rpc.sent("eth_getTransactionCount")
    # The next block's base fee is 2 gwei, the median tip 1: 2 × 2 + 1.
    assert first.fees == Fees(max_fee_wei=Wei(5 * GWEI), priority_fee_wei=Wei(GWEI))
    assert first.gas_limits == (75_000, 75_001)
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
        lambda *_: "busy",
        lambda *_: {"baseFeePerGas": [], "reward": [["0x1"]]},
        lambda *_: {"baseFeePerGas": ["0x1"], "reward": [["soon"]]},
        lambda *_: {"baseFeePerGas": ["0x1"], "reward": [{"60": "0x1"}]},
    ],
)
async def test_prepare__no_fee_history__pays_the_floor(
    rpc: FakeRpc, preparer: Preparer, history: Any
) -> None:
    rpc.answers["eth_feeHistory"] = history
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert prepared(outcome).fees.priority_fee_wei == GWEI // 10


@pytest.mark.parametrize("told", [hex(2 * GWEI + 2), hex(GWEI // 2 - 1), "0x0", hex(2**62)])
async def test_prepare__next_base_fee_is_far_from_the_heads__the_heads_counts(
    rpc: FakeRpc, preparer: Preparer, told: str
) -> None:
    rpc.answers["eth_feeHistory"] = lambda *_: {"baseFeePerGas": [told], "reward": [[hex(GWEI)]]}
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert prepared(outcome).fees == Fees(max_fee_wei=Wei(3 * GWEI), priority_fee_wei=Wei(GWEI))


@pytest.mark.parametrize("absurd", ["0x" + "f" * 400, hex(2**63), "-0x1"])
@pytest.mark.parametrize("where", ["baseFeePerGas", "reward"])
async def test_prepare__absurd_fee_history__pays_the_floor(
    rpc: FakeRpc, preparer: Preparer, absurd: str, where: str
) -> None:
    true = {"baseFeePerGas": [hex(GWEI)], "reward": [[hex(GWEI)]]}
    lie = [absurd] if where == "baseFeePerGas" else [[absurd]]
    rpc.answers["eth_feeHistory"] = lambda *_: true | {where: lie}
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert prepared(outcome).fees.priority_fee_wei == GWEI // 10


@pytest.mark.parametrize("absurd", ["0x" + "f" * 400, hex(2**63), "-0x1"])
async def test_prepare__absurd_gas__is_no_simulation(
    rpc: FakeRpc, preparer: Preparer, absurd: str
) -> None:
    honest = rpc.answers["eth_simulateV1"]

    def answer(*asked: Any) -> Any:
        (block,) = honest(*asked)
        block["calls"][0]["gasUsed"] = absurd
        return [block]

    rpc.answers["eth_simulateV1"] = answer
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, SimulationUnavailableError)


async def test_prepare__gas_beyond_the_cap__is_an_outcome(rpc: FakeRpc) -> None:
    cheap = FeeSettings(max_fee_wei=Wei(GWEI), min_priority_fee_wei=Wei(1), deadline_blocks=5)
    preparer = Preparer(rpc=rpc, multicall=MULTICALL3, fees=cheap, margin_s=MARGIN_S)
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, FeeCapReachedError)


async def test_prepare__base_fee_about_to_fall__is_the_next_blocks(rpc: FakeRpc) -> None:
    """The head's base fee of 1 gwei is above the cap, the next block's is not."""
    rpc.answers["eth_feeHistory"] = lambda *_: {"baseFeePerGas": ["0x3b9aca00", hex(GWEI * 7 // 8)]}
    cap = FeeSettings(max_fee_wei=Wei(GWEI), min_priority_fee_wei=Wei(1), deadline_blocks=5)
    preparer = Preparer(rpc=rpc, multicall=MULTICALL3, fees=cap, margin_s=MARGIN_S)
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert prepared(outcome).fees == Fees(max_fee_wei=Wei(GWEI), priority_fee_wei=Wei(1))


async def test_prepare__too_little_ether__is_refused_with_both_figures(
    rpc: FakeRpc, preparer: Preparer
) -> None:
    # 75,000 and 75,001 gas at up to 5 gwei, and 3 wei go along.
    needed = 150_001 * 5 * GWEI + 3
    paying = proposal(ALICE, APPROVE, replace(REPAY, value_wei=Wei(3)))
    has = {ALICE: needed, BOB: 0}
    rpc.answers["eth_getBalance"] = lambda who, _: hex(has[who])
    enough, none = await preparer.prepare([paying, proposal(BOB)], HEAD)
    assert prepared(enough).most_wei == needed
    assert isinstance(none, EtherMissingError)
    has[ALICE] -= 1
    (missing,) = await preparer.prepare([paying], HEAD)
    assert isinstance(missing, EtherMissingError)
    assert (missing.needed_wei, missing.available_wei) == (needed, needed - 1)
    assert "has 0.000000 ether and may need 0.000750 for the plan's gas" in str(none)


@pytest.mark.parametrize("answer", [refused("eth_getBalance"), lambda *_: None, lambda *_: "much"])
async def test_prepare__balance_not_told__is_left_to_the_node(
    rpc: FakeRpc, preparer: Preparer, answer: Any
) -> None:
    rpc.answers["eth_getBalance"] = answer
    assert all(map(prepared, await preparer.prepare([proposal()], HEAD)))


async def test_prepare__answers_of_no_use__are_not_repeated_into_the_journal(
    rpc: FakeRpc, preparer: Preparer
) -> None:
    for method in ("eth_simulateV1", "eth_getTransactionCount"):
        working = rpc.answers[method]
        rpc.answers[method] = lambda *_: "https://node.example/k3y"
        (outcome,) = await preparer.prepare([proposal()], HEAD)
        assert isinstance(outcome, SimulationUnavailableError)
        assert "k3y" not in str(outcome)
        rpc.answers[method] = working


@pytest.mark.parametrize(
    "answer", [refused("eth_getTransactionCount"), lambda *_: None, lambda *_: "soon"]
)
async def test_prepare__no_nonce__is_an_outcome(
    rpc: FakeRpc, preparer: Preparer, answer: Any
) -> None:
    rpc.answers["eth_getTransactionCount"] = answer
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, SimulationUnavailableError)


@pytest.mark.parametrize(
    "answer",
    [
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
    assert older.methods == [
        ["eth_call", "eth_feeHistory", "eth_getTransactionCount", "eth_getBalance"]
    ]


@pytest.mark.parametrize("code", [-32601, -32004, -32600, -32602])
async def test_prepare__not_supported__is_asked_once(
    older: FakeRpc, preparer: Preparer, code: int
) -> None:
    older.answers["eth_simulateV1"] = refused("eth_simulateV1", code)
    for _ in range(2):
        assert all(map(prepared, await preparer.prepare([proposal()], HEAD)))
    assert len(older.sent("eth_simulateV1")) == 1


async def test_prepare__simulation_refused_for_now__is_tried_by_override_and_asked_again(
    older: FakeRpc, preparer: Preparer
) -> None:
    older.answers["eth_simulateV1"] = lambda options, block: (
        simulated()(options, block)
        if len(options["blockStateCalls"][0]["calls"]) == 2
        else refused("eth_simulateV1", -32000, "out of gas")()
    )
    for _ in range(2):
        first, second = map(
            prepared, await preparer.prepare([proposal(), proposal(BOB, REPAY)], HEAD)
        )
        assert first.simulation.gas_used == (FALLBACK_GAS_LIMIT,) * 2
        assert second.simulation.gas_used == (50_000,)
    assert [len(post) for post in older.posts] == [7, 1, 1, 7, 1]


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


@pytest.mark.parametrize("answer", [refused("eth_getCode", -32005, "rate limit"), lambda *_: None])
async def test_prepare__code_not_told__is_an_outcome_and_asked_again(
    older: FakeRpc, preparer: Preparer, answer: Any
) -> None:
    older.answers["eth_getCode"] = answer
    (outcome,) = await preparer.prepare([proposal()], HEAD)
    assert isinstance(outcome, SimulationUnavailableError)
    older.answers["eth_getCode"] = lambda *_: CODE
    assert all(map(prepared, await preparer.prepare([proposal()], HEAD)))
