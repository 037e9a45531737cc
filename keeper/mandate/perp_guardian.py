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
from keeper.model.units import SECONDS_PER_DAY, WAD, Amount, Wad, mul_div_down
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
    own = next((each for each in payments if each.guardian_gas is not None), None)
    if own is None or (charter.source is None and not charter.source_unread):
        return ()
    if charter.source is None:
        why = "how much margin may be moved cannot be read: its market or oracle does not answer"
        return (_moving(own, 0, blocked=why),)
    return (_move(charter.source, own, until),)


def _move(source: MoveSource, own: Option, until: int) -> Option:
    blocked = own.blocked
    if blocked is None and source.expiry < until:
        blocked = (
            f"the owner's leave to move margin ends at {source.expiry} (ConsentMissing): "
            "`keeper mandate set` gives it anew"
        )
    if blocked is None and source.available <= 0:
        blocked = (
            "the limit of what may be moved is used up (LimitReached): it grows by "
            f"{source.limit_per_second * SECONDS_PER_DAY / 1e8:,.0f} USD a day"
        )
    if blocked is None and source.spare <= 0:
        blocked = (
            f"nothing is spare above health {source.floor / WAD:g} at {source.market} "
            "(SourceBelowFloor), the guardian has no allowance of what is lent there, or its pool "
            "has lent everything out"
        )
    within = mul_div_down(
        source.available, 10**own.price.decimals * own.token.unit, 10**8 * own.price.value
    )
    room = source.spare if own.room is None else own.room
    option = _moving(own, source.spare, blocked=blocked)
    most = min(source.spare, within, room)
    return replace(option, available=Amount(raw=most, token=own.token))


def _moving(own: Option, spare_raw: int, *, blocked: str | None) -> Option:
    spare = Amount(raw=spare_raw, token=own.token)
    return replace(
        own,
        kind="MoveMargin",
        source="spare",
        held=spare,
        available=spare,
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
