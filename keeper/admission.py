"""Before anything is watched: is the chain what the settings say, and are the keys the right ones?"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import structlog

from keeper.chain.heads import Heads
from keeper.chain.pool import Pool
from keeper.chain.rpc import EndpointUnavailableError, JsonRpc, Request, RpcError
from keeper.chain.signer import Signer
from keeper.chain.signers import open_signer
from keeper.config.checks import (
    SEEN_FROM,
    check_answer,
    check_chain_id,
    check_code,
    check_signer,
    contracts,
)
from keeper.config.networks import network
from keeper.config.settings import Settings
from keeper.config.urls import near
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.units import SECONDS_PER_DAY, Address
from keeper.model.values import Head

log = structlog.get_logger()

MANY_POSITIONS = 1_000
"""About six megabytes of answers a block."""
REVERTED = 3
"""The code of a JSON-RPC error for a call that reverted (EIP-1474 as nodes extend it)."""


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
    await check_contracts(rpc, settings, head)
    for doubt in doubts(settings, head):
        log.warning("settings.doubtful", where=doubt.where, what=doubt.what, fix=doubt.fix)
    return await is_local(rpc)


async def is_local(rpc: JsonRpc) -> bool:
    """Whether the node is an Anvil."""
    try:
        await rpc.call("anvil_nodeInfo")
    except RpcError:
        return False
    return True


def doubts(settings: Settings, head: Head) -> Iterator[Problem]:
    """What can be meant, and is probably not."""
    if settings.fees.max_fee_wei < head.base_fee_wei:
        yield Problem(
            where=settings.document.where(("fees", "max_fee_gwei")),
            what=f"{settings.fees.max_fee_wei / 1e9:g} gwei is below the base fee of block "
            f"{head.number} ({head.base_fee_wei / 1e9:g})",
            why="what is not urgent waits until gas is cheaper",
            fix="raise max_fee_gwei to what you would pay in a busy hour",
        )
    count = len(settings.positions)
    remote = [each for each in settings.chain.endpoints if each.use.reads and not near(each.url)]
    if count >= MANY_POSITIONS and remote:
        known = network(settings.chain.chain_id)
        blocks = round(SECONDS_PER_DAY / known.block_time_s) if known else None
        yield Problem(
            where=settings.document.where(("positions",)),
            what=f"{count} positions are read at each block"
            + (f", {blocks:,} times a day," if blocks else "")
            + " by an endpoint that is not your own",
            why="a provider that limits requests or gas will refuse when blocks are busiest",
            fix="run a node of your own, or ask the provider what it allows of eth_call",
        )


async def check_contracts(rpc: JsonRpc, settings: Settings, head: Head) -> None:
    """One POST: whether there is code at each configured address, and whether it answers."""
    at, found = {"blockHash": head.hash}, contracts(settings)
    seen = {path: SEEN_FROM[str(path[-1])][1] for path in found if path[-1] in SEEN_FROM}
    calls = [
        {"to": found[path], "data": "0x" + function.encode().hex()}
        for path, function in seen.items()
    ]
    answers = await rpc.batch(
        [
            *(Request(method="eth_getCode", params=(each, at)) for each in found.values()),
            *(Request(method="eth_call", params=(call, at)) for call in calls),
        ]
    )
    codes, told = answers[: len(found)], answers[len(found) :]
    for path, code in zip(found, codes, strict=True):
        check_code(settings, path, _bytes(rpc.name, code))
    for path, answer in zip(seen, told, strict=True):
        reverted = isinstance(answer, RpcError) and (
            "revert" in answer.message.lower() or answer.code == REVERTED
        )
        check_answer(settings, path, b"" if reverted else _bytes(rpc.name, answer))


def _bytes(endpoint: str, answer: object) -> bytes:
    if isinstance(answer, str):
        return bytes.fromhex(answer[2:])
    raise EndpointUnavailableError(f"{endpoint} refused {answer}")


async def local_instance(rpc: JsonRpc) -> str:
    """What tells a local chain from others with the same id; empty if its node does not say."""
    try:
        return str((await rpc.call("anvil_metadata"))["instanceId"])
    except (RpcError, KeyError, TypeError):
        return ""


async def opened(settings: Settings, name: str) -> Signer:
    """The signer of that name; who calls this closes it. Raises `ConfigurationError`, with its line
    where it is one of the file's, and `TemporaryError` where a service does not answer."""
    try:
        return await open_signer(settings.signers[name])
    except ConfigurationError as error:
        raise ConfigurationError(
            *(
                replace(problem, where=settings.document.where(tuple(problem.where.split("."))))
                if problem.where.startswith(f"signers.{name}")
                else problem
                for problem in error.problems
            )
        ) from None


async def open_signers(settings: Settings, *, local: bool) -> dict[Address, Signer]:
    """Open every signer that a position needs; who calls this closes them."""
    found: dict[str, Signer] = {}
    for position in settings.positions:
        if position.signer not in found:
            found[position.signer] = await opened(settings, position.signer)
        check_signer(settings, position, found[position.signer].address, local=local)
    return {signer.address: signer for signer in found.values()}
