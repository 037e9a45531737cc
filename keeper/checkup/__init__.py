"""Everything that has to hold for a keeper to protect, one line each with what mends it.

Nothing is changed and nothing sent. What cannot be looked at is a line that fails; the others are
looked at all the same.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from keeper.chain.pool import Pool
from keeper.chain.rpc import EndpointUnavailableError
from keeper.checkup.chain import chain_lines, endpoint_lines
from keeper.checkup.figures import policy_lines
from keeper.checkup.keys import key_lines, mandate_lines
from keeper.checkup.line import Line, of_error
from keeper.checkup.machine import machine_lines
from keeper.checkup.positions import looked, position_lines
from keeper.config.settings import Settings

__all__ = ["Line", "checkup"]


async def checkup(settings: Settings, *, now_s: float) -> AsyncIterator[Line]:
    """In the order in which they have to be put right. `now_s`: this machine's clock, Unix seconds."""
    pool = Pool.of(settings.chain)
    try:
        lines, heads = await endpoint_lines(settings, pool)
        for line in lines:
            yield line
        if heads:
            head = max(heads, key=lambda each: each.number)
            try:
                async for line in chain_lines(settings, pool, head, now_s=now_s):
                    yield line
                async for line in key_lines(settings, pool, head):
                    yield line
                seen = await looked(settings)
                watched = () if isinstance(seen, Line) else seen.watched
                async for line in mandate_lines(settings, pool, head, watched):
                    yield line
                for line in [seen] if isinstance(seen, Line) else position_lines(settings, seen):
                    yield line
            except EndpointUnavailableError as error:
                yield of_error("endpoints", "fail", error)
    finally:
        await pool.close()
    for line in policy_lines(settings.policy_files, datetime.fromtimestamp(now_s, UTC).date()):
        yield line
    for line in machine_lines(settings):
        yield line
