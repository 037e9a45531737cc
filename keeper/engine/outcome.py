"""What a mined plan did: the position read again at the receipt's block, beside the prediction."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import structlog

from keeper.chain.reader import Reader
from keeper.chain.rpc import EndpointUnavailableError
from keeper.chain.transactions.verdicts import Settled
from keeper.engine.watch import MarketSnapshot, Snapshot, Watched, WatchedMarket, assemble
from keeper.mandate.guardian import logged
from keeper.model.reading import ReadingError
from keeper.model.records import MinedReceipt, Result
from keeper.model.values import Action, Head
from keeper.policy.size import comparable

log = structlog.get_logger()

SNAPSHOTS_KEPT = 64


class Outcomes:
    """Remembers the last snapshots, so that looking back at a block seldom costs a read."""

    def __init__(
        self,
        *,
        reader: Reader,
        watched: Sequence[Watched],
        markets: Mapping[str, WatchedMarket],
    ) -> None:
        self._reader = reader.impatient()
        self._watched = watched
        self._markets = markets
        self._guardians = {row.id: row.guard.guardian for row in watched if row.guard is not None}
        self._recent: OrderedDict[str, Snapshot] = OrderedDict()

    def keep(self, snapshot: Snapshot) -> None:
        """Remember a pass's snapshot."""
        self._recent[snapshot.head.hash] = snapshot
        if len(self._recent) > SNAPSHOTS_KEPT:
            self._recent.popitem(last=False)

    def at_hand(self, settled: Settled) -> bool:
        """Whether `result` can do without reading."""
        if settled.receipt is None or not settled.receipt.succeeded:
            return True
        at_receipt = self._recent.get(settled.receipt.block_hash)
        return at_receipt is not None and at_receipt.head.parent_hash in self._recent

    async def result(self, settled: Settled, action: Action, head: Head) -> Result:
        """The result of a plan that is over.

        Looking back is tried once: after a restart the block may be one whose state the node has
        forgotten, and protecting the positions now must not wait for it."""
        receipt = settled.receipt
        if receipt is None or not receipt.succeeded:
            return Result(
                decision_id=settled.decision_id,
                succeeded=False,
                block_number=receipt.block_number if receipt is not None else head.number,
                health_after=None,
                worsened=False,
                differences=(),
            )
        try:
            return await self._compared(settled, receipt, action)
        except (ReadingError, EndpointUnavailableError) as error:
            trouble = f"could not be read again: {error}"
        except Exception as error:
            # It is done, and over: what breaks the comparison must not break every pass from now on.
            log.exception("outcome.failed", decision=settled.decision_id)
            trouble = f"could not be compared: {error!r}"
        return Result(
            decision_id=settled.decision_id,
            succeeded=True,
            block_number=receipt.block_number,
            health_after=None,
            worsened=False,
            differences=(trouble,),
        )

    async def _compared(self, settled: Settled, receipt: MinedReceipt, action: Action) -> Result:
        """The prediction starts from the block before and takes prices and indexes from the
        receipt's own block: then it must equal what is read there, to the last unit."""
        name, account = action.position.market, action.position.account
        if not any(row.id == action.position for row in self._watched):
            raise ReadingError("it is not watched any more")
        at_receipt = await self._at(receipt.block_hash)
        before = await self._at(at_receipt.head.parent_hash)
        adapter = self._markets[name].adapter
        action = self._done(receipt, action)
        reread = _market(at_receipt, name)
        after = reread.position(account)
        start = reread.revalued(_market(before, name).position(account))
        predicted = adapter.predict(action, start, at_receipt.head.timestamp)
        return Result(
            decision_id=settled.decision_id,
            succeeded=True,
            block_number=receipt.block_number,
            health_after=after.health,
            worsened=comparable(after.health) < comparable(start.health),
            differences=adapter.matches(predicted, after),
        )

    def _done(self, receipt: MinedReceipt, action: Action) -> Action:
        """A guardian may have done less than it was asked for: its event says how much."""
        guardian = self._guardians.get(action.position)
        if guardian is None:
            return action
        own = [log for log in receipt.logs if str(log.get("address")).lower() == guardian.lower()]
        try:
            return logged(action, receipt.hash, own)
        except ValueError as error:
            raise ReadingError(str(error)) from error

    async def _at(self, block_hash: str) -> Snapshot:
        known = self._recent.get(block_hash)
        if known is not None:
            return known
        head = await self._reader.head(block_hash)
        markets = list(self._markets.values())
        values, _ = await self._reader.read(
            [market.reading(head) for market in markets], at=head.hash
        )
        return assemble(head, self._watched, markets, values)


def _market(snapshot: Snapshot, name: str) -> MarketSnapshot:
    found = snapshot.markets.get(name)
    if found is None:
        raise ReadingError(f"market {name} could not be read at block {snapshot.head.number}")
    return found
