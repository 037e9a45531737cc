"""What the guardian of a perp account is called with, and what it would refuse to trade.

Its contract is contracts_abi/guardian/perp_guardian.vy. A market is named by its ClearingHouse, and
a mandate's collaterals are the base tokens whose positions may be made smaller.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from eth_utils.crypto import keccak

from keeper.abi.words import Function
from keeper.mandate.charter import Charter, MoveSource
from keeper.model.units import WAD, Amount, Wad, mul_div_down
from keeper.model.values import Option, Reduction

ADD_MARGIN: Final = Function("add_margin(address,bytes32,uint256)")
"""Pays in the venue's settlement token, which the call does not name."""
MOVE: Final = Function("move(address,bytes32,uint256)")
"""As `ADD_MARGIN`, with what the owner has lent elsewhere."""
REDUCE_POSITION: Final = Function("reduce_position(address,bytes32,address,uint256)")

MARGIN_ADDED: Final = (
    "0x" + keccak(text="MarginAdded(address,address,address,uint256,uint256,uint256,uint256)").hex()
)
MARGIN_MOVED: Final = (
    "0x"
    + keccak(
        text="MarginMoved(address,address,address,uint256,uint256,uint256,uint256,uint256)"
    ).hex()
)
POSITION_REDUCED: Final = (
    "0x"
    + keccak(text="PositionReduced(address,address,uint256,uint256,uint256,uint256,uint256)").hex()
)

MOVE_GAS: Final = 1_000_000
"""About what a move takes on the local chain, both venues asked before and after."""


def moves(charter: Charter, payments: Sequence[Option], *, until: int) -> tuple[Option, ...]:
    """What the owner lets be moved into the margin, at the latest at `until`; nothing where there is
    no such allowance. `payments` are those that a guardian may make of the reserve: of the same token,
    under the same caps."""
    source = charter.source
    if source is None:
        return ()
    return tuple(_move(source, own, until) for own in payments if own.guardian_gas is not None)


def _move(source: MoveSource, own: Option, until: int) -> Option:
    token = own.token
    blocked = own.blocked
    if blocked is None and (source.available <= 0 or source.expiry < until):
        blocked = (
            "the owner lets no more margin be moved now (LimitReached, ConsentMissing): its limit "
            f"leaves {source.available / 1e8:,.2f} USD until {source.expiry}"
        )
    if blocked is None and source.spare <= 0:
        blocked = (
            f"nothing is spare above health {source.floor / WAD:g} at {source.market} "
            "(SourceBelowFloor), or the guardian has no allowance of what is lent there"
        )
    spare = Amount(raw=source.spare, token=token)
    within = mul_div_down(
        source.available, 10**own.price.decimals * token.unit, 10**8 * own.price.value
    )
    return replace(
        own,
        kind="MoveMargin",
        source="spare",
        held=spare,
        available=Amount(raw=min(source.spare, within), token=token),
        allowance=spare,
        gas=MOVE_GAS,
        blocked=blocked,
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
