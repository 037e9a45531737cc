"""From the rows that act to a plan or a refusal for each, and who takes of a reserve first."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import nan

import structlog

from keeper.chain.settings import FeeSettings
from keeper.chain.transactions.manager import TransactionManager
from keeper.chain.transactions.seams import Stake
from keeper.engine.case import Case, plan_for
from keeper.engine.decided import Decided
from keeper.engine.guarding import Guarding
from keeper.engine.outlook import Outlook
from keeper.engine.reserves import Drawn, Reserves, Turn, holder_of
from keeper.engine.scribe import Scribe
from keeper.engine.stakes import stake_of
from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.model.lifecycle import Urgency
from keeper.model.reading import ReadingError
from keeper.model.units import WAD, Address, Amount, Wad, Wei
from keeper.model.values import Cause, Head, Own, PositionId, PositionState
from keeper.model.wishes import Wish
from keeper.policy.costs import GasPrice
from keeper.policy.decide import Decisions
from keeper.policy.plan import DAY_S, Plan, Refused, surviving_health
from keeper.policy.size import comparable
from keeper.policy.threat import Threat
from keeper.policy.turns import Claim, in_turn, short_of
from keeper.storage.store import Store

log = structlog.get_logger()

MARGIN_S = 600
"""A plan is sized and simulated this long after its head: interest until inclusion then cannot
leave it short of its target. At 10 % a year it costs 2 millionths of the debt."""

RESPONSE_S = MARGIN_S
"""Within it an action must have had its effect, or another one have followed."""

OWNER: Cause = "owner"
Quarantine = Callable[[PositionId], Awaitable[str | None]]
"""Why a position is to be left alone for now; None if it may be acted for."""


async def none_quarantined(_: PositionId) -> str | None:
    """Every position may be acted for."""
    return None


class Planner:
    """Plans for one chain's positions. Remembers when each was acted for last, and what is promised
    of their reserves."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        rows: Mapping[PositionId, int],
        markets: Mapping[str, WatchedMarket],
        guarding: Guarding,
        transactions: TransactionManager,
        scribe: Scribe,
        store: Store,
        fees: FeeSettings,
        wrapped_native: Address | None,
        quarantine: Quarantine,
    ) -> None:
        self._watched = watched
        self._rows = rows
        self._markets = markets
        self._guarding = guarding
        self._transactions = transactions
        self._scribe = scribe
        self._store = store
        self._fees = fees
        self._wrapped_native = wrapped_native
        self._quarantine = quarantine
        self._reserves = Reserves(watched, transactions)
        self._acted_at: dict[PositionId, int] = {}

    async def begin(self, chain_id: int) -> None:
        """Take over what an earlier run did."""
        self._acted_at = await self._store.run(self._store.tallies.acted_at, chain_id)

    def sent(self, plan: Plan, head: Head) -> None:
        """A plan is on its way."""
        self._acted_at[plan.action.position] = head.timestamp
        self._reserves.promise(plan.action)

    async def plan_all(
        self,
        snapshot: Snapshot,
        outlook: Outlook,
        decisions: Decisions,
        wishes: Mapping[int, Wish],
    ) -> list[Decided]:
        """A plan or a refusal for each row that acts, the most endangered first; one plan for each
        account, whose wallet serves one at a time. `wishes`: of owners, by row."""
        cases: list[Case] = []
        planned: dict[int, Plan | Refused] = {}
        drawn = self._reserves.drawn()
        acting: dict[int, Cause] = {**dict(decisions.acting()), **dict.fromkeys(wishes, OWNER)}
        for row, cause in sorted(acting.items(), key=lambda act: _danger(snapshot, act[0])):
            with self._scribe.alone(row):
                case = await self._case(snapshot, outlook, row, cause, wishes.get(row))
                if case is not None:
                    planned[row] = plan_for(case, self._guarding, drawn)
                    cases.append(case)
        order, turns = self._take_turns(cases, planned, drawn)
        decided: list[Decided] = []
        accounts: set[Address] = set()
        for case in order:
            account = case.watched.id.account
            if account not in accounts:
                found = planned[case.row]
                decided.append(self._decided(case, found, turns.get(case.row)))
                if isinstance(found, Plan):
                    accounts.add(account)
        return decided

    def stake_of(self, snapshot: Snapshot, outlook: Outlook, position: PositionId) -> Stake | None:
        """How a position stands; None where it is not watched any more or cannot be read."""
        row = self._rows.get(position)
        read = None if row is None else snapshot.positions[row]
        if row is None or read is None or isinstance(read, ReadingError):
            return None
        return stake_of(
            read,
            policy=self._watched[row].policy,
            terms=self._markets[position.market].adapter.liquidation_terms(read),
            breach_probability=float(outlook.forecast.probability[row]),
            native=snapshot.price(self._wrapped_native),
            share=self._fees.max_share_of_loss,
        )

    async def _case(
        self,
        snapshot: Snapshot,
        outlook: Outlook,
        row: int,
        cause: Cause,
        wish: Wish | None,
    ) -> Case | None:
        """None where nothing is to be planned now."""
        watched, head = self._watched[row], snapshot.head
        stake, read = self.stake_of(snapshot, outlook, watched.id), snapshot.positions[row]
        if stake is None or isinstance(read, ReadingError):
            return None
        if self._transactions.busy(watched.id, stake.urgency):
            return None
        charter = self._guarding.known(watched.id)
        mandate = None if charter is None else charter.mandate
        if self._transactions.recovering(mandate.keeper if mandate else watched.id.account):
            return None
        routine = stake.urgency is Urgency.ROUTINE and wish is None
        if routine and (left_s := self._cooling_s(watched, head)) > 0:
            self._scribe.note(row, f"cooling down for {left_s} s after the last action (cooldown)")
            return None
        adapter = self._markets[watched.id.market].adapter
        horizon_s = watched.policy.horizon_s
        return Case(
            row=row,
            watched=watched,
            position=read.accrued(head.timestamp + MARGIN_S),
            cause=cause,
            adapter=adapter,
            head=head,
            stake=stake,
            threat=Threat(
                # What is wished is done at once, not in slices.
                urgency=stake.urgency if wish is None else Urgency.URGENT,
                terms=adapter.liquidation_terms,
                chances=lambda healths: _chances(outlook, row, read, healths, horizon_s),
            ),
            gas_price=GasPrice(
                fee_wei=Wei(head.base_fee_wei + self._fees.min_priority_fee_wei),
                native=snapshot.price(self._wrapped_native),
            ),
            moved_today_usd8=await self._store.run(
                self._store.journal.moved_usd8_since, watched.id, head.timestamp - DAY_S
            ),
            surviving=surviving_health(
                float(outlook.forecast.volatility_per_year[row]),
                RESPONSE_S,
                outlook.perp_of(row, read),
            )
            if wish is None
            else Wad(WAD),
            wish=wish,
            swaps_blocked=snapshot.swaps_blocked.get(watched.id),
            quarantined=await self._quarantine(watched.id),
        )

    def _cooling_s(self, watched: Watched, head: Head) -> int:
        acted_at = self._acted_at.get(watched.id)
        return 0 if acted_at is None else acted_at + watched.policy.cooldown_s - head.timestamp

    def _take_turns(
        self, cases: Sequence[Case], planned: dict[int, Plan | Refused], drawn: Drawn
    ) -> tuple[list[Case], dict[int, Turn]]:
        """Where a reserve cannot save all that claim it, plan anew for each in its turn, with what
        those before it leave. The order in which all are to be acted for, and those turns."""
        of_position = {case.watched.id: case for case in cases}
        claims = [
            claim for case in cases if (claim := _claim(case, planned[case.row], drawn)) is not None
        ]
        short = short_of(claims)
        contested = in_turn([claim for claim in claims if claim.holder in short])
        if not contested:
            return list(cases), {}
        taken, turns = dict(drawn), {}
        for claim in contested:
            case = of_position[claim.position]
            key = (claim.holder, claim.amount.token.address)
            others = [each for each in contested if each.holder == claim.holder]
            left = claim.held.raw - taken.get(key, 0) + drawn.get(key, 0)
            turns[case.row] = Turn(
                holder=claim.holder,
                order=tuple(of_position[each.position].watched.label for each in others),
                left=Amount(raw=max(left, 0), token=claim.amount.token),
            )
            del planned[case.row]
            with self._scribe.alone(case.row):
                found = planned[case.row] = plan_for(case, self._guarding, taken)
                if isinstance(found, Plan) and not isinstance(found.action, Own):
                    paid = (claim.holder, found.action.amount.token.address)
                    taken[paid] = taken.get(paid, 0) + found.action.amount.raw
        first = [of_position[claim.position] for claim in contested]
        order = [*first, *(case for case in cases if case.row not in turns)]
        return [case for case in order if case.row in planned], turns

    def _decided(self, case: Case, found: Plan | Refused, turn: Turn | None) -> Decided:
        (expected,) = case.threat.expected_losses_usd8([case.position])
        return Decided(
            row=case.row,
            plan=found,
            moved_today_usd8=case.moved_today_usd8,
            stake=case.stake,
            gas_price=case.gas_price,
            loss_usd8=case.threat.loss_usd8(case.position),
            expected_loss_usd8=expected,
            turn=turn,
            charter=self._guarding.known(case.watched.id),
        )


