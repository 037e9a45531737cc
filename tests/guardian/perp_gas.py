"""Gas of each action through the perp guardian, beside the naked calls of the venue."""

from collections.abc import Sequence
from typing import Any, Final

from keeper.devnet.perp_market import PerpMarket
from keeper.model.units import WAD
from tests.guardian.gas_rows import Naked, Row, measured
from tests.guardian.ground import USDC
from tests.guardian.perp_ground import Lending, perp_ground

START: Final = 2_281.37
READ_ACCOUNT: Final = (
    "0x5ae80951",  # ClearingHouse.getAccountValue(address)
    "0xf75c266d",  # AccountBalance.getMarginRequirementForLiquidation(address)
    "0xa8549402",  # ClearingHouseConfig.getMmRatio()
    "0xed903f7a",  # Vault.getCollateralTokens(address)
)


READ_LOAN: Final = "0xbf92857c"
"""Pool.getUserAccountData(address) of Aave."""
FLOOR: Final = 160 * WAD // 100


def measure_perp(perp: PerpMarket) -> tuple[Row, ...]:
    """One row per action, for 4.33 ether long on 1,000 dollars at health 1.15."""
    born = perp.chain.snapshot()
    made = perp_ground(perp)
    made.fund(1_000 * USDC)
    made.move(START * 0.968)
    state = perp.chain.snapshot()

    def added(moved: dict[str, Any]) -> Sequence[Naked]:
        vault, amount = perp.perp.vault, moved["amount"]
        return (
            (made.usdc, "approve", (vault.address, amount)),
            (vault, "depositFor", (made.owner, made.usdc.address, amount)),
        )

    def reduced(moved: dict[str, Any]) -> Sequence[Naked]:
        order = perp.order("vETH", amount=-moved["size"], in_base=True)
        return ((perp.perp.clearing_house, "openPosition", (order,)),)

    def brought(moved: dict[str, Any]) -> Sequence[Naked]:
        withdrawn = (made.usdc.address, moved["amount"], made.owner)
        return ((made.chain.contracts.aave.pool, "withdraw", withdrawn), *added(moved))

    rows = [measured(made, "add_margin", made.add(), added, READ_ACCOUNT)]
    perp.chain.revert(state)
    state = perp.chain.snapshot()
    rows.append(measured(made, "reduce_position", made.reduce(), reduced, READ_ACCOUNT))
    perp.chain.revert(state)
    Lending(made, 5_000 * USDC, WAD).allow(FLOOR)
    both = (*READ_ACCOUNT, READ_LOAN)
    rows.append(measured(made, "move", made.bring(), brought, both))
    perp.chain.revert(born)
    return tuple(rows)
