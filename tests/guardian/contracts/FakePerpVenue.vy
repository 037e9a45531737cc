# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A Perp v2 venue that does as it is told
@notice Every contract of a venue and a base token in one, for what the real ones never do: it takes
        less than it was offered or more, leaves another size than was traded, pays another price, or
        answers as if value had gone. For tests.
@license Apache-2.0
"""

struct Account:
    value: int256
    required: uint256
    size: int256

struct Order:
    base_token: address
    is_base_to_quote: bool
    is_exact_input: bool
    amount: uint256
    opposite_amount_bound: uint256
    deadline: uint256
    sqrt_price_limit_x96: uint160
    referral_code: bytes32

interface Token:
    def transferFrom(sender: address, recipient: address, amount: uint256): nonpayable
    def transfer(recipient: address, amount: uint256): nonpayable
    def rebase(account: address, change: int256): nonpayable

asset: address
before: Account
after: Account
acted: bool
price: uint256
quote: uint256
left_over: uint256
robbed: uint256


@deploy
def __init__(asset: address):
    self.asset = asset


@external
def tell(before: Account, after: Account, price: uint256, quote: uint256):
    """
    @param after The account once something was deposited or traded
    @param price The index
    @param quote What any trade is said to have brought or taken
    """
    self.before = before
    self.after = after
    self.price = price
    self.quote = quote


@external
def take(left_over: uint256, robbed: uint256):
    """
    @param left_over What a deposit leaves with whoever pays
    @param robbed What is gone from the payer's balance besides
    """
    self.left_over = left_over
    self.robbed = robbed


@internal
@view
def _now() -> Account:
    return self.after if self.acted else self.before


@external
@view
def getVault() -> address:
    return self


@external
@view
def getExchange() -> address:
    return self


@external
@view
def getAccountBalance() -> address:
    return self


@external
@view
def getClearingHouseConfig() -> address:
    return self


@external
@view
def getMarketRegistry() -> address:
    return self


@external
@view
def hasPool(base_token: address) -> bool:
    return base_token == self


@external
@view
def getMmRatio() -> uint24:
    return 62_500


@external
@view
def getLiquidationPenaltyRatio() -> uint24:
    return 25_000


@external
@view
def getSettlementToken() -> address:
    return self.asset


@external
@view
def getCollateralTokens(trader: address) -> DynArray[address, 64]:
    return []


@external
@view
def getAccountValue(trader: address) -> int256:
    return self._now().value


@external
@view
def getMarginRequirementForLiquidation(trader: address) -> int256:
    return convert(self._now().required, int256)


@external
@view
def getTakerPositionSize(trader: address, base_token: address) -> int256:
    return self._now().size


@external
@view
def getTotalPositionSize(trader: address, base_token: address) -> int256:
    return self._now().size


@external
@view
def getTotalPositionValue(trader: address, base_token: address) -> int256:
    return self._now().size * convert(self.price, int256) // 10**18


@external
@view
def getIndexPrice(interval: uint256) -> uint256:
    return self.price


@external
def depositFor(trader: address, token: address, amount: uint256):
    self.acted = True
    extcall Token(token).transferFrom(msg.sender, self, amount - self.left_over)
    if self.robbed > 0:
        extcall Token(token).rebase(msg.sender, -convert(self.robbed, int256))
        extcall Token(token).transfer(msg.sender, 0)


@external
def openPositionFor(trader: address, order: Order) -> (uint256, uint256, uint256):
    self.acted = True
    return order.amount, self.quote, 0
