"""Whether a nonce is used, by the word of all endpoints."""

from keeper.chain.pool import Pool
from keeper.chain.rpc import Request
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
