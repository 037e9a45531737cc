"""What a rollup of the OP stack takes for a transaction's bytes."""

import pytest
from eth_abi.abi import decode

from keeper.chain.l1_fees import GAS_PRICE_ORACLE, l1_fee_request, l1_fee_wei
from keeper.chain.signer import UnsignedTransaction, signed
from keeper.model.units import Wei
from tests.unit.fake_node import ALICE_KEY, signer_of
from tests.unit.fake_rpc import head_at
from tests.unit.transaction_ground import REPAY


async def test_l1_fee_request__transaction__asks_for_no_fewer_bytes_than_are_signed() -> None:
    head = head_at(7)
    call, block = l1_fee_request(REPAY, head).params
    assert call["to"] == GAS_PRICE_ORACLE
    assert block == {"blockHash": head.hash}
    # The selector of getL1Fee, by keccak-256.
    assert call["data"].startswith("0x49948e0e")
    (asked,) = decode(["bytes"], bytes.fromhex(call["data"][10:]))
    raw, _ = await signed(
        signer_of(ALICE_KEY),
        UnsignedTransaction(
            chain_id=8_453,
            nonce=10**6,
            to=REPAY.to,
            data=REPAY.data,
            value_wei=Wei(0),
            gas_limit=3 * 10**7,
            max_fee_wei=Wei(10**14),
            priority_fee_wei=Wei(10**14),
        ),
    )
    assert len(asked) >= len(raw)
    assert asked.startswith(REPAY.data)


@pytest.mark.parametrize(("answer", "fee_wei"), [("0x1f4", 500), ("0x", 0), (None, 0), ({}, 0)])
def test_l1_fee_wei__answer__is_the_fee_or_nothing(answer: object, fee_wei: int) -> None:
    assert l1_fee_wei(answer) == fee_wei
