"""Secrets handed over by systemd: each stands for the variable, or the keystore, of its name."""

import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_typing import HexStr
from pydantic import SecretStr

from keeper.chain.local_signer import LocalSigner
from keeper.chain.settings import LocalKeySettings
from keeper.config import load_settings
from keeper.model.errors import ConfigurationError
from tests.unit.test_config import KEY, VALID, local_key


@pytest.fixture
def handed(tmp_path: Path) -> Path:
    """The directory of credentials, as a unit's `LoadCredentialEncrypted=keeper:…` fills it."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    return folder


def load(folder: Path, handed: Path, text: str = VALID, **environ: str) -> LocalKeySettings:
    path = folder / "keeper.toml"
    path.write_text(text)
    settings = load_settings(path, {"CREDENTIALS_DIRECTORY": str(handed), **environ})
    return local_key(settings)


def test_credentials__variable__is_taken_without_its_line_end(tmp_path: Path, handed: Path) -> None:
    (handed / "keeper_KEEPER_KEYSTORE_PASSWORD").write_text("bird \n")
    assert load(tmp_path, handed).keystore_password == SecretStr("bird ")


def test_credentials__variable_of_an_url__is_taken(tmp_path: Path, handed: Path) -> None:
    (handed / "RPC_KEY").write_text("k3y")
    path = tmp_path / "keeper.toml"
    path.write_text(VALID.replace("127.0.0.1:8545", "127.0.0.1:8545/${RPC_KEY}"))
    settings = load_settings(path, {"CREDENTIALS_DIRECTORY": str(handed)})
    assert settings.chain.rpc_url == "http://127.0.0.1:8545/k3y"


def test_credentials__environment_has_it_too__the_environment_wins(
    tmp_path: Path, handed: Path
) -> None:
    (handed / "KEEPER_KEYSTORE_PASSWORD").write_text("bird")
    found = load(tmp_path, handed, KEEPER_KEYSTORE_PASSWORD="canary")
    assert found.keystore_password == SecretStr("canary")


def test_credentials__keystore__is_opened_from_there(tmp_path: Path, handed: Path) -> None:
    keystore = handed / "keeper_alice.json"
    keystore.write_text(
        json.dumps(Account.encrypt(HexStr(KEY), "bird", kdf="pbkdf2", iterations=1))
    )
    keystore.chmod(0o400)
    (handed / "keeper_KEEPER_KEYSTORE_PASSWORD").write_text("bird")
    signer = LocalSigner.load(load(tmp_path, handed))
    assert signer.address == Account.from_key(KEY).address


def test_credentials__none_for_the_keystore__the_file_beside_the_configuration_counts(
    tmp_path: Path, handed: Path
) -> None:
    assert load(tmp_path, handed).keystore == tmp_path / "alice.json"


def test_credentials__directory_is_gone__says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="systemd-creds encrypt"):
        load(tmp_path, tmp_path / "nowhere")


def test_credentials__not_text__is_refused_and_not_shown(tmp_path: Path, handed: Path) -> None:
    (handed / "KEEPER_PRIVATE_KEY").write_bytes(b"\xff\xfebird")
    with pytest.raises(ConfigurationError, match="not UTF-8") as caught:
        load(tmp_path, handed)
    assert "bird" not in str(caught.value)


def test_credentials__mistyped_variable__is_no_setting(tmp_path: Path, handed: Path) -> None:
    (handed / "keeper_KEEPER_KEYSTORE_PASWORD").write_text("bird")
    with pytest.raises(ConfigurationError, match="KEEPER_KEYSTORE_PASSWORD"):
        load(tmp_path, handed)
