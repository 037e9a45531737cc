"""Which nonces a plan gets. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from keeper.model.lifecycle import Urgency
from keeper.model.records import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """Nonces in ascending order, and what has to give way for them."""

    nonces: tuple[int, ...]
    taken_from: Mapping[int, Intent]
    """By nonce, the routine intent whose slot it is so far."""
    left_over: tuple[Intent, ...]
    """The rest of the plans that gave way: they are cancelled, since half a plan is none."""


def allot(
    number: int, *, chain_nonce: int, of_signer: Sequence[Intent], urgency: Urgency
) -> Allotment:
    """`number` nonces for a plan of this urgency, given the signer's open intents.

    The lowest ones that are free: one left out would hold up every later transaction. An urgent
    plan takes those of routine ones that are not mined, and of no-ops, where they come first: what
    waits there at a routine price would hold it up.
    """
    taken = {attempt.nonce for intent in of_signer for attempt in intent.attempts}
    taken |= {intent.nonce for intent in of_signer}
    free = (nonce for nonce in count(chain_nonce) if nonce not in taken)
    lowest = [next(free) for _ in range(number)]
    if urgency is Urgency.ROUTINE:
        return Allotment(nonces=tuple(lowest), taken_from={}, left_over=())
    routine = {
        intent.nonce: intent
        for intent in of_signer
        if (intent.urgency is Urgency.ROUTINE or intent.cancelling)
        and intent.state.unmined
        and intent.attempts
        and not intent.displaced
        # A node may count a nonce as used before it tells of the receipt.
        and intent.nonce >= chain_nonce
    }
    nonces = tuple(sorted([*routine, *lowest])[:number])
    taken_from = {nonce: routine[nonce] for nonce in nonces if nonce in routine}
    plans = {intent.decision_id for intent in taken_from.values()}
    return Allotment(
        nonces=nonces,
        taken_from=taken_from,
        left_over=tuple(
            intent
            for nonce, intent in routine.items()
            if intent.decision_id in plans and nonce not in taken_from
        ),
    )


def gaps(*, chain_nonce: int, of_signer: Sequence[Intent]) -> list[int]:
    """Nonces from the chain's on, below the highest of ours, for which there are no bytes."""
    signed = {attempt.nonce for intent in of_signer for attempt in intent.attempts}
    return [nonce for nonce in range(chain_nonce, max(signed, default=0)) if nonce not in signed]
