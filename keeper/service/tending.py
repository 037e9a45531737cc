"""Looks now and then after what no pass waits for: accounts, endpoints, reserves, the journal's sums."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from keeper.chain.breakers import DAY_S
from keeper.chain.pool import Pool
from keeper.chain.transactions.accounts import SignerAccounts
from keeper.engine.reporting import PassReport
from keeper.engine.reserves import reserve_usd8
from keeper.engine.watch import Watched, WatchedMarket
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.service.accounts import tell_of_endpoints, tell_of_gas
from keeper.service.digest import digest
from keeper.service.metrics import Metrics
from keeper.service.notifications import Notifications
from keeper.storage.store import Store


class Tending:
    """Of one daemon. What it looks at was read by the last pass, or lies in the journal."""

    def __init__(
        self,
        *,
        chain_id: int,
        signers: Iterable[Address],
        min_gas_wei: int,
        store: Store,
        pool: Pool,
        accounts: SignerAccounts,
        watched: Sequence[Watched],
        markets: Sequence[WatchedMarket],
        metrics: Metrics,
        notifications: Notifications,
        now: Callable[[], int],
    ) -> None:
        """`now` is the newest head's time."""
        self._chain_id = chain_id
        self._signers = tuple(signers)
        self._min_gas_wei = min_gas_wei
        self._store = store
        self._pool = pool
        self._accounts = accounts
        self._watched = watched
        self._markets: Mapping[str, WatchedMarket] = {market.name: market for market in markets}
        self._metrics = metrics
        self._notifications = notifications
        self._now = now
        self.report: PassReport | None = None
        """Of the newest pass that ended."""

    async def look(self) -> None:
        """Tell Prometheus and the owner."""
        standings = [(each.name, each.state.standing.name.lower()) for each in self._pool.endpoints]
        self._metrics.endpoints(dict(standings))
        tell_of_endpoints(
            self._notifications, standings, reading={each.name for each in self._pool.readers}
        )
        tallies, chain_id = self._store.tallies, self._chain_id
        self._metrics.transactions(await self._store.run(tallies.by_state, chain_id))
        self._metrics.actions(
            await self._store.run(tallies.actions_since, chain_id, 0),
            cost_usd=await self._store.run(tallies.cost_usd, chain_id),
        )
        for signer in self._signers:
            self._metrics.spent(signer, await self._spent_wei(signer))
        balances_wei = self._accounts.balances_wei
        for signer, balance_wei in balances_wei.items():
            self._metrics.balance(signer, balance_wei)
        tell_of_gas(self._notifications, balances_wei, min_wei=self._min_gas_wei)
        self._metrics.reserves(dict(self._reserves()))

    async def summarise(self) -> None:
        """Tell the owner how the last day was."""
        day = self._now() - DAY_S
        actions = await self._store.run(self._store.tallies.actions_since, self._chain_id, day)
        spent_wei = sum([await self._spent_wei(signer) for signer in self._signers])
        self._notifications.say(
            digest(
                self.report,
                actions=actions,
                spent_wei=spent_wei,
                standing=self._notifications.active,
            )
        )

    async def _spent_wei(self, signer: Address) -> int:
        day, tallies = self._now() - DAY_S, self._store.tallies
        return await self._store.run(tallies.spent_wei_since, self._chain_id, signer, day)

    def _reserves(self) -> Iterable[tuple[str, float]]:
        for row in self._watched:
            market = self._markets[row.id.market]
            if market.newest is None:
                continue
            try:
                position = market.newest.position(row.id.account)
            except ReadingError:
                continue
            yield row.label, reserve_usd8(market.adapter.options(position)) / 1e8
