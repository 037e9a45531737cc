"""What a chain can contradict: the verdict, its line and its fix."""

from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address

from keeper.admission import doubts
from keeper.config import Settings, load_settings
from keeper.config.checks import (
    PUBLIC_ADDRESSES,
    check_chain_id,
    check_code,
    check_signer,
    check_tokens,
    contracts,
)
from keeper.model.errors import ConfigurationError
from keeper.model.units import Address, Wei
from keeper.model.values import Head
from tests.unit.test_config import ACCOUNT, OTHER, VALID

PUBLIC = Address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")


def loaded(tmp_path: Path, text: str = VALID) -> Settings:
    path = tmp_path / "keeper.toml"
    path.write_text(text)
    return load_settings(path, {})


def test_public_addresses__are_those_of_the_mnemonic_that_anvil_prints() -> None:
    Account.enable_unaudited_hdwallet_features()
    mnemonic = "test " * 11 + "junk"
    derived = {
        Account.from_mnemonic(mnemonic, account_path=f"m/44'/60'/0'/0/{index}").address
        for index in range(20)
    }
    assert derived == PUBLIC_ADDRESSES


def test_chain_id__node_of_another_chain__is_refused_at_its_line(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    check_chain_id(settings, 31337)
    with pytest.raises(ConfigurationError, match=r"toml:2: chain\.id: .* chain 1, not 31337"):
        check_chain_id(settings, 1)


def test_code__address_without_contract__is_refused_at_its_line(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    provider = ("markets", "aave", "pool_addresses_provider")
    assert contracts(settings)[provider] == OTHER

    check_code(settings, provider, b"\x60")
    with pytest.raises(
        ConfigurationError, match=rf"toml:17: markets\..*: .*no contract at {OTHER}"
    ):
        check_code(settings, provider, b"")
    # A default has no line of its own: its section's is given.
    with pytest.raises(ConfigurationError, match=r"toml:1: chain\.multicall: "):
        check_code(settings, ("chain", "multicall"), b"")


MANDATE = f"""
[mandates.main]
account = "{ACCOUNT}"
market = "aave"
keeper = "{OTHER}"
max_health_to_act = 1.40
target = 1.40
max_per_day_usd = 100_000
expires = 2030-06-30
pools = ["{ACCOUNT}"]
"""


@pytest.mark.parametrize("key", ["reserve_tokens", "collaterals"])
def test_tokens__token_of_a_deposit_in_a_mandate__is_refused_at_its_line(
    tmp_path: Path, key: str
) -> None:
    sold = "" if key == "collaterals" else f'collaterals = {{ "{ACCOUNT}" = 1 }}\n'
    settings = loaded(tmp_path, f'{VALID}{MANDATE}{sold}{key} = {{ "{OTHER}" = 1 }}\n')
    check_tokens(settings, {})
    line = len(settings.document.text.splitlines())
    with pytest.raises(
        ConfigurationError, match=rf"toml:{line}: mandates\.main\.{key}: {OTHER} is the aToken"
    ):
        check_tokens(settings, {Address(OTHER): "the aToken of WETH"})


def test_signer__key_of_another_account__is_refused(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    (position,) = settings.positions
    check_signer(settings, position, Address(ACCOUNT), local=False)
    with pytest.raises(ConfigurationError, match=rf"toml:27: positions\[0\]\.signer: .*{OTHER}"):
        check_signer(settings, position, Address(OTHER), local=False)


def test_signer__key_that_everybody_knows__is_refused_unless_local(tmp_path: Path) -> None:
    settings = loaded(tmp_path, VALID.replace(ACCOUNT, PUBLIC))
    (position,) = settings.positions
    check_signer(settings, position, PUBLIC, local=True)
    with pytest.raises(ConfigurationError, match="one that Anvil and Hardhat print"):
        check_signer(settings, position, PUBLIC, local=False)


def crowded(count: int, url: str) -> str:
    text = VALID.replace("http://127.0.0.1:8545", url).replace("31337", "1")
    position = text[text.index("[[positions]]") :]
    return text + "".join(
        position.replace('"main"', f'"p{index}"').replace(
            ACCOUNT, to_checksum_address(f"0x{index + 1:040x}")
        )
        for index in range(count - 1)
    )


def test_doubts__a_thousand_positions_on_somebody_elses_endpoint__is_warned_of(
    tmp_path: Path,
) -> None:
    head = Head(number=1, hash="0x1", parent_hash="0x0", timestamp=0, base_fee_wei=Wei(10**9))
    (doubt,) = doubts(loaded(tmp_path, crowded(1_000, "https://eth.example")), head)
    assert "1000 positions are read at each block, 7,200 times a day" in doubt.what
    assert not list(doubts(loaded(tmp_path, crowded(999, "https://eth.example")), head))
    assert not list(doubts(loaded(tmp_path, crowded(1_000, "http://10.0.0.1:8545")), head))


def test_doubts__ceiling_below_the_base_fee__is_warned_of_at_its_line(tmp_path: Path) -> None:
    base_fee = Wei(501 * 10**9)
    head = Head(number=7, hash="0x1", parent_hash="0x0", timestamp=0, base_fee_wei=base_fee)
    (doubt,) = doubts(loaded(tmp_path), head)
    assert doubt.where.endswith("keeper.toml:6: fees.max_fee_gwei")
    assert doubt.what == "500 gwei is below the base fee of block 7 (501)"
