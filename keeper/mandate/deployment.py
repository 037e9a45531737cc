"""The guardian contract as it is deployed: where it lies for an owner, and what its refusals say.

The artifact is contracts_abi/guardian/aave_guardian.json; whoever needs it reads the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.abi.words import address_bytes, encode_word
from keeper.model.units import Address
from keeper.model.values import Transaction

DEPLOYMENT_PROXY = Address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
"""Deploys what it is sent, at an address that follows from it:
https://github.com/Arachnid/deterministic-deployment-proxy. Anvil has it from the start."""
_SALT = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedError:
    """One error of the ABI."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    """Name and type of each."""

    def text(self, arguments: bytes) -> str:
        """`Name: parameter = value, …`."""
        values = decode([kind for _, kind in self.parameters], arguments)
        said = ", ".join(
            f"{name} = {'0x' + value.hex() if isinstance(value, bytes) else value}"
            for (name, _), value in zip(self.parameters, values, strict=True)
        )
        return f"{self.name}: {said}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardianCode:
    """One build of the contract."""

    creation: bytes
    deployed: bytes
    errors: Mapping[bytes, NamedError]
    """By selector."""

    @classmethod
    def of(cls, artifact: Mapping[str, Any]) -> "GuardianCode":
        """From the artifact's document."""
        errors = [entry for entry in artifact["abi"] if entry["type"] == "error"]
        return cls(
            creation=bytes.fromhex(artifact["bytecode"].removeprefix("0x")),
            deployed=bytes.fromhex(artifact["deployedBytecode"].removeprefix("0x")),
            errors={
                keccak(text=f"{e['name']}({','.join(i['type'] for i in e['inputs'])})")[
                    :4
                ]: NamedError(
                    name=e["name"], parameters=tuple((i["name"], i["type"]) for i in e["inputs"])
                )
                for e in errors
            },
        )

    def address(self, owner: Address) -> Address:
        """Where this build lies for an owner, deployed or not (EIP-1014)."""
        digest = keccak(
            b"\xff" + address_bytes(DEPLOYMENT_PROXY) + _SALT + keccak(self._creation(owner))
        )
        return Address(to_checksum_address(digest[-20:]))

    def deploy(self, owner: Address) -> Transaction:
        """Anybody may make this transaction; it fails where the contract is deployed already."""
        return Transaction(
            to=DEPLOYMENT_PROXY,
            data=_SALT + self._creation(owner),
            purpose=f"deploy the guardian of {owner}",
        )

    def is_at(self, owner: Address, code: bytes) -> bool:
        """Whether `code` is this build with this owner: the compiler puts immutables at the end."""
        return code == self.at(owner)

    def at(self, owner: Address) -> bytes:
        """The deployed code of an owner's guardian."""
        return self.deployed + encode_word(owner)

    def refusal(self, output: bytes) -> str | None:
        """What a guardian refused a call with; None if the revert is not a guardian's."""
        error = self.errors.get(output[:4])
        try:
            return None if error is None else error.text(output[4:])
        except DecodingError:
            return None

    def _creation(self, owner: Address) -> bytes:
        return self.creation + encode_word(owner)
