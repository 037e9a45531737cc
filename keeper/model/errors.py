"""The two kinds of trouble that end a command with an exit code of their own.

Everything else that goes wrong is a typed error of the module it belongs to.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing the user has to put right. Never holds a secret."""

    where: str
    """File and line, environment variable, or what else the user can go to."""
    what: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  why: {self.why}\n  fix: {self.fix}"


class ConfigurationError(Exception):
    """Something only the user can put right: settings, keys, or a chain that does not match them.

    Commands end with exit code 78; nothing has been sent.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class TemporaryError(Exception):
    """Something that may be gone at the next try, such as an endpoint that is down.

    One-shot commands end with exit code 75; the daemon tries again.
    """
