"""One block, one pass: read, forecast, decide, plan, try, journal, send, re-read.

    Head ─read at head.hash→ Snapshot → Forecast → Decision ─quotes→ Plan → Approved | Refused
         ─simulate→ journal INTENT ─send→ Receipt ─re-read→ Outcome → journal RESULT

`Engine.run_pass` tells it line by line and knows no protocol by name.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from keeper.chain.market_prices import MarketPrices
from keeper.chain.pool import Pool
from keeper.chain.prepare import Preparer
from keeper.chain.prices import FeedPrices
from keeper.chain.reader import Reader
from keeper.chain.settings import FeeSettings
from keeper.chain.transactions.accounts import SignerAccounts
from keeper.chain.transactions.manager import TransactionManager
from keeper.engine.acting import Acting
from keeper.engine.approval import Approval
from keeper.engine.calibrator import Calibrator
from keeper.engine.caution import Caution
from keeper.engine.crosscheck import CrossCheck
from keeper.engine.fitting import Fitting
from keeper.engine.foresight import foresee
from keeper.engine.guarding import Guarding
from keeper.engine.margin_calls import MarginCalls
from keeper.engine.outcome import Outcomes
from keeper.engine.outlook import Outlook
from keeper.engine.planning import Planner, Quarantine, none_quarantined
from keeper.engine.reporting import PassReport, pass_report
from keeper.engine.roster import Roster
from keeper.engine.scribe import Scribe
from keeper.engine.settling import Settling
from keeper.engine.sight import Sight
from keeper.engine.thrift import Thrift
from keeper.engine.triggering import Triggering
from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.engine.wishing import Wishing
from keeper.engine.witness import Witnesses
from keeper.model.alerts import Notifier
from keeper.model.units import Address
from keeper.model.values import Head
from keeper.storage.store import Store

log = structlog.get_logger()


class Engine:
    """Protects the watched positions of one chain, one pass per head."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        markets: Sequence[WatchedMarket],
        pool: Pool,
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
        notifier: Notifier,
        store: Store,
        fees: FeeSettings,
        live: bool,
        now: Callable[[], float],
        quarantine: Quarantine = none_quarantined,
        wrapped_native: Address | None = None,
    ) -> None:
        """`now`: this machine's clock, by which owners' wishes grow old. `wrapped_native` is priced
        to tell what gas costs; without it gas counts for nothing."""
        self._watched = Roster(watched)
        rows = {row.id: place for place, row in enumerate(self._watched)}
        by_name = {market.name: market for market in markets}
        self._transactions = transactions
        self._crosscheck = crosscheck
        self._guarding = guarding
        self._store = store
        self._scribe = Scribe(watched=self._watched, store=store)
        self._thrift = Thrift(self._watched, notifier)
        self._triggering = Triggering(self._watched)
        self._fitting = Fitting(self._watched, store)
        self._margin_calls = MarginCalls(
            watched=self._watched,
            markets=by_name,
            notifier=notifier,
            scribe=self._scribe,
            live=live,
        )
        self._sight = Sight(
            watched=self._watched,
            markets=by_name,
            pool=pool,
            reader=reader,
            prices=prices,
            market_prices=market_prices,
            calibrator=calibrator,
            accounts=accounts,
            guarding=guarding,
            caution=caution,
        )
        self._settling = Settling(
            watched=self._watched,
            rows=rows,
            outcomes=Outcomes(reader=reader, watched=self._watched, markets=by_name),
            transactions=transactions,
            triggering=self._triggering,
            store=store,
        )
        self._planner = Planner(
            watched=self._watched,
            rows=rows,
            markets=by_name,
            guarding=guarding,
            transactions=transactions,
            scribe=self._scribe,
            store=store,
            fees=fees,
            wrapped_native=wrapped_native,
            quarantine=quarantine,
        )
        self._approval = Approval(
            watched=self._watched,
            markets=by_name,
            preparer=preparer,
            witnesses=witnesses,
            transactions=transactions,
            guarding=guarding,
            scribe=self._scribe,
            thrift=self._thrift,
        )
        self._acting = Acting(
            watched=self._watched,
            transactions=transactions,
            planner=self._planner,
            settling=self._settling,
            triggering=self._triggering,
            crosscheck=crosscheck,
            scribe=self._scribe,
            store=store,
            live=live,
        )
        self._wishing = Wishing(
            rows=rows, store=store, chain_id=self._watched[0].id.chain_id, now=now
        )
        self._markets = by_name
        self._seen: tuple[Snapshot, Outlook] | None = None
        self.passes = 0

    @property
    def worsened_positions(self) -> int:
        """Actions after which a position stood worse than without them. Never."""
        return self._settling.worsened_positions

    async def resume(self, head: Head) -> None:
        """Before the first pass: markets, feeds, and what an earlier run left open.

        Raises the `ReadingError` of a market that cannot be read."""
        await self._sight.begin(head)
        chain_id = self._watched[0].id.chain_id
        self._triggering.load(await self._store.run(self._store.journal.disarmed, chain_id))
        await self._fitting.begin(chain_id)
        await self._settling.begin(chain_id)
        await self._planner.begin(chain_id)
        await self._transactions.recover()
        await self._wishing.look()

    async def refresh(self, head: Head) -> None:
        """Read anew what changes seldom."""
        await self._sight.refresh(head)

    async def refit(self, head: Head) -> None:
        """Fit anew what the forecast knows of each pair, where that is due."""
        await self._sight.refit(head)

    async def foresee(self) -> None:
        """Write down what lies ahead of the positions as last seen. A thread's work, not a pass's."""
        if self._seen is None:
            return
        snapshot, outlook = self._seen
        found = await asyncio.to_thread(
            foresee, snapshot, outlook, self._watched, self._markets, self._guarding.known
        )
        await self._store.run(self._store.prospects.keep, found)

    async def run_pass(self, head: Head, *, planning: bool = True) -> PassReport:
        """The story; without `planning` only what is open goes on.

        Raises `EndpointUnavailableError`, which a later head will mend."""
        self._scribe.begin()
        self._thrift.begin()
        snapshot, answers = await self._sight.read(
            head, beside=self._transactions.outcome_requests(head)
        )
        await self._settling.settle(snapshot, answers)
        outlook = self._sight.look_ahead(snapshot)
        if await self._fitting.fit(snapshot, outlook):
            self._triggering.renew()
        decisions = self._triggering.decide(snapshot, outlook)
        wishes = self._wishing.by_row if planning else {}
        decided = (
            await self._planner.plan_all(snapshot, outlook, decisions, wishes) if planning else []
        )
        approved = await self._approval.approve(snapshot, outlook, decided)
        await self._acting.act_all(snapshot, outlook, approved)
        await self._settling.conclude(snapshot)
        await self._scribe.observe(
            snapshot,
            outlook,
            armed=self._triggering.armed,
            busy=[self._transactions.pending(row.id) for row in self._watched],
        )
        self._thrift.tell()
        self._margin_calls.tell(
            snapshot,
            outlook,
            acting=[row for row, _ in decisions.acting()],
            # An owner who is refused an own wish is told so: nothing is called for.
            decided=[each for each in decided if each.plan.cause != "owner"],
            approved=approved,
        )
        await self._wishing.settle(self._scribe.written)
        self._seen = snapshot, outlook
        await self._sight.store()
        await self._crosscheck.look(snapshot)
        self.passes += 1
        log.debug("pass.done", block=head.number)
        return pass_report(
            snapshot, outlook, self._watched, worsened_positions=self.worsened_positions
        )
