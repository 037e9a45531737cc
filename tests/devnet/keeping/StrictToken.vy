# pragma version 0.4.3
# pragma evm-version paris
"""
@title A stricter face for a token that exists already
@notice As USDT: `approve` returns nothing and refuses to change an allowance from one non-zero value
        to another. As USDC: one account is on a list of those who may not transfer. Its code is put
        at the token's address; whatever it does not refuse is done by the token's own code.
@license Apache-2.0
"""

from ethereum.ercs import IERC20

OWN_CODE: immutable(address)
LISTED: immutable(address)


@deploy
def __init__(own_code: address, listed: address):
    OWN_CODE = own_code
    LISTED = listed


@external
def approve(spender: address, amount: uint256):
    if amount > 0:
        assert staticcall IERC20(self).allowance(msg.sender, spender) == 0, "not zero yet"
    raw_call(OWN_CODE, msg.data, is_delegate_call=True)


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    assert sender != LISTED, "listed"
    raw_call(OWN_CODE, msg.data, is_delegate_call=True)
    return True


@external
@raw_return
def __default__() -> Bytes[32]:
    return raw_call(OWN_CODE, msg.data, max_outsize=32, is_delegate_call=True)
