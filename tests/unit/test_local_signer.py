"""Keys of this process: where they come from, what is refused, and that they never show."""

import json
import pickle
from pathlib import Path

import pytest
from eth_account import Account
from eth_typing import HexStr
from pydantic import SecretStr

from keeper.chain import local_signer as signers
from keeper.chain.local_signer import LocalSigner
from keeper.chain.settings import LocalKeySettings
from keeper.chain.signer import SignerError
from keeper.model.errors import ConfigurationError

KEY = "0x" + "ab12" * 16
ADDRESS = Account.from_key(KEY).address


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    """Made with one round of key derivation, so that opening it is quick."""
    path = tmp_path / "alice.json"
    path.write_text(json.dumps(Account.encrypt(HexStr(KEY), "bird", kdf="pbkdf2", iterations=1)))
    path.chmod(0o600)
    return path


def settings(
    keystore: Path | None = None, password: str | None = None, key: str | None = None
) -> LocalKeySettings:
    return LocalKeySettings(
        name="alice",
        keystore=keystore,
        keystore_password=SecretStr(password) if password else None,
        private_key=SecretStr(key) if key else None,
    )


def test_signer__keystore_and_private_key__are_the_same_account(keystore: Path) -> None:
    assert LocalSigner.load(settings(keystore, "bird")).address == ADDRESS
    assert LocalSigner.load(settings(key=KEY)).address == ADDRESS
    assert LocalSigner.load(settings(key=KEY[2:])).address == ADDRESS


def test_signer__shown_or_copied__never_gives_its_key() -> None:
    signer = LocalSigner.load(settings(key=KEY))
    assert repr(signer) == str(signer) == f"LocalSigner(alice, {ADDRESS})"
    assert KEY[2:] not in repr(settings(key=KEY))
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_signer__keystore_open_to_others__is_refused(keystore: Path, mode: int) -> None:
    keystore.chmod(mode)
    with pytest.raises(signers.KeystoreExposedError, match=f"chmod 600 {keystore}"):
        LocalSigner.load(settings(keystore, "bird"))


def test_signer__wrong_password__is_refused_and_not_repeated(keystore: Path) -> None:
    with pytest.raises(signers.WrongPasswordError, match="does not open") as caught:
        LocalSigner.load(settings(keystore, "canary"))
    assert "canary" not in str(caught.value)
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 3}', '{"version": 9}', "\x00"])
def test_signer__no_keystore__is_refused(keystore: Path, content: str) -> None:
    keystore.write_text(content)
    with pytest.raises(signers.KeystoreCorruptError, match="not a keystore"):
        LocalSigner.load(settings(keystore, "bird"))


def test_signer__damaged_keystore__is_refused(keystore: Path) -> None:
    content = json.loads(keystore.read_text())
    content["crypto"]["kdfparams"]["salt"] = "zz"
    keystore.write_text(json.dumps(content))
    with pytest.raises(SignerError):
        LocalSigner.load(settings(keystore, "bird"))


@pytest.mark.parametrize(
    ("missing", "fix"),
    [
        (settings(), "KEEPER_SIGNERS__ALICE__PRIVATE_KEY"),
        (settings(Path("/nowhere/alice.json"), "bird"), r"correct `keystore` in \[signers.alice\]"),
    ],
)
def test_signer__nothing_to_load__says_what_to_give(missing: LocalKeySettings, fix: str) -> None:
    with pytest.raises(signers.KeyMissingError, match=fix):
        LocalSigner.load(missing)


def test_signer__keystore_without_password__says_which_variable(keystore: Path) -> None:
    with pytest.raises(signers.KeyMissingError, match="KEEPER_KEYSTORE_PASSWORD"):
        LocalSigner.load(settings(keystore))


@pytest.mark.parametrize("key", ["0x" + "0" * 64, "0x" + "f" * 64])
def test_signer__key_off_the_curve__is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(signers.InvalidKeyError) as caught:
        LocalSigner.load(settings(key=key))
    assert key[2:] not in str(caught.value)
