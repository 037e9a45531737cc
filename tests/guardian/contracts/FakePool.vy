# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A Uniswap v3 pool that does as it is told
@notice It sends what was asked for, or says so, and then calls back once, twice, with other data,
        in another's place, in another way, or later. For tests.
@license Apache-2.0
"""

interface Token:
    def transfer(recipient: address, amount: uint256): nonpayable

interface Guardian:
    def uniswapV3SwapCallback(amount0: int256, amount1: int256, data: Bytes[1024]): nonpayable
    def executeOperation(
        asset: address, amount: uint256, premium: uint256, initiator: address, params: Bytes[1024]
    ) -> bool: nonpayable

interface Accomplice:
    def call_back(guardian: address, amount0: int256, amount1: int256, data: Bytes[1024]): nonpayable

token0: public(address)
token1: public(address)
sells_first: bool
then: String[16]
price: uint256
accomplice: address
guardian: address
amount0: int256
amount1: int256
kept: Bytes[1024]


@external
def tell(sold: address, bought: address, then: String[16], price: uint256, accomplice: address):
    """
    @param then "once", "twice", "other data", "accomplice", "loan", "later" or "short"
    @param price What 10**18 units of the token bought are owed, in units of the token sold
    """
    first: bool = convert(sold, uint256) < convert(bought, uint256)
    self.sells_first = first
    self.token0 = sold if first else bought
    self.token1 = bought if first else sold
    self.then = then
    self.price = price
    self.accomplice = accomplice


@external
@view
def slot0() -> (uint256, int256, uint256, uint256, uint256, uint256, bool):
    """
    @notice A price within every limit: high where token0 will be sold for it, low where token1 will.
    """
    return (2**159 if self.sells_first else 2**33), 0, 0, 0, 0, 0, True


@external
def swap(
    recipient: address, zero_for_one: bool, amount: int256, limit: uint160, data: Bytes[1024]
) -> (int256, int256):
    wanted: uint256 = convert(-amount, uint256)
    owed: int256 = convert(wanted * self.price // 10**18, int256)
    bought: address = self.token1 if zero_for_one else self.token0
    sent: uint256 = wanted - 1 if self.then == "short" else wanted
    extcall Token(bought).transfer(recipient, sent)
    amount0: int256 = owed if zero_for_one else amount
    amount1: int256 = amount if zero_for_one else owed
    guardian: Guardian = Guardian(msg.sender)
    if self.then == "later":
        self.guardian = msg.sender
        self.amount0 = amount0
        self.amount1 = amount1
        self.kept = data
    elif self.then == "accomplice":
        extcall Accomplice(self.accomplice).call_back(msg.sender, amount0, amount1, data)
    elif self.then == "loan":
        extcall guardian.executeOperation(bought, wanted, 0, msg.sender, data)
    elif self.then == "other data":
        extcall guardian.uniswapV3SwapCallback(amount0, amount1, b"other")
    else:
        extcall guardian.uniswapV3SwapCallback(amount0, amount1, data)
        if self.then == "twice":
            extcall guardian.uniswapV3SwapCallback(amount0, amount1, data)
    return amount0, amount1


@external
def call_back(guardian: address, amount0: int256, amount1: int256, data: Bytes[1024]):
    """
    @notice In another pool's place.
    """
    extcall Guardian(guardian).uniswapV3SwapCallback(amount0, amount1, data)


@external
def call_back_later():
    """
    @notice With what was kept.
    """
    extcall Guardian(self.guardian).uniswapV3SwapCallback(self.amount0, self.amount1, self.kept)
