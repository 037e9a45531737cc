"""Looks for the owner's word in the kill file, and says that it was heard."""

import os
from collections.abc import Callable
from pathlib import Path

import structlog

from keeper.chain.kill_file import Confirmation, Order, confirm, ordered, withdraw
from keeper.model.errors import ConfigurationError, Problem

log = structlog.get_logger()


class Obedience:
    """One keeper's. The signer looks at the kill file itself, right before it signs: this only
    tells, and ends the keeper where it is to end."""

    def __init__(
        self,
        kill_file: Path,
        *,
        live: bool,
        now: Callable[[], float],
        end: Callable[[], None],
    ) -> None:
        """`now` in Unix seconds; `end` has the keeper stop at once.

        Raises `ConfigurationError` where the owner has killed the keeper and not resumed it."""
        self._kill_file = kill_file
        self._live = live
        self._now = now
        self._end = end
        self._last: Order | None = None
        if ordered(kill_file) is Order.KILL:
            raise ConfigurationError(
                Problem(
                    where=str(kill_file),
                    what="this keeper was killed by its owner",
                    why="it does not start again before it is told to",
                    fix="keeper resume, then start it",
                )
            )

    def look(self) -> Order:
        """What the owner wants now; a change is confirmed."""
        order = ordered(self._kill_file)
        if order is not self._last:
            log.info("keeper.ordered", order=order.value, kill_file=str(self._kill_file))
            self._confirm(order)
            if order is Order.KILL:
                self._end()
            self._last = order
        return order

    def close(self) -> None:
        """Nobody obeys any more."""
        try:
            withdraw(self._kill_file)
        except OSError as error:
            log.warning("keeper.not_withdrawn", reason=error.strerror)

    def _confirm(self, order: Order) -> None:
        try:
            said = Confirmation(pid=os.getpid(), order=order, since=self._now(), live=self._live)
            confirm(self._kill_file, said)
        except OSError as error:
            # Nothing depends on it but the comfort of whoever waits for it.
            log.warning("keeper.not_confirmed", reason=error.strerror)
