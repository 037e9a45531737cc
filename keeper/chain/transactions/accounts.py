"""The signers' own accounts at the newest head: asked for beside each pass's reads, so that
looking after them costs no round trip."""

from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from keeper.chain.account import balance_request, nonce_request
from keeper.chain.rpc import Request, RpcError, quantity
from keeper.chain.transactions.seams import LastNonce, RunOnStore
from keeper.model.units import Address, Wei
from keeper.model.values import Head

log = structlog.get_logger()


class SignerAccounts:
    """Nonces and balances. What a node does not tell is missing until a later head tells it."""

    def __init__(self, signers: Iterable[Address] = ()) -> None:
        self._signers = tuple(signers)
        self.nonces: dict[Address, int] = {}
        self._reconciled: dict[Address, int] = {}
        self.balances_wei: dict[Address, Wei] = {}

    def requests(self, head: Head) -> list[Request]:
        """To ride along with the reads of a pass; the answers go to `take`."""
        return [
            request
            for signer in self._signers
            for request in (nonce_request(signer, head), balance_request(signer, head))
        ]

    def take(self, answers: Sequence[Any | RpcError]) -> None:
        """What the node says of them."""
        pairs = list(zip(self._signers, answers[::2], answers[1::2], strict=True))
        self.nonces = {s: n for s, nonce, _ in pairs if (n := quantity(nonce)) is not None}
        self.balances_wei = {s: Wei(n) for s, _, wei in pairs if (n := quantity(wei)) is not None}

    async def reconcile(self, chain_id: int, *, last_nonce: LastNonce, run: RunOnStore) -> None:
        """Hold the journal against the chain: every nonce used since the last call must be one that
        the journal knows to be signed for."""
        for signer in self._signers:
            nonce = self.nonces.get(signer)
            if nonce is None:
                log.warning("reconcile.unanswered", signer=signer)
                continue
            last = await run(last_nonce, chain_id, signer)
            explained = max(self._reconciled.get(signer, nonce), 0 if last is None else last + 1)
            if nonce > explained:
                log.error("reconcile.foreign_transactions", signer=signer, count=nonce - explained)
            self._reconciled[signer] = nonce
