"""What is done at a head about what waits: sent again, outbid, cancelled, its gaps filled."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog

from keeper.chain.fees import Fees
from keeper.chain.settings import FeeSettings
from keeper.chain.signer import Signer
from keeper.chain.transactions import remedies
from keeper.chain.transactions.followed import CEILING, Followed
from keeper.chain.transactions.outbox import Outbox
from keeper.chain.transactions.patience import Verdict
from keeper.chain.transactions.pen import ObjectedError, Pen
from keeper.chain.transactions.remedies import (
    Cancel,
    Capped,
    Market,
    Remedy,
    Replace,
    Resend,
    Wait,
)
from keeper.chain.transactions.seams import GasLeft, Stake
from keeper.chain.transactions.slots import gaps
from keeper.chain.transactions.verdicts import Verdicts
from keeper.model.lifecycle import Purpose
from keeper.model.records import Intent
from keeper.model.units import Address, Wei
from keeper.model.values import Head, PositionId

log = structlog.get_logger()

Stakes = Callable[[PositionId], Stake | None]
"""How a position stands now; None where that is not known."""

OBJECTED = "signature.refused"
TAKEN_AND_HIDDEN = 2
"""Times that a node took the same bytes, so that they wait somewhere although the mempool that is
asked does not have them: a private one shows them to nobody."""
LOOKS_TO_FILL = 3
"""Heads in a row at which a nonce below ours must be free: somebody else's may be on its way."""