def _chances(
    outlook: Outlook,
    row: int,
    position: PositionState,
    healths: Sequence[Wad | None],
    horizon_s: int,
) -> list[float]:
    try:
        return outlook.chances(row, position, healths, horizon_s)
    except Exception:
        # They rank what can be done: whatever breaks them must not stop it.
        log.exception("forecast.failed", row=row)
        return [nan] * len(healths)


def _danger(snapshot: Snapshot, row: int) -> int:
    position = snapshot.positions[row]
    return comparable(None if isinstance(position, ReadingError) else position.health)


def _claim(case: Case, found: Plan | Refused, drawn: Drawn) -> Claim | None:
    """What a plan would take of a reserve; None where it takes nothing."""
    if isinstance(found, Refused) or isinstance(found.action, Own):
        return None
    holder, token = holder_of(case.watched), found.action.amount.token
    held = next(
        option.held.raw for option in case.adapter.options(case.position) if option.token == token
    )
    (before,) = case.threat.expected_losses_usd8([case.position])
    # Without a forecast a position that acts is taken for lost.
    feared = case.threat.loss_usd8(case.position) if before is None else before
    return Claim(
        position=case.watched.id,
        holder=holder,
        amount=found.action.amount,
        held=Amount(raw=held - drawn.get((holder, token.address), 0), token=token),
        moved_usd8=found.moved_usd8,
        spared_usd8=feared - (found.costs.loss_left_usd8 or 0),
    )
