"""The sending half: bytes become durable, and only then leave, in their order."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from keeper.chain.sending import Broadcaster, SendOutcome
from keeper.chain.signer import Signer
from keeper.chain.transactions.followed import Followed
from keeper.chain.transactions.seams import IntentJournal, RunOnStore
from keeper.model.lifecycle import Purpose, State
from keeper.model.records import Attempt, Intent
from keeper.model.units import Address

log = structlog.get_logger()

UNDERPRICED = frozenset({SendOutcome.REPLACEMENT_UNDERPRICED, SendOutcome.FEE_TOO_LOW})
"""What higher caps mend."""


class Outbox:
    """What may be sent is in the journal."""

    def __init__(
        self,
        book: Followed,
        *,
        signers: dict[Address, Signer],
        journal: IntentJournal,
        run: RunOnStore,
        broadcaster: Broadcaster,
    ) -> None:
        self._book = book
        self._signers = signers
        self._journal = journal
        self._run = run
        self._broadcaster = broadcaster

    async def keep(self, key: str, attempt: Attempt) -> None:
        """Make signed bytes of an intent durable, and only then the ones to send."""
        intent = self._book.find(key)
        await self._run(self._journal.record_attempt, intent, attempt)
        state = State.SIGNED if intent.state is State.RESERVED else intent.state
        self._book.put(replace(intent, state=state, attempts=(*intent.attempts, attempt)))
        self._book.underpriced.discard(key)

    async def send_in_order(self, intents: Sequence[Intent]) -> None:
        """Send what can be sent: nothing of a plan behind a transaction that was not taken, and
        nothing of an account whose key is not here, as in a dry run."""
        stuck: set[int] = set()
        sent: list[Intent] = []
        for intent in tuple(intents):
            if intent.signer not in self._signers:
                continue
            # No no-op comes too early.
            if intent.decision_id in stuck and not intent.cancelling:
                continue
            if await self._send(intent):
                sent.append(intent)
            else:
                stuck.add(intent.decision_id)
        new = [intent for intent in sent if intent.state is State.SIGNED]
        if new:
            states = dict.fromkeys((intent.key for intent in new), State.BROADCAST)
            await self._run(self._journal.move, states)
            for intent in new:
                self._book.put(replace(intent, state=State.BROADCAST))

    async def _send(self, intent: Intent) -> bool:
        """Whether the node has the intent's newest bytes."""
        purpose = intent.transaction.purpose
        if intent.cancelling:
            purpose = Purpose.CANCEL.value
        outcome = await self.post(intent.attempt, purpose=purpose, key=intent.key)
        if outcome.taken:
            self._book.patience_of(intent).taken()
            self._book.taken[intent.attempt.hash] += 1
        elif outcome in UNDERPRICED:
            self._book.underpriced.add(intent.key)
        elif outcome is SendOutcome.REJECTED:
            self._book.patience_of(intent).refused()
        return outcome.taken

    async def post(self, attempt: Attempt, *, purpose: str, key: str) -> SendOutcome:
        """One POST to each endpoint. A lost answer is resolved at the next head."""
        fields = {"key": key, "purpose": purpose, "tx_hash": attempt.hash, "nonce": attempt.nonce}
        sent = await self._broadcaster.send(attempt.raw, attempt.hash)
        if sent.outcome.taken:
            log.info("transaction.sent", **fields)
        else:
            log.error(
                "transaction.send_failed",
                outcome=sent.outcome.value,
                reason=sent.reason,
                **fields,
            )
        return sent.outcome
