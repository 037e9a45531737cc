"""What is done at a head about a slot whose transaction is not mined. Pure."""

from dataclasses import dataclass

from keeper.chain.fees import (
    Ceiling,
    FeeCapReachedError,
    FeeHistory,
    Fees,
    ceiling,
    replacement,
    suggest_fees,
)
from keeper.chain.settings import FeeSettings
from keeper.model.lifecycle import Purpose, Urgency
from keeper.model.records import Attempt, Intent
from keeper.model.units import Wei
from keeper.model.values import Head

REPLACE_AFTER_BLOCKS = 2
"""A transaction that two blocks went by is outbid; one whose cap is below the next block's base fee
at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A node has it, and it has its chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """The identical bytes again: the node does not have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """The same transaction at higher fees."""

    fees: Fees


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A no-op in its place."""

    fees: Fees


@dataclass(frozen=True, slots=True, kw_only=True)
class Capped:
    """It should be outbid, and a ceiling forbids it."""

    reached: FeeCapReachedError


Remedy = Wait | Resend | Replace | Cancel | Capped


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What the next block costs, and what may be paid for it."""

    head: Head
    history: FeeHistory
    settings: FeeSettings
    budget_left_wei: Wei

    @property
    def next_base_fee_wei(self) -> Wei:
        """As the node tells it, or else the head's."""
        told = self.history.next_base_fee_wei
        return self.head.base_fee_wei if told is None else told

    def _suggested(self, old: Fees, urgency: Urgency, allowed: Ceiling) -> Fees:
        return suggest_fees(
            base_fee_wei=self.next_base_fee_wei,
            rewards_wei=self.history.rewards(urgency),
            floor_wei=self.settings.min_priority_fee_wei,
            ceiling=allowed,
            urgency=urgency,
            outbid=old,
        )

    def outbidding(self, old: Fees, urgency: Urgency, allowed: Ceiling) -> Fees:
        """Fees that replace `old`. Raises `FeeCapReachedError`."""
        try:
            market = self._suggested(old, urgency, allowed)
        except FeeCapReachedError:
            # To stay ahead in line counts even where the market cannot be paid now.
            market = None
        return replacement(old=old, market=market, ceiling=allowed)


def remedy(
    intent: Intent,
    *,
    market: Market,
    worth_wei: Wei | None,
    missing: bool,
    hidden: bool,
    underpriced: bool,
    waited_blocks: int,
    void: bool,
) -> Remedy:
    """For an intent that holds its slot, has bytes, and is in no block.

    `missing`: the mempool that is asked does not have its newest bytes. `hidden`: they wait all
    the same, as with a private node that shows them to nobody. `underpriced`: a node said that they
    pay too little. `void`: it is not wanted any more, be it that the position is healthy, its deadline
    has passed, or no node takes it.
    """
    attempt = intent.attempt
    cancelling = void or intent.cancelling
    allowed = _ceiling_of_call(intent, market, worth_wei)
    if cancelling:
        allowed = max(allowed, _ceiling_of_no_op(intent, market), key=lambda each: each.max_fee_wei)
    outpriced = underpriced or attempt.max_fee_wei < market.next_base_fee_wei
    stuck = waited_blocks >= REPLACE_AFTER_BLOCKS and (hidden or not missing)
    if cancelling and not intent.cancelling:
        return _outbid(attempt, market, intent.urgency, allowed, cancel=True)
    if outpriced or stuck:
        found = _outbid(attempt, market, intent.urgency, allowed, cancel=intent.cancelling)
        return Resend() if missing and isinstance(found, Capped) else found
    return Resend() if missing else Wait()


def _outbid(
    attempt: Attempt, market: Market, urgency: Urgency, allowed: Ceiling, *, cancel: bool
) -> Remedy:
    old = fees_of(attempt)
    try:
        fees = market.outbidding(old, urgency, allowed)
    except FeeCapReachedError as reached:
        return Capped(reached=reached)
    return Cancel(fees=fees) if cancel else Replace(fees=fees)


def filler_remedy(
    filler: Attempt,
    *,
    behind: Intent,
    market: Market,
    worth_wei: Wei | None,
    missing: bool,
) -> Remedy:
    """For a no-op in a nonce that holds up the intent `behind` it, whose urgency and ceiling it has."""
    allowed = _ceiling_of_call(behind, market, worth_wei)
    waited = market.head.number - filler.head_number
    outpriced = filler.max_fee_wei < market.next_base_fee_wei
    if outpriced or waited >= REPLACE_AFTER_BLOCKS:
        found = _outbid(filler, market, behind.urgency, allowed, cancel=False)
        return Resend() if missing and isinstance(found, Capped) else found
    return Resend() if missing else Wait()


def _ceiling_of_call(intent: Intent, market: Market, worth_wei: Wei | None) -> Ceiling:
    call = next(each for each in reversed(intent.attempts) if each.purpose is Purpose.CALL)
    return ceiling(
        urgency=intent.urgency,
        hard_cap_wei=market.settings.max_fee_wei,
        worth_wei=worth_wei,
        # Its own bytes are among what waits.
        budget_left_wei=Wei(market.budget_left_wei + intent.attempt.most_wei),
        gas_limit=call.gas_limit,
        l1_fee_wei=intent.attempt.l1_fee_wei,
    )


def _ceiling_of_no_op(intent: Intent, market: Market) -> Ceiling:
    """A no-op must be able to outbid what it cancels, and costs a fraction of it: the hard cap, or
    half above the highest call if that is more. Where its position is in danger, what protecting it
    may pay per gas is allowed too: nothing else can be done for it until the nonce is free."""
    highest = max(each.max_fee_wei for each in intent.attempts if each.purpose is Purpose.CALL)
    return Ceiling(
        max_fee_wei=Wei(max(market.settings.max_fee_wei, highest * 3 // 2 + 1)),
        bound="max_fee_gwei",
    )


def fees_of(attempt: Attempt) -> Fees:
    """What an attempt offers."""
    return Fees(max_fee_wei=attempt.max_fee_wei, priority_fee_wei=attempt.priority_fee_wei)


def over(old: Fees, wanted: Fees) -> Fees:
    """`wanted`, raised as far as it takes to replace `old`; the ceilings were asked for `wanted`."""
    unbounded = Ceiling(max_fee_wei=Wei(2**255), bound="max_fee_gwei")
    return replacement(old=old, market=wanted, ceiling=unbounded)
