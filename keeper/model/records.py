"""What the journal keeps: values written before and after money moves."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keeper.model.units import Address, Token, Wad, Wei
from keeper.model.values import Action, ActionKind, Cause, PositionId, Transaction

DRY_RUN = "dry run"
"""The reason of an approved decision that was not to be sent."""


class State(StrEnum):
    """Where an intent stands. SIGNED means that its raw bytes are on disk."""

    SIGNED = "signed"
    BROADCAST = "broadcast"
    MINED = "mined"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    EXPIRED = "expired"
    """Never mined, unknown to the node and past its deadline: its nonce is free again."""

    @property
    def open(self) -> bool:
        """Whether the intent may still change the chain or awaits its result."""
        return self in {State.SIGNED, State.BROADCAST, State.MINED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Signed bytes in a nonce slot."""

    nonce: int
    hash: str
    raw: bytes
    gas_limit: int
    max_fee_wei: Wei
    priority_fee_wei: Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One transaction of an approved plan, with the bytes that will carry it."""

    decision_id: int
    position: PositionId
    episode: int
    step: int
    """Counts the intents of one episode, so that a reverted step can be tried again."""
    signer: Address
    transaction: Transaction
    head_number: int
    deadline_block: int
    attempt: Attempt
    state: State

    @property
    def key(self) -> str:
        """The idempotency key: one execution each, whatever the amount."""
        return f"{self.position}:{self.episode}:{self.transaction.purpose}:{self.step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedReceipt:
    """What a node says of a mined transaction."""

    hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    gas_used: int
    effective_gas_price_wei: Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """Why the keeper acted, or refused to: everything `keeper explain` shows."""

    position: PositionId
    label: str
    head_number: int
    head_hash: str
    timestamp: int
    cause: Cause
    approved: bool
    reason: str
    kind: ActionKind | None
    amount_raw: int | None
    token: Token | None
    moved_usd8: int | None
    health_before: Wad
    predicted_health: Wad | None
    document: dict[str, Any]
    """Inputs, forecast, options with the reasons against them, and limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedAction:
    """What an approved decision set out to do."""

    action: Action
    predicted_health: Wad | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an approved plan led to, read again from the chain at the receipt's block."""

    decision_id: int
    succeeded: bool
    block_number: int
    health_after: Wad | None
    worsened: bool
    """Health at the receipt's block is lower than it would have been without the action. Never."""
    differences: tuple[str, ...]
    """Where the re-read position differs from the prediction; empty when it is equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The last that is known of one position."""

    position: PositionId
    label: str
    policy: str
    head_number: int
    timestamp: int
    health: Wad | None
    floor: Wad
    target: Wad
    breach_probability: float | None
    distance: float | None
    volatility_per_year: float | None
    forecast_model: str
    collateral_usd8: int
    debt_usd8: int
    armed: bool
    """Whether the forecast may act again: false from a completed action until the probability has
    been at or below its trigger once."""
    note: str
    """Why nothing is done, or what is."""
