"""The checks that the compiler adds by itself. `make guardian-coverage` holds it to this list."""

from typing import Final

GUARDS: Final = {
    "Bytes[1024] bounds check": "a longer callback's data; ours has at most 576 bytes and others are refused",
    "DynArray[address, 3] bounds check": "a pool's index in a route of 1 to 3; the ABI refuses more",
    "DynArray[address, 64] bounds check": "an account's margin tokens past 64; the venue takes a few",
    "abi_decode length check": "an answer of `emergency_part` that is not two words; it is our own",
    "bad calldatasize or callvalue": "calldata that no ABI encodes, or Ether sent along",
    "clamp gt 0": "a divisor of zero: units, prices and slippage bases are checked before or constant",
    "clamp sge 0": "a negative amount converted; each is held at zero before, or is a requirement",
    "clamp sgt -57896044618658097711785492504343953926634992332820282019728792003956564819968": (
        "the one integer without a negative; a pool would have to be owed 2**255, or an account owe it"
    ),
    "extcodesize is zero": "a market, oracle or token without code; `set_mandate` refuses such markets",
    "range() bounds check": "a loop over a route that is longer than 3",
    "returndatasize too small": "an answer shorter than the interface of Aave, Uniswap, Perp v2 or ERC-20",
    "user assert": "the core's own: spending past a limit, which `_sized` keeps to before",
    "safeadd": "a sum past 2**256: amounts, prices and times are far below",
    "safemul": "a product past 2**256, as above",
    "safepow": "10 to the 78th: no token has such decimals",
    "safesub": "a difference below zero: every subtrahend is held below by a comparison before",
    "uint1 bounds check": "a Boolean that is neither 0 nor 1",
    "uint160 bounds check": "an address with more than 20 bytes",
    "uint24 bounds check": "a ratio past 24 bits; Perp v2 keeps its own in as many",
    "uint255 bounds check": "an amount past 2**255 handed to a pool, or compared with a signed one",
    "uint8 bounds check": "decimals past 255",
}
"""Checks that the compiler adds by itself: what each would refuse. They revert without an error's
name; each is passed in a test, and few can fail with a market, a pool and tokens that keep to their
interfaces."""
