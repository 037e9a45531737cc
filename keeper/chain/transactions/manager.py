"""The life of every transaction, from its nonce to the depth at which no reorg reaches it.

An intent, its nonce and then its signed bytes are in the journal before the bytes leave. From there
on the chain decides: at every head the receipts of all hashes that were ever signed for a slot are
asked for, and whichever is mined is adopted. What is not mined is sent again, outbid, or cancelled
by a no-op (`remedies`); a nonce is given up only when every rival for it is accounted for. A reorg
re-opens what it takes back, since nothing is believed but the newest answer.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from keeper.chain.prepare import Prepared
from keeper.chain.rpc import JsonRpc, Request, RpcError
from keeper.chain.sending import Broadcaster
from keeper.chain.settings import FeeSettings
from keeper.chain.signer import Signer
from keeper.chain.transactions import remedies
from keeper.chain.transactions.followed import Followed
from keeper.chain.transactions.mending import Mender
from keeper.chain.transactions.outbox import Outbox
from keeper.chain.transactions.patience import Clock, Verdict
from keeper.chain.transactions.pen import ObjectedError, Pen
from keeper.chain.transactions.seams import (
    BeforeSigning,
    GasLeft,
    IntentJournal,
    RunOnStore,
    Vote,
    Votes,
    nothing_against,
    without_limit,
)
from keeper.chain.transactions.slots import allot
from keeper.chain.transactions.witness import NOTHING, Known, Witness
from keeper.model.alerts import Notifier
from keeper.model.lifecycle import Purpose, State, Urgency
from keeper.model.records import Intent, MinedReceipt
from keeper.model.units import Address, Wei
from keeper.model.values import Head, PositionId

log = structlog.get_logger()

DISPUTED = "receipt.disputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A plan whose transactions have all come to an end."""

    decision_id: int
    intents: tuple[Intent, ...]
    receipt: MinedReceipt | None
    """Of the last transaction, the action itself; None if it was never mined."""


