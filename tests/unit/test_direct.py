"""Approvals around an action of the account itself."""

import pytest

from keeper.abi.erc20 import APPROVE
from keeper.mandate.direct import transactions
from keeper.model.units import Address, Amount, Token
from keeper.model.values import ProtocolCall

POOL, USDT = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
TOKEN = Token(address=USDT, symbol="USDT", decimals=6)


def call(allowed: int) -> ProtocolCall:
    return ProtocolCall(
        kind="Repay",
        to=POOL,
        data=b"repay",
        spends=Amount(raw=100, token=TOKEN),
        allowance=Amount(raw=allowed, token=TOKEN),
    )


@pytest.mark.parametrize(
    ("allowed", "approvals"),
    [
        (0, [("approve", 100)]),
        (1, [("reset_approval", 0), ("approve", 100)]),
        (99, [("reset_approval", 0), ("approve", 100)]),
        (100, []),
        (2**256 - 1, []),
    ],
)
def test_transactions__any_allowance__never_changes_one_non_zero_value_to_another(
    allowed: int, approvals: list[tuple[str, int]]
) -> None:
    *first, last = transactions(call(allowed))
    assert [(sent.to, sent.data, sent.purpose) for sent in first] == [
        (USDT, APPROVE.encode(POOL, raw), purpose) for purpose, raw in approvals
    ]
    assert (last.to, last.data, last.purpose, last.value_wei) == (POOL, b"repay", "Repay", 0)
