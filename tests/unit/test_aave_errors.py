"""Reverts of Aave 3.0 in words."""

import pytest
from eth_abi.abi import encode

from keeper.protocols.aave_v3 import decode_error

ERROR, PANIC = bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")


@pytest.mark.parametrize(
    ("revert", "expected"),
    [
        (
            ERROR + encode(["string"], ["35"]),
            "HEALTH_FACTOR_LOWER_THAN_LIQUIDATION_THRESHOLD (35)",
        ),
        (ERROR + encode(["string"], ["40"]), "NO_EXPLICIT_AMOUNT_TO_REPAY_ON_BEHALF (40)"),
        (ERROR + encode(["string"], ["48"]), "48"),
        (ERROR + encode(["string"], ["ERC20: no"]), "ERC20: no"),
        (ERROR + b"\x01", "reverted with 0x08c379a001"),
        (PANIC + encode(["uint256"], [0x11]), "arithmetic or array panic 0x11"),
        (bytes.fromhex("12345678"), "reverted with 0x12345678"),
        (b"", "reverted without a reason"),
    ],
)
def test_decode_error__any_revert__has_a_reason(revert: bytes, expected: str) -> None:
    assert decode_error(revert) == expected
