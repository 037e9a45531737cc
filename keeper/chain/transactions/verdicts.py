"""What came of every transaction: mined, undone, lost, or taken back by a reorg."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from keeper.chain.pool import Endpoint
from keeper.chain.rpc import Request, RpcError
from keeper.chain.transactions.followed import Followed
from keeper.chain.transactions.patience import Verdict
from keeper.chain.transactions.seams import IntentJournal, RunOnStore, Vote, Votes
from keeper.chain.transactions.witness import NOTHING, Known, Witness
from keeper.model.alerts import Notifier
from keeper.model.lifecycle import ENDED_IN_BLOCK, Purpose, State
from keeper.model.records import Attempt, Intent, MinedReceipt
from keeper.model.units import Address
from keeper.model.values import Head

log = structlog.get_logger()

DISPUTED = "receipt.disputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A plan whose transactions have all come to an end."""

    decision_id: int
    intents: tuple[Intent, ...]
    receipt: MinedReceipt | None
    """Of the last transaction, the action itself; None if it was never mined."""


class Verdicts:
    """On what was sent from one chain's signers, by the newest answers alone."""

    def __init__(
        self,
        book: Followed,
        *,
        chain_id: int,
        journal: IntentJournal,
        run: RunOnStore,
        confirmations: int,
        finality_blocks: int,
        votes: Votes | None,
        notifier: Notifier | None,
    ) -> None:
        self._book = book
        self._chain_id = chain_id
        self._journal = journal
        self._run = run
        self._confirmations = confirmations
        self._finality_blocks = finality_blocks
        self._votes = votes
        self._notifier = notifier
        self._in_reach: dict[str, Intent] = {}
        """By key, what ended in a block that a reorg may still take back."""
        self._witness: Witness | None = None
        self._written: dict[str, MinedReceipt] = {}
        self._heard: dict[str, tuple[MinedReceipt, str]] = {}
        """By hash, what the other endpoints bore out, and at which head."""

    async def recover(self) -> None:
        """Take up what an earlier run saw end, as far as a reorg may still reach it."""
        found = await self._run(
            self._journal.intents_in_reach, self._chain_id, self._finality_blocks
        )
        self._in_reach = {intent.key: intent for intent in found}

    def outcome_requests(self, head: Head) -> list[Request]:
        """To ride along with the reads of a pass; the answers go to `settle`."""
        self._witness = Witness(
            head,
            followed=self._book.all(),
            ended=self._in_reach.values(),
            depth=self._confirmations,
        )
        return self._witness.requests

    async def settle(
        self, head: Head, answers: Sequence[Any | RpcError], *, reader: Endpoint | None = None
    ) -> list[Settled]:
        """Note what is mined and what is not any more, and return the plans that are over. They
        stay open until `close`. The answers are the word of `reader`, if there are others."""
        known = self._witness.known(answers) if self._witness is not None else NOTHING
        lost = await self._lost(known, head, reader)
        known = self._book.known = await self._borne_out(known, head, reader)
        await self._note(known, head)
        settled = []
        for decision_id, intents in list(self._book.open.items()):
            ends = [self._ended(intent, known, head, lost=intent.key in lost) for intent in intents]
            if None in ends or not await self._still_borne_out(known, intents, head, reader):
                continue
            settled.append(
                Settled(
                    decision_id=decision_id,
                    intents=tuple(
                        replace(intent, state=state)
                        for intent, state in zip(intents, ends, strict=True)
                        if state is not None
                    ),
                    receipt=_receipt_of_call(known, intents[-1]),
                )
            )
        return settled

    async def _borne_out(self, known: Known, head: Head, reader: Endpoint | None) -> Known:
        """Without receipts that the other endpoints do not bear out: one that lies must not free a
        position whose transaction may still be mined."""
        new = [
            (intent, receipt)
            for intent in self._book.all()
            for attempt in intent.attempts
            if (receipt := known.receipts.get(attempt.hash)) is not None
            and self._heard.get(receipt.hash, (None,))[0] != receipt
        ]
        votes = await asyncio.gather(*(self._vote(receipt, head, reader) for _, receipt in new))
        doubted = set()
        for (intent, receipt), vote in zip(new, votes, strict=True):
            if vote is Vote.AGAINST:
                self._book.alert(DISPUTED, intent, "most endpoints deny its receipt: it stays open")
            if vote is not Vote.FOR:
                doubted.add(receipt.hash)
        receipts = {h: receipt for h, receipt in known.receipts.items() if h not in doubted}
        return replace(known, receipts=receipts)

    async def _still_borne_out(
        self, known: Known, intents: Sequence[Intent], head: Head, reader: Endpoint | None
    ) -> bool:
        """Whether the other endpoints bear out, at this head, the receipts that are to end a plan."""
        receipts = [mined[1] for intent in intents if (mined := known.mined(intent)) is not None]
        votes = await asyncio.gather(*(self._vote(receipt, head, reader) for receipt in receipts))
        if Vote.AGAINST in votes:
            self._book.alert(
                DISPUTED, intents[-1], "most endpoints deny how it ended: it stays open"
            )
        elif self._notifier is not None:
            self._notifier.resolve(DISPUTED, str(intents[-1].position))
        return all(vote is Vote.FOR for vote in votes)

    async def _vote(self, receipt: MinedReceipt, head: Head, reader: Endpoint | None) -> Vote:
        """Once at each head."""
        if self._votes is None or self._heard.get(receipt.hash) == (receipt, head.hash):
            return Vote.FOR
        vote = await self._votes.on(receipt, reader)
        if vote is Vote.FOR:
            self._heard[receipt.hash] = receipt, head.hash
        return vote

    def close(self, settled: Settled) -> None:
        """The plan is over; its position may be planned for."""
        for intent in self._book.open.pop(settled.decision_id):
            self._book.patience.pop(intent.key, None)
            self._book.since.pop(intent.key, None)
            self._book.underpriced.discard(intent.key)
            for attempt in intent.attempts:
                del self._book.taken[attempt.hash]
            self._book.below_ceiling(intent)

    def concluded(self, settled: Settled) -> None:
        """The plan's result is in the journal, whether it is closed by then or right afterwards. What
        ended in a block is looked at until that is final."""
        for intent in settled.intents:
            if intent.state in ENDED_IN_BLOCK:
                self._in_reach[intent.key] = intent

    async def _note(self, known: Known, head: Head) -> None:
        """Keep in the journal what is mined now, what is not any more, and what is final."""
        states = {
            intent.key: after
            for intent in [*self._book.all(), *self._in_reach.values()]
            if (after := self._after(intent, known, head)) is not None
        }
        # Those of fillers too, which hold up an intent and cost what they cost.
        receipts = [
            receipt
            for intent in self._book.all()
            for attempt in intent.attempts
            if (receipt := known.receipts.get(attempt.hash)) is not None
            and self._written.get(receipt.hash) != receipt
        ]
        if states or receipts:
            await self._run(self._journal.record_mined, receipts, states)
        self._written |= {receipt.hash: receipt for receipt in receipts}
        for intent in self._book.all():
            if intent.key in states:
                self._book.put(replace(intent, state=states[intent.key]))
                if states[intent.key] is State.BROADCAST:
                    self._taken_back(intent, head)
        for key, intent in list(self._in_reach.items()):
            if states.get(key) is State.BROADCAST:
                del self._in_reach[key]
                self._reopen(intent, head)
            elif self._is_final(intent, known, head):
                del self._in_reach[key]
                self._forget(intent)

    def _after(self, intent: Intent, known: Known, head: Head) -> State | None:
        """The state to which the newest answers move an intent; None where it stays."""
        mined = known.mined(intent)
        if mined is None:
            in_block = intent.state is State.MINED or intent.state in ENDED_IN_BLOCK
            return State.BROADCAST if in_block and known.not_mined(intent) else None
        if intent.state.unmined:
            return State.MINED
        if intent.state in ENDED_IN_BLOCK and intent.state is not _end(*mined):
            return State.BROADCAST
        confirmed = intent.state is State.CONFIRMED
        return State.FINALIZED if confirmed and self._is_final(intent, known, head) else None

    def _is_final(self, intent: Intent, known: Known, head: Head) -> bool:
        """Whether its end lies deeper than any reorg reaches."""
        mined = known.mined(intent)
        return mined is not None and _depth(mined[1], head) >= self._finality_blocks

    async def _lost(self, known: Known, head: Head, reader: Endpoint | None) -> set[str]:
        """Intents whose nonce somebody else has used: their node has said so for a while, the majority
        at the depth of a confirmed transaction says so, and nobody has a receipt of ours."""
        lost = set()
        for intent in self._book.all():
            if not intent.attempts or not intent.state.unmined:
                continue
            used = known.deep_nonces.get(intent.signer, 0) > intent.nonce
            patience = self._book.patience_of(intent)
            patience.looked(nonce_used=used and known.not_mined(intent))
            if used and patience.verdict is Verdict.LOST:
                number = max(head.number - self._confirmations + 1, 0)
                if self._votes is None or await self._votes.is_lost(
                    intent, reader, block_number=number
                ):
                    lost.add(intent.key)
        return lost

    def _ended(self, intent: Intent, known: Known, head: Head, *, lost: bool) -> State | None:
        """The state that ends an intent; None while that is not settled deep enough."""
        if intent.state is State.EXPIRED:
            return State.EXPIRED
        mined = known.mined(intent)
        if mined is not None:
            # What has only now been opened again is asked for once more first.
            seen = intent.state is State.MINED
            return _end(*mined) if seen and _depth(mined[1], head) >= self._confirmations else None
        if lost or self._rival_is_deep(intent, known, head):
            return State.SKIPPED if intent.displaced else State.NONCE_LOST
        return None

    def _rival_is_deep(self, intent: Intent, known: Known, head: Head) -> bool:
        """Whether another intent's transaction is confirmed in the same slot."""
        for other in [*self._book.of_signer(intent.signer), *self._in_reach.values()]:
            if (other.signer, other.nonce) == (intent.signer, intent.nonce):
                mined = known.mined(other)
                if mined is not None and _depth(mined[1], head) >= self._confirmations:
                    return True
        return False

    def _reopen(self, intent: Intent, head: Head) -> None:
        self._taken_back(intent, head)
        self._book.open.setdefault(intent.decision_id, []).append(
            replace(intent, state=State.BROADCAST)
        )

    def _taken_back(self, intent: Intent, head: Head) -> None:
        log.warning("intent.reopened", key=intent.key, tx_hash=intent.attempt.hash)
        self._book.since[intent.key] = head.number
        self._forget(intent)

    def _forget(self, intent: Intent) -> None:
        for attempt in intent.attempts:
            self._written.pop(attempt.hash, None)
            self._heard.pop(attempt.hash, None)

    async def is_ours(self, signer: Address, nonce: int) -> bool:
        """Whether the journal has bytes for the nonce."""
        return await self._run(self._journal.holds_nonce, self._chain_id, signer, nonce)

    async def reopened(self, signer: Address, chain_nonce: int, head: Head) -> bool:
        """Open again what the journal holds for over although the chain's nonce is not past it."""
        taken_back = await self._run(
            self._journal.settled_intents, self._chain_id, signer, chain_nonce
        )
        if taken_back:
            states = dict.fromkeys((intent.key for intent in taken_back), State.BROADCAST)
            await self._run(self._journal.move, states)
        for intent in taken_back:
            self._in_reach.pop(intent.key, None)
            self._reopen(intent, head)
        return bool(taken_back)


def _depth(receipt: MinedReceipt, head: Head) -> int:
    """1 in the head itself."""
    return head.number - receipt.block_number + 1


def _end(attempt: Attempt, receipt: MinedReceipt) -> State:
    """Of an intent of which this attempt is mined, deep enough."""
    if attempt.purpose is Purpose.CANCEL:
        return State.CANCELLED
    return State.CONFIRMED if receipt.succeeded else State.REVERTED


def _receipt_of_call(known: Known, intent: Intent) -> MinedReceipt | None:
    """Of the intent's own transaction, not of a no-op in its place."""
    mined = known.mined(intent)
    return mined[1] if mined is not None and mined[0].purpose is Purpose.CALL else None
