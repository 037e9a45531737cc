"""Transactions of a Safe as a batch file for its owners' Transaction Builder.

The format is the one that app imports: one document of version 1.0 with each call's target, value
and data, https://github.com/safe-global/safe-react-apps (apps/tx-builder/src/typings/models.ts).
"""

from collections.abc import Sequence
from typing import Any

from keeper.model.units import Address
from keeper.model.values import Transaction

VERSION = "1.0"


def batch(
    *,
    chain_id: int,
    safe: Address,
    transactions: Sequence[Transaction],
    title: str,
    created_at_s: int,
) -> dict[str, Any]:
    """The document; the calls are done in their order, all of them or none."""
    return {
        "version": VERSION,
        "chainId": str(chain_id),
        "createdAt": created_at_s * 1000,
        "meta": {
            "name": title,
            "description": "; ".join(transaction.purpose for transaction in transactions),
            "createdFromSafeAddress": safe,
        },
        "transactions": [
            {
                "to": transaction.to,
                "value": str(transaction.value_wei),
                "data": "0x" + transaction.data.hex(),
                "contractMethod": None,
                "contractInputsValues": None,
            }
            for transaction in transactions
        ],
    }
