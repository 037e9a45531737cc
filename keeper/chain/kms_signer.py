"""A signer whose key never leaves AWS KMS: an ECC_SECG_P256K1 key for SIGN_VERIFY.

KMS signs a digest of 32 bytes with ECDSA_SHA_256 and answers in DER (RFC 3279, Ecdsa-Sig-Value); the
public key comes as a SubjectPublicKeyInfo (RFC 5480).
https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
"""

import asyncio
from typing import Any

from eth_utils.crypto import keccak

from keeper.chain.settings import KmsSignerSettings
from keeper.chain.signer import (
    ANSWER_WITHIN_S,
    Signature,
    SignatureUnavailableError,
    SignerError,
    address_of,
)
from keeper.model.errors import TemporaryError

CURVE = "ECC_SECG_P256K1"
OF_THE_CURVE = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a03420004")
"""What stands before x and y: the object identifiers of id-ecPublicKey and secp256k1, and the mark of
an uncompressed point."""
_SEQUENCE, _INTEGER = 0x30, 0x02


class KmsMissingError(SignerError):
    """The packages for AWS are not installed, or AWS was not told who asks."""


class KmsKeyError(SignerError):
    """There is no such key, it is of another curve, or it may not be used."""


class KmsSigner:
    """One key of KMS."""

    def __init__(self, settings: KmsSignerSettings, client: Any, public_key: bytes) -> None:
        """`public_key`: x and y."""
        self.name, self.address = settings.name, address_of(public_key)
        self._client, self._key_id = client, settings.key_id

    @classmethod
    def load(cls, settings: KmsSignerSettings) -> "KmsSigner":
        """Ask for the public key; blocks, so call it off the event loop.

        Raises `SignerError`, and `TemporaryError` where AWS does not answer."""
        botocore, client = _client(settings)
        try:
            answer = client.get_public_key(KeyId=settings.key_id)
        except botocore.exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "no reason")
            raise _key_error(settings, f"AWS refuses the key: {code}") from None
        except botocore.exceptions.NoCredentialsError:
            raise _missing(settings, "AWS credentials are not to be found") from None
        except botocore.exceptions.BotoCoreError as error:
            raise TemporaryError(
                f'signer "{settings.name}": AWS KMS does not answer ({type(error).__name__})'
            ) from None
        public_key: bytes = answer["PublicKey"]
        if not public_key.startswith(OF_THE_CURVE):
            raise _key_error(settings, "this is not a key of secp256k1")
        return cls(settings, client, public_key.removeprefix(OF_THE_CURVE))

    async def sign(self, payload: bytes) -> Signature:
        """One request, in a thread. Raises `SignatureUnavailableError`."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await asyncio.to_thread(
                    self._client.sign,
                    KeyId=self._key_id,
                    Message=keccak(payload),
                    MessageType="DIGEST",
                    SigningAlgorithm="ECDSA_SHA_256",
                )
            return decode_der(answer["Signature"])
        except ValueError as error:
            raise SignatureUnavailableError(f'signer "{self.name}": {error}') from None
        except Exception as error:  # noqa: BLE001 - what botocore raises is known to botocore alone, which is an extra
            raise SignatureUnavailableError(
                f'signer "{self.name}": AWS KMS gave no signature ({type(error).__name__})'
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"KmsSigner({self.name}, {self.address})"


def decode_der(encoded: bytes) -> Signature:
    """A DER sequence of two integers. Raises `ValueError` for anything else."""
    body, rest = _element(encoded, _SEQUENCE)
    r, after = _element(body, _INTEGER)
    s, end = _element(after, _INTEGER)
    if rest or end:
        raise ValueError("the signature has bytes beyond its end")
    return Signature(r=int.from_bytes(r, "big"), s=int.from_bytes(s, "big"))


def _element(encoded: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content and what follows. A signature is shorter than 128 bytes, so that a length is one
    byte (X.690, 8.1.3.4)."""
    if len(encoded) < 2 or encoded[0] != tag or encoded[1] > len(encoded) - 2:
        raise ValueError("the signature is not the DER of two integers")
    end = 2 + encoded[1]
    return encoded[2:end], encoded[end:]


def _client(settings: KmsSignerSettings) -> tuple[Any, Any]:
    try:
        import boto3
        import botocore
        from botocore.config import Config
    except ImportError:
        raise KmsMissingError(
            settings.name,
            where=f"signers.{settings.name}.kms_key_id",
            what="the package boto3 is not installed",
            why="it speaks to AWS KMS, and most keepers do without",
            fix="install it with keeper's checkout: pip install '.[aws]'",
        ) from None
    patience = Config(
        connect_timeout=ANSWER_WITHIN_S,
        read_timeout=ANSWER_WITHIN_S,
        retries={"total_max_attempts": 1},
    )
    try:
        return botocore, boto3.session.Session().client("kms", config=patience)
    except botocore.exceptions.BotoCoreError as error:
        raise _missing(settings, " ".join(str(error).split()).rstrip(".")) from None


def _missing(settings: KmsSignerSettings, what: str) -> KmsMissingError:
    return KmsMissingError(
        settings.name,
        where=f"signers.{settings.name}.kms_key_id",
        what=what,
        why="AWS signs only for whom it knows, in the region where the key is",
        fix="set AWS_REGION and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or give the machine a "
        "role",
    )


def _key_error(settings: KmsSignerSettings, what: str) -> KmsKeyError:
    return KmsKeyError(
        settings.name,
        where=f"signers.{settings.name}.kms_key_id",
        what=what,
        why=f"keeper signs with a key of {CURVE} for SIGN_VERIFY",
        fix="correct `kms_key_id`, and allow kms:GetPublicKey and kms:Sign for it",
    )
