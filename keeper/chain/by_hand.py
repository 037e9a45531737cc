"""A person's own transactions: each tried, signed, sent and waited for before the next.

For the commands with which owners set up what the daemon works within. They hold no journal: a
person looks on, sees what was mined, and runs the command again for what was not.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import tenacity

from keeper.chain.fees import (
    FEE_HISTORY_BLOCKS,
    PERCENTILES,
    Ceiling,
    decode_fee_history,
    suggest_fees,
)
from keeper.chain.heads import Heads
from keeper.chain.rpc import EndpointUnavailableError, Rpc, RpcError
from keeper.chain.sending import Broadcaster, SendOutcome
from keeper.chain.settings import FeeSettings
from keeper.chain.signer import SignatureUnavailableError, Signer, UnsignedTransaction, signed
from keeper.model.errors import TemporaryError
from keeper.model.lifecycle import Urgency
from keeper.model.values import Transaction

GAS_HEADROOM_PERCENT = 130
PATIENCE_S = 300.0
"""A transaction that is not mined by then is left to its owner's wallet to speed up or cancel."""

Explain = Callable[[Transaction, bytes], str]
"""Says in words what a transaction that would revert was refused with."""


class WouldRevertError(Exception):
    """A transaction was not sent, because it would revert."""

    def __init__(self, transaction: Transaction, reason: str) -> None:
        super().__init__(f"{transaction.purpose} would be refused: {reason}; nothing more was sent")


class NotTakenError(TemporaryError):
    """No node takes a transaction as things stand."""


class NotMinedError(TemporaryError):
    """A transaction was sent and is not in a block yet."""


class RevertedError(Exception):
    """A transaction was mined and reverted."""


async def send_in_turn(
    transactions: Sequence[Transaction],
    *,
    rpc: Rpc,
    broadcaster: Broadcaster,
    chain_id: int,
    signer: Signer,
    fees: FeeSettings,
    explain: Explain,
    sent: Callable[[Transaction, str], None],
) -> AsyncIterator[tuple[Transaction, str]]:
    """Send them one by one by `broadcaster`, never by `rpc`, which may be public; tells `sent` of
    each with its hash, and yields both when it is mined.

    Raises `WouldRevertError`, `RevertedError`, `NotTakenError`, `NotMinedError`, `FeeCapReachedError`, `RpcError`
    for what the node refuses, `EndpointUnavailableError`.
    """
    for transaction in transactions:
        tx_hash = await _send(transaction, rpc, broadcaster, chain_id, signer, fees, explain)
        sent(transaction, tx_hash)
        receipt = await _mined(rpc, tx_hash)
        if int(receipt["status"], 16) != 1:
            raise RevertedError(f"{transaction.purpose} reverted in transaction {tx_hash}")
        yield transaction, tx_hash


async def _send(
    transaction: Transaction,
    rpc: Rpc,
    broadcaster: Broadcaster,
    chain_id: int,
    signer: Signer,
    fees: FeeSettings,
    explain: Explain,
) -> str:
    head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
    at = {"blockHash": head.hash}
    call = {"from": signer.address, "to": transaction.to, "data": "0x" + transaction.data.hex()}
    try:
        gas = int(
            await rpc.call("eth_estimateGas", {**call, "value": hex(transaction.value_wei)}), 16
        )
    except RpcError as error:
        raise WouldRevertError(
            transaction, explain(transaction, error.revert) or error.message
        ) from None
    history = decode_fee_history(
        await rpc.read(
            "eth_feeHistory", hex(FEE_HISTORY_BLOCKS), hex(head.number), list(PERCENTILES.values())
        ),
        head,
    )
    chosen = suggest_fees(
        base_fee_wei=history.next_base_fee_wei or head.base_fee_wei,
        rewards_wei=history.rewards(Urgency.ROUTINE),
        floor_wei=fees.min_priority_fee_wei,
        ceiling=Ceiling(max_fee_wei=fees.max_fee_wei, bound="max_fee_gwei"),
        urgency=Urgency.ROUTINE,
    )
    unsigned = UnsignedTransaction(
        chain_id=chain_id,
        nonce=int(await rpc.read("eth_getTransactionCount", signer.address, at), 16),
        to=transaction.to,
        data=transaction.data,
        value_wei=transaction.value_wei,
        gas_limit=gas * GAS_HEADROOM_PERCENT // 100,
        max_fee_wei=chosen.max_fee_wei,
        priority_fee_wei=chosen.priority_fee_wei,
    )
    try:
        raw, tx_hash = await signed(signer, unsigned)
    except SignatureUnavailableError as error:
        raise NotTakenError(f"{transaction.purpose} was not signed: {error}") from None
    sent = await broadcaster.send(raw, tx_hash)
    if sent.outcome in (SendOutcome.UNANSWERED, SendOutcome.LIMITED):
        raise EndpointUnavailableError(
            f"whether transaction {tx_hash} was taken is not known: {sent.reason}"
        )
    if not sent.outcome.taken:
        raise NotTakenError(f"transaction {tx_hash} was not taken: {sent.reason}")
    return tx_hash


async def _mined(rpc: Rpc, tx_hash: str) -> dict[str, Any]:
    polling = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_result(lambda receipt: receipt is None)
        | tenacity.retry_if_exception_type(EndpointUnavailableError),
        wait=tenacity.wait_fixed(0.5),
        stop=tenacity.stop_after_delay(PATIENCE_S),
    )
    try:
        receipt: dict[str, Any] = await polling(rpc.read, "eth_getTransactionReceipt", tx_hash)
    except tenacity.RetryError:
        raise NotMinedError(
            f"transaction {tx_hash} was sent and is in no block after {PATIENCE_S:.0f} s: speed it "
            "up or cancel it in a wallet, then run the command again"
        ) from None
    return receipt
