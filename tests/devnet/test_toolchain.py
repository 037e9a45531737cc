"""Installing what the local chain is made of, with programs that stand in for npm and Anvil."""

import importlib.util
from pathlib import Path

import pytest

from keeper.devnet import toolchain
from keeper.devnet.toolchain import ToolchainError, find, install


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for the packages, and a PATH with nothing but the shell."""
    home = tmp_path / "home"
    monkeypatch.setattr(toolchain, "devnet_home", lambda: home)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return home


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)


def npm_that_installs(bin_directory: Path) -> None:
    program(bin_directory / "node", "echo v20.1.0")
    program(
        bin_directory / "npm",
        "echo called >> calls; mkdir -p node_modules/@foundry-rs/anvil-linux-amd64/bin"
        " && touch node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil",
    )


def calls(home: Path) -> int:
    return len((home / "calls").read_text().splitlines())


def test_install__second_call__runs_npm_once(home: Path) -> None:
    npm_that_installs(home.parent / "bin")
    said: list[str] = []
    first = install(said.append)
    assert install(said.append) == first == find()
    assert calls(home) == 1
    assert len(said) == 1
    assert first.anvil == home / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"


def test_install__lock_file_changed__installs_anew(home: Path) -> None:
    npm_that_installs(home.parent / "bin")
    install(lambda _: None)
    (home / "node_modules/.keeper-installed").write_text("the fingerprint of an older lock file")
    with pytest.raises(ToolchainError, match="keeper devnet install"):
        find()
    install(lambda _: None)
    assert calls(home) == 2


def test_install__npm_fails__shows_its_output_and_is_not_complete(home: Path) -> None:
    npm_that_installs(home.parent / "bin")
    program(home.parent / "bin/npm", "mkdir -p node_modules; echo the registry is away >&2; exit 3")
    with pytest.raises(ToolchainError, match=r"(?s)exit code 3.*the registry is away"):
        install(lambda _: None)
    npm_that_installs(home.parent / "bin")
    install(lambda _: None)
    assert calls(home) == 1


def test_install__node_too_old_and_none_from_python__says_what_to_install(home: Path) -> None:
    npm_that_installs(home.parent / "bin")
    program(home.parent / "bin/node", "echo v18.19.0")
    with pytest.raises(ToolchainError, match="Node 20 or newer"):
        install(lambda _: None)


def test_install__no_anvil_for_this_platform__says_what_to_install(home: Path) -> None:
    npm_that_installs(home.parent / "bin")
    program(home.parent / "bin/npm", "mkdir -p node_modules")
    with pytest.raises(ToolchainError, match="install Foundry"):
        install(lambda _: None)


@pytest.mark.parametrize(("version", "taken"), [("1.5.0", True), ("0.3.0", False)])
def test_install__anvil_on_path__is_taken_if_new_enough(
    home: Path, version: str, taken: bool
) -> None:
    npm_that_installs(home.parent / "bin")
    on_path = home.parent / "bin/anvil"
    program(on_path, f"echo anvil Version: {version}-stable")
    assert (install(lambda _: None).anvil == on_path) is taken
