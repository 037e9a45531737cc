"""A signer behind HTTP: Web3Signer, or what speaks its REST interface for secp256k1.

`GET /api/v1/eth1/publicKeys` lists the keys, `POST /api/v1/eth1/sign/{public key}` takes
`{"data": "0x…"}`, hashes it with Keccak-256 and answers with r, s and v in hexadecimal:
https://docs.web3signer.consensys.io/reference/api/rest
"""

import json
import re
from typing import Any

import aiohttp

from keeper.chain.secrecy import public_host
from keeper.chain.settings import RemoteSignerSettings
from keeper.chain.signer import (
    ANSWER_WITHIN_S,
    Signature,
    SignatureUnavailableError,
    SignerError,
    address_of,
)
from keeper.chain.unanswered import in_words
from keeper.model.errors import TemporaryError
from keeper.model.units import Address

KEYS, SIGN = "/api/v1/eth1/publicKeys", "/api/v1/eth1/sign/"
SIGNATURE = re.compile(r'"?0x([0-9a-fA-F]{130})"?')
PUBLIC_KEY = re.compile(r"(?:0x)?(?:04)?([0-9a-fA-F]{128})")


class RemoteKeyMissingError(SignerError):
    """The service holds no key of the account."""


class RemoteSigner:
    """One key of a service."""

    def __init__(self, settings: RemoteSignerSettings, public_key: str) -> None:
        self.name, self.address = settings.name, settings.address
        self._url, self._public_key = settings.url.rstrip("/"), public_key
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    async def open(cls, settings: RemoteSignerSettings) -> "RemoteSigner":
        """Look for the account's key. Raises `RemoteKeyMissingError`, and `TemporaryError` where the
        service does not answer."""
        try:
            async with aiohttp.ClientSession(timeout=_timeout()) as session:
                listed = json.loads(await _asked(session, "GET", settings.url.rstrip("/") + KEYS))
            keys = {_account(each): str(each) for each in listed}
        except (SignatureUnavailableError, ValueError, TypeError) as error:
            raise TemporaryError(
                f'signer "{settings.name}" at {public_host(settings.url)} does not list its keys: '
                f"{error}"
            ) from None
        if settings.address not in keys:
            raise RemoteKeyMissingError(
                settings.name,
                where=f"signers.{settings.name}.address",
                what=f"the signing service holds no key of {settings.address}",
                why=f"it lists {', '.join(filter(None, keys)) or 'no key at all'}",
                fix="load the key there, or write the address of one that it holds",
            )
        return cls(settings, keys[settings.address])

    async def sign(self, payload: bytes) -> Signature:
        """One POST. Raises `SignatureUnavailableError`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_timeout())
        url = f"{self._url}{SIGN}{self._public_key}"
        answer = await _asked(self._session, "POST", url, {"data": "0x" + payload.hex()})
        found = SIGNATURE.fullmatch(answer.strip())
        if found is None:
            raise SignatureUnavailableError(f'signer "{self.name}" answered with no signature')
        return Signature(r=int(found[1][:64], 16), s=int(found[1][64:128], 16))

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    def __repr__(self) -> str:
        return f"RemoteSigner({self.name}, {self.address})"


async def _asked(
    session: aiohttp.ClientSession, method: str, url: str, document: dict[str, Any] | None = None
) -> str:
    try:
        async with session.request(method, url, json=document, allow_redirects=False) as answer:
            text, status = await answer.text(), answer.status
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise SignatureUnavailableError(
            f"the signing service at {public_host(url)} does not answer ({in_words(error)})"
        ) from None
    if status != 200:
        raise SignatureUnavailableError(
            f"the signing service at {public_host(url)} refused with HTTP status {status}"
        )
    return text


def _account(public_key: Any) -> Address | None:
    """Of one entry of the list; None for a key of another curve."""
    found = PUBLIC_KEY.fullmatch(str(public_key))
    return None if found is None else address_of(bytes.fromhex(found[1]))


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
