"""The endpoints, the chain behind them, its time, and the contracts on it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from keeper.admission import check_contracts, doubts, is_local
from keeper.chain.header import decode_head
from keeper.chain.pool import Endpoint, Pool
from keeper.chain.reader import Reader
from keeper.chain.rpc import EndpointUnavailableError, Request
from keeper.checkup.line import Line, of_error
from keeper.config.checks import READERS, check_chain_id, check_live, check_tokens
from keeper.config.networks import network
from keeper.config.settings import Settings
from keeper.model.errors import ConfigurationError
from keeper.model.reading import ReadingError
from keeper.model.values import Head
from keeper.watching import watched_markets

FEW_BLOCKS = 5
"""Endpoints so many blocks apart are out of sync."""
LEAST_AGE_S, MOST_BLOCK_AGES = 90.0, 6
"""A head older than the larger of these is late, or this machine's clock is wrong."""
AHEAD_S = 15.0
"""By so much may a head be ahead of this machine's clock."""


async def endpoint_lines(settings: Settings, pool: Pool) -> tuple[list[Line], list[Head]]:
    """Each endpoint, whether they agree, and the heads that they showed."""
    told = await asyncio.gather(
        *(
            _head(settings, endpoint, each.name)
            for endpoint, each in zip(pool.endpoints, settings.chain.endpoints, strict=True)
        ),
        return_exceptions=True,
    )
    lines = [_endpoint(each, found) for each, found in zip(pool.endpoints, told, strict=True)]
    heads = [found for found in told if isinstance(found, Head)]
    if heads:
        lines.append(await _agreement(pool, heads))
    return lines, heads


async def chain_lines(
    settings: Settings, pool: Pool, head: Head, *, now_s: float
) -> AsyncIterator[Line]:
    """What the chain says. `now_s`: this machine's clock."""
    local = await is_local(pool)
    yield _kind(settings, local=local)
    yield _clock(settings, head, now_s=now_s, local=local)
    for doubt in doubts(settings, head):
        yield Line(topic="settings", verdict="warn", what=doubt.what, fix=doubt.fix)
    yield await _contracts(settings, pool, head)


async def _head(settings: Settings, endpoint: Endpoint, section: str | None) -> Head | None:
    """None of one that is only sent to."""
    check_chain_id(settings, await endpoint.chain_id(), section)
    if not endpoint.use.reads:
        return None
    return decode_head(await endpoint.read("eth_getBlockByNumber", "latest", False))


def _endpoint(endpoint: Endpoint, found: Head | BaseException | None) -> Line:
    if isinstance(found, Head):
        what = f"{endpoint.name} answers, at block {found.number}"
        return Line(topic="endpoint", verdict="ok", what=what)
    if found is None:
        return Line(topic="endpoint", verdict="ok", what=f"{endpoint.name} answers")
    if isinstance(found, EndpointUnavailableError | ConfigurationError):
        fix = "start the node, or correct its url; docs/ENDPOINTS.md tells of more than one"
        return of_error("endpoint", "fail", found, fix=fix)
    raise found


async def _agreement(pool: Pool, heads: Sequence[Head]) -> Line:
    highest, lowest = max(h.number for h in heads), min(h.number for h in heads)
    if len(pool.readers) < READERS:
        return Line(
            topic="endpoints",
            verdict="warn",
            what="one endpoint alone reads: nobody would notice if it were wrong",
            fix="add [endpoints.second] with the url of another provider",
        )
    if highest - lowest > FEW_BLOCKS:
        return Line(
            topic="endpoints",
            verdict="fail",
            what=f"they are {highest - lowest} blocks apart",
            fix="wait until the slower one is in sync, or take it out",
        )
    told = await pool.ask_all(Request(method="eth_getBlockByNumber", params=(hex(lowest), False)))
    hashes = [block["hash"] for block in told if isinstance(block, dict)]
    agree = len(set(hashes)) == 1
    return Line(
        topic="endpoints",
        verdict="ok" if agree else "fail",
        what=f"{len(hashes)} have the same block {lowest}"
        if agree
        else f"they have {len(set(hashes))} different blocks {lowest}",
        fix="" if agree else "take the endpoint of another chain or fork out",
    )


def _kind(settings: Settings, *, local: bool) -> Line:
    chain_id = settings.chain.chain_id
    if local:
        what = f"{chain_id}, and its node is an Anvil: a local chain"
        return Line(topic="chain", verdict="ok", what=what)
    try:
        check_live(settings, local=False, without_safety_net=False)
    except ConfigurationError as error:
        return of_error("chain", "warn", error)
    known = network(chain_id)
    what = f"{known.name if known else chain_id}, with two endpoints and somebody to hear of alerts"
    return Line(topic="chain", verdict="ok", what=what)


def _clock(settings: Settings, head: Head, *, now_s: float, local: bool) -> Line:
    if local:
        return Line(topic="clock", verdict="ok", what="a local chain has a time of its own")
    known = network(settings.chain.chain_id)
    late_s = max(LEAST_AGE_S, MOST_BLOCK_AGES * (known.block_time_s if known else 0.0))
    age_s = now_s - head.timestamp
    if -AHEAD_S <= age_s <= late_s:
        return Line(topic="clock", verdict="ok", what=f"the newest block is {age_s:.0f} s old")
    return Line(
        topic="clock",
        verdict="fail",
        what=f"by this machine's clock the newest block is {age_s:.0f} s old",
        fix="sudo timedatectl set-ntp true; if the clock is right, the endpoint is out of sync",
    )


async def _contracts(settings: Settings, pool: Pool, head: Head) -> Line:
    try:
        await check_contracts(pool, settings, head)
        reader = Reader(pool, multicall=settings.chain.multicall)
        markets = watched_markets(settings)
        for market in markets:
            await market.discover(reader, head)
            check_tokens(settings, market.derived_tokens)
    except (ConfigurationError, ReadingError, EndpointUnavailableError) as error:
        return of_error("contracts", "fail", error)
    count = sum(len(each.contracts) for each in markets)
    return Line(
        topic="contracts",
        verdict="ok",
        what=f"of versions that this keeper knows, as are the {count} behind the markets, whose "
        "code is watched for changes",
    )
