"""What the owner must hear of, and who is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol


class Severity(StrEnum):
    """How soon somebody has to look."""

    INFO = "info"
    """Nothing is wrong: a summary, a test."""
    WARNING = "warning"
    """Protection goes on; something needs attention within hours."""
    CRITICAL = "critical"
    """A position may be unprotected now."""

    @property
    def rank(self) -> int:
        """The higher, the sooner somebody has to look."""
        return list(Severity).index(self)


AlertFields = Mapping[str, str | int | float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that is wrong. The text and the fields are shown to people: no key, no URL."""

    name: str
    """Stable and constant, such as `signer.low_on_gas`: rules and filters refer to it."""
    subject: str = ""
    """What it is about: a position's label, a signer, an endpoint's name; empty for the keeper."""
    severity: Severity
    text: str
    fields: AlertFields = field(default_factory=lambda: MappingProxyType({}))

    @property
    def key(self) -> tuple[str, str]:
        """Alerts of one key say the same thing again."""
        return self.name, self.subject


class Notifier(Protocol):
    """Tells the owner. Neither method waits, fails or does more than put something in line."""

    def notify(self, alert: Alert) -> None:
        """It is so, or still so: what was told a short time ago is not told again."""
        ...

    def resolve(self, name: str, subject: str = "") -> None:
        """It is so no more; says nothing unless it had been told."""
        ...
