"""The values that cross layers: what one pass over one block reads, decides and does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

from keeper.model.liquidity import Depth, Route
from keeper.model.units import Address, Amount, Bps, Price, Token, Wad, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A block header: everything of one pass is read at `hash`."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    base_fee_wei: Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionId:
    """One account in one market of one chain."""

    chain_id: int
    market: str
    account: Address

    def __str__(self) -> str:
        return f"{self.chain_id}:{self.market}:{self.account}"


class PositionState(Protocol):
    """What every protocol's position can say of itself, in exact integers.

    USD values carry 8 decimals. The rest of a position belongs to its adapter.
    """

    @property
    def id(self) -> PositionId: ...

    @property
    def health(self) -> Wad | None:
        """The protocol's own health factor to the last unit; None without debt."""
        ...

    @property
    def collateral_usd8(self) -> int: ...

    @property
    def debt_usd8(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Unix seconds; interest has accrued until then."""
        ...

    @property
    def terms_shown(self) -> Mapping[str, float | None]:
        """What else people are told of it, by name with the unit; for JSON."""
        ...

    def accrued(self, timestamp: int) -> "PositionState":
        """The same position with interest until `timestamp`, at unchanged prices."""
        ...


# -- actions -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCollateral:
    """Move `amount` from the reserve into the position as collateral."""

    position: PositionId
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Repay:
    """Pay back `amount` of the position's debt from the reserve."""

    position: PositionId
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleverage:
    """Pay back `amount` of the position's debt with its own collateral, swapped on `route`: the
    debt is bought first and paid for with collateral that this sets free, all in one call."""

    position: PositionId
    amount: Amount
    sold: Amount
    """What the swap takes out of the collateral."""
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMargin:
    """Deposit `amount` from the reserve as margin of a perp account."""

    position: PositionId
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveMargin:
    """Bring `amount` of what the account has lent elsewhere over into its margin."""

    position: PositionId
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class ReducePosition:
    """Make a perp position smaller by `amount` of its market's base token, never beyond zero."""

    position: PositionId
    amount: Amount
    quote: Amount
    """What a long's sale brings, or buying a short back costs, fees included."""


Payment = AddCollateral | Repay | AddMargin | MoveMargin
Sale = Deleverage | ReducePosition
"""The position itself pays for it."""
Own = MoveMargin | Sale
"""Takes nothing of a reserve, and only a guardian may do it."""
Action = Payment | Sale
PaymentKind = Literal["AddCollateral", "Repay", "AddMargin", "MoveMargin"]
ActionKind = Literal[PaymentKind, "Deleverage", "ReducePosition"]
Cause = Literal["floor", "forecast", "owner"]
"""`owner`: wished by hand."""
Source = Literal["wallet", "vault", "spare", "pool"]
"""Where the means come from: the account's own wallet, a reserve that consented to pay for the
account, what the account has to spare on another venue, or the position itself through a liquidity
pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A payment into the position that could help it now, before its size is chosen.

    `available` is the most that makes sense: the reserve's balance, the protocol's caps and, for a
    repayment, the debt itself. `blocked` says why the protocol would refuse it, or is None.
    """

    kind: PaymentKind
    source: Source
    token: Token
    held: Amount
    """What the reserve holds, others' claims on it included."""
    available: Amount
    allowance: Amount
    """What may be taken of the reserve at the time of reading."""
    price: Price
    gas: int
    """About what the call takes."""
    blocked: str | None
    guardian_gas: int | None
    """The same through a guardian; None where it makes no such payment: the one of a perp venue pays
    in its settlement token alone."""
    room: int | None = None
    """How much more the protocol takes of anybody, in raw units; None where `available` says it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwind:
    """A debt that could be paid back by selling one of the position's collaterals.

    `blocked` says why the protocol or the owner's mandate would refuse it, or is None.
    """

    token: Token
    """Of the debt."""
    available: Amount
    price: Price
    sells: Token
    """The collateral."""
    held: Amount
    allowance: Amount
    """What may be taken of the collateral at the time of reading."""
    sells_price: Price
    gas: int
    """About what the call takes on a route of one pool."""
    slippage_cap: Bps
    """Half of what a liquidator would get for this collateral: to lose more would be pointless."""
    blocked: str | None
    depths: tuple[Depth, ...] = ()
    """Of the routes that may be taken."""
    slippage_limit: int = 0
    """Basis points by which more collateral than debt may go, at the protocol's oracle prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """A perp position that could be made smaller.

    `blocked` says why the venue or the owner's mandate would refuse it, or is None.
    """

    token: Token
    """The market's base token."""
    available: Amount
    """The whole position."""
    is_long: bool
    price: Price
    """The index, now: what a guardian measures a trade's price against."""
    mark_price: Price
    """What the position is valued at."""
    pool_price: Price
    """What its pool pays now, the fee taken off, or asks of a short, the fee on top: for a small trade."""
    quote: Token
    gas: int
    """About what the call takes."""
    slippage_cap: Bps
    """Half of what a liquidation takes: to lose more would be pointless."""
    blocked: str | None
    slippage_limit: int = 0
    """Basis points by which the quote may be worse than the index, fees included."""
    guardian_target: Wad = field(default=Wad(0))
    """The health at which its guardian ends, if trading cost nothing."""


Way = Option | Unwind | Reduction
"""One way to help a position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """The reserve behind an account: whose tokens it is, and who may take them."""

    holder: Address
    spender: Address


Listed = Mapping[str, tuple[Address, ...]]
"""Contracts that a market does not list itself, by the name of the setting that names them."""

NOTHING_LISTED: Listed = MappingProxyType({})

NO_PURSES: Mapping[Address, Purse] = MappingProxyType({})
"""Every account pays from its own wallet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationTerms:
    """What a liquidation of the position would take, at its health now."""

    close_factor: Bps
    """The most of one debt that one liquidation may repay."""
    liquidation_penalty: Bps
    """What the borrower loses beyond the debt repaid; the largest among its collaterals."""
    besides_usd8: int = 0
    """What a second kind of liquidation, to which the first leads, would take as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolCall:
    """The call to a protocol that makes a payment, and what the protocol takes for it."""

    kind: ActionKind
    to: Address
    data: bytes
    spends: Amount
    """Taken by `to` from the caller, by ERC-20 allowance."""
    allowance: Amount
    """What `to` may take at the time of reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What calldata says that a call may take: found by decoding it, not by whoever encoded it."""

    account: Address | None
    """For whose position; None: for its sender's."""
    token: Address
    raw: int
    sold_token: Address | None = None
    """What may be sold for it, and how much of that."""
    sold_raw: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One call that a signer's account makes: target, calldata, native value."""

    to: Address
    data: bytes
    value_wei: Wei = field(default=Wei(0))
    purpose: str
    """`approve`, `reset_approval` or the action's kind: shown to people, kept in the journal."""


class ImpossibleActionError(ValueError):
    """The action does not fit the position: it names a token without such a leg, or no amount."""

    def __init__(self, action: Action, why: str) -> None:
        super().__init__(f"{action.position}: {type(action).__name__} {action.amount}: {why}")
        self.action = action
