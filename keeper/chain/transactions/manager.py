"""The life of every transaction, from its nonce to the depth at which no reorg reaches it.

An intent, its nonce and then its signed bytes are in the journal before the bytes leave. From there
on the chain decides: at every head the receipts of all hashes that were ever signed for a slot are
asked for, and whichever is mined is adopted. What is not mined is sent again, outbid, or cancelled
by a no-op (`remedies`); a nonce is given up only when every rival for it is accounted for. A reorg
re-opens what it takes back, since nothing is believed but the newest answer.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from keeper.chain.prepare import Prepared
from keeper.chain.rpc import JsonRpc
from keeper.chain.sending import Broadcaster
from keeper.chain.settings import FeeSettings
from keeper.chain.signer import Signer
from keeper.chain.transactions import remedies
from keeper.chain.transactions.followed import Followed
from keeper.chain.transactions.mending import Mender, Stakes
from keeper.chain.transactions.outbox import Outbox
from keeper.chain.transactions.patience import Clock
from keeper.chain.transactions.pen import ObjectedError, Pen
from keeper.chain.transactions.seams import (
    BeforeSigning,
    GasLeft,
    IntentJournal,
    RunOnStore,
    Votes,
    nothing_against,
    without_limit,
)
from keeper.chain.transactions.slots import allot
from keeper.chain.transactions.verdicts import Verdicts
from keeper.model.alerts import Notifier
from keeper.model.lifecycle import State, Urgency
from keeper.model.records import Attempt, Intent
from keeper.model.units import Address, Wei
from keeper.model.values import Head, PositionId

log = structlog.get_logger()


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
        self._journal = journal
        self._run = run
        self._pen = Pen(
            rpc=rpc,
            chain_id=chain_id,
            signers=signers,
            before_signing=before_signing,
            notifier=notifier,
        )
        self._book = Followed(clock=clock, notifier=notifier)
        self._outbox = Outbox(
            self._book,
            signers=signers,
            journal=journal,
            run=run,
            broadcaster=broadcaster or Broadcaster([rpc]),
        )
        self._verdicts = Verdicts(
            self._book,
            chain_id=chain_id,
            journal=journal,
            run=run,
            confirmations=confirmations,
            finality_blocks=finality_blocks,
            votes=votes,
            notifier=notifier,
        )
        self._mender = Mender(
            self._book,
            self._outbox,
            self._pen,
            self._verdicts,
            chain_id=chain_id,
            signers=signers,
            fees=fees,
            gas_left=gas_left,
        )
        self._recovering: set[Address] = set()
        self.gas_left_wei = self._mender.gas_left_wei
        self.outcome_requests = self._verdicts.outcome_requests
        self.settle = self._verdicts.settle
        self.close = self._verdicts.close
        self.concluded = self._verdicts.concluded

    # -- what is under way -----------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up everything that an earlier run left open, whether it is still watched or not: its
        nonces are taken. What was never signed is over; of the rest, `settle` and `mend` find out
        what came of it before anything is planned anew for its signer."""
        self._book.open.clear()
        found = await self._run(self._journal.open_intents, self._chain_id)
        if unsigned := [intent.key for intent in found if not intent.attempts]:
            await self._run(self._journal.move, dict.fromkeys(unsigned, State.EXPIRED))
            # Slots that these had taken over are their former owners' again.
            found = await self._run(self._journal.open_intents, self._chain_id)
        for intent in found:
            self._book.open.setdefault(intent.decision_id, []).append(intent)
            self._recovering.add(intent.signer)
            log.info("intent.recovered", key=intent.key, tx_hash=intent.attempt.hash)
        await self._verdicts.recover()

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

    def recovering(self, signer: Address) -> bool:
        """Whether what an earlier run left of this signer waits to be mended first."""
        return signer in self._recovering and bool(self._book.of_signer(signer))

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

    async def mend(self, head: Head, stakes: Stakes) -> None:
        """Send again, outbid or cancel whatever waits, each signer for itself."""
        try:
            await self._mender.mend(head, stakes)
        finally:
            self._recovering.clear()

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
        if await self._verdicts.reopened(proposal.signer, prepared.chain_nonce, head):
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
            displaced: tuple[Attempt, ...] = ()
            if intent.nonce in taken_from:
                displaced = taken_from[intent.nonce].attempts
                old = remedies.fees_of(taken_from[intent.nonce].attempt)
                fees = remedies.over(old, prepared.fees)
            attempt = await self._pen.call(
                intent,
                gas_limit=gas_limit,
                fees=fees,
                head=head,
                l1_fee_wei=l1_fee_wei,
                beside=tuple(each.attempt for each in signed),
                displaced=displaced,
            )
            signed.append(replace(intent, state=State.SIGNED, attempts=(attempt,)))
        return signed
