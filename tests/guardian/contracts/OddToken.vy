# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A token that returns nothing or False, wants an allowance of zero before another, may take a
       fee, may change balances by itself and may call somebody
@notice For tests: anyone mints.
@license Apache-2.0
"""

decimals: public(constant(uint8)) = 6
name: public(constant(String[8])) = "Odd"
symbol: public(constant(String[3])) = "ODD"

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
totalSupply: public(uint256)
fee_bps: public(uint256)
rebased: address
change: int256
answer: Bytes[32]
hooked: address
hook: Bytes[2048]
bears_failure: bool
got_in: public(bool)


@external
def mint(account: address, amount: uint256):
    self.balanceOf[account] += amount
    self.totalSupply += amount


@external
def charge(fee_bps: uint256):
    """
    @notice What every transfer loses from now on.
    """
    self.fee_bps = fee_bps


@external
def rebase(account: address, change: int256):
    """
    @notice With every transfer to the account its balance changes by so much more.
    """
    self.rebased = account
    self.change = change


@external
def call_on_transfer(target: address, data: Bytes[2048], bears_failure: bool):
    """
    @notice Every transfer makes this call first, and fails if it does, unless it bears that.
            `got_in` says whether one has succeeded.
    """
    self.hooked = target
    self.hook = data
    self.bears_failure = bears_failure


@external
def say_no(refuses: bool):
    """
    @notice Transfers and approvals do nothing from now on, and return False; or work again.
    """
    self.answer = abi_encode(False) if refuses else b""


@external
@raw_return
def approve(spender: address, amount: uint256) -> Bytes[32]:
    assert amount == 0 or self.allowance[msg.sender][spender] == 0, "set it to zero first"
    if len(self.answer) == 0:
        self.allowance[msg.sender][spender] = amount
    return self.answer


@external
@raw_return
def transfer(recipient: address, amount: uint256) -> Bytes[32]:
    return self._move(msg.sender, recipient, amount)


@external
@raw_return
def transferFrom(sender: address, recipient: address, amount: uint256) -> Bytes[32]:
    self.allowance[sender][msg.sender] -= amount
    return self._move(sender, recipient, amount)


@internal
def _move(sender: address, recipient: address, amount: uint256) -> Bytes[32]:
    if len(self.answer) > 0:
        return self.answer
    if self.hooked != empty(address):
        if self.bears_failure:
            self.got_in = raw_call(self.hooked, self.hook, revert_on_failure=False) or self.got_in
        else:
            raw_call(self.hooked, self.hook)
            self.got_in = True
    fee: uint256 = amount * self.fee_bps // 10_000
    self.balanceOf[sender] -= amount
    self.balanceOf[recipient] += amount - fee
    self.totalSupply -= fee
    if recipient == self.rebased:
        self.balanceOf[recipient] = convert(
            convert(self.balanceOf[recipient], int256) + self.change, uint256
        )
    return b""
