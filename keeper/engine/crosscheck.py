"""Now and then: do the other endpoints see what the one that is read shows?

Before a send they are asked anyway, but an endpoint that hides a danger lets nothing be sent. So
every watched account is read from all other live endpoints too, at one and the same block, every
minute of block time, when another endpoint has come to be read, and at once again after a
difference. Whoever most others contradict twice is not read for a while.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from keeper.chain.account import nonce_request
from keeper.chain.pool import Endpoint, Pool
from keeper.chain.reader import Reader
from keeper.chain.rpc import EndpointUnavailableError, Request, RpcError
from keeper.engine.watch import Snapshot, WatchedMarket
from keeper.engine.witness import (
    WITHIN_S,
    Testimony,
    Word,
    blocks_of,
    differences,
    other_nonce,
    word_of_blocks,
)
from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.model.values import Head

log = structlog.get_logger()

EVERY_S = 60
"""Of block time."""
DISAGREE = "endpoints.disagree"


class CrossCheck:
    """Compares whole snapshots, in one POST to each of the other live endpoints."""

    def __init__(
        self,
        *,
        pool: Pool,
        multicall: Address,
        notifier: Notifier,
        markets: Sequence[WatchedMarket],
    ) -> None:
        self._pool = pool
        self._multicall = multicall
        self._notifier = notifier
        self._markets = {market.name: market for market in markets}
        self._compared: tuple[Endpoint, int] | None = None
        self._unseen: tuple[Endpoint, Head] | None = None
        self._contradicted: Endpoint | None = None
        self._told: set[str] = set()

    async def look(self, snapshot: Snapshot, *, at_once: bool = False) -> bool:
        """Compare if it is time, or `at_once`, and tell whether what was read stands undisputed: not
        where the others answer and none of them has its block yet. Never raises for what endpoints
        do."""
        assert snapshot.reader is not None
        reader, witnesses = snapshot.reader, self._pool.beside(snapshot.reader)
        if not witnesses or not (at_once or self._is_due(reader, snapshot.head)):
            return self._contradicted is None
        unseen = self._unseen[1] if self._unseen and self._unseen[0] is reader else None
        heard = await asyncio.gather(
            *(self._testimony(witness, snapshot, unseen) for witness in witnesses)
        )
        agree = [each.witness for each in heard if each.word is Word.AGREES]
        against = [each for each in heard if each.word is Word.CONTRADICTS]
        self._unseen = None if agree else (reader, snapshot.head)
        if against:
            self._weigh(reader, agree, against)
        elif agree:
            self._contradicted = None
            self._compared = reader, snapshot.head.timestamp
            for name in self._told:
                self._notifier.resolve(DISAGREE, name)
            self._told.clear()
        behind = any(each.word is Word.BEHIND for each in heard)
        return not against and (bool(agree) or not behind)

    def _is_due(self, reader: Endpoint, head: Head) -> bool:
        if self._compared is None or self._contradicted is not None:
            return True
        compared, at = self._compared
        return compared is not reader or not at <= head.timestamp < at + EVERY_S

    def _weigh(
        self, reader: Endpoint, agree: Sequence[Endpoint], against: Sequence[Testimony]
    ) -> None:
        """At the first difference tell of it; at the next block's the majority decides."""
        waited, self._contradicted = self._contradicted is reader, reader
        self._told.add(reader.name)
        self._notifier.notify(
            Alert(
                name=DISAGREE,
                subject=reader.name,
                severity=Severity.CRITICAL if waited else Severity.WARNING,
                text=f"{against[0].witness.name} contradicts {reader.name}: {against[0].difference}",
                fields={
                    "reader": reader.name,
                    "against": ", ".join(each.witness.name for each in against),
                    "agree": len(agree),
                },
            )
        )
        if not waited:
            return
        if len(against) > 1 + len(agree):
            reader.contradicted()
        elif len(against) < 1 + len(agree):
            for each in against:
                each.witness.contradicted()

    async def _testimony(
        self, witness: Endpoint, snapshot: Snapshot, unseen: Head | None
    ) -> Testimony:
        asked = _Asked(witness, snapshot.head, unseen)
        reader = Reader(asked, multicall=self._multicall, patient=False)
        names = list(snapshot.markets)
        try:
            values, nonces = await reader.read(
                [self._markets[name].reread_all(snapshot.head) for name in names],
                at=snapshot.head.hash,
                beside=[nonce_request(signer, snapshot.head) for signer in snapshot.nonces],
            )
        except EndpointUnavailableError as error:
            log.info("crosscheck.unanswered", endpoint=witness.name, reason=str(error))
            word = asked.word if asked.word is not Word.AGREES else Word.SILENT
            return Testimony(witness=witness, word=word, difference=asked.difference)
        for signer, nonce in zip(snapshot.nonces, nonces, strict=True):
            if difference := other_nonce(snapshot, signer, nonce):
                return Testimony(witness=witness, word=Word.CONTRADICTS, difference=difference)
        compared = 0
        for name, theirs in zip(names, values, strict=True):
            if isinstance(theirs, ReadingError):
                log.info("crosscheck.unreadable", endpoint=witness.name, reason=str(theirs))
                continue
            for account in self._markets[name].accounts:
                try:
                    found = differences(
                        self._markets[name], snapshot.markets[name], theirs, account
                    )
                except ReadingError:
                    continue
                compared += 1
                if found:
                    difference = f"of {account} in {name} {found}"
                    return Testimony(witness=witness, word=Word.CONTRADICTS, difference=difference)
        return Testimony(witness=witness, word=Word.AGREES if compared else Word.SILENT)


class _Asked:
    """A witness that is asked for the blocks with whatever else it is asked, and used no further
    where it does not have the head."""

    def __init__(self, witness: Endpoint, head: Head, unseen: Head | None) -> None:
        self.name = witness.name
        self.word, self.difference = Word.SILENT, ""
        self._witness = witness
        self._heads = (head, unseen)

    async def batch(self, requests: Sequence[Request]) -> list[Any | RpcError]:
        """As `Rpc.batch`."""
        blocks = blocks_of(*self._heads)
        answers = await self._witness.batch([*blocks, *requests], patience_s=WITHIN_S)
        self.word, self.difference = word_of_blocks(answers[: len(blocks)], *self._heads)
        if self.word is not Word.AGREES:
            raise EndpointUnavailableError(
                f"{self.name} does not have block {self._heads[0].number}"
            )
        return answers[len(blocks) :]
