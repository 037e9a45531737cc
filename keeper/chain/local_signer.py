"""A signer whose key is in this process: loaded once, never shown.

A keystore takes up to a second and hundreds of megabytes to open (scrypt): call `LocalSigner.load`
off the event loop.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from eth_utils.crypto import keccak
from pydantic import SecretStr

from keeper.chain.settings import LocalKeySettings
from keeper.chain.signer import Signature, SignerError
from keeper.model.units import Address


class KeyMissingError(SignerError):
    """No key, no keystore file or no password was given."""


class KeystoreExposedError(SignerError):
    """Other users of the machine can read the keystore file."""


class KeystoreCorruptError(SignerError):
    """The file is not a keystore."""


class WrongPasswordError(SignerError):
    """The password does not open the keystore."""


class InvalidKeyError(SignerError):
    """The private key is no point's: zero, or beyond the curve's order."""


class LocalSigner:
    """One account whose key is here."""

    __slots__ = ("_account", "address", "name")

    def __init__(self, name: str, account: LocalAccount) -> None:
        self._account = account
        self.name = name
        self.address = Address(account.address)

    @classmethod
    def load(cls, settings: LocalKeySettings) -> "LocalSigner":
        """Take the key from the keystore, or else from the environment; raises `SignerError`."""
        if settings.keystore is not None:
            key = _open_keystore(settings.name, settings.keystore, settings.keystore_password)
        else:
            key = bytes.fromhex(_from_environment(settings).removeprefix("0x"))
        try:
            return cls(settings.name, Account.from_key(key))
        except ValueError:
            raise InvalidKeyError(
                settings.name,
                where=f"signers.{settings.name}",
                what="the private key is not valid",
                why="it is zero or beyond the order of secp256k1",
                fix="export it again from the wallet",
            ) from None

    async def sign(self, payload: bytes) -> Signature:
        """Half a millisecond: not worth a thread."""
        made = self._account.unsafe_sign_hash(Hash32(keccak(payload)))
        return Signature(r=made.r, s=made.s)

    async def close(self) -> None:
        """Nothing is open."""

    def __repr__(self) -> str:
        return f"LocalSigner({self.name}, {self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is not copied or pickled: its key stays in this object")


def _from_environment(settings: LocalKeySettings) -> str:
    if settings.private_key is None:
        raise KeyMissingError(
            settings.name,
            where=f"signers.{settings.name}",
            what="there is no key for this signer",
            why="only its account's owner can spend from the wallet that protects the position",
            fix=f"name a keystore file in [signers.{settings.name}], or set KEEPER_PRIVATE_KEY "
            f"or KEEPER_SIGNERS__{settings.name.upper()}__PRIVATE_KEY",
        )
    return settings.private_key.get_secret_value()


def _open_keystore(name: str, path: Path, password: SecretStr | None) -> bytes:
    content = read_keystore(name, path)
    if password is None:
        raise KeyMissingError(
            name,
            where=str(path),
            what="there is no password for this keystore",
            why="its key is encrypted",
            fix=f"set KEEPER_KEYSTORE_PASSWORD or KEEPER_SIGNERS__{name.upper()}__KEYSTORE_PASSWORD",
        )
    try:
        return bytes(Account.decrypt(content, password.get_secret_value()))
    except ValueError as error:
        if "MAC mismatch" not in str(error):
            _corrupt(name, path)
    except (KeyError, TypeError, AttributeError, NotImplementedError):
        _corrupt(name, path)
    raise WrongPasswordError(
        name,
        where=str(path),
        what="the password does not open this keystore",
        why="the checksum over the decrypted key differs",
        fix="give the password that the file was made with; if it is right, the file is damaged",
    )


def read_keystore(name: str, path: Path) -> dict[str, Any]:
    """What is in a keystore file, still encrypted; raises `SignerError`."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeystoreExposedError(
                    name,
                    where=str(path),
                    what=f"other users may open this keystore (mode {mode:04o})",
                    why="who can read it can guess its password at leisure",
                    fix=f"chmod 600 {path}",
                )
            content = json.load(file)
    except OSError as error:
        raise KeyMissingError(
            name,
            where=str(path),
            what=f"the keystore cannot be read: {error.strerror}",
            why="the signer's key is in it",
            fix=f"correct `keystore` in [signers.{name}], or let keeper's user read the file",
        ) from None
    except ValueError:
        _corrupt(name, path)
    if not isinstance(content, dict) or "crypto" not in map(str.lower, content):
        _corrupt(name, path)
    return content


def _corrupt(name: str, path: Path) -> NoReturn:
    raise KeystoreCorruptError(
        name,
        where=str(path),
        what="this is not a keystore",
        why="it is not Web3 Secret Storage, version 3, or it is damaged",
        fix="export the account again, for instance with `cast wallet import` or geth",
    ) from None
