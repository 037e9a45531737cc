"""One account of a Perp v2 venue, valued in the venue's own exact integers.

Values have 18 decimals unless a name says otherwise. Sources are named below `contracts` of
@perp/curie-contract 2.8.4.
"""

from dataclasses import dataclass, field, replace

from keeper.model.units import WAD, Address, Wad
from keeper.model.values import PositionId
from keeper.protocols.perp_v2_market import MarginToken, Perp, PerpVenue
from keeper.protocols.perp_v2_math import FUNDING_PERIOD_S as PERIOD_S
from keeper.protocols.perp_v2_math import (
    Q96,
    WAD18,
    collateral_value,
    div_to_zero,
    mul_div_to_zero,
    mul_ratio,
    to_settlement_down,
)

DUST = 10
"""Wei of base below which a position counts as none (AccountBalance.sol, _DUST)."""
_USD8 = 10**10


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The venue's own parameters and switches at one block; ratios in millionths."""

    mm_ratio: int
    """Maintenance margin of the notional."""
    im_ratio: int
    mm_ratio_buffer: int
    """Above `mm_ratio`, where margin tokens may be liquidated."""
    debt_ratio: int
    """Settlement debt allowed per haircut value of the margin tokens."""
    penalty_ratio: int
    settlement_room: int
    """Raw units of the settlement token that the vault still takes."""
    vault_paused: bool
    house_paused: bool
    max_margin_tokens: int
    liquidation_ratio: int
    """Of what the margin tokens stand for, that one liquidation of them repays."""
    insurance_ratio: int
    """Of what such a liquidation repays, that goes to the insurance fund."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpState:
    """One market at one block."""

    perp: Perp
    price: int
    """What positions are valued at: the mark, or where trading has ended the price that ended it
    (AccountBalance.sol, _getReferencePrice)."""
    market_price: int
    """The pool's, which the averages of the mark follow."""
    premium_x96: int
    """What a whole base token owes over `PERIOD_S` at today's averages."""
    index_price: int
    """The feed's newest, 0 where it gives none."""
    halted: str | None
    """Why nobody can trade in it now, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginState:
    """One margin token at one block."""

    margin: MarginToken
    price: int
    """Average of 15 minutes, in the feed's decimals."""
    collateral_ratio: int
    """The share of its value that counts, in millionths."""
    discount_ratio: int
    """What a liquidator pays less than its price, in millionths."""
    room: int
    """Raw units that the vault still takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What an account holds in one market; long above zero, short below."""

    state: PerpState
    size: int
    open_notional: int
    """What the position cost, negative for a long, with fees."""
    since_x96: int
    """The market's funding growth when funding was last settled."""
    funding: int
    """Owed since then; negative is a claim."""

    @property
    def counted(self) -> int:
        """The size as the venue values it (getTotalPositionSize)."""
        return 0 if abs(self.size) < DUST else self.size

    @property
    def value(self) -> int:
        """Signed (_getPositionValue)."""
        return mul_div_to_zero(self.counted, self.state.price, WAD18)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One margin token of the account, and what its reserve has of it."""

    state: MarginState
    balance: int
    wallet: int
    allowance: int

    @property
    def whole_value(self) -> int:
        """Before the haircut."""
        margin = self.state.margin
        return collateral_value(
            self.balance, margin.token.decimals, self.state.price, margin.price_decimals
        )

    @property
    def value(self) -> int:
        """After the haircut (Vault.sol, _getNonSettlementTokenValue)."""
        return mul_ratio(self.whole_value, self.state.collateral_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountData:
    """What the venue's getters answer, to the last unit."""

    account_value: int
    """ClearingHouse.getAccountValue: rounded down to the settlement token's unit."""
    exact_value: int
    """The same before it is rounded."""
    margin_requirement: int
    """AccountBalance.getMarginRequirementForLiquidation."""
    notional: int
    """AccountBalance.getTotalAbsPositionValue."""
    margin_value: int
    """All margin after haircuts, unrealised profit and loss left out."""
    settlement_value: int
    """With unrealised profit and loss; below zero it is the settlement debt."""
    holdings_value: int
    funding: int
    free_collateral: int
    """Vault.getFreeCollateral, in raw units of the settlement token."""
    health: Wad | None
    collateral_health: Wad | None
    """The second liquidation's: None where no margin token is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpPosition:
    """An account at `timestamp`, at the prices of the block it was read at.

    `health` is the lesser of two: account value over maintenance margin, and what keeps the margin
    tokens from being liquidated for a settlement debt. None without a position and without debt.
    """

    id: PositionId
    venue: PerpVenue
    timestamp: int
    terms: Terms
    balance: int
    """Raw units of the settlement token."""
    owed_pnl: int
    """Realised and not yet in the balance."""
    debt_threshold: int
    """Settlement debt in raw units above which margin tokens are liquidated in any case."""
    legs: tuple[Leg, ...]
    holdings: tuple[Holding, ...]
    """One per margin token that the venue's settings list, held or not."""
    wallet: int
    """Of the settlement token in the reserve."""
    allowance: int
    account: AccountData = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "account", account_data(self))

    @property
    def health(self) -> Wad | None:
        first, second = self.account.health, self.account.collateral_health
        if first is None or second is None:
            return second if first is None else first
        return min(first, second)

    @property
    def collateral_usd8(self) -> int:
        """The account's equity, 0 where it is gone."""
        return max(self.account.account_value, 0) // _USD8

    @property
    def debt_usd8(self) -> int:
        """The notional of all its positions: what a liquidation's penalty is a share of."""
        return self.account.notional // _USD8

    @property
    def leverage(self) -> Wad | None:
        """Notional over equity, rounded up; None where there is no equity."""
        equity = self.account.account_value
        return Wad(-(-self.account.notional * WAD // equity)) if equity > 0 else None

    @property
    def terms_shown(self) -> dict[str, float | None]:
        """Margin terms, as the field uses them."""
        data, leverage = self.account, self.leverage
        unit = self.venue.settlement.unit
        return {
            "notional_usd": data.notional / WAD18,
            "equity_usd": data.account_value / WAD18,
            "maintenance_margin_usd": data.margin_requirement / WAD18,
            "leverage": None if leverage is None else leverage / WAD18,
            "funding_owed_usd": data.funding / WAD18,
            "free_collateral_usd": data.free_collateral / unit,
            "margin_health": None if data.health is None else data.health / WAD18,
            "collateral_health": None
            if data.collateral_health is None
            else data.collateral_health / WAD18,
        }

    def accrued(self, timestamp: int) -> "PerpPosition":
        """The same account with funding until `timestamp`, at today's premium and prices. What it
        owes is rounded up, and what it would be paid is left out."""
        if timestamp == self.timestamp:
            return self
        elapsed = timestamp - self.timestamp
        if elapsed < 0:
            raise ValueError(f"{self.id}: no funding at {timestamp}, before {self.timestamp}")
        legs = tuple(
            replace(leg, funding=leg.funding + _funding_ahead(leg, elapsed)) for leg in self.legs
        )
        return replace(self, timestamp=timestamp, legs=legs)

    def leg(self, token: Address) -> Leg | None:
        """What it holds in the market of a base token."""
        return next((leg for leg in self.legs if leg.state.perp.token.address == token), None)


def _funding_ahead(leg: Leg, elapsed_s: int) -> int:
    owed = mul_div_to_zero(leg.size, leg.state.premium_x96 * elapsed_s, Q96)
    return div_to_zero(owed, PERIOD_S) + 1 if owed > 0 else 0


def account_data(position: PerpPosition) -> AccountData:
    """Vault.sol, _getAccountValueAndTotalCollateralValue and what stands on it."""
    terms, decimals = position.terms, position.venue.settlement.decimals
    funding = sum(leg.funding for leg in position.legs)
    settled = position.balance * 10 ** (18 - decimals) - funding + position.owed_pnl
    unrealised = sum(leg.value + leg.open_notional for leg in position.legs)
    holdings = sum(holding.value for holding in position.holdings)
    exact = settled + holdings + unrealised
    notional = sum(abs(leg.value) for leg in position.legs)
    margin_value = settled + holdings
    data = AccountData(
        account_value=to_settlement_down(exact, decimals) * 10 ** (18 - decimals),
        exact_value=exact,
        margin_requirement=mul_ratio(notional, terms.mm_ratio),
        notional=notional,
        margin_value=margin_value,
        settlement_value=settled + unrealised,
        holdings_value=holdings,
        funding=funding,
        free_collateral=to_settlement_down(
            max(free_margin(position, min(margin_value, exact), terms.im_ratio), 0), decimals
        ),
        health=None,
        collateral_health=None,
    )
    return replace(
        data,
        health=_margin_health(position, data),
        collateral_health=_collateral_health(position, data),
    )


def free_margin(position: PerpPosition, counted: int, ratio: int) -> int:
    """Vault.sol, _getFreeCollateralByRatio, with AccountBalance.sol, getTotalDebtValue: shorts owe
    base, whose value is truncated towards zero; longs owe quote. `counted` is the lesser of the
    margin with and without unrealised profit and loss."""
    return counted - mul_ratio(total_debt(position), ratio)


def total_debt(position: PerpPosition) -> int:
    """AccountBalance.sol, getTotalDebtValue."""
    base_debt = sum(leg.value for leg in position.legs if leg.size < 0)
    quote = sum(leg.open_notional for leg in position.legs)
    return -base_debt - min(quote, 0)


def _margin_health(position: PerpPosition, data: AccountData) -> Wad | None:
    """ClearingHouse.sol, _isLiquidatable: account value < margin requirement."""
    if not any(leg.counted for leg in position.legs):
        return None
    return _ratio(data.account_value, data.margin_requirement)


def _collateral_health(position: PerpPosition, data: AccountData) -> Wad | None:
    """Vault.sol, isLiquidatable: margin tokens are sold where the account value falls below a
    higher requirement, or the settlement debt above a share of them or above a threshold."""
    if not any(holding.balance for holding in position.holdings):
        return None
    terms, found = position.terms, []
    if data.notional or data.exact_value < 0:
        required = mul_ratio(data.notional, terms.mm_ratio + terms.mm_ratio_buffer)
        found.append(_ratio(data.exact_value, required))
    if (debt := max(-data.settlement_value, 0)) > 0:
        found.append(_ratio(mul_ratio(data.holdings_value, terms.debt_ratio), debt))
        in_units = to_settlement_down(debt, position.venue.settlement.decimals)
        if in_units > 0:
            found.append(_ratio(position.debt_threshold, in_units))
    return min(found, default=None)


def _ratio(covered: int, required: int) -> Wad:
    """covered / required rounded down, so that it is below 1 exactly where covered < required."""
    if required > 0:
        return Wad(covered * WAD // required)
    return Wad(0) if covered < required else Wad(10**9 * WAD)
