"""One keeper for each signer of a chain."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from keeper.storage.ownership import SignerTakenError, owned
from tests.unit.fake_rpc import address

ALICE, BOB = address("a1"), address("b2")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_owned__second_keeper_of_a_signer__is_refused_until_the_first_ends() -> None:
    said = f"another keeper signs for {ALICE} on chain 1"
    with owned(1, [ALICE]):
        with pytest.raises(SignerTakenError, match=said), owned(1, [BOB, ALICE]):
            pass
        # What the refused one had taken already is free again.
        with owned(1, [BOB]):
            pass
    with owned(1, [ALICE]):
        pass


def test_owned__other_runtime_directory_of_one_user__is_refused_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a session and of a timer's job."""
    with owned(1, [ALICE]):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
        with pytest.raises(SignerTakenError, match="another keeper"), owned(1, [ALICE]):
            pass
    with owned(1, [ALICE]):
        pass


@pytest.mark.parametrize("user", ["none", "homeless"])
def test_owned__user_without_a_home__has_the_runtime_directory(
    user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()

    def found(_: int) -> SimpleNamespace:
        if user == "none":
            raise KeyError
        return SimpleNamespace(pw_dir=str(tmp_path / "file"))

    monkeypatch.setattr("keeper.storage.ownership.pwd.getpwuid", found)
    with (
        owned(1, [ALICE]),
        pytest.raises(SignerTakenError, match="another keeper"),
        owned(1, [ALICE]),
    ):
        pass


def test_owned__other_chain_or_other_local_chain__is_no_rival() -> None:
    with (
        owned(31_337, [ALICE], instance="0x" + "ab" * 32),
        owned(31_337, [ALICE], instance="0x" + "cd" * 32),
        owned(1, [ALICE]),
    ):
        pass


def test_owned__folder_is_a_file__is_told(runtime: Path) -> None:
    (runtime / "keeper").touch()
    with pytest.raises(SignerTakenError, match="XDG_RUNTIME_DIR"), owned(1, [ALICE]):
        pass
