"""The checks that the compiler adds by itself. `make guardian-coverage` holds it to this list."""

from typing import Final

GUARDS: Final = {
    "Bytes[1024] bounds check": "a longer callback's data; ours has at most 576 bytes and others are refused",
    "DynArray[address, 3] bounds check": "a pool's index in a route of 1 to 3; the ABI refuses more",
    "abi_decode length check": "an answer of `emergency_part` that is not two words; it is our own",
    "bad calldatasize or callvalue": "calldata that no ABI encodes, or Ether sent along",
    "clamp gt 0": "a divisor of zero: units, prices and slippage bases are checked before or constant",
    "clamp sge 0": "a negative amount converted; both are held at zero before",
    "clamp sgt -57896044618658097711785492504343953926634992332820282019728792003956564819968": (
        "the one integer without a negative; a pool would have to owe 2**255"
    ),
    "extcodesize is zero": "a market, oracle or token without code; `set_mandate` refuses such markets",
    "range() bounds check": "a loop over a route that is longer than 3",
    "returndatasize too small": "an answer shorter than the interface of Aave, Uniswap or ERC-20",
    "user assert": "the core's own: spending past a limit, which `_sized` keeps to before",
    "safeadd": "a sum past 2**256: amounts, prices and times are far below",
    "safemul": "a product past 2**256, as above",
    "safepow": "10 to the 78th: no token has such decimals",
    "safesub": "a difference below zero: every subtrahend is held below by a comparison before",
    "uint1 bounds check": "a Boolean that is neither 0 nor 1",
    "uint160 bounds check": "an address with more than 20 bytes",
    "uint255 bounds check": "an amount past 2**255 handed to a pool",
    "uint8 bounds check": "decimals past 255",
}
"""Checks that the compiler adds by itself: what each would refuse. They revert without an error's
name; each is passed in a test, and few can fail with a market, a pool and tokens that keep to their
interfaces."""
