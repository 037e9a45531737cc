# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A market that does as it is told
@notice Provider, pool, oracle, and every token of an Aave v3 market in one, for what the real one
        never does: it takes less than it was offered, answers as if value had gone, or calls back in
        a stranger's name. For tests.
@license Apache-2.0
"""

struct Account:
    collateral: uint256
    debt: uint256
    available: uint256
    threshold: uint256
    ltv: uint256
    health: uint256

struct Reserve:
    configuration: uint256
    liquidity_index: uint256
    liquidity_rate: uint256
    debt_index: uint256
    debt_rate: uint256
    stable_rate: uint256
    updated_at: uint256
    id: uint256
    a_token: address
    stable_debt: address
    variable_debt: address
    strategy: address
    treasury: uint256
    unbacked: uint256
    isolated_debt: uint256

interface Token:
    def transferFrom(sender: address, recipient: address, amount: uint256): nonpayable
    def transfer(recipient: address, amount: uint256): nonpayable

interface Borrower:
    def executeOperation(
        asset: address, amount: uint256, premium: uint256, initiator: address, params: Bytes[1024]
    ) -> bool: nonpayable

event Told:
    what: String[32]

before: Account
after: Account
acted: bool
price: uint256
word: uint256
debt: uint256
left_over: uint256
rest: uint256
returned: public(HashMap[address, uint256])
initiator: address
e_mode: uint256
e_mode_answer: Bytes[192]


@external
def tell(
    before: Account, after: Account, price: uint256, word: uint256, debt: uint256, left_over: uint256
):
    """
    @param word The configuration of every reserve; 0: it lists none
    @param left_over What a payment leaves with the payer
    """
    self.before = before
    self.after = after
    self.price = price
    self.word = word
    self.debt = debt
    self.left_over = left_over


@external
def keep(rest: uint256):
    """
    @notice So much of its own token is left with everybody by a withdrawal.
    """
    self.rest = rest


@external
def tell_e_mode(category: uint256, answer: Bytes[192]):
    """
    @param answer What a category's getter returns; nothing where it is to fail
    """
    self.e_mode = category
    self.e_mode_answer = answer


@external
def name_initiator(initiator: address):
    self.initiator = initiator


@external
@view
def getPool() -> address:
    return self


@external
@view
def getPriceOracle() -> address:
    return self


@external
@view
def getAssetPrice(asset: address) -> uint256:
    return self.price


@external
@view
def getUserAccountData(user: address) -> Account:
    return self.after if self.acted else self.before


@external
@view
def getReserveData(asset: address) -> Reserve:
    reserve: Reserve = empty(Reserve)
    reserve.configuration = self.word
    if self.word != 0:
        reserve.a_token = self
        reserve.variable_debt = self
    return reserve


@external
@view
def getUserConfiguration(user: address) -> uint256:
    return 2


@external
@view
def getUserEMode(user: address) -> uint256:
    return self.e_mode


@external
@view
@raw_return
def getEModeCategoryData(category: uint8) -> Bytes[192]:
    assert len(self.e_mode_answer) > 0
    return self.e_mode_answer


@external
@view
def balanceOf(account: address) -> uint256:
    return self.debt + (self.rest if self.acted else 0)


@external
@view
def allowance(owner: address, spender: address) -> uint256:
    return max_value(uint256)


@external
def supply(asset: address, amount: uint256, on_behalf_of: address, referral: uint16):
    self._take(asset, amount)


@external
def repay(asset: address, amount: uint256, mode: uint256, on_behalf_of: address) -> uint256:
    self._take(asset, amount)
    return amount


@external
@view
def getReserveNormalizedIncome(asset: address) -> uint256:
    return 10**27


@external
def transferFrom(sender: address, recipient: address, amount: uint256) -> bool:
    """
    @notice Of its own token, of which everybody always has the same.
    """
    return True


@external
def transfer(recipient: address, amount: uint256) -> bool:
    """
    @notice Of its own token: only what was sent is kept.
    """
    self.returned[recipient] += amount
    return True


@external
def withdraw(asset: address, amount: uint256, to: address) -> uint256:
    extcall Token(asset).transfer(to, amount - self.left_over)
    self.acted = True
    return amount


@external
def flashLoanSimple(
    receiver: address, asset: address, amount: uint256, params: Bytes[1024], referral: uint16
):
    extcall Borrower(receiver).executeOperation(asset, amount, 0, self.initiator, params)


@internal
def _take(asset: address, amount: uint256):
    extcall Token(asset).transferFrom(msg.sender, self, amount - self.left_over)
    self.acted = True
