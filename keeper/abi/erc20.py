"""ERC-20 (EIP-20) and its optional metadata."""

from eth_abi.abi import decode
from eth_utils.crypto import keccak

from keeper.abi.words import WORD, Function

BALANCE_OF = Function("balanceOf(address)")
ALLOWANCE = Function("allowance(address,address)")
DECIMALS = Function("decimals()")
SYMBOL = Function("symbol()")
APPROVE = Function("approve(address,uint256)")
TRANSFERRED = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
"""The event's first topic."""


def decode_symbol(output: bytes) -> str:
    """What `symbol()` returned: a string, or the bytes32 of the oldest tokens.

    Raises eth_abi's `DecodingError` for anything else."""
    if len(output) == WORD:
        return output.rstrip(b"\0").decode("utf-8", "replace")
    (symbol,) = decode(["string"], output)
    return str(symbol)
