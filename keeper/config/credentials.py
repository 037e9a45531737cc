"""Secrets that systemd hands over: one file each in $CREDENTIALS_DIRECTORY, readable by us alone.

A file by the name of an environment variable stands for that variable, any other for a keystore; a
directory of credentials that a unit loads as `keeper` puts `keeper_` before each name
(https://systemd.io/CREDENTIALS/).
"""

import re
from collections.abc import Mapping
from pathlib import Path

from keeper.model.errors import ConfigurationError, Problem

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_PREFIX = "keeper_"


def with_credentials(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, and what credentials add to it. What is set already stays.

    Raises `ConfigurationError` for one that cannot be read."""
    return {
        name: _text(path)
        for name, path in _files(environ).items()
        if VARIABLE.fullmatch(name) and not environ.get(name)
    } | dict(environ)


def credential(environ: Mapping[str, str], name: str) -> Path | None:
    """The file of a credential that is no variable; None if there is none of that name."""
    return _files(environ).get(name)


def _files(environ: Mapping[str, str]) -> dict[str, Path]:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return {}
    try:
        found = sorted(path for path in Path(folder).iterdir() if path.is_file())
    except OSError as error:
        raise _unreadable(Path(folder), error.strerror or str(error)) from None
    return {path.name.removeprefix(_PREFIX): path for path in found}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip("\r\n")
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text") from None


def _unreadable(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        Problem(
            where=str(path),
            what=f"this credential cannot be read: {what}",
            why="systemd hands secrets over in this directory",
            fix="write it anew with systemd-creds encrypt, then restart the service",
        )
    )
