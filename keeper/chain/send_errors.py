"""What nodes say when they do not take a transaction, and what that means.

The texts are facts of the nodes' sources, named per row; providers put words before and after them,
so a text is looked for within the answer, upper and lower case alike. A row stands before those
whose text is part of its own.
"""

from dataclasses import dataclass
from enum import Enum


class SendOutcome(Enum):
    """What came of sending, each with what its sender should do."""

    ACCEPTED = "accepted"
    """The node has the bytes: watch the hash."""
    ALREADY_KNOWN = "already known"
    """It had them already: watch the hash."""
    REPLACEMENT_UNDERPRICED = "replacement underpriced"
    """Another transaction with this nonce waits there and pays nearly as much or more: raise both
    caps above the other's, by the node's margin; the other one may be an earlier attempt."""
    NONCE_TOO_LOW = "nonce too low"
    """The nonce is used, by these very bytes, by an earlier attempt, or from elsewhere: ask for the
    receipts of every attempt before anything else."""
    NONCE_TOO_HIGH = "nonce too high"
    """A transaction before it is missing: fill the gap, then send the same bytes again."""
    FEE_TOO_LOW = "fee too low"
    """The node does not keep what pays so little: replace it with higher caps."""
    INSUFFICIENT_FUNDS = "insufficient funds"
    """The signer cannot pay for it: tell its owner; the same bytes may be taken later."""
    LIMITED = "limited"
    """The node has no room or no time for us: send the same bytes again later."""
    REJECTED = "rejected"
    """No node will ever take these bytes: sign others, with the same nonce."""
    UNANSWERED = "unanswered"
    """Nothing is known: no answer came, or one that says nothing of the bytes. They may be mined:
    watch the hash, and send nothing but the same bytes."""

    @property
    def taken(self) -> bool:
        """Whether a node has the bytes."""
        return self in (SendOutcome.ACCEPTED, SendOutcome.ALREADY_KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownText:
    """One text of a node."""

    text: str
    outcome: SendOutcome
    source: str
    """Client: the file that holds it."""


_GETH_POOL = "geth: core/txpool/errors.go"
_GETH = "geth: core/error.go"
_GETH_TYPES = "geth: core/types/transaction.go"
_GETH_API = "geth: internal/ethapi/api.go"
_GETH_LEGACY = "geth: core/txpool/legacypool/legacypool.go"
_ERIGON = "Erigon: txnprovider/txpool/txpoolcfg/txpoolcfg.go"
_NETHERMIND = "Nethermind: Nethermind.TxPool/TxPoolErrorMessages.cs"
_NETHERMIND_OLD = "Nethermind before 2026: Nethermind.TxPool/AcceptTxResult.cs"
_BESU = "Besu: ethereum/api/…/jsonrpc/internal/response/RpcErrorType.java"
_NITRO = "Arbitrum Nitro: execution/gethexec/sequencer.go"
_NITRO_FORWARD = "Arbitrum Nitro: execution/gethexec/forwarder.go"
_NITRO_INTERFACE = "Arbitrum Nitro: execution/interface.go"
_ANVIL = "Anvil: crates/anvil/src/eth/error.rs"


_TEXTS: dict[SendOutcome, tuple[tuple[str, str], ...]] = {
    SendOutcome.ALREADY_KNOWN: (
        ("already known", _GETH_POOL),
        ("AlreadyKnown", _NETHERMIND_OLD),
        ("Known transaction", _BESU),
        ("existing txn with same hash", _ERIGON),
        ("already imported", _ANVIL),
    ),
    SendOutcome.REPLACEMENT_UNDERPRICED: (
        ("replacement transaction underpriced", _GETH_POOL),
        ("could not replace existing tx", _ERIGON),
        ("replaced by transaction with higher tip", _ERIGON),
        ("ReplacementNotAllowed", _NETHERMIND_OLD),
        ("insufficient gas price to replace existing transaction", _ANVIL),
        ("future transaction tries to replace pending", _GETH_POOL),
    ),
    SendOutcome.NONCE_TOO_LOW: (
        ("nonce too low", _GETH),
        ("OldNonce", _NETHERMIND_OLD),
    ),
    SendOutcome.NONCE_TOO_HIGH: (
        ("nonce too high", _GETH),
        ("NonceGap", _NETHERMIND_OLD),
        ("nonce too far in future", _NETHERMIND),
        ("NonceTooFarInFuture", _NETHERMIND_OLD),
        ("nonce is too distant from current sender nonce", _BESU),
        ("An invalid transaction with a lower nonce exists", _BESU),
        ("delegation nonce gap", _NETHERMIND),
        ("gapped-nonce tx from delegated accounts", _GETH_LEGACY),
    ),
    SendOutcome.FEE_TOO_LOW: (
        ("transaction underpriced", _GETH_POOL),
        ("underpriced", _ERIGON),
        ("max fee per gas less than block base fee", _GETH),
        ("fee too low", _ERIGON),
        ("FeeTooLow", _NETHERMIND_OLD),
        ("transaction gas price below minimum", _GETH_POOL),
        ("Gas price below configured minimum gas price", _BESU),
        ("Gas price below current base fee", _BESU),
    ),
    SendOutcome.INSUFFICIENT_FUNDS: (
        ("insufficient funds", _GETH),
        ("InsufficientFunds", _NETHERMIND_OLD),
        ("Upfront cost exceeds account balance", _BESU),
    ),
    SendOutcome.LIMITED: (
        ("sub-pool is full", _ERIGON),
        ("txpool is full", _GETH_LEGACY),
        ("account limit exceeded", _GETH_POOL),
        ("in-flight transaction limit reached for delegated accounts", _GETH_LEGACY),
        ("address already reserved", _GETH_POOL),
        ("node is syncing", _NETHERMIND),
        ("Transaction pool not enabled", _BESU),
        ("Initial sync is still in progress", _BESU),
        ("sequencer temporarily not available", _NITRO),
        ("currently not accepting transactions due to expected surplus", _NITRO),
        ("please retry transaction", _NITRO_INTERFACE),
    ),
    SendOutcome.REJECTED: (
        ("intrinsic gas too low", _GETH),
        ("IntrinsicGas", _ERIGON),
        ("Intrinsic gas exceeds gas limit", _BESU),
        ("exceeds block gas limit", _GETH_POOL),
        ("transaction gas limit too high", _GETH),
        ("gas limit is too high", _ERIGON),
        ("gas limit reached", _NETHERMIND),
        ("GasLimitExceeded", _NETHERMIND_OLD),
        ("Transaction gas limit is greater than the block gas limit", _ANVIL),
        ("invalid sender", _GETH_POOL),
        ("invalid chain id", _ANVIL),
        ("Wrong chainId", _BESU),
        ("Invalid signature", _BESU),
        ("failed to recover sender", _NETHERMIND),
        ("max priority fee per gas higher than max fee per gas", _GETH),
        ("Max priority fee per gas exceeds max fee per gas", _BESU),
        ("transaction type not supported", _GETH_TYPES),
        ("exceeds the configured cap", _GETH_API),
        ("unsupported transaction type", _NETHERMIND),
        ("Invalid transaction type", _BESU),
        ("oversized data", _GETH_POOL),
        ("transaction too large", _NETHERMIND),
        ("sender not an eoa", _GETH),
        ("Transaction fee cap exceeded", _BESU),
        ("Sender account not authorized to send transactions", _BESU),
        ("transaction sender is not on the whitelist", _NITRO),
        ("publishing transactions not supported by this endpoint", _NITRO_FORWARD),
    ),
    SendOutcome.UNANSWERED: (
        ("failed to publish transaction to any of the forwarding targets", _NITRO_FORWARD),
        ("context deadline exceeded", _NITRO),
        ("Timeout expired", _BESU),
    ),
}

KNOWN_TEXTS = tuple(
    KnownText(text=text, outcome=outcome, source=source)
    for outcome, rows in _TEXTS.items()
    for text, source in rows
)
"""In the order in which they are looked for."""

LIMIT_CODES = frozenset({429})
"""JSON-RPC codes by which providers say that we ask too often. -32005, "limit exceeded" by
EIP-1474, is Besu's for a gas limit above the block's: its text decides."""
LIMIT_TEXTS = ("rate limit", "too many requests", "request limit", "compute units per second")
"""As providers word it; none of the clients limits by itself."""


def classified(code: int, message: str) -> SendOutcome:
    """What a node's error means. One that nobody knows says nothing of what became of the bytes."""
    said = message.lower()
    for known in KNOWN_TEXTS:
        if known.text.lower() in said:
            return known.outcome
    return SendOutcome.LIMITED if limited(code, message) else SendOutcome.UNANSWERED


def limited(code: int, message: str) -> bool:
    """Whether an error says that we ask too often."""
    said = message.lower()
    return code in LIMIT_CODES or any(text in said for text in LIMIT_TEXTS)
