"""Gas of the guardian's actions; what `make gas` prints."""

from keeper.devnet.chain import LocalChain
from tests.guardian.gas import measure, table

GOAL = 1.25


def test_gas__of_every_action__is_near_that_of_the_naked_calls(chain: LocalChain) -> None:
    """All checks are on. Adding and repaying pass the goal by what Aave takes to tell the health
    before and after, which the naked calls do not ask."""
    rows = measure(chain)
    for row in rows:
        asked = 0 if row.action.startswith("deleverage") else row.health
        assert row.guardian <= GOAL * row.naked + asked, table(rows)
