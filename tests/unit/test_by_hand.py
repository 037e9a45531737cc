"""What an owner sends by a command goes where the configuration says."""

from typing import Any

import pytest

from keeper.chain.by_hand import NotTakenError, WouldRevertError, send_in_turn
from keeper.chain.rpc import EndpointUnavailableError, RpcError
from keeper.chain.sending import Broadcaster
from keeper.chain.settings import FeeSettings
from keeper.model.units import Wei
from tests.unit.fake_node import ALICE_KEY, FakeNode, signer_of
from tests.unit.fake_rpc import FakeRpc, header
from tests.unit.transaction_ground import CHAIN_ID, GWEI, REPAY

ALICE = signer_of(ALICE_KEY)
FEES = FeeSettings(max_fee_wei=Wei(100 * GWEI), min_priority_fee_wei=Wei(1), deadline_blocks=5)


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    node.rpc.answers |= {
        "eth_getBlockByNumber": lambda *_: header(node.head),
        "eth_estimateGas": lambda _: hex(50_000),
        "eth_feeHistory": lambda *_: {"baseFeePerGas": [hex(GWEI)], "reward": []},
    }
    return node


async def send(node: FakeNode, private: FakeRpc) -> list[str]:
    return [
        tx_hash
        async for _, tx_hash in send_in_turn(
            [REPAY],
            rpc=node.rpc,
            broadcaster=Broadcaster([node.rpc], private=[private], private_only=True),
            chain_id=CHAIN_ID,
            signer=ALICE,
            fees=FEES,
            explain=lambda *_: "",
            sent=lambda *_: None,
        )
    ]


async def test_send_in_turn__only_private__the_endpoint_that_is_read_never_gets_it(
    node: FakeNode,
) -> None:
    def take(raw: str) -> Any:
        tx_hash = node._send(raw)  # the miner behind the private endpoint
        node.mine()
        return tx_hash

    private = FakeRpc({"eth_sendRawTransaction": take})
    (tx_hash,) = await send(node, private)
    assert tx_hash in node.receipts
    assert node.rpc.sent("eth_sendRawTransaction") == []
    assert len(private.posts) == 1


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (RpcError("eth_sendRawTransaction", -32000, "insufficient funds"), NotTakenError),
        (EndpointUnavailableError("private is unavailable"), EndpointUnavailableError),
    ],
)
async def test_send_in_turn__private_endpoint_does_not_take_it__says_so_and_no_other_gets_it(
    node: FakeNode, said: Exception, raised: type[Exception]
) -> None:
    def refuse(_: str) -> Any:
        raise said

    with pytest.raises(raised):
        await send(node, FakeRpc({"eth_sendRawTransaction": refuse}))
    assert node.rpc.sent("eth_sendRawTransaction") == []


@pytest.mark.parametrize(
    ("payload", "revert"),
    [
        ("0x08c379a0", bytes.fromhex("08c379a0")),
        ("Reverted 0x08c379a0", bytes.fromhex("08c379a0")),
        ("out of gas", b""),
        ({"reason": "out of gas"}, b""),
        (None, b""),
    ],
)
async def test_send_in_turn__would_revert__is_told_whatever_the_endpoint_adds(
    node: FakeNode, payload: object, revert: bytes
) -> None:
    def estimate(_: object) -> None:
        raise RpcError("eth_estimateGas", 3, "execution reverted", payload)

    node.rpc.answers["eth_estimateGas"] = estimate

    def explain(_: object, output: bytes) -> str:
        seen.append(output)
        return ""

    seen: list[bytes] = []
    with pytest.raises(WouldRevertError, match="execution reverted"):
        async for _ in send_in_turn(
            [REPAY],
            rpc=node.rpc,
            broadcaster=Broadcaster([node.rpc]),
            chain_id=CHAIN_ID,
            signer=ALICE,
            fees=FEES,
            explain=explain,
            sent=lambda *_: None,
        ):
            pass
    assert seen == [revert]
