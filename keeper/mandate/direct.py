"""An action done by the account itself: exact approval, then the protocol's call.

The allowance asked for is what the call may spend. A part of it remains where the call takes less,
as when a whole debt is repaid before the time its amount was computed for, or where the call is
never mined; it counts towards the next one.
"""

from keeper.abi.erc20 import APPROVE
from keeper.model.units import Address
from keeper.model.values import ProtocolCall, Transaction


def transactions(call: ProtocolCall) -> tuple[Transaction, ...]:
    """The account's transactions, in order; each needs the ones before it.

    An allowance that suffices is used as it is. One that does not is set to zero first: tokens
    such as USDT refuse to change an allowance from one non-zero value to another.
    """
    own = Transaction(to=call.to, data=call.data, purpose=call.kind)
    allowed, needed = call.allowance.raw, call.spends.raw
    if allowed >= needed:
        return (own,)
    token = call.spends.token.address
    exact = _approval(token, call.to, needed, "approve")
    if allowed == 0:
        return (exact, own)
    return (_approval(token, call.to, 0, "reset_approval"), exact, own)


def _approval(token: Address, spender: Address, raw: int, purpose: str) -> Transaction:
    return Transaction(to=token, data=APPROVE.encode(spender, raw), purpose=purpose)
