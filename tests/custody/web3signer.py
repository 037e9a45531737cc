"""The part of Web3Signer's REST interface that signs with secp256k1, as its own page describes it:
https://docs.web3signer.consensys.io/reference/api/rest. Its own server is a Java program that no
package registry carries.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import web
from eth_account import Account
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak


class Web3SignerServer:
    """Holds keys; `fault` is what goes wrong with every signature from now on."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = {
            PrivateKey(bytes.fromhex(key[2:])).public_key.to_hex(): Account.from_key(key)
            for key in keys
        }
        self.fault: str | None = None
        self.signed: list[bytes] = []

    async def public_keys(self, _: web.Request) -> web.Response:
        return web.json_response(list(self._keys))

    async def sign(self, request: web.Request) -> web.StreamResponse:
        account = self._keys.get(request.match_info["identifier"])
        if account is None:
            raise web.HTTPNotFound
        document: dict[str, Any] = await request.json()
        if not re.fullmatch("0x([0-9a-f]{2})*", str(document.get("data"))):
            raise web.HTTPBadRequest
        if self.fault == "drop":
            assert request.transport is not None
            request.transport.close()
        if self.fault == "refuse":
            raise web.HTTPInternalServerError
        if self.fault == "garble":
            return web.Response(text="0x1234")
        payload = bytes.fromhex(document["data"][2:])
        self.signed.append(payload)
        made = account.unsafe_sign_hash(keccak(payload))
        return web.Response(text=f"0x{made.r:064x}{made.s:064x}{made.v:02x}")


@contextlib.asynccontextmanager
async def listening(server: Web3SignerServer) -> AsyncIterator[str]:
    """Its URL, on loopback."""
    served = web.Application()
    served.add_routes(
        [
            web.get("/api/v1/eth1/publicKeys", server.public_keys),
            web.post("/api/v1/eth1/sign/{identifier}", server.sign),
        ]
    )
    runner = web.AppRunner(served)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
