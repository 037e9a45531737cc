"""One line of a check-up."""

from dataclasses import dataclass

from keeper.mandate.verify import Verdict
from keeper.model.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A finding, what it is about, and the command or the change that mends it."""

    topic: str
    verdict: Verdict
    what: str
    fix: str = ""


def of_error(topic: str, verdict: Verdict, error: Exception, *, fix: str = "try again") -> Line:
    """What an error says; a `ConfigurationError` brings its own fix."""
    if isinstance(error, ConfigurationError):
        problem = error.problems[0]
        what = f"{problem.where}: {problem.what}"
        return Line(topic=topic, verdict=verdict, what=what, fix=problem.fix)
    return Line(topic=topic, verdict=verdict, what=" ".join(str(error).split()), fix=fix)
