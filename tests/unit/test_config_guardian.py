"""Settings of a position whose guardian acts for it."""

from pathlib import Path

import pytest

from keeper.model.units import Address
from tests.unit.test_config import ACCOUNT, OTHER, VALID, load, refused

SIGNER = 'signer = "alice"\n'
GUARDIAN = f'guardian = "{OTHER}"\n'
RESERVE = f'reserve = "{ACCOUNT}"\n'


def with_lines(lines: str) -> str:
    assert VALID.endswith(SIGNER)
    return VALID + lines


@pytest.mark.parametrize(
    ("lines", "sources"),
    [
        ("", ("wallet",)),
        (GUARDIAN, ("wallet", "pool")),
        (GUARDIAN + RESERVE, ("vault", "pool")),
        (GUARDIAN + 'sources = ["pool", "wallet"]\n', ("pool", "wallet")),
        (GUARDIAN + 'sources = ["pool"]\n', ("pool",)),
    ],
)
def test_settings__sources__are_the_owners_order_or_what_the_mode_has(
    tmp_path: Path, lines: str, sources: tuple[str, ...]
) -> None:
    (position,) = load(tmp_path, with_lines(lines)).positions
    assert position.sources == sources
    assert position.guardian == (Address(OTHER) if lines else None)


@pytest.mark.parametrize(
    ("lines", "expected", "fix"),
    [
        ('sources = ["wallet", "pool"]\n', '"pool" needs a guardian', "name the `guardian`"),
        (RESERVE, "a reserve needs a guardian", "name the `guardian`"),
        (GUARDIAN + 'sources = ["vault"]\n', '"vault" needs a reserve', "name it as `reserve`"),
        (
            GUARDIAN + RESERVE + 'sources = ["wallet"]\n',
            '"wallet" and a reserve exclude each other',
            'write "vault"',
        ),
        (GUARDIAN + 'sources = ["pools"]\n', '"pools" is not known here', 'write "pool"'),
        (GUARDIAN + "sources = []\n", "is not a list of words", 'write for instance ["wallet"]'),
        (GUARDIAN + 'sources = ["pool", "pool"]\n', "stands there twice", "write each once"),
    ],
)
def test_settings__contradiction__is_told_with_its_fix(
    tmp_path: Path, lines: str, expected: str, fix: str
) -> None:
    message = refused(tmp_path, with_lines(lines))
    assert message.startswith("keeper.toml:")
    assert expected in message
    assert fix in message


def test_settings__known_chain__brings_its_public_addresses(tmp_path: Path) -> None:
    known = load(tmp_path, VALID.replace("id = 31337", "id = 1"))
    assert known.quoter == "0x61fFE014bA17989E743c5F6cB21bF9697530B21e"
    assert known.wrapped_native == "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"
    own = VALID.replace("id = 31337", f'id = 1\nquoter = "{OTHER}"')
    assert load(tmp_path, own).quoter == OTHER
    assert load(tmp_path, VALID).quoter is None
