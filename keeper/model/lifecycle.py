"""The life of an intent: where it may stand, and which step may follow which."""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where an intent stands."""

    PLANNED = "planned"
    """Decided; it has no nonce yet."""
    RESERVED = "reserved"
    """It has a nonce slot; nothing was signed."""
    SIGNED = "signed"
    """Raw bytes and hash are on disk. From here on a node may have them, whatever it answers."""
    BROADCAST = "broadcast"
    """A node has taken the bytes."""
    MINED = "mined"
    """One of its attempts is in a block, which may still be taken back."""
    CONFIRMED = "confirmed"
    """Mined and done, deep enough to act upon."""
    FINALIZED = "finalized"
    """So deep that its receipt is not looked at any more."""
    REVERTED = "reverted"
    """Mined and undone by the contract."""
    CANCELLED = "cancelled"
    """A no-op was mined in its slot."""
    EXPIRED = "expired"
    """Given up before anything was signed; its slot is free again."""
    NONCE_LOST = "nonce lost"
    """Its nonce was used by a transaction that is not in the journal, or by a rival's."""
    SKIPPED = "skipped"
    """Not needed: a more urgent intent was mined in its slot."""

    @property
    def open(self) -> bool:
        """Whether the intent may still change the chain or awaits its result."""
        return self in OPEN

    @property
    def unmined(self) -> bool:
        """Whether it is not in a block yet."""
        return self in OPEN and self is not State.MINED


OPEN = frozenset(
    {State.PLANNED, State.RESERVED, State.SIGNED, State.BROADCAST, State.MINED},
)

ENDED_IN_BLOCK = frozenset({State.CONFIRMED, State.REVERTED, State.CANCELLED})
"""Ends that a reorg takes back with their block."""

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.PLANNED: frozenset({State.RESERVED, State.EXPIRED}),
        State.RESERVED: frozenset({State.SIGNED, State.EXPIRED}),
        State.SIGNED: frozenset({State.BROADCAST, State.MINED, State.NONCE_LOST, State.SKIPPED}),
        State.BROADCAST: frozenset({State.MINED, State.NONCE_LOST, State.SKIPPED}),
        State.MINED: frozenset(
            {State.BROADCAST, State.CONFIRMED, State.REVERTED, State.CANCELLED},
        ),
        State.CONFIRMED: frozenset({State.FINALIZED, State.BROADCAST}),
        # A reorg deeper than the confirmations re-opens what had ended on the chain.
        State.REVERTED: frozenset({State.BROADCAST}),
        State.CANCELLED: frozenset({State.BROADCAST}),
        State.NONCE_LOST: frozenset({State.BROADCAST}),
        State.SKIPPED: frozenset({State.BROADCAST}),
        State.EXPIRED: frozenset(),
        State.FINALIZED: frozenset(),
    }
)
"""What may follow what; staying is always allowed. The journal refuses everything else."""


class IllegalTransitionError(Exception):
    """A step that no intent may take: a fault of the keeper, and nothing was written."""

    def __init__(self, key: str, before: State, after: State) -> None:
        super().__init__(f"intent {key} cannot go from {before.value} to {after.value}")
        self.key = key
        self.before = before
        self.after = after


def check_transition(key: str, before: State, after: State) -> None:
    """Raises `IllegalTransitionError`."""
    if after is not before and after not in TRANSITIONS[before]:
        raise IllegalTransitionError(key, before, after)


class Urgency(IntEnum):
    """How much a transaction's inclusion is worth; the higher goes first."""

    ROUTINE = 0
    """The position is well above its boundary: the owner's hard fee cap binds."""
    URGENT = 1
    """Liquidation is near: what it would cost is the ceiling, and a routine slot may be taken."""


class Purpose(StrEnum):
    """What the bytes of an attempt do."""

    CALL = "call"
    """The intent's own transaction."""
    CANCEL = "cancel"
    """A no-op in the intent's slot."""
    FILL = "fill"
    """A no-op in a lower nonce that somebody else left open, which holds the intent up."""
