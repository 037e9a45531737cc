"""Where the files that are not Python lie.

A checkout has `contracts_abi/` and `config/` at its top; a wheel carries them inside the package.
The local chain's npm packages need a directory that may be written: `keeper/devnet` in a checkout,
the user's cache directory for an installed wheel, one directory per lock file.
"""

import hashlib
from pathlib import Path

from platformdirs import user_cache_path

_PACKAGE = Path(__file__).resolve().parent
_WHEEL_RESOURCES = _PACKAGE / "_resources"


class MissingResourceError(Exception):
    """A file that ships with keeper is not where it belongs."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is missing: the installation is incomplete, install keeper again")
        self.path = path


def resource(*parts: str) -> Path:
    """The path of a packaged file or directory: `resource("config", "networks")`.

    Raises `MissingResourceError` if it does not exist.
    """
    top = _WHEEL_RESOURCES if _WHEEL_RESOURCES.is_dir() else _PACKAGE.parent
    path = top.joinpath(*parts)
    if not path.exists():
        raise MissingResourceError(path)
    return path


def devnet_sources() -> Path:
    """The directory that holds the local chain's `package.json`, its lock and `.npmrc`."""
    return _PACKAGE / "devnet"


def devnet_home() -> Path:
    """The directory whose `node_modules` holds the local chain's packages; it may not exist yet.

    A wheel may be installed where nothing can be written, and an upgrade must not use the old
    packages: hence the user's cache and a name made from the lock file.
    """
    if not _WHEEL_RESOURCES.is_dir():
        return devnet_sources()
    lock = (devnet_sources() / "package-lock.json").read_bytes()
    return user_cache_path("keeper") / f"devnet-{hashlib.sha256(lock).hexdigest()[:16]}"
