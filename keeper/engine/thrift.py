"""Tells the owner of positions that are in danger and not worth what their protection would cost."""

from collections.abc import Sequence

from keeper.engine.watch import Watched
from keeper.model.alerts import Alert, Notifier, Severity

NOT_WORTH = "position.not_worth_gas"


class Thrift:
    """What one pass found, beside what was told before."""

    def __init__(self, watched: Sequence[Watched], notifier: Notifier) -> None:
        self._watched = watched
        self._notifier = notifier
        self._found: dict[int, str] = {}
        self._told: frozenset[int] = frozenset()

    def begin(self) -> None:
        """A new pass."""
        self._found = {}

    def found(self, row: int, reason: str) -> None:
        """A row was left alone for this."""
        self._found[row] = reason

    def tell(self) -> None:
        """At the end of a pass."""
        for row, reason in self._found.items():
            label = self._watched[row].label
            self._notifier.notify(
                Alert(
                    name=NOT_WORTH,
                    subject=label,
                    severity=Severity.WARNING,
                    text=f"{label} is in danger and left alone: {reason}",
                )
            )
        for row in self._told - self._found.keys():
            self._notifier.resolve(NOT_WORTH, self._watched[row].label)
        self._told = frozenset(self._found)
