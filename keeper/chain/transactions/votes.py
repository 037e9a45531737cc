"""What is so by the word of several endpoints: one that lies or lags must not end an intent."""

import asyncio
from typing import Any

from keeper.chain.pool import PATIENCE_S, Endpoint, Pool
from keeper.chain.rpc import EndpointUnavailableError, Request, RpcError, quantity
from keeper.chain.transactions.seams import Vote
from keeper.model.records import Intent, MinedReceipt


class PoolVotes:
    """Over the pool's endpoints."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def is_lost(self, intent: Intent, reader: Endpoint | None, *, block_number: int) -> bool:
        """Whether more than half of those that answer count the nonce as used at that block, and none
        has a receipt of the intent's bytes; not where nobody answers. Where `reader`, which told of
        none, has against it half of them or more, it is outvoted."""
        count = Request(method="eth_getTransactionCount", params=(intent.signer, hex(block_number)))
        told = [each for each in map(quantity, await self._pool.ask_all(count)) if each is not None]
        if 2 * sum(each > intent.nonce for each in told) <= len(told):
            return False
        have = await asyncio.gather(
            *(_has_receipt(each, intent) for each in self._pool.beside(reader))
        )
        if reader is not None and have.count(True) >= have.count(False) + 1:
            reader.contradicted()
        return True not in have

    async def on(self, receipt: MinedReceipt, reader: Endpoint | None) -> Vote:
        """Whether more endpoints have the transaction in that block, with that status, than have the
        block's height and do not. Those that do not answer abstain; one that will have the block in
        a moment is waited for where nobody else can say. `reader` told of it: where
        most say otherwise it is outvoted, whatever it says now."""
        if len(self._pool.readers) == 1:
            return Vote.FOR
        asked = [*([reader] if reader else []), *self._pool.beside(reader)]
        told = await asyncio.gather(*(_word(each, receipt) for each in asked))
        agree, against = told.count(Vote.FOR), told.count(Vote.AGAINST)
        if against > agree and reader is not None:
            reader.contradicted()
        if against >= agree and against > 0:
            return Vote.AGAINST
        if agree <= 1 and Vote.NOT_YET in told:
            return Vote.NOT_YET
        return Vote.FOR if agree else Vote.NOT_YET


async def _has_receipt(endpoint: Endpoint, intent: Intent) -> bool | None:
    """Of any of the intent's bytes; None if the endpoint cannot tell."""
    asked = [
        Request(method="eth_getTransactionReceipt", params=(attempt.hash,))
        for attempt in intent.attempts
        if attempt.nonce == intent.nonce
    ]
    try:
        told = await endpoint.batch(asked, patience_s=PATIENCE_S)
    except EndpointUnavailableError:
        return None
    if any(isinstance(each, dict) for each in told):
        return True
    return None if any(isinstance(each, RpcError) for each in told) else False


async def _word(endpoint: Endpoint, receipt: MinedReceipt) -> Vote | None:
    """What one endpoint says of a receipt; None if it cannot tell."""
    asked = [
        Request(method="eth_getTransactionReceipt", params=(receipt.hash,)),
        Request(method="eth_getBlockByNumber", params=(hex(receipt.block_number), False)),
    ]
    try:
        told, block = await endpoint.batch(asked, patience_s=PATIENCE_S)
    except EndpointUnavailableError:
        return None
    if isinstance(told, RpcError) or isinstance(block, RpcError):
        return None
    if block is None and endpoint.state.head_number < receipt.block_number:
        return Vote.NOT_YET
    return Vote.FOR if _same(told, receipt) else Vote.AGAINST


def _same(told: Any, receipt: MinedReceipt) -> bool:
    try:
        block_hash, status = told["blockHash"], quantity(told["status"])
    except (KeyError, TypeError):
        return False
    return block_hash == receipt.block_hash and (status == 1) == receipt.succeeded
