"""Values as their writer wrote them, and what is said of one that cannot be meant."""

import difflib
from decimal import Decimal
from typing import Any


class WrongValueError(ValueError):
    """A value that cannot be meant."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix


class ScientificNumber(Decimal):
    """A number that the file gives with an exponent."""

    written: str
    """As it stands there."""

    @classmethod
    def read(cls, written: str) -> "ScientificNumber":
        number = cls(written)
        number.written = written
        return number


class EnvironmentText(str):
    """A value from the environment: text, whatever it stands for."""

    __slots__ = ()


def closest(word: str, known: tuple[str, ...] | list[str]) -> str | None:
    """The known word that was most likely meant."""
    matches = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return matches[0] if matches else None


def shown(value: Any) -> str:
    """A value as its writer knows it."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a section"
        case list():
            return "a list"
        case _:
            return str(value)


def plain(value: Decimal) -> str:
    """Digits only."""
    return f"{value.normalize():f}"
