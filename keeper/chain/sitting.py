"""The reads of one pass: all by one endpoint, whose word the others can then be asked about."""

from collections.abc import Sequence
from typing import Any

from keeper.chain.pool import PATIENCE_S, Endpoint, Pool
from keeper.chain.rpc import Request, RpcError


class Sitting:
    """Asks the pool first, and from then on the endpoint that answered: what was read in one pass is
    never put together from the words of two. Who is asked first may change at any moment; who was
    read does not."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.reader: Endpoint | None = None
        """The endpoint that answered; None before."""

    @property
    def name(self) -> str:
        """Of that endpoint, or of the one that would be asked."""
        return self._pool.name if self.reader is None else self.reader.name

    async def batch(self, requests: Sequence[Request]) -> list[Any | RpcError]:
        """As `Rpc.batch`."""
        if self.reader is None:
            answers, self.reader = await self._pool.answered(requests)
            return answers
        alone = len(self._pool.readers) == 1
        return await self.reader.batch(requests, patience_s=None if alone else PATIENCE_S)