class Mender:
    """Of one chain; each signer's transactions in their order, no signer waiting for another."""

    def __init__(
        self,
        book: Followed,
        outbox: Outbox,
        pen: Pen,
        verdicts: Verdicts,
        *,
        chain_id: int,
        signers: dict[Address, Signer],
        fees: FeeSettings,
        gas_left: GasLeft,
    ) -> None:
        self._book = book
        self._outbox = outbox
        self._pen = pen
        self._verdicts = verdicts
        self._chain_id = chain_id
        self._signers = signers
        self._fees = fees
        self._gas_left = gas_left
        self._gaps: dict[tuple[Address, int], int] = {}

    async def gas_left_wei(self, signers: Iterable[Address]) -> dict[Address, Wei]:
        """What each signer may still spend on gas today."""
        return {signer: await self._gas_left(self._chain_id, signer) for signer in set(signers)}

    async def mend(self, head: Head, stakes: Stakes) -> None:
        """Send again, outbid or cancel whatever waits, each signer for itself."""
        signers = dict.fromkeys(i.signer for i in self._book.all() if _waits(i))
        signers = {signer: None for signer in signers if signer in self._signers}
        if not signers:
            return
        for outcome in await asyncio.gather(
            *(self._mend_of(signer, head, stakes) for signer in signers), return_exceptions=True
        ):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _market(self, signer: Address, head: Head) -> Market:
        """As of now: what has just been signed is not there to be spent again."""
        return Market(
            head=head,
            history=self._book.known.fees,
            settings=self._fees,
            budget_left_wei=await self._gas_left(self._chain_id, signer),
        )

    async def _mend_of(self, signer: Address, head: Head, stakes: Stakes) -> None:
        async with self._book.turns[signer]:
            self._raise_urgency(signer, stakes)
            await self._fill_gaps(signer, head)
            await self._mend_fillers(signer, head, stakes)
            waiting = self._mendable(signer)
            void = self._void_plans(waiting, head, stakes)
            market = await self._market(signer, head)
            to_send: set[str] = set()
            for intent in waiting:
                stake = stakes(intent.position)
                found = self._remedy(intent, market, stake, void=intent.decision_id in void)
                if not isinstance(found, Capped):
                    self._book.below_ceiling(intent)
                match found:
                    case Wait():
                        self._book.patience_of(intent).taken()
                    case Resend() | Replace() if self._lacks_a_step(intent):
                        pass
                    case Resend():
                        to_send.add(intent.key)
                    case Capped(reached=reached):
                        self._book.alert(CEILING, intent, str(reached))
                    case Replace(fees=fees) | Cancel(fees=fees):
                        cancel = isinstance(found, Cancel)
                        if await self._outbid(intent, fees, head, cancel=cancel):
                            to_send.add(intent.key)
                            market = await self._market(signer, head)
            await self._outbox.send_in_order(
                [intent for intent in self._book.of_signer(signer) if intent.key in to_send]
            )

    def _raise_urgency(self, signer: Address, stakes: Stakes) -> None:
        """What has become urgent stays so: no other's urgent plan may have its nonce from now on."""
        for intent in self._book.of_signer(signer):
            stake = stakes(intent.position)
            if _waits(intent) and stake is not None and stake.urgency > intent.urgency:
                self._book.put(replace(intent, urgency=stake.urgency))

    def _mendable(self, signer: Address) -> list[Intent]:
        """Lowest nonce first: what the node was asked about, and whose nonce is nobody's yet."""
        known = self._book.known
        return sorted(
            (
                intent
                for intent in self._book.of_signer(signer)
                if _waits(intent)
                and not intent.displaced
                and intent.attempt.hash in known.unmined
                and known.nonces.get(signer, 0) <= intent.nonce
                and not any(each.hash in known.ahead for each in intent.attempts)
            ),
            key=lambda intent: intent.nonce,
        )

    def _remedy(self, intent: Intent, market: Market, stake: Stake | None, *, void: bool) -> Remedy:
        newest = intent.attempt
        since = max(self._book.since.get(intent.key, 0), newest.head_number)
        return remedies.remedy(
            intent,
            market=market,
            worth_wei=self._share_of_worth(intent, stake),
            missing=newest.hash in self._book.known.missing,
            hidden=self._book.taken[newest.hash] >= TAKEN_AND_HIDDEN,
            underpriced=intent.key in self._book.underpriced,
            waited_blocks=market.head.number - since,
            void=void,
        )

    def _share_of_worth(self, intent: Intent, stake: Stake | None) -> Wei | None:
        """What is left of the worth for this transaction, by gas: a plan's transactions may not cost
        more together. Rounded down."""
        if stake is None or stake.worth_wei is None:
            return None
        gas = {
            each.key: max((a.gas_limit for a in each.attempts), default=0)
            for each in self._book.open[intent.decision_id]
        }
        return Wei(stake.worth_wei * gas[intent.key] // max(sum(gas.values()), 1))

    def _void_plans(self, waiting: Iterable[Intent], head: Head, stakes: Stakes) -> set[int]:
        """Plans that are not wanted any more: what of them is not mined is cancelled as a whole."""
        return {
            intent.decision_id
            for intent in waiting
            if head.number > intent.deadline_block
            or self._book.patience_of(intent).verdict is Verdict.ABANDON
            or any(
                each.cancelling
                or each.displaced
                or self._book.patience_of(each).verdict is Verdict.LOST
                for each in self._book.open[intent.decision_id]
            )
            or ((stake := stakes(intent.position)) is not None and stake.healthy)
        }

    def _lacks_a_step(self, intent: Intent) -> bool:
        """Whether a step of the plan before it has lost its nonce, as far as the node tells: without
        an approval, say, the action would only revert."""
        if intent.cancelling:
            return False
        used_below = self._book.known.nonces.get(intent.signer, 0)
        return any(
            each.nonce < min(intent.nonce, used_below)
            and each.state.unmined
            and self._book.known.not_mined(each)
            for each in self._book.open[intent.decision_id]
        )

    async def _outbid(self, intent: Intent, fees: Fees, head: Head, *, cancel: bool) -> bool:
        """Sign and keep other bytes for the intent's slot; False where a breaker forbids it."""
        try:
            if cancel:
                attempt = await self._pen.no_op(
                    intent, purpose=Purpose.CANCEL, nonce=intent.nonce, fees=fees, head=head
                )
            else:
                attempt = await self._pen.call(
                    intent,
                    gas_limit=intent.attempt.gas_limit,
                    fees=fees,
                    head=head,
                    l1_fee_wei=intent.attempt.l1_fee_wei,
                )
        except ObjectedError as objection:
            self._book.alert(OBJECTED, intent, str(objection))
            return False
        log.info(
            "intent.cancelling" if cancel else "intent.outbid",
            key=intent.key,
            tx_hash=attempt.hash,
            max_fee_gwei=fees.max_fee_wei / 1e9,
        )
        await self._outbox.keep(intent.key, attempt)
        return True

    async def _fill_gaps(self, signer: Address, head: Head) -> None:
        """Where a nonce below ours is nobody's for a while, a no-op takes it; what was ours there is
        open again."""
        ours = self._book.of_signer(signer)
        nonce = self._book.known.nonces.get(signer)
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
            if await self._verdicts.reopened(signer, gap, head):
                return
            if await self._verdicts.is_ours(signer, gap):
                # So deep that no reorg reaches it: the node is wrong.
                log.error("nonce.told_too_low", signer=signer, nonce=gap)
                continue
            log.error("nonce.gap_filled", signer=signer, nonce=gap)
            await self._fill(behind, gap, remedies.fees_of(behind.attempt), head)

    async def _mend_fillers(self, signer: Address, head: Head, stakes: Stakes) -> None:
        """A no-op that waits below an intent is outbid like it: all behind it wait with it."""
        for intent in self._book.of_signer(signer):
            newest = {a.nonce: a for a in intent.attempts if a.purpose is Purpose.FILL}
            for filler in newest.values():
                if (
                    filler.hash not in self._book.known.unmined
                    or filler.nonce < self._book.known.nonces.get(signer, 0)
                ):
                    continue
                stake = stakes(intent.position)
                found = remedies.filler_remedy(
                    filler,
                    behind=intent,
                    market=await self._market(signer, head),
                    worth_wei=None if stake is None else stake.worth_wei,
                    missing=filler.hash in self._book.known.missing,
                )
                match found:
                    case Resend():
                        await self._outbox.post(
                            filler, purpose=filler.purpose.value, key=intent.key
                        )
                    case Replace(fees=fees) | Cancel(fees=fees):
                        await self._fill(intent, filler.nonce, fees, head)
                    case Capped(reached=reached):
                        self._book.alert(CEILING, intent, str(reached))
                    case Wait():
                        pass

    async def _fill(self, behind: Intent, nonce: int, fees: Fees, head: Head) -> None:
        try:
            attempt = await self._pen.no_op(
                behind, purpose=Purpose.FILL, nonce=nonce, fees=fees, head=head
            )
        except ObjectedError as objection:
            self._book.alert(OBJECTED, behind, str(objection))
            return
        await self._outbox.keep(behind.key, attempt)
        await self._outbox.post(attempt, purpose=attempt.purpose.value, key=behind.key)

    async def give_way(self, left_over: Sequence[Intent], fees: Fees, head: Head) -> None:
        """Cancel what is left of the plans whose slots were taken."""
        for intent in left_over:
            if not intent.cancelling:
                outbidding = remedies.over(remedies.fees_of(intent.attempt), fees)
                await self._outbid(intent, outbidding, head, cancel=True)
        keys = {intent.key for intent in left_over}
        await self._outbox.send_in_order([i for i in self._book.all() if i.key in keys])


def _waits(intent: Intent) -> bool:
    """Whether bytes of it may be mined."""
    return bool(intent.attempts) and intent.state.unmined
