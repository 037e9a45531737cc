"""What the guardian of a perp account is called with, and what it would refuse to trade.

Its contract is contracts_abi/guardian/perp_guardian.vy. A market is named by its ClearingHouse, and
a mandate's collaterals are the base tokens whose positions may be made smaller.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from eth_utils.crypto import keccak

from keeper.abi.words import Function
from keeper.mandate.charter import Charter
from keeper.model.units import Wad
from keeper.model.values import Reduction

ADD_MARGIN: Final = Function("add_margin(address,bytes32,uint256)")
"""Pays in the venue's settlement token, which the call does not name."""
REDUCE_POSITION: Final = Function("reduce_position(address,bytes32,address,uint256)")

MARGIN_ADDED: Final = (
    "0x" + keccak(text="MarginAdded(address,address,address,uint256,uint256,uint256,uint256)").hex()
)
POSITION_REDUCED: Final = (
    "0x"
    + keccak(text="PositionReduced(address,address,uint256,uint256,uint256,uint256,uint256)").hex()
)


def reductions(
    charter: Charter, possible: Sequence[Reduction], *, health: Wad, trades_blocked: str | None
) -> tuple[Reduction, ...]:
    """The reductions with the slippage that the mandate leaves them. `trades_blocked` says why
    nothing may be traded now, or is None."""
    mandate = charter.mandate
    if mandate is None:
        return ()
    found = []
    for each in possible:
        blocked = each.blocked or trades_blocked
        if blocked is None and each.token.address not in mandate.collaterals:
            blocked = f"the mandate does not list {each.token.symbol} among its collaterals"
        limit = min(mandate.slippage_bps(health), each.slippage_cap)
        found.append(
            replace(
                each,
                blocked=blocked,
                slippage_limit=int(limit),
                guardian_target=mandate.target,
            )
        )
    return tuple(found)
