"""The composition root: settings in, a supervised daemon out."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import structlog
import tenacity

from keeper.admission import check_chains, checked, local_instance, open_signers
from keeper.backtest.shipped import shipped
from keeper.chain.breakers import Breakers
from keeper.chain.heads import Heads
from keeper.chain.market_prices import MarketPrices
from keeper.chain.pool import Pool
from keeper.chain.prepare import Preparer
from keeper.chain.prices import FeedPrices
from keeper.chain.reader import Reader
from keeper.chain.rpc import EndpointUnavailableError
from keeper.chain.sending import Broadcaster
from keeper.chain.signer import Signer
from keeper.chain.transactions.accounts import SignerAccounts
from keeper.chain.transactions.manager import TransactionManager
from keeper.chain.transactions.seams import SignatureRequest
from keeper.chain.transactions.votes import PoolVotes
from keeper.config.checks import check_live, check_tokens
from keeper.config.settings import Settings
from keeper.engine.calibrator import Calibrator
from keeper.engine.caution import Caution, Sequencer
from keeper.engine.crosscheck import CrossCheck
from keeper.engine.engine import Engine
from keeper.engine.guarding import Guarding
from keeper.engine.planning import MARGIN_S, none_quarantined
from keeper.engine.rulebook import Rulebook
from keeper.engine.witness import Witnesses
from keeper.model.errors import TemporaryError
from keeper.model.units import Address
from keeper.service.attendance import Attendance, attended, unattended
from keeper.service.housekeeping import Job, TimedJob, schedule
from keeper.service.passes import Passes
from keeper.service.stopping import Turn, until_signal
from keeper.service.tending import Tending
from keeper.storage.ownership import owned
from keeper.storage.store import Store
from keeper.watching import (
    forgiven_reverts,
    guardian_refusals,
    watched_markets,
    watched_positions,
)

log = structlog.get_logger()

REFRESH_S = 600.0
REFIT_S = 3_600.0
RECONCILE_S = 60.0
ACCOUNTS_S = 15.0
FORESEE_S = 15.0
RECURSION_LIMIT = 1_000
"""Python's own. py_ecc, which comes with eth-account, raises it to 100,000 when it is imported, and
with that an answer of nested brackets overruns the stack: it would kill the process."""


async def run(
    settings: Settings, *, once: bool, live: bool, without_safety_net: bool = False
) -> None:
    """Protect the configured positions until SIGTERM or SIGINT; with `once`, for one block and
    until what it sent is settled. `without_safety_net`: on a chain with real money too, with one
    endpoint or with nobody to hear of alerts.

    Raises `ConfigurationError` where the chain contradicts the settings, and, with `once` only,
    `TemporaryError` where the endpoint is down.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)
    turn = Turn()
    protection = asyncio.create_task(
        _protect(settings, turn, once=once, live=live, without_safety_net=without_safety_net),
        name="protect",
    )
    await until_signal(protection, turn)
    if not protection.cancelled():
        protection.result()


async def _protect(
    settings: Settings, turn: Turn, *, once: bool, live: bool, without_safety_net: bool
) -> None:
    service = unattended(settings.service) if once else settings.service
    async with attended(
        service,
        chain_id=settings.chain.chain_id,
        live=live,
        kill_file=settings.breakers.kill_file,
        secrets=settings.secrets,
        systemd_socket=settings.systemd_socket,
        clock=time.monotonic,
        end=turn.end_at_once,
    ) as attendance:
        await _attended(
            settings,
            attendance,
            turn,
            once=once,
            live=live,
            without_safety_net=without_safety_net,
        )


