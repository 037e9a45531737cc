"""One block, one pass: read, forecast, decide, plan, try, journal, send, re-read.

    Head ─read at head.hash→ Snapshot → Forecast → Decision ─quotes→ Plan → Approved | Refused
         ─simulate→ journal INTENT ─send→ Receipt ─re-read→ Outcome → journal RESULT

`Engine.run_pass` tells it line by line and knows no protocol by name.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import structlog

from keeper.chain.market_prices import MarketPrices
from keeper.chain.prepare import Prepared, Preparer, Proposal
from keeper.chain.prices import FeedPrices
from keeper.chain.reader import Reader, RefusedReadingError
from keeper.chain.rpc import EndpointUnavailableError
from keeper.chain.settings import FeeSettings
from keeper.chain.transactions.accounts import SignerAccounts
from keeper.chain.transactions.manager import Settled, TransactionManager
from keeper.chain.transactions.seams import Stake
from keeper.engine.calibrator import Calibrator
from keeper.engine.caution import Caution
from keeper.engine.crosscheck import CrossCheck
from keeper.engine.guarding import Guarding
from keeper.engine.outcome import Outcomes
from keeper.engine.outlook import Outlook, look_ahead, nothing_known
from keeper.engine.planning import plan_for
from keeper.engine.records import described, shown
from keeper.engine.reporting import PassReport, pass_report
from keeper.engine.scribe import Decided, Scribe
from keeper.engine.stakes import stake_of
from keeper.engine.trial import Trial, judged, trials
from keeper.engine.watch import Snapshot, Watched, WatchedMarket, assemble
from keeper.engine.witness import Witnesses
from keeper.forecast.oracle_state import MarketPrice
from keeper.model.book import Floats
from keeper.model.errors import ConfigurationError
from keeper.model.reading import ReadingError
from keeper.model.records import DRY_RUN, ApprovedAction
from keeper.model.units import Address
from keeper.model.values import Cause, Head, PositionId
from keeper.policy.costs import GasPrice
from keeper.policy.decide import Decisions, Triggers, decide, disarm, floats_from_healths
from keeper.policy.plan import DAY_S, Plan, Refused, surviving_health
from keeper.policy.size import comparable
from keeper.storage.store import Store

log = structlog.get_logger()

MARGIN_S = 600
"""A plan is sized and simulated this long after its head: interest until inclusion then cannot
leave it short of its target. At 10 % a year it costs 2 millionths of the debt."""

RESPONSE_S = MARGIN_S
"""Within it an action must have had its effect, or another one have followed."""


Quarantine = Callable[[PositionId], Awaitable[str | None]]
"""Why a position is to be left alone for now; None if it may be acted for."""


async def none_quarantined(_: PositionId) -> str | None:
    """Every position may be acted for."""
    return None


class Engine:
    """Protects the watched positions of one chain, one pass per head."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        markets: Sequence[WatchedMarket],
        reader: Reader,
        prices: FeedPrices,
        market_prices: MarketPrices,
        calibrator: Calibrator,
        preparer: Preparer,
        witnesses: Witnesses,
        crosscheck: CrossCheck,
        transactions: TransactionManager,
        accounts: SignerAccounts,
        guarding: Guarding,
        caution: Caution,
        store: Store,
        fees: FeeSettings,
        live: bool,
        quarantine: Quarantine = none_quarantined,
        wrapped_native: Address | None = None,
    ) -> None:
        """`wrapped_native` is priced to tell what gas costs; without it gas counts for nothing."""
        self._fees = fees
        self._watched = tuple(watched)
        self._rows = {row.id: place for place, row in enumerate(self._watched)}
        self._markets = {market.name: market for market in markets}
        self._reader = reader
        self._prices = prices
        self._market_prices = market_prices
        self._paid: Mapping[Address, MarketPrice] = {}
        self._calibrator = calibrator
        self._preparer = preparer
        self._witnesses = witnesses
        self._crosscheck = crosscheck
        self._transactions = transactions
        self._accounts = accounts
        self._store = store
        self._live = live
        self._quarantine = quarantine
        self._wrapped_native = wrapped_native
        self._triggers = Triggers.of([row.policy for row in self._watched])
        self._armed = np.ones(len(self._watched), dtype=np.bool_)
        self._guarding = guarding
        self._caution = caution
        self._outcomes = Outcomes(reader=reader, watched=self._watched, markets=self._markets)
        self._open_episodes: set[PositionId] = set()
        self._unconcluded: list[tuple[Settled, ApprovedAction]] = []
        self._changed: list[WatchedMarket] = []
        self._scribe = Scribe(watched=self._watched, store=store)
        self.passes = 0
        self.worsened_positions = 0

    async def resume(self, head: Head) -> None:
        """Before the first pass: markets, feeds, and what an earlier run left open.

        Raises the `ReadingError` of a market that cannot be read."""
        for market in self._markets.values():
            await market.discover(self._reader, head)
        await self._load_feeds(head)
        await self._caution.look_at_code(self._reader, head)
        await self._calibrator.load(head.timestamp)
        chain_id = self._watched[0].id.chain_id
        disarmed = await self._store.run(self._store.journal.disarmed, chain_id)
        self._armed = np.array([row.id not in disarmed for row in self._watched])
        self._open_episodes = await self._store.run(self._store.journal.open_episodes, chain_id)
        await self._transactions.recover()

    async def refresh(self, head: Head) -> None:
        """Read anew what changes seldom: market parameters, and feeds that have no rounds yet. A
        market that cannot be read is left as it was."""
        for market in self._markets.values():
            await self._discover(market, head)
        await self._load_feeds(head)
        await self._caution.look_at_code(self._reader, head)

    async def refit(self, head: Head) -> None:
        """Fit anew what the forecast knows of each pair, where that is due."""
        await self._calibrator.refit(self._prices.series, head.timestamp)

    async def _discover(self, market: WatchedMarket, head: Head) -> None:
        try:
            await market.discover(self._reader, head)
        except (ReadingError, EndpointUnavailableError) as error:
            log.error("market.unreadable", market=market.name, reason=str(error))  # noqa: TRY400 - the reason says it all

    async def _load_feeds(self, head: Head) -> None:
        feeds = dict.fromkeys(f for market in self._markets.values() for f in market.feeds)
        await self._prices.load([f for f in feeds if f not in self._prices.warm], head)
        await self._market_prices.load(head)

    async def run_pass(self, head: Head, *, planning: bool = True) -> PassReport:
        """The story; without `planning` only what is open goes on.

        Raises `EndpointUnavailableError`, which a later head will mend."""
        self._scribe.begin()
        for market in self._changed:
            await self._discover(market, head)
        snapshot, answers = await self._read(head)
        await self._settle(snapshot, answers)
        outlook = self._look_ahead(snapshot)
        decisions = decide(
            _healths(snapshot), outlook.forecast.probability, self._triggers, self._armed
        )
        self._armed = decisions.armed
        decided = await self._plan_all(snapshot, outlook, decisions) if planning else []
        approved = await self._approve(snapshot, outlook, decided)
        await self._act_all(snapshot, outlook, approved)
        while self._unconcluded:
            await self._conclude(snapshot, *self._unconcluded[0])
            del self._unconcluded[0]
        await self._close_episodes(snapshot)
        await self._scribe.observe(
            snapshot,
            outlook,
            armed=self._armed.tolist(),
            busy=[self._transactions.pending(row.id) for row in self._watched],
        )
        await self._prices.store()
        await self._crosscheck.look(snapshot)
        self.passes += 1
        log.debug("pass.done", block=head.number)
        return pass_report(
            snapshot, outlook, self._watched, worsened_positions=self.worsened_positions
        )

    def _look_ahead(self, snapshot: Snapshot) -> Outlook:
        try:
            return look_ahead(
                snapshot,
                self._watched,
                self._markets,
                self._prices.series,
                self._calibrator.calibration,
                self._paid,
            )
        except Exception:
            # Floors need no forecast: whatever breaks one must not stop them.
            log.exception("forecast.failed", block=snapshot.head.number)
            return nothing_known(len(self._watched))

    # -- read ------------------------------------------------------------------------------------

    async def _read(self, head: Head) -> tuple[Snapshot, list[Any]]:
        markets = list(self._markets.values())
        outcomes = self._transactions.outcome_requests(head)
        values, answers = await self._reader.read(
            [
                *(market.reading(head) for market in markets),
                self._prices.latest(),
                self._market_prices.latest(),
                self._caution.reading(),
                *self._guarding.readings(),
            ],
            at=head.hash,
            beside=[*outcomes, *self._accounts.requests(head)],
        )
        self._accounts.take(answers[len(outcomes) :])
        market_values, (new_rounds, paid, quoted, *guarded) = (
            values[: len(markets)],
            values[len(markets) :],
        )
        self._changed = [
            market
            for market, value in zip(markets, market_values, strict=True)
            # What the node refused has not changed, and what is not supported does not come back.
            if isinstance(value, ReadingError)
            and not isinstance(value, RefusedReadingError | ConfigurationError)
        ]
        if isinstance(new_rounds, ReadingError):
            log.error("feeds.unreadable", reason=str(new_rounds))
            new_rounds = {}
        self._prices.observe(new_rounds, head)
        if isinstance(paid, ReadingError):
            log.warning("market_price.unreadable", reason=str(paid))
            paid = {}
        self._paid = paid
        snapshot = assemble(head, self._watched, markets, market_values)
        for name, market_snapshot in snapshot.markets.items():
            self._markets[name].remember(market_snapshot)
        self._outcomes.keep(snapshot)
        swaps_blocked = self._caution.judge(
            quoted, snapshot, series=self._prices.series, market_prices=paid
        )
        snapshot = replace(snapshot, swaps_blocked=swaps_blocked)
        await self._guarding.take(guarded, snapshot, self._reader, head)
        return snapshot, answers[: len(outcomes)]

    # -- receipt → re-read → result --------------------------------------------------------------

    async def _settle(self, snapshot: Snapshot, answers: Sequence[Any]) -> None:
        """Close the plans that are over, so that their positions may be planned for at once.

        A result that would cost reads of past blocks is looked at after the pass's sends, or after
        those of a later pass if this one does not come so far.
        """
        for settled in await self._transactions.settle(snapshot.head, answers):
            approved = await self._store.run(self._store.journal.approved, settled.decision_id)
            if self._outcomes.at_hand(settled, approved.action):
                await self._conclude(snapshot, settled, approved)
            else:
                self._unconcluded.append((settled, approved))
            self._transactions.close(settled)
            if self._satisfies(settled, approved):
                self._armed = disarm(self._armed, [self._rows[approved.action.position]])

    def _satisfies(self, settled: Settled, approved: ApprovedAction) -> bool:
        """Whether the plan did what it set out to do, and that was to reach the target."""
        row = self._rows.get(approved.action.position)
        return (
            row is not None
            and settled.receipt is not None
            and settled.receipt.succeeded
            and comparable(approved.predicted_health) >= self._watched[row].policy.target
        )

    async def _conclude(
        self, snapshot: Snapshot, settled: Settled, approved: ApprovedAction
    ) -> None:
        """Write down what a plan came to."""
        position = approved.action.position
        row = self._rows.get(position)
        result = await self._outcomes.result(settled, approved.action, snapshot.head)
        await self._store.run(
            self._store.journal.record_result,
            result,
            {intent.key: intent.state for intent in settled.intents},
            satisfied=position if self._satisfies(settled, approved) else None,
        )
        self._transactions.concluded(settled)
        self.worsened_positions += result.worsened
        (log.info if result.succeeded and not result.worsened else log.error)(
            "plan.concluded",
            position=str(position) if row is None else self._watched[row].label,
            decision=result.decision_id,
            succeeded=result.succeeded,
            worsened=result.worsened,
            health_after=shown(result.health_after),
            block=result.block_number,
            differences=list(result.differences),
        )

    async def _close_episodes(self, snapshot: Snapshot) -> None:
        for row, watched in enumerate(self._watched):
            position = snapshot.positions[row]
            if (
                watched.id in self._open_episodes
                and not isinstance(position, ReadingError)
                and not self._transactions.pending(watched.id)
                and comparable(position.health) >= watched.policy.target
            ):
                await self._store.run(
                    self._store.journal.close_episode, watched.id, snapshot.head.number
                )
                self._open_episodes.discard(watched.id)

    # -- decision → plan → approved | refused ----------------------------------------------------

    async def _plan_all(
        self, snapshot: Snapshot, outlook: Outlook, decisions: Decisions
    ) -> list[Decided]:
        """A plan or a refusal for each row that acts, the most endangered first; one row for each
        account, whose wallet serves one plan at a time."""
        decided: list[Decided] = []
        accounts: set[Address] = set()
        acting = sorted(decisions.acting(), key=lambda act: self._danger(snapshot, act[0]))
        for row, cause in acting:
            position = self._watched[row].id
            with self._scribe.alone(row):
                stake = self._stake_of(snapshot, outlook, position)
                if (
                    stake is None
                    or position.account in accounts
                    or self._transactions.busy(position, stake.urgency)
                ):
                    continue
                decided.append(await self._plan(snapshot, outlook, row, cause, stake))
                accounts.add(position.account)
        return decided

    def _danger(self, snapshot: Snapshot, row: int) -> int:
        position = snapshot.positions[row]
        return comparable(None if isinstance(position, ReadingError) else position.health)

    def _stake_of(self, snapshot: Snapshot, outlook: Outlook, position: PositionId) -> Stake | None:
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

    async def _plan(
        self, snapshot: Snapshot, outlook: Outlook, row: int, cause: Cause, stake: Stake
    ) -> Decided:
        watched, position = self._watched[row], snapshot.positions[row]
        if isinstance(position, ReadingError):
            raise position
        moved = await self._store.run(
            self._store.journal.moved_usd8_since, watched.id, snapshot.head.timestamp - DAY_S
        )
        aged = position.accrued(snapshot.head.timestamp + MARGIN_S)
        chosen = plan_for(
            watched,
            aged,
            cause=cause,
            adapter=self._markets[watched.id.market].adapter,
            guarding=self._guarding,
            head=snapshot.head,
            moved_today_usd8=moved,
            gas_price=GasPrice(
                fee_wei=snapshot.head.base_fee_wei, native=snapshot.price(self._wrapped_native)
            ),
            surviving=surviving_health(
                float(outlook.forecast.volatility_per_year[row]), RESPONSE_S
            ),
            swaps_blocked=snapshot.swaps_blocked.get(watched.id),
        )
        against = await self._quarantine(watched.id)
        if against is not None:
            chosen = Refused(cause=cause, reason=against, before=aged, considered=())
        return Decided(
            row=row,
            plan=chosen,
            moved_today_usd8=moved,
            stake=stake,
            charter=self._guarding.known(watched.id),
        )

    async def _approve(
        self, snapshot: Snapshot, outlook: Outlook, decided: Sequence[Decided]
    ) -> list[tuple[Decided, Prepared]]:
        """Simulate all plans in one round trip, with what may be done in their place; keep those
        whose result is the predicted one."""
        trying: list[tuple[Decided, tuple[Trial, ...], list[Proposal]]] = []
        for each in decided:
            with self._scribe.alone(each.row):
                if isinstance(each.plan, Refused):
                    await self._scribe.refuse(snapshot, outlook, each, None, each.plan.reason)
                else:
                    market = self._markets[each.plan.action.position.market]
                    authority = self._guarding.authority(each.plan.action.position)
                    tries = trials(each.plan, market, authority, each.stake)
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
                verdict, prepared = judged(tries, seen)
                if isinstance(verdict, Plan) and doubt is not None:
                    verdict = doubt
                if prepared is not None and isinstance(verdict, Plan):
                    approved.append((replace(each, plan=verdict), prepared))
                else:
                    await self._scribe.refuse(snapshot, outlook, each, prepared, str(verdict))
        return approved

    # -- approved → journal → send ---------------------------------------------------------------

    async def _act_all(
        self, snapshot: Snapshot, outlook: Outlook, approved: Sequence[tuple[Decided, Prepared]]
    ) -> None:
        """Send what is new and mend what waits, side by side: the manager keeps the order of each
        signer, and no signer waits for another."""
        await asyncio.gather(
            *(self._act(snapshot, outlook, each, prepared) for each, prepared in approved),
            self._transactions.mend(
                snapshot.head, lambda position: self._stake_of(snapshot, outlook, position)
            ),
        )

    async def _act(
        self, snapshot: Snapshot, outlook: Outlook, each: Decided, prepared: Prepared
    ) -> None:
        with self._scribe.alone(each.row):
            await self._act_alone(snapshot, outlook, each, prepared)

    async def _act_alone(
        self, snapshot: Snapshot, outlook: Outlook, each: Decided, prepared: Prepared
    ) -> None:
        if not isinstance(each.plan, Plan):
            return
        watched = self._watched[each.row]
        if not self._live:
            self._scribe.note(each.row, f"dry run: would {described(each.plan.action)}")
            if self._scribe.repeats(each, DRY_RUN):
                return
        decision_id = await self._scribe.record(
            snapshot, outlook, each, prepared, "" if self._live else DRY_RUN, approved=True
        )
        log.info(
            "plan.approved",
            position=watched.label,
            decision=decision_id,
            cause=each.plan.cause,
            action=described(each.plan.action),
            health=shown(each.plan.before.health),
            predicted_health=shown(each.plan.predicted.health),
            live=self._live,
        )
        if self._live:
            episode = await self._store.run(
                self._store.journal.open_episode, watched.id, snapshot.head.number
            )
            self._open_episodes.add(watched.id)
            await self._transactions.submit(
                prepared, decision_id=decision_id, episode=episode, head=snapshot.head
            )


def _healths(snapshot: Snapshot) -> Floats:
    return floats_from_healths(
        [
            None if isinstance(position, ReadingError) else position.health
            for position in snapshot.positions
        ]
    )
