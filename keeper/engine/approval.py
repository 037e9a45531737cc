"""From plans to what may be sent: each simulated, compared with its prediction, and witnessed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from keeper.chain.prepare import NotPrepared, Prepared, Preparer, Proposal
from keeper.chain.transactions.manager import TransactionManager
from keeper.engine.decided import Decided
from keeper.engine.guarding import Guarding
from keeper.engine.outlook import Outlook
from keeper.engine.scribe import Scribe
from keeper.engine.thrift import Thrift
from keeper.engine.trial import MAX_OTHERS, Trial, judged, trials
from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.engine.witness import Witnesses
from keeper.model.units import Wei
from keeper.policy.consider import not_worth
from keeper.policy.plan import Plan, Refused

Approved = tuple[Decided, Prepared]

MOST_OTHERS = 30
"""Other ways that are simulated in one pass: a crash endangers many positions at once, and nodes bound
the requests of one POST, or take too long for it. The most endangered come first."""


class Approval:
    """The last word on every plan."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        markets: Mapping[str, WatchedMarket],
        preparer: Preparer,
        witnesses: Witnesses,
        transactions: TransactionManager,
        guarding: Guarding,
        scribe: Scribe,
        thrift: Thrift,
    ) -> None:
        self._watched = watched
        self._markets = markets
        self._preparer = preparer
        self._witnesses = witnesses
        self._transactions = transactions
        self._guarding = guarding
        self._scribe = scribe
        self._thrift = thrift

    async def approve(
        self, snapshot: Snapshot, outlook: Outlook, decided: Sequence[Decided]
    ) -> list[Approved]:
        """Simulate all plans in one round trip, with what may be done in their place; keep those
        whose result is the predicted one and which are worth what they cost."""
        trying: list[tuple[Decided, tuple[Trial, ...], list[Proposal]]] = []
        left = MOST_OTHERS
        for each in decided:
            with self._scribe.alone(each.row):
                if isinstance(each.plan, Refused):
                    if each.plan.not_worth:
                        self._thrift.found(each.row, each.plan.reason)
                    await self._scribe.refuse(snapshot, outlook, each, None, each.plan.reason)
                else:
                    market = self._markets[each.plan.action.position.market]
                    authority = self._guarding.authority(each.plan.action.position)
                    tries = trials(
                        each.plan,
                        market,
                        authority,
                        each.stake,
                        snapshot.head.number,
                        most_others=min(left, MAX_OTHERS),
                    )
                    left -= sum(trial.instead for trial in tries)
                    trying.append((each, tries, [trial.proposal for trial in tries]))
        if not trying:
            return []
        proposals = [proposal for *_, tried in trying for proposal in tried]
        left_wei = await self._transactions.gas_left_wei(each.signer for each in proposals)
        prepared_all, doubts = await asyncio.gather(
            self._preparer.prepare(proposals, snapshot.head, gas_left_wei=left_wei),
            self._witnesses.objections([tries[0] for _, tries, _ in trying], snapshot),
        )
        outcomes = iter(prepared_all)
        approved = []
        for (each, tries, _), doubt in zip(trying, doubts, strict=True):
            seen = [next(outcomes) for _ in tries]
            with self._scribe.alone(each.row):
                verdict, prepared = _judged(tries, seen, snapshot)
                if isinstance(verdict, Plan) and doubt is not None:
                    verdict = doubt
                if prepared is not None and _nonce_is_doubtful(prepared, snapshot):
                    verdict = "the nonce that it is simulated with is not the one read at its block"
                if prepared is not None and isinstance(verdict, Plan):
                    verdict = self._worth(each, verdict, prepared, snapshot)
                if prepared is not None and isinstance(verdict, Plan):
                    approved.append((replace(each, plan=verdict), prepared))
                else:
                    await self._scribe.refuse(snapshot, outlook, each, prepared, str(verdict))
        return approved

    def _worth(
        self, each: Decided, plan: Plan, prepared: Prepared, snapshot: Snapshot
    ) -> Plan | str:
        """The plan with the gas that the node measured, and a rollup's L1 fee, in its costs; or why
        it is not worth them."""
        per_gas_wei = snapshot.head.base_fee_wei + prepared.fees.priority_fee_wei
        gas_wei = Wei(sum(prepared.simulation.gas_used) * per_gas_wei + prepared.l1_fee_wei)
        costs = replace(plan.costs, gas_usd8=each.gas_price.worth_usd8(gas_wei))
        policy = self._watched[each.row].policy
        reason = not_worth(costs, each.loss_usd8, policy, plan.before.health)
        if reason is None:
            return replace(plan, costs=costs)
        self._thrift.found(each.row, reason)
        return reason


def _judged(
    tries: Sequence[Trial], seen: Sequence[Prepared | NotPrepared], snapshot: Snapshot
) -> tuple[Plan | str, Prepared | None]:
    """As `judged`. What is refused is so by one node's word, which nobody bears out: another is asked
    from the next block on, which may see it otherwise."""
    verdict, prepared = judged(tries, seen)
    reader = snapshot.reader
    if isinstance(verdict, str) and reader is not None and not reader.alone:
        reader.put_last()
    return verdict, prepared


def _nonce_is_doubtful(prepared: Prepared, snapshot: Snapshot) -> bool:
    """Whether it is another than the one that the other endpoints were asked to bear out."""
    read = snapshot.nonces.get(prepared.proposal.signer)
    return read is not None and read != prepared.chain_nonce
