"""Every kind of signer, opened from its settings."""

import asyncio

from keeper.chain.kms_signer import KmsSigner
from keeper.chain.local_signer import LocalSigner
from keeper.chain.remote_signer import RemoteSigner
from keeper.chain.settings import (
    KmsSignerSettings,
    LocalKeySettings,
    RemoteSignerSettings,
    SignerSettings,
)
from keeper.chain.signer import Signer


async def open_signer(settings: SignerSettings) -> Signer:
    """Raises `SignerError`, and `TemporaryError` where a service does not answer."""
    match settings:
        case LocalKeySettings():
            return await asyncio.to_thread(LocalSigner.load, settings)
        case RemoteSignerSettings():
            return await RemoteSigner.open(settings)
        case KmsSignerSettings():
            return await asyncio.to_thread(KmsSigner.load, settings)
