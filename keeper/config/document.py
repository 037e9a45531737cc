"""The configuration file as text: read, parsed, and asked on which line something stands."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from keeper.chain.secrecy import HEX_64, bip39_words
from keeper.config.written import ScientificNumber
from keeper.model.errors import ConfigurationError, Problem

KeyPath = Sequence[str | int]

MNEMONIC_LENGTHS = (12, 15, 18, 21, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A TOML file. Numbers with a point are `Decimal`s: health and money are never floats."""

    path: Path
    text: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    """The KEEPER_ variables, which win over the file."""

    def where(self, path: KeyPath) -> str:
        """`file:line: key`, or the environment variable that overrides the key."""
        variable = "KEEPER_" + "__".join(str(key) for key in path).upper()
        if variable in self.environ:
            return f"environment variable {variable}"
        key = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path).lstrip(".")
        return f"{self.path}:{self.line(path)}: {key}" if key else f"{self.path}"

    def line(self, path: KeyPath) -> int:
        """The line on which the value at `path` starts, or that of its nearest parent.

        tomllib keeps no positions, so beginnings of the file are parsed: the statement that makes
        the key appear is the one that sets it. Keys never disappear again, so it is bisected for.
        """
        lines = self.text.splitlines(keepends=True)
        goal = _depth(tomllib.loads(self.text), path)
        if goal == 0:
            return 1
        # The beginning of `before` lines lacks the key, and every whole one of `top` or more has it.
        before, top = 0, len(lines)
        while top - before > 1:
            middle = (before + top) // 2
            whole = next((n for n in range(middle, top) if _is_whole(lines[:n])), None)
            if whole is None or _depth(tomllib.loads("".join(lines[:whole])), path) >= goal:
                top = middle
            else:
                before = whole
        return before + 1


def _is_whole(lines: Sequence[str]) -> bool:
    """Whether they end where a statement ends, not inside a value of several lines."""
    try:
        tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def read_document(path: Path, environ: Mapping[str, str]) -> Document:
    """Read and parse; raises `ConfigurationError` for what is no TOML or holds a key."""
    text = _read(path)
    for number, line in enumerate(text.splitlines(), start=1):
        _refuse_invisible(f"{path}:{number}", line)
        # A private key: nothing else in a configuration has 64 hexadecimal digits.
        if HEX_64.search(line):
            raise ConfigurationError(secret_problem(f"{path}:{number}", "a private key"))
    try:
        values = tomllib.loads(text, parse_float=_number)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        last = int(place[1]) if place and place[1] else len(text.splitlines())
        what = str(error).replace(place[0], "") if place else str(error)
        raise ConfigurationError(
            Problem(
                where=f"{path}:{last}",
                what=f"this is not TOML: {what}",
                why="the file cannot be read past this point",
                fix='write `key = value`, text in "double quotes", each key and section once',
            )
        ) from None
    return Document(
        path=path,
        text=text,
        values=values,
        environ={name: value for name, value in environ.items() if name.startswith("KEEPER_")},
    )


def _number(written: str) -> Decimal:
    return (ScientificNumber.read if "e" in written.lower() else Decimal)(written)


def _refuse_invisible(where: str, line: str) -> None:
    for character, name, fix in (
        ("\ufeff", "a byte order mark", "save the file as UTF-8 without BOM"),
        ("\t", "a tab", "write blanks in its place"),
    ):
        if character in line:
            raise ConfigurationError(
                Problem(
                    where=where,
                    what=f"{name} stands in this line",
                    why="it cannot be seen, and what it becomes part of is not what you read",
                    fix=fix,
                )
            )


def is_mnemonic(text: str) -> bool:
    """Whether a text is as many words of the BIP-39 list as a seed phrase has."""
    words = text.split()
    return len(words) in MNEMONIC_LENGTHS and bip39_words().issuperset(words)


KEY_FIX = (
    "take it away, move the funds to a new key if others may have seen it, and give the key by a "
    "keystore file with KEEPER_KEYSTORE_PASSWORD, or by KEEPER_PRIVATE_KEY"
)


def secret_problem(where: str, what: str, *, fix: str = KEY_FIX) -> Problem:
    """A secret stands where it can be read by others."""
    return Problem(
        where=where,
        what=f"{what} stands in plain sight",
        why="files are copied, committed and backed up; command lines are seen by every process",
        fix=fix,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        what, fix = (
            "there is no such file",
            "name one with --config, write one with `keeper init`, or copy ",
        )
        fix += (
            "config/keeper.example.toml from the source; `keeper devnet up` names one that is ready"
        )
    except UnicodeDecodeError:
        what, fix = "this is not UTF-8 text", "save the file as UTF-8"
    except IsADirectoryError:
        what, fix = "it is a directory", "name the file in it, such as its keeper.toml"
    except OSError as error:
        what, fix = f"it cannot be read: {error.strerror}", "let the user who runs keeper read it"
    raise ConfigurationError(
        Problem(where=str(path), what=what, why="keeper does nothing without its settings", fix=fix)
    )


def _depth(values: Any, path: KeyPath) -> int:
    """How many keys of the path exist."""
    for depth, key in enumerate(path):
        match values, key:
            case dict(), str() if key in values:
                values = values[key]
            case list(), int() if key < len(values):
                values = values[key]
            case _:
                return depth
    return len(path)
