"""A channel by apprise: mail, chat, pager or phone, whatever its URL says.

Apprise blocks, and its services may hang. Each channel has a thread of its own, which no exit waits
for, so that neither a pass nor another channel ever shares one with it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import apprise

from keeper.model.alerts import Severity
from keeper.service.channels import ChannelError, Notice, line_of
from keeper.service.redaction import Redactor

MOST_LINES = 20
"""Of one message; the log has the rest."""
TYPES = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}


class AppriseChannel:
    """One apprise URL. It is a secret: it is in no message of this class."""

    def __init__(self, name: str, url: str, *, keeper: str, redactor: Redactor) -> None:
        """`keeper` names the sender, such as its chain."""
        self.name = name
        self._keeper = keeper
        self._redactor = redactor
        self._service = apprise.Apprise()
        self._service.add(url)
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def send(self, notices: Sequence[Notice]) -> None:
        """Raises `ChannelError` where the service did not take it."""
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[str | None] = loop.create_future()

        def settle(reason: str | None) -> None:
            if not taken.done():
                taken.set_result(reason)

        def work() -> None:
            # Nobody is asked any more where the keeper has ended meanwhile.
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, self._notify(notices))

        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"notify.{self.name}", daemon=True
            )
            self._thread.start()
        self._work.put(work)
        if (reason := await taken) is not None:
            raise ChannelError(reason)

    async def close(self) -> None:
        """The thread ends when its service lets it."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _notify(self, notices: Sequence[Notice]) -> str | None:
        """Why it was not taken; None if it was."""
        worst = max(notices, key=lambda notice: notice.alert.severity.rank)
        resolved = all(notice.resolved for notice in notices)
        lines = [line_of(notice) for notice in notices]
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"and {len(lines) - MOST_LINES} more: see the log"]
        what = worst.alert.name if len(notices) == 1 else f"{len(notices)} alerts"
        capture = apprise.LogCapture(level=logging.WARNING, fmt="%(message)s")  # type: ignore[no-untyped-call]  # apprise left it out
        with capture as said:
            try:
                taken = self._service.notify(
                    title=self._redactor.text(f"keeper {self._keeper}: {what}"),
                    body=self._redactor.text("\n".join(lines)),
                    notify_type=apprise.NotifyType.SUCCESS
                    if resolved
                    else TYPES[worst.alert.severity],
                    body_format=apprise.NotifyFormat.TEXT,
                )
            except Exception as error:  # noqa: BLE001 - a plugin is other people's code
                return type(error).__name__
            if taken:
                return None
            reason = " ".join(said.getvalue().split())
            return self._redactor.text(reason) or "the service did not take it"
