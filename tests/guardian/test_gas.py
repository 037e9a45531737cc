"""Gas of the guardians' actions; what `make gas` prints."""

from keeper.devnet.chain import LocalChain
from keeper.devnet.perp_market import PerpMarket
from tests.guardian.gas import measure
from tests.guardian.gas_rows import table
from tests.guardian.perp_gas import measure_perp

GOAL = 1.25


def test_gas__of_every_aave_action__is_near_that_of_the_naked_calls(chain: LocalChain) -> None:
    """All checks are on. Adding and repaying pass the goal by what Aave takes to tell the health
    before and after, which the naked calls do not ask."""
    rows = measure(chain)
    for row in rows:
        asked = 0 if row.action.startswith("deleverage") else row.health
        assert row.guardian <= GOAL * row.naked + asked, table(rows)


def test_gas__of_every_perp_action__is_near_that_of_the_naked_calls(perp: PerpMarket) -> None:
    """But for what the venue takes to tell the health, which the naked calls do not ask: about half a
    million, since it settles and averages anew for every question."""
    rows = measure_perp(perp)
    assert [row.action for row in rows] == ["add_margin", "reduce_position", "move"]
    for row in rows:
        assert row.guardian <= GOAL * row.naked + row.health, table(rows)
