"""Keys: where they come from, what is refused, and that they never show."""

import json
import pickle
from pathlib import Path

import pytest
from eth_account import Account
from eth_typing import HexStr
from pydantic import SecretStr

from keeper.chain import signer as signers
from keeper.chain.settings import SignerSettings
from keeper.chain.signer import Signer, SignerError
from keeper.model.errors import ConfigurationError

KEY = "0x" + "ab12" * 16
ADDRESS = Account.from_key(KEY).address
TRANSACTION = {
    "type": 2,
    "chainId": 31337,
    "nonce": 7,
    "to": "0x52908400098527886E0F7030069857D2E4169EE7",
    "data": b"\x01",
    "value": 0,
    "gas": 21_000,
    "maxFeePerGas": 10**9,
    "maxPriorityFeePerGas": 10**9,
}


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    """Made with one round of key derivation, so that opening it is quick."""
    path = tmp_path / "alice.json"
    path.write_text(json.dumps(Account.encrypt(HexStr(KEY), "bird", kdf="pbkdf2", iterations=1)))
    path.chmod(0o600)
    return path


def settings(
    keystore: Path | None = None, password: str | None = None, key: str | None = None
) -> SignerSettings:
    return SignerSettings(
        name="alice",
        keystore=keystore,
        keystore_password=SecretStr(password) if password else None,
        private_key=SecretStr(key) if key else None,
    )


def test_signer__keystore_and_private_key__are_the_same_account(keystore: Path) -> None:
    assert Signer.load(settings(keystore, "bird")).address == ADDRESS
    assert Signer.load(settings(key=KEY)).address == ADDRESS
    assert Signer.load(settings(key=KEY[2:])).address == ADDRESS


def test_signer__signs__bytes_that_recover_to_its_address() -> None:
    raw, tx_hash = Signer.load(settings(key=KEY)).sign(TRANSACTION)
    assert Account.recover_transaction(raw) == ADDRESS
    assert raw[0] == 2  # EIP-1559
    assert tx_hash.startswith("0x")
    assert len(tx_hash) == 66


def test_signer__shown_or_copied__never_gives_its_key() -> None:
    signer = Signer.load(settings(key=KEY))
    assert repr(signer) == str(signer) == f"Signer(alice, {ADDRESS})"
    assert KEY[2:] not in repr(settings(key=KEY))
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_signer__keystore_open_to_others__is_refused(keystore: Path, mode: int) -> None:
    keystore.chmod(mode)
    with pytest.raises(signers.KeystoreExposedError, match=f"chmod 600 {keystore}"):
        Signer.load(settings(keystore, "bird"))


def test_signer__wrong_password__is_refused_and_not_repeated(keystore: Path) -> None:
    with pytest.raises(signers.WrongPasswordError, match="does not open") as caught:
        Signer.load(settings(keystore, "canary"))
    assert "canary" not in str(caught.value)
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 3}', '{"version": 9}', "\x00"])
def test_signer__no_keystore__is_refused(keystore: Path, content: str) -> None:
    keystore.write_text(content)
    with pytest.raises(signers.KeystoreCorruptError, match="not a keystore"):
        Signer.load(settings(keystore, "bird"))


def test_signer__damaged_keystore__is_refused(keystore: Path) -> None:
    content = json.loads(keystore.read_text())
    content["crypto"]["kdfparams"]["salt"] = "zz"
    keystore.write_text(json.dumps(content))
    with pytest.raises(SignerError):
        Signer.load(settings(keystore, "bird"))


@pytest.mark.parametrize(
    ("missing", "fix"),
    [
        (settings(), "KEEPER_SIGNERS__ALICE__PRIVATE_KEY"),
        (settings(Path("/nowhere/alice.json"), "bird"), r"correct `keystore` in \[signers.alice\]"),
    ],
)
def test_signer__nothing_to_load__says_what_to_give(missing: SignerSettings, fix: str) -> None:
    with pytest.raises(signers.KeyMissingError, match=fix):
        Signer.load(missing)


def test_signer__keystore_without_password__says_which_variable(keystore: Path) -> None:
    with pytest.raises(signers.KeyMissingError, match="KEEPER_KEYSTORE_PASSWORD"):
        Signer.load(settings(keystore))


@pytest.mark.parametrize("key", ["0x" + "0" * 64, "0x" + "f" * 64])
def test_signer__key_off_the_curve__is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(signers.InvalidKeyError) as caught:
        Signer.load(settings(key=key))
    assert key[2:] not in str(caught.value)
