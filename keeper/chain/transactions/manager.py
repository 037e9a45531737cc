"""The life of every transaction, from its nonce to the depth at which no reorg reaches it.

An intent, its nonce and then its signed bytes are in the journal before the bytes leave. From there
on the chain decides: at every head the receipts of all hashes that were ever signed for a slot are
asked for, and whichever is mined is adopted. What is not mined is sent again, outbid, or cancelled
by a no-op (`remedies`); a nonce is given up only when every rival for it is accounted for. A reorg
re-opens what it takes back, since nothing is believed but the newest answer.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from keeper.chain.fees import Fees
from keeper.chain.prepare import Prepared
from keeper.chain.rpc import JsonRpc, Request, RpcError
from keeper.chain.sending import Broadcaster, SendOutcome
from keeper.chain.settings import FeeSettings
from keeper.chain.signer import Signer
from keeper.chain.transactions import remedies
from keeper.chain.transactions.patience import Clock, Patience, Verdict
from keeper.chain.transactions.pen import ObjectedError, Pen
from keeper.chain.transactions.remedies import Cancel, Capped, Market, Replace, Resend, Wait
from keeper.chain.transactions.seams import (
    BeforeSigning,
    GasLeft,
    IntentJournal,
    RunOnStore,
    Stake,
    Vote,
    Votes,
    nothing_against,
    without_limit,
)
from keeper.chain.transactions.slots import allot, gaps
from keeper.chain.transactions.witness import NOTHING, Known, Witness
from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.lifecycle import Purpose, State, Urgency
from keeper.model.records import Attempt, Intent, MinedReceipt
from keeper.model.units import Address, Wei
from keeper.model.values import Head, PositionId

log = structlog.get_logger()

Stakes = Callable[[PositionId], Stake | None]
"""How a position stands now; None where that is not known."""

CEILING, OBJECTED = "fees.ceiling_reached", "signature.refused"
DISPUTED = "receipt.disputed"
UNDERPRICED = frozenset({SendOutcome.REPLACEMENT_UNDERPRICED, SendOutcome.FEE_TOO_LOW})
"""What higher caps mend."""
TAKEN_AND_HIDDEN = 2
"""Times that a node took the same bytes, so that they wait somewhere although the mempool that is
asked does not have them: a private one shows them to nobody."""
LOOKS_TO_FILL = 3
"""Heads in a row at which a nonce below ours must be free: somebody else's may be on its way."""


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
        self._pen = Pen(rpc=rpc, chain_id=chain_id, signers=signers, before_signing=before_signing)
        self._broadcaster = broadcaster or Broadcaster([rpc])
        self._votes = votes
        self._gas_left = gas_left
        self._notifier = notifier
        self._clock = clock
        self._open: dict[int, list[Intent]] = {}
        self._closing: dict[int, list[Intent]] = {}
        self._confirmed: dict[str, Intent] = {}
        self._known = NOTHING
        self._witness: Witness | None = None
        self._written: dict[str, MinedReceipt] = {}
        self._patience: dict[str, Patience] = {}
        self._underpriced: set[str] = set()
        self._taken: Counter[str] = Counter()
        self._since: dict[str, int] = {}
        self._gaps: dict[tuple[Address, int], int] = {}
        self._turns: defaultdict[Address, asyncio.Lock] = defaultdict(asyncio.Lock)

    # -- what is under way -----------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up everything that an earlier run left open, whether it is still watched or not: its
        nonces are taken. What was never signed is over; of the rest, `settle` and `mend` find out
        what came of it before anything is planned anew for its account."""
        self._open.clear()
        found = await self._run(self._journal.open_intents, self._chain_id)
        if unsigned := [intent.key for intent in found if not intent.attempts]:
            await self._run(self._journal.move, dict.fromkeys(unsigned, State.EXPIRED))
            # Slots that these had taken over are their former owners' again.
            found = await self._run(self._journal.open_intents, self._chain_id)
        for intent in found:
            self._open.setdefault(intent.decision_id, []).append(intent)
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
            for intent in self._all_open()
        )

    def pending(self, position: PositionId) -> bool:
        """Whether something of the position's account has not come to its end."""
        return any(i.position.account == position.account for i in self._all_open())

    @property
    def idle(self) -> bool:
        """Whether nothing is open."""
        return not self._open

    @property
    def settled(self) -> bool:
        """Whether nothing is open of the signers whose keys are here."""
        return not any(intent.signer in self._signers for intent in self._all_open())

    def outcome_requests(self, head: Head) -> list[Request]:
        """To ride along with the reads of a pass; the answers go to `settle`."""
        self._witness = Witness(
            head,
            followed=self._all_open(),
            confirmed=self._confirmed.values(),
            depth=self._confirmations,
        )
        return self._witness.requests

    def _all_open(self) -> list[Intent]:
        return [intent for intents in self._open.values() for intent in intents]

    def _of_signer(self, signer: Address) -> list[Intent]:
        return [intent for intent in self._all_open() if intent.signer == signer]

    def _alert(self, name: str, intent: Intent, text: str) -> None:
        log.error(name, key=intent.key, reason=text)
        if self._notifier is not None:
            subject = str(intent.position)
            self._notifier.notify(
                Alert(name=name, subject=subject, severity=Severity.CRITICAL, text=text)
            )

    def _below_ceiling(self, intent: Intent) -> None:
        if self._notifier is not None:
            self._notifier.resolve(CEILING, str(intent.position))

    def _put(self, intent: Intent) -> None:
        """The intent as it is now."""
        intents = self._open[intent.decision_id]
        intents[[each.key for each in intents].index(intent.key)] = intent

    # -- what came of it -------------------------------------------------------------------------

    async def settle(self, head: Head, answers: Sequence[Any | RpcError]) -> list[Settled]:
        """Note what is mined and what is not any more, and return the plans that are over. They
        stay open until `close`."""
        known = self._witness.known(answers) if self._witness is not None else NOTHING
        self._known = known
        await self._note(known, head)
        lost = await self._lost(known, head)
        settled = []
        for decision_id, intents in self._open.items():
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
            self._alert(DISPUTED, intents[-1], "most endpoints deny how it ended: it stays open")
        elif self._notifier is not None:
            self._notifier.resolve(DISPUTED, str(intents[-1].position))
        return all(vote is Vote.FOR for vote in votes)

    def close(self, settled: Settled) -> None:
        """The plan is over; its position may be planned for."""
        self._closing[settled.decision_id] = list(settled.intents)
        for intent in self._open.pop(settled.decision_id):
            self._patience.pop(intent.key, None)
            self._since.pop(intent.key, None)
            self._underpriced.discard(intent.key)
            for attempt in intent.attempts:
                del self._taken[attempt.hash]
            self._below_ceiling(intent)

    def concluded(self, settled: Settled) -> None:
        """The plan's result is in the journal. What is confirmed is looked at until it is final."""
        for intent in self._closing.pop(settled.decision_id, ()):
            if intent.state is State.CONFIRMED:
                self._confirmed[intent.key] = intent

    async def _note(self, known: Known, head: Head) -> None:
        """Keep in the journal what is mined now, what is not any more, and what is final."""
        states = {
            intent.key: after
            for intent in [*self._all_open(), *self._confirmed.values()]
            if (after := self._after(intent, known, head)) is not None
        }
        # Those of fillers too, which hold up an intent and cost what they cost.
        receipts = [
            receipt
            for intent in self._all_open()
            for attempt in intent.attempts
            if (receipt := known.receipts.get(attempt.hash)) is not None
            and self._written.get(receipt.hash) != receipt
        ]
        if not states and not receipts:
            return
        await self._run(self._journal.record_mined, receipts, states)
        self._written |= {receipt.hash: receipt for receipt in receipts}
        for intent in self._all_open():
            if intent.key in states:
                self._put(replace(intent, state=states[intent.key]))
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
        for intent in self._all_open():
            if not intent.attempts or not intent.state.unmined:
                continue
            used = known.deep_nonces.get(intent.signer, 0) > intent.nonce
            patience = self._patience_of(intent)
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
        for other in [*self._of_signer(intent.signer), *self._confirmed.values()]:
            if (other.signer, other.nonce) == (intent.signer, intent.nonce):
                mined = known.mined(other)
                if mined is not None and _depth(mined[1], head) >= self._confirmations:
                    return True
        return False

    def _patience_of(self, intent: Intent) -> Patience:
        return self._patience.setdefault(intent.key, Patience(self._clock))

    def _reopen(self, intent: Intent, head: Head) -> None:
        self._taken_back(intent, head)
        self._open.setdefault(intent.decision_id, []).append(replace(intent, state=State.BROADCAST))

    def _taken_back(self, intent: Intent, head: Head) -> None:
        log.warning("intent.reopened", key=intent.key, tx_hash=intent.attempt.hash)
        self._since[intent.key] = head.number
        self._forget(intent)

    def _forget(self, intent: Intent) -> None:
        for attempt in intent.attempts:
            self._written.pop(attempt.hash, None)

    # -- what is done about what is not mined ----------------------------------------------------

    async def gas_left_wei(self, signers: Iterable[Address]) -> dict[Address, Wei]:
        """What each signer may still spend on gas today."""
        return {signer: await self._gas_left(self._chain_id, signer) for signer in set(signers)}

    async def mend(self, head: Head, stakes: Stakes) -> None:
        """Send again, outbid or cancel whatever waits, each signer for itself."""
        signers = dict.fromkeys(i.signer for i in self._all_open() if _waits(i))
        signers = {signer: None for signer in signers if signer in self._signers}
        if not signers:
            return
        left_wei = await self.gas_left_wei(signers)
        for outcome in await asyncio.gather(
            *(
                self._mend_of(signer, self._market(head, left_wei[signer]), stakes)
                for signer in signers
            ),
            return_exceptions=True,
        ):
            if isinstance(outcome, BaseException):
                raise outcome

    def _market(self, head: Head, budget_left_wei: Wei) -> Market:
        return Market(
            head=head,
            history=self._known.fees,
            settings=self._fees,
            budget_left_wei=budget_left_wei,
        )

    async def _mend_of(self, signer: Address, market: Market, stakes: Stakes) -> None:
        async with self._turns[signer]:
            await self._fill_gaps(signer, market, stakes)
            waiting = [
                intent
                for intent in self._of_signer(signer)
                if _waits(intent)
                and not intent.displaced
                # The node was asked about it, and its nonce is nobody's yet.
                and intent.attempt.hash in self._known.unmined
                and self._known.nonces.get(signer, 0) <= intent.nonce
                and not any(each.hash in self._known.ahead for each in intent.attempts)
            ]
            void = self._void_plans(waiting, market.head, stakes)
            signed, resent = [], []
            for intent in sorted(waiting, key=lambda each: each.nonce):
                stake = stakes(intent.position)
                urgency = intent.urgency
                if stake is not None and stake.urgency > urgency:
                    # Nor may another's urgent plan have its nonce from now on.
                    urgency = stake.urgency
                    intent = replace(intent, urgency=urgency)
                    self._put(intent)
                found = remedies.remedy(
                    intent,
                    market=market,
                    urgency=urgency,
                    worth_wei=None if stake is None else stake.worth_wei,
                    missing=intent.attempt.hash in self._known.missing,
                    hidden=self._taken[intent.attempt.hash] >= TAKEN_AND_HIDDEN,
                    underpriced=intent.key in self._underpriced,
                    waited_blocks=market.head.number
                    - max(self._since.get(intent.key, 0), intent.attempt.head_number),
                    void=intent.decision_id in void,
                )
                if not isinstance(found, Capped):
                    self._below_ceiling(intent)
                match found:
                    case Wait():
                        self._patience_of(intent).taken()
                    case Resend() | Replace() if self._lacks_a_step(intent):
                        pass
                    case Resend():
                        resent.append(intent)
                    case Capped(reached=reached):
                        self._alert(CEILING, intent, str(reached))
                    case Replace(fees=fees) | Cancel(fees=fees):
                        cancel = isinstance(found, Cancel)
                        attempt = await self._outbid(
                            intent, fees, urgency, market.head, cancel=cancel
                        )
                        if attempt is not None:
                            signed.append((intent, attempt))
            await self._keep_attempts(signed)
            outbid = {intent.key for intent, _ in signed}
            await self._send_in_order(
                [
                    intent
                    for intent in self._of_signer(signer)
                    if intent.key in outbid or intent.key in {each.key for each in resent}
                ]
            )

    def _void_plans(self, waiting: Iterable[Intent], head: Head, stakes: Stakes) -> set[int]:
        """Plans that are not wanted any more: what of them is not mined is cancelled as a whole."""
        return {
            intent.decision_id
            for intent in waiting
            if head.number > intent.deadline_block
            or self._patience_of(intent).verdict is Verdict.ABANDON
            or any(
                each.cancelling or each.displaced or self._patience_of(each).verdict is Verdict.LOST
                for each in self._open[intent.decision_id]
            )
            or ((stake := stakes(intent.position)) is not None and stake.healthy)
        }

    def _lacks_a_step(self, intent: Intent) -> bool:
        """Whether a step of the plan before it has lost its nonce, as far as the node tells: without
        an approval, say, the action would only revert."""
        if intent.cancelling:
            return False
        used_below = self._known.nonces.get(intent.signer, 0)
        return any(
            each.nonce < min(intent.nonce, used_below)
            and each.state.unmined
            and self._known.not_mined(each)
            for each in self._open[intent.decision_id]
        )

    async def _outbid(
        self, intent: Intent, fees: Fees, urgency: Urgency, head: Head, *, cancel: bool
    ) -> Attempt | None:
        try:
            if cancel:
                attempt = await self._pen.no_op(
                    intent,
                    purpose=Purpose.CANCEL,
                    nonce=intent.nonce,
                    fees=fees,
                    urgency=urgency,
                    head=head,
                )
            else:
                attempt = await self._pen.call(
                    intent,
                    gas_limit=intent.attempt.gas_limit,
                    fees=fees,
                    urgency=urgency,
                    head=head,
                    l1_fee_wei=intent.attempt.l1_fee_wei,
                )
        except ObjectedError as objection:
            self._alert(OBJECTED, intent, str(objection))
            return None
        log.info(
            "intent.cancelling" if cancel else "intent.outbid",
            key=intent.key,
            tx_hash=attempt.hash,
            max_fee_gwei=fees.max_fee_wei / 1e9,
        )
        return attempt

    async def _keep_attempts(self, signed: Sequence[tuple[Intent, Attempt]]) -> None:
        """Make signed bytes durable, and only then the ones to send."""
        if not signed:
            return
        await self._run(self._journal.record_attempts, signed)
        for intent, attempt in signed:
            state = State.SIGNED if intent.state is State.RESERVED else intent.state
            self._put(replace(intent, state=state, attempts=(*intent.attempts, attempt)))
            self._underpriced.discard(intent.key)

    async def _fill_gaps(self, signer: Address, market: Market, stakes: Stakes) -> None:
        """Where a nonce below ours is nobody's for a while, a no-op takes it."""
        ours = self._of_signer(signer)
        nonce = self._known.nonces.get(signer)
        found = [] if nonce is None else gaps(chain_nonce=nonce, of_signer=ours)
        self._gaps = {
            (who, gap): looks
            for (who, gap), looks in self._gaps.items()
            if who != signer or gap in found
        }
        for gap in found:
            looks = self._gaps[signer, gap] = self._gaps.get((signer, gap), 0) + 1
            behind = min(
                (i for i in ours if i.nonce > gap and i.attempts), key=lambda each: each.nonce
            )
            if looks < LOOKS_TO_FILL:
                continue
            log.error("nonce.gap_filled", signer=signer, nonce=gap)
            await self._fill(behind, gap, remedies.fees_of(behind.attempt), market.head)
        await self._mend_fillers(signer, market, stakes)

    async def _mend_fillers(self, signer: Address, market: Market, stakes: Stakes) -> None:
        """A no-op that waits below an intent is outbid like it: all behind it wait with it."""
        for intent in self._of_signer(signer):
            newest = {a.nonce: a for a in intent.attempts if a.purpose is Purpose.FILL}
            for filler in newest.values():
                if filler.hash not in self._known.unmined or filler.nonce < self._known.nonces.get(
                    signer, 0
                ):
                    continue
                stake = stakes(intent.position)
                found = remedies.filler_remedy(
                    filler,
                    behind=intent,
                    market=market,
                    urgency=intent.urgency if stake is None else stake.urgency,
                    worth_wei=None if stake is None else stake.worth_wei,
                    missing=filler.hash in self._known.missing,
                )
                match found:
                    case Resend():
                        await self._post(filler, purpose=filler.purpose.value, key=intent.key)
                    case Replace(fees=fees) | Cancel(fees=fees):
                        await self._fill(intent, filler.nonce, fees, market.head)
                    case Capped(reached=reached):
                        self._alert(CEILING, intent, str(reached))
                    case Wait():
                        pass

    async def _fill(self, behind: Intent, nonce: int, fees: Fees, head: Head) -> None:
        try:
            attempt = await self._pen.no_op(
                behind,
                purpose=Purpose.FILL,
                nonce=nonce,
                fees=fees,
                urgency=behind.urgency,
                head=head,
            )
        except ObjectedError as objection:
            self._alert(OBJECTED, behind, str(objection))
            return
        await self._keep_attempts([(behind, attempt)])
        await self._post(attempt, purpose=attempt.purpose.value, key=behind.key)

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
        async with self._turns[prepared.proposal.signer]:
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
            of_signer=self._of_signer(proposal.signer),
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
            self._open[decision_id] = expired
            return []
        await self._run(
            self._journal.reserve,
            signed,
            {nonce: victim.key for nonce, victim in allotted.taken_from.items()},
        )
        self._open[decision_id] = signed
        for victim in allotted.taken_from.values():
            log.warning("intent.displaced", key=victim.key, by=decision_id)
            self._put(replace(victim, displaced=True))
        await self._send_in_order(signed)
        await self._give_way(allotted.left_over, prepared.fees, head)
        return list(self._open[decision_id])

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
                urgency=intent.urgency,
                head=head,
                l1_fee_wei=l1_fee_wei,
                beside=tuple(each.attempt for each in signed),
            )
            signed.append(replace(intent, state=State.SIGNED, attempts=(attempt,)))
        return signed

    async def _give_way(self, left_over: Sequence[Intent], fees: Fees, head: Head) -> None:
        """Cancel what is left of the plans whose slots were taken."""
        signed = []
        for intent in left_over:
            if intent.cancelling:
                continue
            outbidding = remedies.over(remedies.fees_of(intent.attempt), fees)
            attempt = await self._outbid(intent, outbidding, intent.urgency, head, cancel=True)
            if attempt is not None:
                signed.append((intent, attempt))
        await self._keep_attempts(signed)
        keys = {intent.key for intent in left_over}
        await self._send_in_order([i for i in self._all_open() if i.key in keys])

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

    async def _send_in_order(self, intents: Sequence[Intent]) -> None:
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
                self._put(replace(intent, state=State.BROADCAST))

    async def _send(self, intent: Intent) -> bool:
        """Whether the node has the intent's newest bytes."""
        purpose = intent.transaction.purpose
        if intent.cancelling:
            purpose = Purpose.CANCEL.value
        outcome = await self._post(intent.attempt, purpose=purpose, key=intent.key)
        if outcome.taken:
            self._patience_of(intent).taken()
            self._taken[intent.attempt.hash] += 1
        elif outcome in UNDERPRICED:
            self._underpriced.add(intent.key)
        elif outcome is SendOutcome.REJECTED:
            self._patience_of(intent).refused()
        return outcome.taken

    async def _post(self, attempt: Attempt, *, purpose: str, key: str) -> SendOutcome:
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


def _waits(intent: Intent) -> bool:
    """Whether bytes of it may be mined."""
    return bool(intent.attempts) and intent.state.unmined


def _depth(receipt: MinedReceipt, head: Head) -> int:
    """1 in the head itself."""
    return head.number - receipt.block_number + 1


def _receipt_of_call(known: Known, intent: Intent) -> MinedReceipt | None:
    """Of the intent's own transaction, not of a no-op in its place."""
    mined = known.mined(intent)
    return mined[1] if mined is not None and mined[0].purpose is Purpose.CALL else None
