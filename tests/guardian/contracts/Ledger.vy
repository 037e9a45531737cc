# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A protocol of margin accounts
@notice Takes a token worth a dollar as anybody's margin, and says a health that is margin over a
        requirement. For tests.
@license Apache-2.0
"""

interface Token:
    def transferFrom(sender: address, recipient: address, amount: uint256) -> bool: nonpayable

asset: public(immutable(address))
margin: public(HashMap[address, uint256])
required: public(HashMap[address, uint256])


@deploy
def __init__(token: address):
    asset = token


@external
def require(account: address, amount: uint256):
    self.required[account] = amount


@external
def deposit_for(account: address, amount: uint256):
    assert extcall Token(asset).transferFrom(msg.sender, self, amount)
    self.margin[account] += amount


@external
@view
def health(account: address) -> uint256:
    return self.margin[account] * 10**18 // self.required[account]
