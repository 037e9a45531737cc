"""The dead-man's switch: a URL that hears how the keeper is, so that its silence is noticed too."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import structlog

log = structlog.get_logger()

PLACE = "{state}"
WITHIN_S = 10.0


class DeadMan:
    """Posts the document of /healthz. `{state}` in the URL becomes `ok` or `failing`; the URL is a
    secret: it is in no message of this class."""

    def __init__(
        self, url: str, *, every_s: float, health: Callable[[], tuple[bool, Mapping[str, Any]]]
    ) -> None:
        self._url = url
        self._every_s = every_s
        self._health = health

    async def ping(self) -> None:
        """Until cancelled."""
        timeout = aiohttp.ClientTimeout(total=WITHIN_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._once(session)
                await asyncio.sleep(self._every_s)

    async def _once(self, session: aiohttp.ClientSession) -> None:
        well, document = self._health()
        url = self._url.replace(PLACE, "ok" if well else "failing")
        try:
            async with session.post(url, json=document, allow_redirects=False) as answer:
                if answer.status >= 300:
                    log.warning("deadman.failed", reason=f"HTTP status {answer.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # aiohttp puts the whole URL into its messages; the type says enough.
            log.warning("deadman.failed", reason=type(error).__name__)
