"""What is to be done about one row, on its way from its plan to the journal."""

from dataclasses import dataclass

from keeper.chain.transactions.seams import Stake
from keeper.engine.reserves import Turn
from keeper.mandate.charter import Charter
from keeper.policy.costs import GasPrice
from keeper.policy.plan import Plan, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A plan or a refusal, with what it was weighed against."""

    row: int
    plan: Plan | Refused
    moved_today_usd8: int
    stake: Stake
    gas_price: GasPrice
    loss_usd8: int
    """What one liquidation would take as the position stands."""
    expected_loss_usd8: int | None
    """That × how likely it is within the horizon; None without a forecast."""
    turn: Turn | None = None
    """Its place at a reserve that cannot save all."""
    charter: Charter | None = None
    """What the account's guardian said, if it has one that answered."""
