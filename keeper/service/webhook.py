"""Notices as JSON, posted to one URL."""

from typing import Any

import aiohttp

from keeper.service.notifications import ChannelError, Notice
from keeper.service.redaction import Redactor


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

    async def send(self, notice: Notice) -> None:
        """Raises `ChannelError` if the receiver does not answer with 2xx."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with self._session.post(
                self._url, json=self._body(notice), allow_redirects=False
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

    def _body(self, notice: Notice) -> dict[str, Any]:
        alert, hide = notice.alert, self._redactor.text
        status = "resolved" if notice.resolved else "firing"
        what = f"{alert.subject}: {alert.text}" if alert.subject else alert.text
        return {
            "text": hide(f"[keeper {self._keeper}] {_word(notice)}: {what}"),
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


def _word(notice: Notice) -> str:
    return "over" if notice.resolved else notice.alert.severity.value.upper()
