"""Notices as JSON, posted to one URL."""

from collections.abc import Sequence
from typing import Any

import aiohttp

from keeper.service.channels import ChannelError, Notice, line_of
from keeper.service.redaction import Redactor

SEVERAL = "keeper.several"
"""The name of a message that tells several notices, each of them under `notices`."""


class Webhook:
    """Posts `{"text", "name", "subject", "severity", "status", "fields", "keeper"}`. The URL is a
    secret: it is in no message of this class. `text` alone is enough for Slack and its kin."""

    name = "webhook"

    def __init__(self, url: str, *, keeper: str, redactor: Redactor) -> None:
        """`keeper` names the sender, such as its chain."""
        self._url = url
        self._keeper = keeper
        self._redactor = redactor
        self._session: aiohttp.ClientSession | None = None

    async def send(self, notices: Sequence[Notice]) -> None:
        """Raises `ChannelError` if the receiver does not answer with 2xx."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with self._session.post(
                self._url, json=self._document(notices), allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError) as error:
            # aiohttp puts the whole URL into its messages; the type says enough.
            raise ChannelError(type(error).__name__) from None
        if not 200 <= status < 300:
            raise ChannelError(f"HTTP status {status}")

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    def _document(self, notices: Sequence[Notice]) -> dict[str, Any]:
        bodies = [self._body(notice) for notice in notices]
        if len(bodies) == 1:
            return bodies[0]
        worst = max(notices, key=lambda notice: notice.alert.severity.rank)
        return {
            "text": "\n".join(body["text"] for body in bodies),
            "name": SEVERAL,
            "subject": "",
            "severity": worst.alert.severity.value,
            "status": "firing",
            "fields": {"count": len(bodies)},
            "keeper": self._keeper,
            "notices": bodies,
        }

    def _body(self, notice: Notice) -> dict[str, Any]:
        alert, hide = notice.alert, self._redactor.text
        status = "resolved" if notice.resolved else "firing"
        return {
            "text": hide(f"[keeper {self._keeper}] {line_of(notice)}"),
            "name": alert.name,
            "subject": hide(alert.subject),
            "severity": alert.severity.value,
            "status": status,
            "fields": {
                key: hide(value) if isinstance(value, str) else value
                for key, value in alert.fields.items()
            },
            "keeper": self._keeper,
        }