async def _attended(
    settings: Settings,
    attendance: Attendance,
    turn: Turn,
    *,
    once: bool,
    live: bool,
    without_safety_net: bool,
) -> None:
    refusal = guardian_refusals()
    rpc = Pool.of(settings.chain)
    try:
        await _reached(check_chains, rpc, settings, once=once)
        local = await _reached(checked, rpc, settings, once=once)
        signers = await open_signers(settings, local=local) if live else {}
        if live:
            check_live(settings, local=local, without_safety_net=without_safety_net)
        instance = await local_instance(rpc) if local else ""
        store = Store(settings.store_path)
        try:
            with owned(settings.chain.chain_id, signers, instance=instance):
                daemon = Daemon(
                    settings, attendance, rpc, store, signers, turn, refusal=refusal, live=live
                )
                await daemon.follow(once=once)
        finally:
            store.close()
            for signer in signers.values():
                await signer.close()
    finally:
        await rpc.close()


class Daemon:
    """Everything wired, and the loop that feeds heads to the engine."""

    def __init__(
        self,
        settings: Settings,
        attendance: Attendance,
        rpc: Pool,
        store: Store,
        signers: dict[Address, Signer],
        turn: Turn,
        *,
        refusal: Callable[[bytes], str | None],
        live: bool,
    ) -> None:
        chain = settings.chain
        keepers = {signer.name: signer.address for signer in signers.values()}
        watched, markets = watched_positions(settings, keepers), watched_markets(settings)
        self._heads = Heads(rpc, poll_interval_s=chain.poll_interval_s)
        self._breakers = Breakers(
            settings.breakers,
            tallies=store.tallies,
            run=store.run,
            notifier=attendance.notifications,
            labels={row.id: row.label for row in watched},
            forgiven=forgiven_reverts(settings),
            now=lambda: self._passes.now,
        )
        self._rulebook = Rulebook(
            chain_id=chain.chain_id,
            watched=watched,
            markets=markets,
            moved_since=store.journal.moved_usd8_since,
            run=store.run,
            notifier=attendance.notifications,
        )
        self._accounts = SignerAccounts(signers)
        self._broadcaster = Broadcaster.over(rpc, private_only=chain.private_only)
        transactions = TransactionManager(
            rpc=rpc,
            chain_id=chain.chain_id,
            signers=signers,
            fees=settings.fees,
            confirmations=chain.confirmations,
            journal=store.journal,
            run=store.run,
            finality_blocks=chain.finality_blocks,
            broadcaster=self._broadcaster,
            before_signing=self._objection,
            gas_left=self._breakers.left_wei,
            notifier=attendance.notifications,
            votes=PoolVotes(rpc),
        )
        self._preparer = Preparer(
            rpc=rpc, multicall=chain.multicall, fees=settings.fees, margin_s=MARGIN_S
        )
        reader = Reader(rpc, multicall=chain.multicall)
        self._engine = Engine(
            watched=watched,
            markets=markets,
            pool=rpc,
            reader=reader,
            prices=FeedPrices(
                reader=reader, chain_id=chain.chain_id, store=store.prices, run=store.run
            ),
            market_prices=MarketPrices(reader=reader, sources=settings.market_prices),
            calibrator=Calibrator(shipped=shipped(), store=store, chain_id=chain.chain_id),
            preparer=self._preparer,
            witnesses=Witnesses(
                pool=rpc, multicall=chain.multicall, notifier=attendance.notifications
            ),
            crosscheck=CrossCheck(
                pool=rpc,
                multicall=chain.multicall,
                notifier=attendance.notifications,
                markets=markets,
            ),
            transactions=transactions,
            accounts=self._accounts,
            guarding=Guarding(
                watched=watched,
                markets={market.name: market for market in markets},
                quoter=settings.quoter,
                refusal=refusal,
            ),
            caution=Caution(
                markets=markets,
                notifier=attendance.notifications,
                sequencer=None
                if chain.sequencer_feed is None
                else Sequencer(feed=chain.sequencer_feed, grace_s=chain.sequencer_grace_s),
            ),
            notifier=attendance.notifications,
            wrapped_native=settings.wrapped_native,
            store=store,
            fees=settings.fees,
            live=live,
            now=time.time,
            quarantine=self._breakers.quarantine if live else none_quarantined,
        )
        self._settings = settings
        self._markets = markets
        self._policy_files = settings.policy_files
        self._live = live
        self._store = store
        self._chain_id = chain.chain_id
        self._tending = Tending(
            chain_id=chain.chain_id,
            signers=signers,
            min_gas_wei=settings.service.min_gas_wei,
            store=store,
            pool=rpc,
            accounts=self._accounts,
            watched=watched,
            markets=markets,
            metrics=attendance.metrics,
            notifications=attendance.notifications,
            now=lambda: self._passes.now,
        )
        self._attendance = attendance
        self._passes = Passes(
            engine=self._engine,
            heads=self._heads,
            transactions=transactions,
            pool=rpc,
            tending=self._tending,
            attendance=attendance,
            turn=turn,
            live=live,
        )

    async def _objection(self, request: SignatureRequest) -> str | None:
        """The breakers last: they look for the kill file right before the signature."""
        forbidden = await self._rulebook.objection(request, now=self._passes.now)
        return forbidden or await self._breakers.objection(request)

    async def follow(self, *, once: bool) -> None:
        """Run passes until stopped."""
        await _reached(self._resume, once=once)
        self._tell_of_old_policies()
        log.info("keeper.ready", live=self._live)
        self._attendance.attendant.ready()
        alerts = self._settings.service.alerts
        summaries = [
            TimedJob(
                name="digest",
                crontab=crontab,
                time_zone=alerts.time_zone,
                run=self._tending.summarise,
            )
            for crontab in [alerts.digest]
            if crontab is not None
        ]
        scheduler = schedule(
            [
                *summaries,
                Job(name="refresh", every_s=REFRESH_S, run=self._refresh),
                Job(name="refit", every_s=REFIT_S, run=self._refit),
                Job(name="reconcile", every_s=RECONCILE_S, run=self._reconcile),
                Job(name="foresee", every_s=FORESEE_S, run=self._engine.foresee),
                Job(name="accounts", every_s=ACCOUNTS_S, run=self._tending.look),
            ],
            self._attendance.notifications,
        )
        scheduler.start()
        try:
            await self._passes.follow(scheduler, once=once)
        finally:
            scheduler.shutdown(wait=False)
            # What is still on its way to a slow endpoint is in the journal, and with another one.
            await self._broadcaster.close()
            log.info(
                "keeper.stopped",
                passes=self._engine.passes,
                worsened_positions=self._engine.worsened_positions,
            )

    def _tell_of_old_policies(self) -> None:
        today = datetime.now(UTC).date()
        for name, file in self._policy_files.items():
            if (warning := file.age_warning(today)) is not None:
                log.warning("policy.old", policy=name, reason=warning)

    async def _resume(self) -> None:
        head = await self._heads.current()
        await self._preparer.look_for_l1_fees(head)
        await self._engine.resume(head)
        for market in self._markets:
            check_tokens(self._settings, market.derived_tokens)

    # None holds up a pass: what these two read, they read at their own pace and take over at once;
    # what the others look at was read by the last pass.

    async def _refresh(self) -> None:
        await self._engine.refresh(await self._heads.current())

    async def _refit(self) -> None:
        await self._engine.refit(await self._heads.current())

    async def _reconcile(self) -> None:
        await self._accounts.reconcile(
            self._chain_id, last_nonce=self._store.journal.last_nonce, run=self._store.run
        )


async def _reached(ask: Callable[..., Awaitable[Any]], *args: Any, once: bool) -> Any:
    """Ask until the endpoint answers; with `once`, only for a while. Other errors are final."""
    policy = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(EndpointUnavailableError),
        stop=tenacity.stop_after_delay(5) if once else tenacity.stop_never,
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        before_sleep=lambda state: log.error(
            "endpoint.down", reason=str(state.outcome and state.outcome.exception())
        ),
        reraise=True,
    )
    try:
        return await policy(ask, *args)
    except EndpointUnavailableError as error:
        raise TemporaryError(str(error)) from error
