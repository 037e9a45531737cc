"""Who signs: a key of this process, a remote signer or a key service, all by one interface.

A signer is given the bytes that EIP-1559 has signed and answers with a signature. Whatever it says,
`signed` holds it against the signer's own address before anything leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import rlp
from coincurve import PublicKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.abi.words import address_bytes
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.units import Address, Wei

TYPE_2: Final = b"\x02"
ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1 (SEC 2, section 2.4.1)."""
ANSWER_WITHIN_S = 5.0
"""A signature that takes longer is given up: the next block asks anew."""


class SignerError(ConfigurationError):
    """A key that cannot be had. `signer` is its name in the settings."""

    def __init__(self, signer: str, *, where: str, what: str, why: str, fix: str) -> None:
        super().__init__(Problem(where=where, what=what, why=why, fix=fix))
        self.signer = signer


class SignatureUnavailableError(Exception):
    """A signer gave no signature, or none of its own account. The text holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Of secp256k1. `s` may be either of the two that are valid."""

    r: int
    s: int


class Signer(Protocol):
    """One account that signs."""

    @property
    def name(self) -> str:
        """As the settings call it."""
        ...

    @property
    def address(self) -> Address: ...

    async def sign(self, payload: bytes) -> Signature:
        """A signature of the payload's Keccak-256. Raises `SignatureUnavailableError`."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedTransaction:
    """A transaction of EIP-1559, every field of it."""

    chain_id: int
    nonce: int
    to: Address
    data: bytes
    value_wei: Wei
    gas_limit: int
    max_fee_wei: Wei
    priority_fee_wei: Wei

    @property
    def payload(self) -> bytes:
        """What is hashed and signed: https://eips.ethereum.org/EIPS/eip-1559."""
        return _encoded(self._fields)

    def with_signature(self, *, y_parity: int, r: int, s: int) -> bytes:
        """The bytes for a node."""
        return _encoded((*self._fields, y_parity, r, s))

    @property
    def _fields(self) -> tuple[object, ...]:
        return (
            self.chain_id,
            self.nonce,
            self.priority_fee_wei,
            self.max_fee_wei,
            self.gas_limit,
            address_bytes(self.to),
            self.value_wei,
            self.data,
            (),
        )


async def signed(signer: Signer, transaction: UnsignedTransaction) -> tuple[bytes, str]:
    """The transaction's signed bytes and its hash.

    The lower of the two valid `s` is taken (EIP-2), and the parity is found out here, so that a
    signer need tell neither. Raises `SignatureUnavailableError`, also where the signature is another
    account's."""
    payload = transaction.payload
    signature = await signer.sign(payload)
    r, s = signature.r, min(signature.s, ORDER - signature.s)
    digest = keccak(payload)
    for y_parity in (0, 1):
        if _recovered(digest, r, s, y_parity) == signer.address:
            raw = transaction.with_signature(y_parity=y_parity, r=r, s=s)
            return raw, "0x" + keccak(raw).hex()
    raise SignatureUnavailableError(
        f'signer "{signer.name}" answered with a signature that is not of {signer.address}'
    )


def address_of(public_key: bytes) -> Address:
    """The account of a public key: its 64 bytes, x and y."""
    return Address(to_checksum_address(keccak(public_key)[-20:]))


def _recovered(digest: bytes, r: int, s: int, y_parity: int) -> Address | None:
    try:
        compact = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([y_parity])
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except (ValueError, OverflowError):
        return None
    return address_of(key.format(compressed=False)[1:])


def _encoded(fields: Sequence[object]) -> bytes:
    return TYPE_2 + bytes(rlp.encode(fields))
