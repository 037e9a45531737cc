"""From a plan to the transactions that are tried, and the verdict on what the node saw."""

from keeper.chain.prepare import NotPrepared, Prepared, Proposal
from keeper.chain.simulate import SimulationFailedError
from keeper.engine.watch import WatchedMarket
from keeper.mandate import direct
from keeper.model.reading import ReadingError
from keeper.model.values import Deleverage
from keeper.policy.plan import Plan
from keeper.policy.size import comparable


def proposal(plan: Plan, market: WatchedMarket) -> Proposal:
    """The plan as its account's own transactions, and the calls that re-read the account."""
    account = plan.action.position.account
    if isinstance(plan.action, Deleverage):
        raise ValueError(f"{account} has no guardian: nobody may sell its collateral")  # noqa: TRY004 - a wrong value of a right type
    return Proposal(
        position=plan.action.position,
        # In direct mode the account protects itself: its own key signs.
        signer=account,
        transactions=direct.transactions(market.adapter.encode(plan.action, plan.before)),
        reads=market.reread_calls(account),
    )


def objection(plan: Plan, outcome: Prepared | NotPrepared, market: WatchedMarket) -> str | None:
    """Why the plan may not be sent; None if the node saw exactly what was predicted, and better
    health than before."""
    if isinstance(outcome, SimulationFailedError):
        return f"{outcome.purpose} would revert: {market.adapter.decode_error(outcome.output)}"
    if not isinstance(outcome, Prepared):
        return str(outcome)
    account, simulated = plan.action.position.account, outcome.simulation
    try:
        after = market.reread(account, simulated.reread, simulated.timestamp)
        reread = after.position(account)
    except ReadingError as error:
        return f"the simulated position cannot be read: {error}"
    start = after.revalued(plan.before)
    predicted = market.adapter.predict(plan.action, start, simulated.timestamp)
    differences = market.adapter.matches(predicted, reread)
    if differences:
        return "the simulation differs from the prediction: " + "; ".join(differences)
    if comparable(reread.health) <= comparable(start.health):
        return "the simulation does not improve health"
    return None
