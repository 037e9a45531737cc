"""What the node says, at one head, of everything that was sent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from keeper.chain.fees import FEE_HISTORY_BLOCKS, PERCENTILES, FeeHistory, decode_fee_history
from keeper.chain.rpc import Request, RpcError, quantity
from keeper.model.records import Attempt, Intent, MinedReceipt
from keeper.model.units import Address, Wei
from keeper.model.values import Head

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Clear answers only: an error is not a "no"."""

    receipts: dict[str, MinedReceipt]
    ahead: frozenset[str]
    """Hashes that are mined, but in no block that the head's state holds: the node is further."""
    unmined: frozenset[str]
    """Hashes of which the node says that no block has them."""
    missing: frozenset[str]
    """Of these, those that wait in no mempool of the node's either."""
    nonces: dict[Address, int]
    """The next one to be mined, by signer, at the head."""
    deep_nonces: dict[Address, int]
    """The same at the depth of a confirmed transaction."""
    fees: FeeHistory

    def mined(self, intent: Intent) -> tuple[Attempt, MinedReceipt] | None:
        """The attempt of the intent's slot that is in a block, with its receipt."""
        for attempt in intent.attempts:
            if attempt.nonce == intent.nonce and attempt.hash in self.receipts:
                return attempt, self.receipts[attempt.hash]
        return None

    def not_mined(self, intent: Intent) -> bool:
        """Whether the node denies every attempt of the slot."""
        return all(
            attempt.hash in self.unmined
            for attempt in intent.attempts
            if attempt.nonce == intent.nonce
        )


NOTHING = Known(
    receipts={},
    ahead=frozenset(),
    unmined=frozenset(),
    missing=frozenset(),
    nonces={},
    deep_nonces={},
    fees=FeeHistory(),
)


class Witness:
    """The questions of one pass, and how to read the answers."""

    def __init__(
        self, head: Head, *, followed: Sequence[Intent], ended: Iterable[Intent], depth: int
    ) -> None:
        """`followed` are open; of those that have `ended` only the receipts are asked for. `depth` is the
        number of confirmations."""
        self._head = head
        attempts = [attempt for intent in followed for attempt in intent.attempts]
        self._hashes = list(
            dict.fromkeys(
                [attempt.hash for attempt in attempts]
                + [attempt.hash for intent in ended for attempt in intent.attempts]
            )
        )
        self._waiting = list(dict.fromkeys(attempt.hash for attempt in attempts))
        self._signers = list(dict.fromkeys(intent.signer for intent in followed))
        self._blocks: list[Any] = [{"blockHash": head.hash}]
        if depth > 1:
            self._blocks.append(hex(max(head.number - depth + 1, 0)))
        history = (hex(FEE_HISTORY_BLOCKS), hex(head.number), list(PERCENTILES.values()))
        self.requests = [
            *(Request(method="eth_getTransactionReceipt", params=(h,)) for h in self._hashes),
            *(Request(method="eth_getTransactionByHash", params=(h,)) for h in self._waiting),
            *(
                Request(method="eth_getTransactionCount", params=(signer, block))
                for block in self._blocks
                for signer in self._signers
            ),
            *([Request(method="eth_feeHistory", params=history)] if followed else []),
        ]

    def known(self, answers: Sequence[Any | RpcError]) -> Known:
        """What the answers say."""
        rest = iter(answers)
        receipts, ahead, unmined = {}, set(), set()
        for tx_hash in self._hashes:
            answer = next(rest)
            if answer is None:
                unmined.add(tx_hash)
            elif (receipt := _receipt(answer, tx_hash)) is None:
                log.warning("receipt.unclear", tx_hash=tx_hash, answer=f"{answer!r:.80}")
            elif self._holds(receipt):
                receipts[tx_hash] = receipt
            else:
                ahead.add(tx_hash)
        missing = {h for h in self._waiting if next(rest) is None and h in unmined}
        at_head, *deeper = [
            {
                signer: nonce
                for signer in self._signers
                if (nonce := quantity(next(rest))) is not None
            }
            for _ in self._blocks
        ]
        return Known(
            receipts=receipts,
            ahead=frozenset(ahead),
            unmined=frozenset(unmined),
            missing=frozenset(missing),
            nonces=at_head,
            deep_nonces=deeper[0] if deeper else at_head,
            fees=decode_fee_history(next(rest, None), self._head),
        )

    def _holds(self, receipt: MinedReceipt) -> bool:
        """Whether the head's state holds what the receipt tells of."""
        if receipt.block_number == self._head.number:
            return receipt.block_hash == self._head.hash
        return receipt.block_number < self._head.number


def _receipt(answer: Any, tx_hash: str) -> MinedReceipt | None:
    """None for an error, and for what is no receipt of this transaction in a block."""
    if not isinstance(answer, dict) or str(answer.get("transactionHash")).lower() != tx_hash:
        return None
    block_hash = answer.get("blockHash")
    number, status, gas_used, price = (
        quantity(answer.get(name))
        for name in ("blockNumber", "status", "gasUsed", "effectiveGasPrice")
    )
    if number is None or status is None or gas_used is None or price is None:
        return None
    # No height and no gas reaches what the journal's 64 bits cannot hold.
    if not isinstance(block_hash, str) or max(number, gas_used) >= 2**63:
        return None
    return MinedReceipt(
        hash=tx_hash,
        block_number=number,
        block_hash=block_hash,
        succeeded=status == 1,
        gas_used=gas_used,
        effective_gas_price_wei=Wei(price),
        l1_fee_wei=Wei(quantity(answer.get("l1Fee")) or 0),
        logs=_logs(answer.get("logs")),
    )


def _logs(told: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(log for log in told if isinstance(log, dict)) if isinstance(told, list) else ()
