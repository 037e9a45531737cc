"""Suites that prove themselves: a defect is planted in a copy, and a test must notice it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """`old` is in `file` exactly once and becomes `new`; one of `tests` must turn red."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


class MisplacedError(Exception):
    """The code has changed: the defect cannot be planted where it was."""


def plant(defect: Defect, copy: Path) -> None:
    """Change the copy. Raises `MisplacedError`."""
    path = copy / defect.file
    text = path.read_text()
    if (count := text.count(defect.old)) != 1:
        raise MisplacedError(
            f"{defect.name}: {defect.file} holds what it replaces {count} times: {defect.old!r}"
        )
    path.write_text(text.replace(defect.old, defect.new))


def chosen(defects: Sequence[Defect], names: Sequence[str]) -> list[Defect]:
    """Those with these names, or all. Raises `SystemExit` where a name is nobody's."""
    known = {defect.name for defect in defects}
    if unknown := set(names) - known:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    return [defect for defect in defects if not names or defect.name in names]


def report(defects: Sequence[Defect], red: Callable[[Defect], Sequence[str]]) -> int:
    """Print what turned red for each defect; 1 if nothing did for one of them, else 0."""
    missed = 0
    for defect in defects:
        noticed = red(defect)
        missed += not noticed
        say(f"{'caught' if noticed else 'MISSED':6} {defect.name:40} {', '.join(noticed)}")
    say(f"{len(defects)} planted, {len(defects) - missed} caught, {missed} missed")
    return 1 if missed else 0


def say(line: str) -> None:
    """One line on standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
