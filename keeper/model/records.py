"""What the journal keeps: values written before and after money moves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keeper.model.lifecycle import Purpose, State, Urgency
from keeper.model.units import Address, Token, Wad, Wei
from keeper.model.values import Action, ActionKind, Cause, PositionId, Transaction

DRY_RUN = "dry run"
"""The reason of an approved decision that was not to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Signed bytes in a nonce slot."""

    purpose: Purpose = Purpose.CALL
    nonce: int
    hash: str
    raw: bytes
    gas_limit: int
    max_fee_wei: Wei
    priority_fee_wei: Wei
    head_number: int
    """The head at which it was signed."""
    l1_fee_wei: Wei = field(default=Wei(0))
    """What a rollup of the OP stack was expected to take beside the gas."""

    @property
    def most_wei(self) -> int:
        """The most that its fees can be."""
        return self.gas_limit * self.max_fee_wei + self.l1_fee_wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One transaction of an approved plan, with every bytes that were signed to carry it."""

    decision_id: int
    position: PositionId
    episode: int
    step: int
    """Counts the intents of one episode, so that a reverted step can be tried again."""
    signer: Address
    transaction: Transaction
    urgency: Urgency
    head_number: int
    deadline_block: int
    nonce: int
    state: State
    attempts: tuple[Attempt, ...] = ()
    """Oldest first: the call, its replacements, the no-op that cancels it, and fillers of gaps
    before it. Of those with one nonce at most one is ever mined."""
    displaced: bool = False
    """A more urgent intent has taken its slot: it is watched, and neither sent nor replaced."""

    @property
    def key(self) -> str:
        """The idempotency key: one execution each, whatever the amount."""
        return f"{self.position}:{self.episode}:{self.transaction.purpose}:{self.step}"

    @property
    def attempt(self) -> Attempt:
        """The newest of its own slot: the one to send, or to outbid."""
        return next(each for each in reversed(self.attempts) if each.nonce == self.nonce)

    @property
    def cancelling(self) -> bool:
        """Whether a no-op has been signed for its slot."""
        return bool(self.attempts) and self.attempt.purpose is Purpose.CANCEL


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedReceipt:
    """What a node says of a mined transaction."""

    hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    gas_used: int
    effective_gas_price_wei: Wei
    l1_fee_wei: Wei = field(default=Wei(0))
    """What a rollup of the OP stack took beside the gas."""
    logs: tuple[Mapping[str, Any], ...] = field(default=(), compare=False, repr=False)
    """Its events as the node gives them, which no journal keeps."""


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
