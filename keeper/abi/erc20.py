"""ERC-20 (EIP-20) and its optional metadata."""

from keeper.abi.words import Function

BALANCE_OF = Function("balanceOf(address)")
ALLOWANCE = Function("allowance(address,address)")
DECIMALS = Function("decimals()")
SYMBOL = Function("symbol()")
APPROVE = Function("approve(address,uint256)")
