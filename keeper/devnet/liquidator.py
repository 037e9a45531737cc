"""An independent liquidator: it strikes right behind every price update, at whoever is below 1."""

from dataclasses import dataclass, field
from typing import Any

from keeper.abi.words import word_to_address
from keeper.devnet.artifacts import Contract
from keeper.devnet.rpc import Rpc
from keeper.devnet.views import BORROW
from keeper.model.units import Address

ACCOUNTS_PER_STRIKE = 500
"""The length of the contract's list."""


@dataclass(slots=True, kw_only=True)
class Liquidator:
    """Knows every account that ever borrowed, or traded, from a contract's events alone."""

    rpc: Rpc
    pool: Address
    """Whose events they are."""
    contract: Contract
    event: str = BORROW
    account_topic: int = 2
    """Where the event names the account."""
    borrowers: dict[Address, None] = field(default_factory=dict)
    _seen_block: int = -1

    def strikes(self) -> list[bytes]:
        """Calldata for the liquidation contract: it checks each account's health itself, in the
        block it is mined in, and passes over the healthy."""
        self._learn()
        known = list(self.borrowers)
        return [
            self.contract.encode("strike", known[first : first + ACCOUNTS_PER_STRIKE])
            for first in range(0, len(known), ACCOUNTS_PER_STRIKE)
        ]

    def _learn(self) -> None:
        newest = int(self.rpc.call("eth_blockNumber"), 16)
        if newest == self._seen_block:
            return
        query = {
            "address": self.pool,
            "topics": [self.event],
            "fromBlock": hex(self._seen_block + 1),
            "toBlock": hex(newest),
        }
        logs: list[dict[str, Any]] = self.rpc.call("eth_getLogs", query)
        for log in logs:
            self.borrowers[word_to_address(int(log["topics"][self.account_topic], 16))] = None
        self._seen_block = newest
