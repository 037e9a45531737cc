"""One reserve of an Aave 3.0 pool at one block, and how it grows until the next update.

Sources are named below `contracts/protocol/libraries` of @aave/core-v3 1.19.3.
"""

from dataclasses import dataclass

from keeper.model.units import Address, Bps, Ray, Token
from keeper.protocols.aave_v3_math import (
    compounded_interest,
    linear_interest,
    percent_mul_half_up,
    ray_div_half_up,
    ray_mul_half_up,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """What does not change from block to block."""

    index: int
    """Its place in the pool's list and in the users' bitmaps."""
    token: Token
    a_token: Address
    stable_debt_token: Address
    variable_debt_token: Address
    price_source: Address
    """The feed behind its price; the oracle's fallback has the zero address."""


@dataclass(frozen=True, slots=True)
class ReserveConfiguration:
    """The reserve's parameters, packed in a word (types/DataTypes.sol, ReserveConfigurationMap)."""

    word: int

    def _bits(self, start: int, width: int) -> int:
        return (self.word >> start) & ((1 << width) - 1)

    @property
    def max_ltv(self) -> Bps:
        return Bps(self._bits(0, 16))

    @property
    def liquidation_threshold(self) -> Bps:
        return Bps(self._bits(16, 16))

    @property
    def liquidation_bonus(self) -> Bps:
        """What a liquidator receives per debt repaid: 10500 is a penalty of 5 %."""
        return Bps(self._bits(32, 16))

    @property
    def active(self) -> bool:
        return bool(self._bits(56, 1))

    @property
    def frozen(self) -> bool:
        return bool(self._bits(57, 1))

    @property
    def paused(self) -> bool:
        return bool(self._bits(60, 1))

    @property
    def reserve_factor(self) -> Bps:
        return Bps(self._bits(64, 16))

    @property
    def supply_cap_tokens(self) -> int:
        """In whole tokens; 0 means no cap."""
        return self._bits(116, 36)

    @property
    def e_mode_category(self) -> int:
        return self._bits(168, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveState:
    """A reserve as stored at its last update, and the oracle's price now."""

    reserve: Reserve
    configuration: ReserveConfiguration
    price: int | None
    """USD with 8 decimals per whole token; None where the oracle reverts."""
    liquidity_index: Ray
    liquidity_rate: Ray
    variable_index: Ray
    variable_rate: Ray
    updated_at: int
    accrued_to_treasury_scaled: int
    supplied_scaled: int
    variable_debt_scaled: int
    stable_debt_principal: int
    average_stable_rate: Ray
    stable_updated_at: int

    def normalized_income(self, timestamp: int) -> Ray:
        """Units supplied per scaled unit (logic/ReserveLogic.sol, getNormalizedIncome)."""
        growth = linear_interest(self.liquidity_rate, timestamp - self.updated_at)
        return Ray(ray_mul_half_up(growth, self.liquidity_index))

    def normalized_debt(self, timestamp: int) -> Ray:
        """Units owed per scaled unit (logic/ReserveLogic.sol, getNormalizedDebt)."""
        growth = compounded_interest(self.variable_rate, timestamp - self.updated_at)
        return Ray(ray_mul_half_up(growth, self.variable_index))

    def supply_headroom(self, timestamp: int) -> int | None:
        """The most that one supply may add at `timestamp`; None without a cap.

        logic/ValidationLogic.sol, validateSupply: the cap counts what the treasury is owed, which
        updateState has brought up to date by then.
        """
        cap = self.configuration.supply_cap_tokens * self.reserve.token.unit
        if cap == 0:
            return None
        scaled = self.supplied_scaled + self._accrued_to_treasury_scaled(timestamp)
        return max(cap - ray_mul_half_up(scaled, self.normalized_income(timestamp)), 0)

    def _accrued_to_treasury_scaled(self, timestamp: int) -> int:
        """logic/ReserveLogic.sol, updateState with _accrueToTreasury; the variable index grows
        only while someone owes at it (_updateIndexes)."""
        if timestamp == self.updated_at or self.configuration.reserve_factor == 0:
            return self.accrued_to_treasury_scaled
        variable_interest = ray_mul_half_up(
            self.variable_debt_scaled, self.normalized_debt(timestamp)
        ) - ray_mul_half_up(self.variable_debt_scaled, self.variable_index)
        stable_interest = self._stable_debt(timestamp) - self._stable_debt(self.updated_at)
        owed = percent_mul_half_up(
            variable_interest + stable_interest, self.configuration.reserve_factor
        )
        return self.accrued_to_treasury_scaled + ray_div_half_up(
            owed, self.normalized_income(timestamp)
        )

    def _stable_debt(self, timestamp: int) -> int:
        """tokenization/StableDebtToken.sol, _calcTotalSupply."""
        growth = compounded_interest(self.average_stable_rate, timestamp - self.stable_updated_at)
        return ray_mul_half_up(self.stable_debt_principal, growth)


@dataclass(frozen=True, slots=True, kw_only=True)
class EModeCategory:
    """An efficiency mode's parameters and price at one block."""

    index: int
    max_ltv: Bps
    liquidation_threshold: Bps
    liquidation_bonus: Bps
    price: int | None
    """What its assets are valued at for its users; 0: each at its own price; None: the oracle
    reverts."""