class TransactionManager:
    """One chain's outgoing transactions. `settle` and `submit` follow each other; those of
    different signers may be under way at once."""

    def __init__(
        self,
        *,
        rpc: JsonRpc,
        chain_id: int,
        signers: dict[Address, Signer],
        fees: FeeSettings,
        confirmations: int,
        journal: IntentJournal,
        run: RunOnStore,
        finality_blocks: int = 64,
        broadcaster: Broadcaster | None = None,
        before_signing: BeforeSigning = nothing_against,
        gas_left: GasLeft = without_limit,
        notifier: Notifier | None = None,
        votes: Votes | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._chain_id = chain_id
        self._signers = signers
        self._fees = fees
        self._confirmations = confirmations
        self._finality_blocks = finality_blocks
        self._journal = journal
        self._run = run
        self._pen = Pen(
            rpc=rpc,
            chain_id=chain_id,
            signers=signers,
            before_signing=before_signing,
            notifier=notifier,
        )
        self._votes = votes
        self._notifier = notifier
        self._book = Followed(clock=clock, notifier=notifier)
        self._outbox = Outbox(
            self._book,
            signers=signers,
            journal=journal,
            run=run,
            broadcaster=broadcaster or Broadcaster([rpc]),
        )
        self._mender = Mender(
            self._book,
            self._outbox,
            self._pen,
            chain_id=chain_id,
            signers=signers,
            fees=fees,
            gas_left=gas_left,
        )
        self.gas_left_wei = self._mender.gas_left_wei
        self.mend = self._mender.mend
        self._closing: dict[int, list[Intent]] = {}
        self._confirmed: dict[str, Intent] = {}
        self._witness: Witness | None = None
        self._written: dict[str, MinedReceipt] = {}

    # -- what is under way -----------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up everything that an earlier run left open, whether it is still watched or not: its
        nonces are taken. What was never signed is over; of the rest, `settle` and `mend` find out
        what came of it before anything is planned anew for its account."""
        self._book.open.clear()
        found = await self._run(self._journal.open_intents, self._chain_id)
        if unsigned := [intent.key for intent in found if not intent.attempts]:
            await self._run(self._journal.move, dict.fromkeys(unsigned, State.EXPIRED))
            # Slots that these had taken over are their former owners' again.
            found = await self._run(self._journal.open_intents, self._chain_id)
        for intent in found:
            self._book.open.setdefault(intent.decision_id, []).append(intent)
            log.info("intent.recovered", key=intent.key, tx_hash=intent.attempt.hash)
        confirmed = await self._run(self._journal.confirmed_intents, self._chain_id)
        self._confirmed = {intent.key: intent for intent in confirmed}

    def busy(self, position: PositionId, urgency: Urgency = Urgency.ROUTINE) -> bool:
        """Whether nothing may be planned for the position: its account's wallet serves one plan at a
        time. What is mined leaves it free again, and a routine plan for another position of the
        account gives way to an urgent one."""
        return any(
            intent.position.account == position.account
            and intent.state.unmined
            and not (urgency > intent.urgency and intent.position != position)
            for intent in self._book.all()
        )

    def pending(self, position: PositionId) -> bool:
        """Whether something of the position's account has not come to its end."""
        return any(i.position.account == position.account for i in self._book.all())

    @property
    def idle(self) -> bool:
        """Whether nothing is open."""
        return not self._book.open

    @property
    def settled(self) -> bool:
        """Whether nothing is open of the signers whose keys are here."""
        return not any(intent.signer in self._signers for intent in self._book.all())

    def outcome_requests(self, head: Head) -> list[Request]:
        """To ride along with the reads of a pass; the answers go to `settle`."""
        self._witness = Witness(
            head,
            followed=self._book.all(),
            confirmed=self._confirmed.values(),
            depth=self._confirmations,
        )
        return self._witness.requests

    # -- what came of it -------------------------------------------------------------------------

    async def settle(self, head: Head, answers: Sequence[Any | RpcError]) -> list[Settled]:
        """Note what is mined and what is not any more, and return the plans that are over. They
        stay open until `close`."""
        known = self._witness.known(answers) if self._witness is not None else NOTHING
        self._book.known = known
        await self._note(known, head)
        lost = await self._lost(known, head)
        settled = []
        for decision_id, intents in self._book.open.items():
            ends = [self._ended(intent, known, head, lost=intent.key in lost) for intent in intents]
            if None in ends or not await self._vouched_for(known, intents):
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

    async def _vouched_for(self, known: Known, intents: Sequence[Intent]) -> bool:
        """Whether the other endpoints bear out the receipts that are to end a plan."""
        receipts = [mined[1] for intent in intents if (mined := known.mined(intent)) is not None]
        if self._votes is None:
            return True
        votes = await asyncio.gather(*map(self._votes.on, receipts))
        if Vote.AGAINST in votes:
            self._book.alert(
                DISPUTED, intents[-1], "most endpoints deny how it ended: it stays open"
            )
        elif self._notifier is not None:
            self._notifier.resolve(DISPUTED, str(intents[-1].position))
        return all(vote is Vote.FOR for vote in votes)

    def close(self, settled: Settled) -> None:
        """The plan is over; its position may be planned for."""
        self._closing[settled.decision_id] = list(settled.intents)
        for intent in self._book.open.pop(settled.decision_id):
            self._book.patience.pop(intent.key, None)
            self._book.since.pop(intent.key, None)
            self._book.underpriced.discard(intent.key)
            for attempt in intent.attempts:
                del self._book.taken[attempt.hash]
            self._book.below_ceiling(intent)

    def concluded(self, settled: Settled) -> None:
        """The plan's result is in the journal. What is confirmed is looked at until it is final."""
        for intent in self._closing.pop(settled.decision_id, ()):
            if intent.state is State.CONFIRMED:
                self._confirmed[intent.key] = intent

    async def _note(self, known: Known, head: Head) -> None:
        """Keep in the journal what is mined now, what is not any more, and what is final."""
        states = {
            intent.key: after
            for intent in [*self._book.all(), *self._confirmed.values()]
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
        if not states and not receipts:
            return
        await self._run(self._journal.record_mined, receipts, states)
        self._written |= {receipt.hash: receipt for receipt in receipts}
        for intent in self._book.all():
            if intent.key in states:
                self._book.put(replace(intent, state=states[intent.key]))
                if states[intent.key] is State.BROADCAST:
                    self._taken_back(intent, head)
        for key in self._confirmed.keys() & states.keys():
            intent = self._confirmed.pop(key)
            if states[key] is State.BROADCAST:
                self._reopen(intent, head)
            else:
                self._forget(intent)

    def _after(self, intent: Intent, known: Known, head: Head) -> State | None:
        """The state to which the newest answers move an intent; None where it stays."""
        mined = known.mined(intent)
        if mined is None:
            in_block = intent.state in {State.MINED, State.CONFIRMED}
            return State.BROADCAST if in_block and known.not_mined(intent) else None
        if intent.state.unmined:
            return State.MINED
        final = _depth(mined[1], head) >= self._finality_blocks
        return State.FINALIZED if intent.state is State.CONFIRMED and final else None

    async def _lost(self, known: Known, head: Head) -> set[str]:
        """Intents whose nonce somebody else has used: their node has said so for a while, and the
        majority at the depth of a confirmed transaction says so."""
        lost = set()
        for intent in self._book.all():
            if not intent.attempts or not intent.state.unmined:
                continue
            used = known.deep_nonces.get(intent.signer, 0) > intent.nonce
            patience = self._book.patience_of(intent)
            patience.looked(nonce_used=used and known.not_mined(intent))
            if used and patience.verdict is Verdict.LOST:
                number = max(head.number - self._confirmations + 1, 0)
                if self._votes is None or await self._votes.is_used(
                    intent.signer, intent.nonce, block_number=number
                ):
                    lost.add(intent.key)
        return lost

    def _ended(self, intent: Intent, known: Known, head: Head, *, lost: bool) -> State | None:
        """The state that ends an intent; None while that is not settled deep enough."""
        if intent.state is State.EXPIRED:
            return State.EXPIRED
        mined = known.mined(intent)
        if mined is not None:
            attempt, receipt = mined
            if _depth(receipt, head) < self._confirmations:
                return None
            if attempt.purpose is Purpose.CANCEL:
                return State.CANCELLED
            return State.CONFIRMED if receipt.succeeded else State.REVERTED
        if lost or self._rival_is_deep(intent, known, head):
            return State.SKIPPED if intent.displaced else State.NONCE_LOST
        return None

    def _rival_is_deep(self, intent: Intent, known: Known, head: Head) -> bool:
        """Whether another intent's transaction is confirmed in the same slot."""
        for other in [*self._book.of_signer(intent.signer), *self._confirmed.values()]:
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

    # -- sending ---------------------------------------------------------------------------------

    async def submit(
        self,
        prepared: Prepared,
        *,
        decision_id: int,
        episode: int,
        head: Head,
    ) -> list[Intent]:
        """Reserve nonces, sign, journal, then send. From the first commit on, the plan is open.

        Sends nothing, and returns nothing, where a reorg has taken back transactions that were
        settled, which are open again with their nonces, and where a breaker objects."""
        async with self._book.turns[prepared.proposal.signer]:
            return await self._submit(prepared, decision_id, episode, head)

    async def _submit(
        self, prepared: Prepared, decision_id: int, episode: int, head: Head
    ) -> list[Intent]:
        proposal = prepared.proposal
        if await self._reopened(proposal.signer, prepared.chain_nonce, head):
            return []
        allotted = allot(
            len(proposal.transactions),
            chain_nonce=prepared.chain_nonce,
            of_signer=self._book.of_signer(proposal.signer),
            urgency=proposal.urgency,
        )
        step = await self._run(self._journal.next_step, episode)
        intents = [
            Intent(
                decision_id=decision_id,
                position=proposal.position,
                episode=episode,
                step=step + offset,
                signer=proposal.signer,
                transaction=transaction,
                urgency=proposal.urgency,
                head_number=head.number,
                deadline_block=head.number + self._fees.deadline_blocks,
                nonce=nonce,
                state=State.RESERVED,
            )
            for offset, (transaction, nonce) in enumerate(
                zip(proposal.transactions, allotted.nonces, strict=True)
            )
        ]
        try:
            signed = await self._signed(intents, prepared, allotted.taken_from, head)
        except ObjectedError as objection:
            log.error("plan.objected", decision=decision_id, reason=str(objection))  # noqa: TRY400 - the reason says it all
            expired = [replace(intent, state=State.EXPIRED) for intent in intents]
            await self._run(self._journal.reserve, expired, {})
            self._book.open[decision_id] = expired
            return []
        await self._run(
            self._journal.reserve,
            signed,
            {nonce: victim.key for nonce, victim in allotted.taken_from.items()},
        )
        self._book.open[decision_id] = signed
        for victim in allotted.taken_from.values():
            log.warning("intent.displaced", key=victim.key, by=decision_id)
            self._book.put(replace(victim, displaced=True))
        await self._outbox.send_in_order(signed)
        await self._mender.give_way(allotted.left_over, prepared.fees, head)
        return list(self._book.open[decision_id])

    async def _signed(
        self,
        intents: Sequence[Intent],
        prepared: Prepared,
        taken_from: Any,
        head: Head,
    ) -> list[Intent]:
        """The intents with their first bytes. Raises `ObjectedError`."""
        signed: list[Intent] = []
        l1_fees_wei = prepared.l1_fees_wei or (Wei(0),) * len(intents)
        for intent, gas_limit, l1_fee_wei in zip(
            intents, prepared.gas_limits, l1_fees_wei, strict=True
        ):
            fees = prepared.fees
            if intent.nonce in taken_from:
                old = remedies.fees_of(taken_from[intent.nonce].attempt)
                fees = remedies.over(old, prepared.fees)
            attempt = await self._pen.call(
                intent,
                gas_limit=gas_limit,
                fees=fees,
                head=head,
                l1_fee_wei=l1_fee_wei,
                beside=tuple(each.attempt for each in signed),
            )
            signed.append(replace(intent, state=State.SIGNED, attempts=(attempt,)))
        return signed

    async def _reopened(self, signer: Address, chain_nonce: int, head: Head) -> bool:
        """Open again what the journal holds for over although the chain's nonce is not past it."""
        taken_back = await self._run(
            self._journal.settled_intents, self._chain_id, signer, chain_nonce
        )
        if taken_back:
            states = dict.fromkeys((intent.key for intent in taken_back), State.BROADCAST)
            await self._run(self._journal.move, states)
        for intent in taken_back:
            self._confirmed.pop(intent.key, None)
            self._reopen(intent, head)
        return bool(taken_back)


def _depth(receipt: MinedReceipt, head: Head) -> int:
    """1 in the head itself."""
    return head.number - receipt.block_number + 1


def _receipt_of_call(known: Known, intent: Intent) -> MinedReceipt | None:
    """Of the intent's own transaction, not of a no-op in its place."""
    mined = known.mined(intent)
    return mined[1] if mined is not None and mined[0].purpose is Purpose.CALL else None
