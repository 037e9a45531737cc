"""What the transaction manager asks of others, and what it is told by them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ParamSpec, Protocol, TypeVar

from keeper.abi.words import MAX_UINT256
from keeper.chain.pool import Endpoint
from keeper.model.lifecycle import State, Urgency
from keeper.model.records import Attempt, Intent, MinedReceipt
from keeper.model.units import Address, Wei
from keeper.model.values import PositionId, Transaction

P = ParamSpec("P")
R = TypeVar("R")


class IntentJournal(Protocol):
    """What the manager needs of the journal; synchronous, called on the store's thread."""

    def reserve(self, batch: Sequence[Intent], taken_from: Mapping[int, str]) -> None: ...
    def record_attempt(self, intent: Intent, attempt: Attempt) -> None: ...
    def move(self, states: Mapping[str, State]) -> None: ...
    def record_mined(
        self, receipts: Iterable[MinedReceipt], states: Mapping[str, State]
    ) -> None: ...
    def open_intents(self, chain_id: int) -> list[Intent]: ...
    def intents_in_reach(self, chain_id: int, finality_blocks: int) -> list[Intent]: ...
    def settled_intents(
        self, chain_id: int, signer: Address, from_nonce: int
    ) -> Sequence[Intent]: ...
    def holds_nonce(self, chain_id: int, signer: Address, nonce: int) -> bool: ...
    def next_step(self, episode: int) -> int: ...


class LastNonce(Protocol):
    """The highest nonce that was ever signed for; None if none was."""

    def __call__(self, chain_id: int, signer: Address, /) -> int | None: ...


class RunOnStore(Protocol):
    """Runs a synchronous store method on the store's own thread."""

    async def __call__(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRequest:
    """Bytes that are about to be signed."""

    chain_id: int
    signer: Address
    position: PositionId
    transaction: Transaction
    """A no-op is to its own signer, and its purpose is `cancel` or `fill`."""
    replaces: bool
    """Whether the slot has bytes already, of which at most one is ever mined."""
    again: bool
    """Whether they are the intent's own: not where it takes the slot of another."""
    replaced_wei: Wei
    """The most that those bytes can cost; 0 where there are none."""
    most_wei: Wei
    """The most it can cost: gas limit × max fee + L1 fee + value."""
    beside: tuple[Attempt, ...] = ()
    """Signed for the same plan and not in the journal yet: a plan is written down as a whole."""


class BeforeSigning(Protocol):
    """Asked right before every signature, of replacements and no-ops too."""

    async def __call__(self, request: SignatureRequest, /) -> str | None:
        """Why it may not be signed, in words for the owner; None if it may."""
        ...


async def nothing_against(_: SignatureRequest) -> str | None:
    """Every signature is allowed."""
    return None


class GasLeft(Protocol):
    """The owner's budget for gas."""

    async def __call__(self, chain_id: int, signer: Address, /) -> Wei:
        """What the signer may still spend today, when all that waits costs its most."""
        ...


async def without_limit(_chain_id: int, _signer: Address) -> Wei:
    """No budget."""
    return Wei(MAX_UINT256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stake:
    """How a position for which something is under way stands at a head."""

    healthy: bool
    """At its target, or without debt: what is not mined yet is not needed any more."""
    urgency: Urgency
    worth_wei: Wei | None
    """The most that protecting it is worth in gas; None where that is not known."""


class Vote(Enum):
    """What the endpoints say of a receipt."""

    FOR = "for"
    AGAINST = "against"
    NOT_YET = "not yet"
    """Only the one that told of it has its block so far."""


class Votes(Protocol):
    """Asks every endpoint: one that lies or lags must not end an intent."""

    async def is_lost(self, intent: Intent, reader: Endpoint | None, *, block_number: int) -> bool:
        """Whether, at that block, a majority of those that answer counts the intent's nonce as used,
        and none has a receipt of its bytes."""
        ...

    async def on(self, receipt: MinedReceipt, reader: Endpoint | None) -> Vote:
        """Whether, of those that have its block, more have it so than otherwise. `reader` told of
        it, and is outvoted where it does not stand."""
        ...
