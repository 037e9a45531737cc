"""From a plan to the transactions that are tried, and the verdict on what the node saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from keeper.chain.prepare import NotPrepared, Prepared, Proposal
from keeper.chain.simulate import Simulation, SimulationFailedError
from keeper.chain.transactions.seams import Stake
from keeper.engine.watch import WatchedMarket
from keeper.mandate import direct, guardian
from keeper.mandate.guardian import Guard, returned
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.model.values import Action, Own, ReducePosition, Reduction, Transaction
from keeper.policy.costs import Costs, reduction_costs
from keeper.policy.plan import Plan
from keeper.policy.size import comparable

log = structlog.get_logger()


MAX_OTHERS = 5
"""Other ways that are simulated beside a plan: each is a request of the same POST."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """By what right an account's guardian acts."""

    guard: Guard
    keeper: Address
    mandate_hash: bytes
    refusal: Callable[[bytes], str | None]
    """A guardian's revert in words; None if it is not a guardian's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One action of a plan, to be tried."""

    plan: Plan
    market: WatchedMarket
    authority: Authority | None
    """None: the account acts itself."""
    stake: Stake
    instead: bool = False
    """Another way than the plan's own, tried with it because a node may refuse that one."""

    @property
    def proposal(self) -> Proposal:
        """Its transactions, and the calls that re-read the account."""
        action, authority = self.plan.action, self.authority
        account = action.position.account
        if authority is not None:
            signer = authority.keeper
            call = guardian.transaction(authority.guard, authority.mandate_hash, action)
            transactions: tuple[Transaction, ...] = (call,)
        elif isinstance(action, Own):
            raise ValueError(f"{account} has no guardian: nobody may sell or move what it holds")
        else:
            signer = account
            transactions = direct.transactions(self.market.adapter.encode(action, self.plan.before))
        return Proposal(
            position=action.position,
            signer=signer,
            transactions=transactions,
            reads=self.market.reread_calls(account),
            urgency=self.stake.urgency,
            worth_wei=self.stake.worth_wei,
        )

    def verdict(self, outcome: Prepared | NotPrepared) -> Plan | str:
        """The plan with what the node saw come of it; or why it may not be sent: only what is
        exactly predicted, and better than before, is."""
        if isinstance(outcome, SimulationFailedError):
            return f"{outcome.purpose} would revert: {self._words(outcome.output)}"
        if not isinstance(outcome, Prepared):
            return str(outcome)
        account, simulated = self.plan.action.position.account, outcome.simulation
        adapter = self.market.adapter
        try:
            done = self._done(simulated)
            after = self.market.reread(account, simulated.reread, simulated.timestamp)
            reread = after.position(account)
        except (ReadingError, ValueError) as error:
            return f"the simulated position cannot be read: {error}"
        start = after.revalued(self.plan.before)
        predicted = adapter.predict(done, start, simulated.timestamp)
        differences = adapter.matches(predicted, reread)
        if differences:
            return "the simulation differs from the prediction: " + "; ".join(differences)
        if comparable(reread.health) <= comparable(start.health):
            return "the simulation does not improve health"
        if self.authority is None:
            return self.plan
        costs = self._costs(done, adapter.reductions(start))
        return replace(self.plan, predicted=predicted, costs=costs)

    def _costs(self, done: Action, reductions: Sequence[Reduction]) -> Costs:
        """Of a perp made smaller, what was lost at the very quote that the node saw."""
        costs = self.plan.costs
        if not isinstance(done, ReducePosition):
            return costs
        traded = next(each for each in reductions if each.token == done.amount.token)
        lost = reduction_costs(done, traded, costs.gas_usd8)
        return replace(costs, price_impact_usd8=lost.price_impact_usd8)

    def _done(self, simulated: Simulation) -> Action:
        action = self.plan.action
        return action if self.authority is None else returned(action, simulated.returned[-1])

    def _words(self, revert: bytes) -> str:
        own = None if self.authority is None else self.authority.refusal(revert)
        return own or self.market.adapter.decode_error(revert)


def trials(
    plan: Plan,
    market: WatchedMarket,
    authority: Authority | None,
    stake: Stake,
    block: int,
    *,
    most_others: int = MAX_OTHERS,
) -> tuple[Trial, ...]:
    """The plan, smaller ones, then other ways, all to be tried in one round trip. Of more other ways
    than `most_others` each block tries the next ones, so that none is left out for ever."""
    one = Trial(plan=plan, market=market, authority=authority, stake=stake)
    smaller = (replace(one, plan=replace(plan, action=action)) for action in plan.smaller)
    others = (
        replace(one, plan=other, instead=True)
        for other in _in_turn(plan.others, block, most_others)
    )
    return (one, *smaller, *others)


def _in_turn(others: tuple[Plan, ...], block: int, most: int) -> tuple[Plan, ...]:
    if len(others) <= most:
        return others
    start = block * most % len(others)
    return (others[start:] + others[:start])[:most]


def judged(
    tries: Sequence[Trial], outcomes: Sequence[Prepared | NotPrepared]
) -> tuple[Plan | str, Prepared | None]:
    """The first that may be sent, with what the node prepared; else what is against the first, and
    against each other way, in words. Another way is taken only where the node refuses the plan: where
    it does something else than predicted, the market is not understood, and nothing is sent."""
    if isinstance(outcomes[0], Prepared):
        tries = [trial for trial in tries if not trial.instead]
        outcomes = outcomes[: len(tries)]
    verdicts = [trial.verdict(outcome) for trial, outcome in zip(tries, outcomes, strict=True)]
    place = next((n for n, verdict in enumerate(verdicts) if isinstance(verdict, Plan)), 0)
    outcome = outcomes[place]
    prepared = outcome if isinstance(outcome, Prepared) else None
    first, refused = verdicts[place], against(tries, verdicts)
    if isinstance(first, Plan):
        if place > 0:
            log.warning(
                "plan.passed_over",
                refused=refused,
                instead=f"{type(first.action).__name__} {first.action.amount}",
                account=first.action.position.account,
            )
        return first, prepared
    return refused, prepared


def against(tries: Sequence[Trial], verdicts: Sequence[Plan | str]) -> str:
    """What was refused before the first that may be sent: the plan, and other ways with their names."""
    reasons: list[str] = []
    for trial, verdict in zip(tries, verdicts, strict=True):
        if isinstance(verdict, Plan):
            break
        if not reasons:
            reasons.append(verdict)
        elif trial.instead:
            action = trial.plan.action
            reasons.append(f"instead {type(action).__name__} {action.amount}: {verdict}")
    return "; ".join(reasons)
