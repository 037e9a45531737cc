"""A mandate: what an owner allows a keeper, as the owner's guardian holds it.

The contract's own page, contracts_abi/guardian/README.md, explains each field.
"""

from dataclasses import dataclass

from keeper.model.units import WAD, Address, Bps, Wad

NOBODY = Address("0x0000000000000000000000000000000000000000")
MAX_COLLATERALS, MAX_POOLS, MAX_HOPS = 4, 8, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """The contract's `Mandate`, field by field in its order. `NOBODY` stands for none."""

    keeper: Address
    freezer: Address
    reserve: Address
    max_health_to_act: Wad
    target: Wad
    emergency_health: Wad
    emergency_outlives_expiry: bool
    slippage_calm_bps: Bps
    slippage_urgent_bps: Bps
    limit_max: int
    """In the market's base currency, as all values here."""
    limit_per_second: int
    min_action: int
    cooldown_s: int
    expiry: int
    max_hops: int
    collaterals: tuple[Address, ...]
    """Without the zeros that fill the contract's array, as the two below."""
    pools: tuple[Address, ...]
    emergency_collateral: Address
    emergency_debt: Address
    emergency_route: tuple[Address, ...]

    def slippage_bps(self, health: Wad) -> Bps:
        """What a swap may lose against the oracle: rises linearly from calm at `max_health_to_act`
        to urgent at health 1, rounded down as by the contract."""
        span = self.max_health_to_act - WAD
        depth = min(self.max_health_to_act - min(health, self.max_health_to_act), span)
        rise = self.slippage_urgent_bps - self.slippage_calm_bps
        return Bps(self.slippage_calm_bps + rise * depth // span)
