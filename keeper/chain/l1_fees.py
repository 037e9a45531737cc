"""The L1 data fee of rollups: what a transaction's bytes cost on the chain below, beside its gas.

Rollups of the OP stack (Optimism, Base, …) take it from the sender's balance; their predeployed
GasPriceOracle tells it: https://docs.optimism.io/stack/transactions/fees. Arbitrum puts it into the
gas of the transaction, so that what a simulation used and what `eth_estimateGas` answers hold it
already; there is nothing to add there.
"""

from typing import Any

from eth_abi.abi import encode

from keeper.abi.words import Function
from keeper.chain.rpc import Request, quantity
from keeper.model.units import Address, Wei
from keeper.model.values import Head, Transaction

GAS_PRICE_ORACLE = Address("0x420000000000000000000000000000000000000F")
GET_L1_FEE = Function("getL1Fee(bytes)")

ENVELOPE_BYTES = 120
"""Nonce, fees, gas, addresses and signature around a type-2 transaction's data, taken as bytes that
do not compress: the most they can be is 118."""


def code_request(head: Head) -> Request:
    """Whether the chain has the oracle: its code."""
    return Request(method="eth_getCode", params=(GAS_PRICE_ORACLE, {"blockHash": head.hash}))


def l1_fee_request(transaction: Transaction, head: Head) -> Request:
    """What the transaction's bytes cost at the head. It is not signed yet: an upper bound."""
    raw = transaction.data + bytes(range(1, ENVELOPE_BYTES + 1))
    data = GET_L1_FEE.selector + encode(["bytes"], [raw])
    return Request(
        method="eth_call",
        params=({"to": GAS_PRICE_ORACLE, "data": "0x" + data.hex()}, {"blockHash": head.hash}),
    )


def l1_fee_wei(answer: Any) -> Wei:
    """The fee, or 0 where it is not told: it is far below the gas of a transaction that saves."""
    return Wei(quantity(answer) or 0)
