"""What is so by the word of several endpoints: one that lies or lags must not end an intent."""

import asyncio
from typing import Any

from keeper.chain.pool import PATIENCE_S, Endpoint, Pool
from keeper.chain.rpc import EndpointUnavailableError, Request, RpcError
from keeper.model.records import MinedReceipt
from keeper.model.units import Address


class PoolVotes:
    """Over the pool's endpoints."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def is_used(self, signer: Address, nonce: int, *, block_number: int) -> bool:
        """Whether more than half of those that answer count the nonce as used at that block; not
        where nobody answers."""
        count = Request(method="eth_getTransactionCount", params=(signer, hex(block_number)))
        (tally,) = await self._pool.tally([count], of=lambda told: int(told, 16) > nonce)
        return tally.answer is True and tally.is_majority

    async def is_mined(self, receipt: MinedReceipt) -> bool:
        """Whether more endpoints have the transaction in that block, with that status, than have the
        block's height and do not. Those behind it abstain. Where most say otherwise, the endpoint
        that is read first is outvoted."""
        if len(self._pool.readers) == 1:
            return True
        first = self._pool.in_order()[0]
        ballots = await asyncio.gather(*(_ballot(each, receipt) for each in self._pool.readers))
        agree, against = ballots.count(True), ballots.count(False)
        if against > agree:
            first.contradicted()
        return agree > against


async def _ballot(endpoint: Endpoint, receipt: MinedReceipt) -> bool | None:
    """What one endpoint says of a receipt; None if it cannot tell."""
    asked = [
        Request(method="eth_getTransactionReceipt", params=(receipt.hash,)),
        Request(method="eth_getBlockByNumber", params=(hex(receipt.block_number), False)),
    ]
    try:
        told, block = await endpoint.batch(asked, patience_s=PATIENCE_S)
    except EndpointUnavailableError:
        return None
    if not isinstance(block, dict) or isinstance(told, RpcError):
        return None
    return _same(told, receipt)


def _same(told: Any, receipt: MinedReceipt) -> bool:
    try:
        block_hash, succeeded = told["blockHash"], int(told["status"], 16) == 1
    except (KeyError, TypeError, ValueError):
        return False
    return block_hash == receipt.block_hash and succeeded == receipt.succeeded
