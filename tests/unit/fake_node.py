"""A node's transactions in memory: a pool, blocks to mine them into, and what it says of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from keeper.chain.local_signer import LocalSigner
from keeper.chain.rpc import RpcError
from keeper.model.units import Address, Wei
from keeper.model.values import Head
from tests.unit.fake_rpc import FakeRpc, address, head_at

ALICE_KEY = bytes([0xA1]) * 32
GWEI = Wei(10**9)
BOB_KEY = bytes([0xB0]) * 32


def signer_of(key: bytes) -> LocalSigner:
    return LocalSigner("test", Account.from_key(key))


def hash_of(raw: bytes) -> str:
    return "0x" + keccak(raw).hex()


@dataclass(frozen=True)
class Sent:
    """A transaction as the node decodes it."""

    hash: str
    sender: Address
    nonce: int
    to: Address
    call: bytes
    fields: dict[str, Any]


def decoded(raw: bytes) -> Sent:
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return Sent(
        hash=hash_of(raw),
        sender=Address(Account.recover_transaction(raw)),
        nonce=int(fields["nonce"]),
        to=address("0x" + bytes(fields["to"]).hex()),
        call=bytes(fields["data"]),
        fields=dict(fields),
    )


CAPS = ("maxFeePerGas", "maxPriorityFeePerGas")


def slot_of(tx: Sent) -> tuple[Address, int]:
    return tx.sender, tx.nonce


@dataclass
class FakeNode:
    """Takes transactions, and mines those that are asked for. As geth's, its pool replaces one by
    another with the same nonce if both caps are higher by 10 %."""

    number: int = 100
    fork: str = ""
    """Tells the newest blocks apart from those that a reorg took back."""
    pool: dict[str, Sent] = field(default_factory=dict)
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    nonces: dict[Address, int] = field(default_factory=dict)
    base_fee_wei: Wei = GWEI
    raws: list[bytes] = field(default_factory=list)
    """Everything that was sent, taken or not, in order."""
    before_taking: Callable[[bytes], None] = lambda _: None
    """Looks at the bytes, or raises what the node answers."""

    def __post_init__(self) -> None:
        self.rpc = FakeRpc(
            {
                "eth_sendRawTransaction": self._send,
                "eth_getTransactionReceipt": self.receipts.get,
                "eth_getTransactionByHash": self._transaction,
                "eth_getTransactionCount": lambda who, _: hex(self.nonces.get(who, 0)),
            }
        )

    @property
    def head(self) -> Head:
        return replace(head_at(self.number, fork=self.fork), base_fee_wei=self.base_fee_wei)

    def sent(self) -> list[Sent]:
        return [decoded(raw) for raw in self.raws]

    def mine(
        self,
        *hashes: str,
        blocks: int = 1,
        succeeded: bool = True,
        run: Callable[[Sent], bool] | None = None,
    ) -> Head:
        """Put transactions (all there are, where none is named) into the next block, then more
        empty blocks. `run` does what a transaction says and tells whether it succeeded."""
        self.number += 1
        block = self.head
        for tx_hash in hashes or self._next():
            tx = self.pool.pop(tx_hash)
            for rival in [each for each in self.pool.values() if slot_of(each) == slot_of(tx)]:
                del self.pool[rival.hash]
            ran = succeeded if run is None else run(tx)
            self.nonces[tx.sender] = tx.nonce + 1
            self.receipts[tx_hash] = {
                "transactionHash": tx_hash,
                "blockNumber": hex(block.number),
                "blockHash": block.hash,
                "status": hex(ran),
                "gasUsed": hex(50_000),
                "effectiveGasPrice": hex(2 * 10**9),
            }
        return self.skip(blocks - 1)

    def _next(self) -> list[str]:
        """What a miner can take of the pool: of each sender without a gap."""
        taken, nonces = [], dict(self.nonces)
        for tx in sorted(self.pool.values(), key=lambda each: each.nonce):
            if tx.nonce == nonces.get(tx.sender, 0):
                nonces[tx.sender] = tx.nonce + 1
                taken.append(tx.hash)
        return taken

    def skip(self, blocks: int) -> Head:
        """Blocks without any of our transactions."""
        self.number += blocks
        return self.head

    def take_back(self, tx_hash: str, raw: bytes | None) -> None:
        """A reorg: no longer mined; back in the pool if its bytes are given, else forgotten."""
        receipt = self.receipts.pop(tx_hash)
        tx = decoded(next(each for each in self.raws if hash_of(each) == tx_hash))
        self.nonces[tx.sender] = tx.nonce
        assert receipt
        if raw is not None:
            self.pool[tx_hash] = decoded(raw)

    def drop(self, tx_hash: str) -> None:
        """Forget a transaction that waits."""
        del self.pool[tx_hash]

    def _send(self, data: str) -> str:
        raw = bytes.fromhex(data[2:])
        self.raws.append(raw)
        self.before_taking(raw)
        tx = decoded(raw)
        if tx.hash in self.pool:
            raise RpcError("eth_sendRawTransaction", -32000, "already known")
        if tx.nonce < self.nonces.get(tx.sender, 0):
            raise RpcError("eth_sendRawTransaction", -32000, "nonce too low")
        for rival in [each for each in self.pool.values() if slot_of(each) == slot_of(tx)]:
            if any(tx.fields[cap] * 10 < rival.fields[cap] * 11 for cap in CAPS):
                message = "replacement transaction underpriced"
                raise RpcError("eth_sendRawTransaction", -32000, message)
            del self.pool[rival.hash]
        self.pool[tx.hash] = tx
        return tx.hash

    def _transaction(self, tx_hash: str) -> dict[str, str] | None:
        known = tx_hash in self.pool or tx_hash in self.receipts
        return {"hash": tx_hash} if known else None
