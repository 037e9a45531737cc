"""One account's position in an Aave 3.0 market, valued in the protocol's own exact integers.

Scaled balances, which change by events only, stand beside the reserves' indexes, which change with
time: `accrued` moves a position to another timestamp without reading anything.

Sources are named below `contracts/protocol` of @aave/core-v3 1.19.3.
"""

from dataclasses import dataclass, field, replace
from typing import Self

from keeper.model.units import Address, Amount, Bps, Ray, Wad
from keeper.model.values import PositionId
from keeper.protocols.aave_v3_market import AaveMarket
from keeper.protocols.aave_v3_math import (
    compounded_interest,
    percent_mul_half_up,
    ray_mul_half_up,
    wad_div_half_up,
)
from keeper.protocols.aave_v3_reserve import EModeCategory, ReserveState
from keeper.protocols.errors import UnreadablePositionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What an account has in one reserve that it borrows or uses as collateral."""

    state: ReserveState
    is_collateral: bool
    is_borrowed: bool
    collateral_scaled: int
    variable_debt_scaled: int
    stable_debt_principal: int
    stable_rate: Ray
    stable_updated_at: int
    wallet: int
    """The reserve: the token's balance of the account itself, or of whoever pays for it."""
    allowance: int
    """What may be taken of it: by the pool, or by the guardian that acts for the account."""
    collateral_allowance: int = 0
    """What a guardian may take of the aTokens."""

    def collateral(self, timestamp: int) -> int:
        """Units supplied (tokenization/AToken.sol, balanceOf)."""
        return ray_mul_half_up(self.collateral_scaled, self.state.normalized_income(timestamp))

    def variable_debt(self, timestamp: int) -> int:
        """tokenization/VariableDebtToken.sol, balanceOf."""
        return ray_mul_half_up(self.variable_debt_scaled, self.state.normalized_debt(timestamp))

    def stable_debt(self, timestamp: int) -> int:
        """tokenization/StableDebtToken.sol, balanceOf."""
        if self.stable_debt_principal == 0:
            return 0
        growth = compounded_interest(self.stable_rate, timestamp - self.stable_updated_at)
        return ray_mul_half_up(self.stable_debt_principal, growth)

    def debt(self, timestamp: int) -> int:
        return self.variable_debt(timestamp) + self.stable_debt(timestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountData:
    """What getUserAccountData answers, to the last unit, apart from the borrowing power."""

    collateral_usd8: int
    debt_usd8: int
    max_ltv: Bps
    """Value-weighted average, truncated."""
    liquidation_threshold: Bps
    """Value-weighted average, truncated."""
    health: Wad | None
    """None without debt, where the contract answers 2^256 − 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AavePosition:
    """A position at `timestamp`, at the prices of the block it was read at.

    Raises `UnreadablePositionError` if a price it needs is missing.
    """

    id: PositionId
    market: AaveMarket
    timestamp: int
    e_mode: EModeCategory | None
    """The efficiency mode the account is in, if a reserve belongs to it."""
    legs: tuple[Leg, ...]
    """Ordered as the pool iterates over them."""
    account: AccountData = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "account", account_data(self))

    @property
    def health(self) -> Wad | None:
        return self.account.health

    @property
    def collateral_usd8(self) -> int:
        return self.account.collateral_usd8

    @property
    def debt_usd8(self) -> int:
        return self.account.debt_usd8

    @property
    def collaterals(self) -> tuple[Amount, ...]:
        """What counts as collateral, token by token."""
        return tuple(
            Amount(raw=leg.collateral(self.timestamp), token=leg.state.reserve.token)
            for leg in self.legs
            if leg.is_collateral
        )

    @property
    def debts(self) -> tuple[Amount, ...]:
        """What is owed, stable and variable together, token by token."""
        return tuple(
            Amount(raw=leg.debt(self.timestamp), token=leg.state.reserve.token)
            for leg in self.legs
            if leg.is_borrowed
        )

    @property
    def terms_shown(self) -> dict[str, float | None]:
        """Nothing beside its collateral and debt."""
        return {}

    def accrued(self, timestamp: int) -> Self:
        """The same position with interest until `timestamp`, at unchanged prices and rates.

        Raises `ValueError` before the reserves' last update.
        """
        if timestamp == self.timestamp:
            return self
        latest = max((leg.state.updated_at for leg in self.legs), default=0)
        if timestamp < latest:
            raise ValueError(f"{self.id}: no interest at {timestamp}, before {latest}")
        return replace(self, timestamp=timestamp)

    def in_e_mode(self, leg: Leg) -> EModeCategory | None:
        """The efficiency mode that this leg is valued by (logic/EModeLogic.sol,
        isInEModeCategory)."""
        mode = self.e_mode
        same = mode is not None and mode.index == leg.state.configuration.e_mode_category
        return mode if same else None

    def price(self, leg: Leg) -> int:
        """USD with 8 decimals per whole token: the efficiency mode's own price where it has one."""
        mode = self.in_e_mode(leg)
        price = mode.price if mode is not None and mode.price != 0 else leg.state.price
        if price is None:
            symbol = leg.state.reserve.token.symbol
            raise UnreadablePositionError(self.id, f"the oracle has no price for {symbol}")
        return price


def account_data(position: AavePosition) -> AccountData:
    """logic/GenericLogic.sol, calculateUserAccountData: each leg's value is truncated, the average
    threshold is truncated to whole basis points, then percentMul and wadDiv round halves up.
    A reserve with max LTV 0 keeps it in an efficiency mode too.
    """
    if position.e_mode is not None and position.e_mode.price is None:
        reason = f"the oracle has no price for efficiency mode {position.e_mode.index}"
        raise UnreadablePositionError(position.id, reason)
    at = position.timestamp
    collateral = debt = weighted_ltv = weighted_threshold = 0
    for leg in position.legs:
        configuration, mode = leg.state.configuration, position.in_e_mode(leg)
        price, unit = position.price(leg), leg.state.reserve.token.unit
        if configuration.liquidation_threshold != 0 and leg.is_collateral:
            value = leg.collateral(at) * price // unit
            terms = mode or configuration
            collateral += value
            weighted_ltv += value * (terms.max_ltv if configuration.max_ltv else 0)
            weighted_threshold += value * terms.liquidation_threshold
        if leg.is_borrowed:
            debt += leg.debt(at) * price // unit
    threshold = weighted_threshold // collateral if collateral else 0
    covered = percent_mul_half_up(collateral, threshold)
    return AccountData(
        collateral_usd8=collateral,
        debt_usd8=debt,
        max_ltv=Bps(weighted_ltv // collateral if collateral else 0),
        liquidation_threshold=Bps(threshold),
        health=Wad(wad_div_half_up(covered, debt)) if debt else None,
    )


def exposure(position: AavePosition) -> frozenset[Address]:
    """What the position stands or falls with: its tokens, their feeds, and the market's contracts."""
    market, found = position.market, set[Address]()
    for leg in position.legs:
        reserve = leg.state.reserve
        found |= {
            reserve.token.address,
            reserve.price_source,
            reserve.a_token,
            reserve.variable_debt_token,
        }
    mode = position.e_mode
    sources = (each.price_source for each in market.categories if mode and each.index == mode.index)
    return frozenset(found | {market.pool, market.oracle} | {each for each in sources if each})


def deltas(position: AavePosition) -> dict[Address, float]:
    """By feed, collateral less debt in whole tokens."""
    at, found = position.timestamp, dict[Address, float]()
    for leg in position.legs:
        reserve, mode = leg.state.reserve, position.in_e_mode(leg)
        held = leg.collateral(at) if leg.is_collateral else 0
        owed = leg.debt(at) if leg.is_borrowed else 0
        own_price = mode is not None and mode.price != 0
        source = _mode_source(position, leg) if own_price else reserve.price_source
        found[source] = found.get(source, 0.0) + (held - owed) / reserve.token.unit
    return found


def _mode_source(position: AavePosition, leg: Leg) -> Address:
    """The feed of the efficiency mode's own price."""
    index = leg.state.configuration.e_mode_category
    sources = (each.price_source for each in position.market.categories if each.index == index)
    return next((each for each in sources if each), leg.state.reserve.price_source)


def matches(predicted: AavePosition, reread: AavePosition) -> tuple[str, ...]:
    """Where a prediction and the state read at the same block differ; empty if they agree.

    Compared to the last unit: health, values, the bits and balances the pool holds for the
    account. The wallet is left out, since others may pay into it.
    """
    differences = [
        f"{what}: predicted {expected}, read {found}"
        for what, expected, found in (
            ("timestamp", predicted.timestamp, reread.timestamp),
            ("health", predicted.health, reread.health),
            ("collateral_usd8", predicted.collateral_usd8, reread.collateral_usd8),
            ("debt_usd8", predicted.debt_usd8, reread.debt_usd8),
            ("e_mode", predicted.e_mode, reread.e_mode),
        )
        if expected != found
    ]
    expected_legs, found_legs = _balances(predicted), _balances(reread)
    for symbol in sorted(expected_legs.keys() | found_legs.keys()):
        expected_leg, found_leg = expected_legs.get(symbol), found_legs.get(symbol)
        if expected_leg != found_leg:
            differences.append(f"{symbol}: predicted {expected_leg}, read {found_leg}")
    return tuple(differences)


def _balances(position: AavePosition) -> dict[str, tuple[int, ...]]:
    return {
        f"{leg.state.reserve.token.symbol} ({leg.state.reserve.index})": (
            leg.is_collateral,
            leg.is_borrowed,
            leg.collateral_scaled,
            leg.variable_debt_scaled,
            leg.stable_debt_principal,
            leg.stable_rate,
            leg.stable_updated_at,
        )
        for leg in position.legs
    }
