"""Deploys many contracts in few blocks, by knowing their addresses before they exist."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.devnet.artifacts import Artifact, Contract
from keeper.devnet.rpc import Rpc
from keeper.model.units import Address

_TRANSACTION_GAS = 30_000_000
_MAX_FEE_WEI = 10**13


class DeploymentError(Exception):
    """A transaction of the deployment failed: the packages are not the ones this code knows."""


def created_address(creator: Address, nonce: int) -> Address:
    """Where the creator's contract number `nonce` lands: keccak256(rlp([creator, nonce]))[12:]."""
    digits = nonce.to_bytes((nonce.bit_length() + 7) // 8)
    encoded = digits if 0 < nonce < 0x80 else bytes([0x80 + len(digits)]) + digits
    content = b"\x94" + bytes.fromhex(creator[2:]) + encoded
    return Address(to_checksum_address(keccak(bytes([0xC0 + len(content)]) + content)[12:]))


@dataclass(slots=True, kw_only=True)
class Deployer:
    """Queues one account's transactions; `flush` puts all of them into one block."""

    rpc: Rpc
    account: Address
    nonce: int = 0
    """Of its next transaction."""
    _queue: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def create(
        self, artifact: Artifact, *arguments: object, libraries: Mapping[str, Address] | None = None
    ) -> Contract:
        """Deploy a contract; its address is known at once, its code after `flush`."""
        address = created_address(self.account, self.nonce)
        self._add("create", None, artifact.creation_code(libraries or {}, *arguments))
        return Contract(address=address, interface=artifact.interface)

    def call(self, contract: Contract, function: str, *arguments: object) -> None:
        """Call a contract."""
        self._add(function, contract.address, contract.encode(function, *arguments))

    def flush(self) -> None:
        """Mine what is queued; raises `DeploymentError` if a transaction failed."""
        sent = [("eth_sendTransaction", (transaction,)) for _, transaction in self._queue]
        hashes = self.rpc.batch(sent)
        self.rpc.call("evm_mine")
        receipts = self.rpc.batch([("eth_getTransactionReceipt", (item,)) for item in hashes])
        for (label, transaction), receipt in zip(self._queue, receipts, strict=True):
            if receipt is None or receipt["status"] != "0x1":
                raise DeploymentError(f"{label} {transaction.get('to', '')} failed: {receipt}")
        self._queue.clear()

    def read(self, contract: Contract, function: str, *arguments: object) -> Any:
        """Call a view function at the latest block."""
        return read(self.rpc, contract, function, *arguments)

    def _add(self, label: str, to: Address | None, data: bytes) -> None:
        transaction = {
            "from": self.account,
            "data": "0x" + data.hex(),
            "nonce": hex(self.nonce),
            "gas": hex(_TRANSACTION_GAS),
            "maxFeePerGas": hex(_MAX_FEE_WEI),
            "maxPriorityFeePerGas": "0x0",
        }
        if to is not None:
            transaction["to"] = to
        self._queue.append((label, transaction))
        self.nonce += 1


def read(
    rpc: Rpc, contract: Contract, function: str, *arguments: object, block: str = "latest"
) -> Any:
    """The decoded result of a view call; addresses come in lower case. Raises `RpcError`."""
    request = {
        "to": contract.address,
        "data": "0x" + contract.encode(function, *arguments).hex(),
    }
    output = bytes.fromhex(rpc.call("eth_call", request, block)[2:])
    return contract.interface.decode(function, len(arguments), output)
