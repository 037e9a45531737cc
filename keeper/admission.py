"""Before anything is watched: is the chain what the settings say, and are the keys the right ones?"""

import asyncio

import structlog

from keeper.chain.heads import Heads
from keeper.chain.pool import Pool
from keeper.chain.rpc import EndpointUnavailableError, JsonRpc, RpcError
from keeper.chain.signer import Signer
from keeper.chain.signers import open_signer
from keeper.config.checks import check_chain_id, check_code, check_signer, contracts
from keeper.config.settings import Settings
from keeper.model.units import Address

log = structlog.get_logger()


async def check_chains(pool: Pool, settings: Settings) -> None:
    """No endpoint may serve another chain; of those that read, one must answer."""
    told = await asyncio.gather(
        *(endpoint.chain_id() for endpoint in pool.endpoints), return_exceptions=True
    )
    for each, found in zip(settings.chain.endpoints, told, strict=True):
        if isinstance(found, int):
            check_chain_id(settings, found, each.name)
        elif not isinstance(found, EndpointUnavailableError):
            raise found
    silent = [
        found
        for endpoint, found in zip(pool.endpoints, told, strict=True)
        if endpoint.use.reads and isinstance(found, EndpointUnavailableError)
    ]
    if len(silent) == len(pool.readers):
        raise silent[0]
    for error in silent:
        log.warning("endpoint.down", reason=str(error))


async def checked(rpc: JsonRpc, settings: Settings) -> bool:
    """Hold the settings against the chain. Whether the chain is local: its node is an Anvil."""
    check_chain_id(settings, int(await rpc.read("eth_chainId"), 16))
    head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
    for path, address in contracts(settings).items():
        code = await rpc.read("eth_getCode", address, {"blockHash": head.hash})
        check_code(settings, path, bytes.fromhex(code[2:]))
    try:
        await rpc.call("anvil_nodeInfo")
    except RpcError:
        return False
    return True


async def local_instance(rpc: JsonRpc) -> str:
    """What tells a local chain from others with the same id; empty if its node does not say."""
    try:
        return str((await rpc.call("anvil_metadata"))["instanceId"])
    except (RpcError, KeyError, TypeError):
        return ""


async def open_signers(settings: Settings, *, local: bool) -> dict[Address, Signer]:
    """Open every signer that a position needs; who calls this closes them."""
    opened: dict[str, Signer] = {}
    for position in settings.positions:
        if position.signer not in opened:
            opened[position.signer] = await open_signer(settings.signers[position.signer])
        check_signer(settings, position, opened[position.signer].address, local=local)
    return {signer.address: signer for signer in opened.values()}
