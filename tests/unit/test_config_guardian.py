"""Settings of a position whose guardian acts for it."""

from decimal import Decimal
from pathlib import Path

import pytest

from keeper.config.settings import MoveSettings
from keeper.model.units import WAD, Address, Wad
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
        (
            GUARDIAN + 'sources = ["wallet", "spare"]\n',
            '"spare" needs the guardian of a perp account',
            'take "spare" out',
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


PERP = f"""
[markets.perp]
protocol = "perp_v2"
clearing_house = "{ACCOUNT}"
base_tokens = ["{ACCOUNT}"]
[[positions]]
label = "long"
market = "perp"
account = "{ACCOUNT}"
policy = "careful"
signer = "alice"
guardian = "{OTHER}"
[mandates.perp]
account = "{ACCOUNT}"
market = "perp"
keeper = "{OTHER}"
max_health_to_act = 1.40
target = 1.40
max_per_day_usd = 100_000
expires = 2030-06-30
[mandates.perp.move]
market = "aave"
floor = 1.60
max_per_day_usd = 20_000
allowance = 50_000.5
"""


def test_settings__perp_with_a_guardian__may_use_what_is_spare_in_a_loan(tmp_path: Path) -> None:
    settings = load(tmp_path, VALID + PERP)
    assert settings.positions[1].sources == ("wallet", "spare", "pool")
    assert settings.mandates["perp"].move == MoveSettings(
        market="aave",
        floor=Wad(16 * WAD // 10),
        limit_max=20_000 * 10**8,
        allowance=Decimal("50000.5"),
    )


@pytest.mark.parametrize(
    ("old", "new", "expected", "fix"),
    [
        (
            'market = "aave"\nfloor',
            'market = "perp"\nfloor',
            "mandates.perp.move.market: there is no [markets.perp] of Aave v3",
            "write 'aave'",
        ),
        (
            'market = "aave"\nfloor',
            'market = "aav"\nfloor',
            "mandates.perp.move.market: there is no [markets.aav] of Aave v3",
            "write 'aave'",
        ),
        (
            "floor = 1.60",
            "floor = 1.39",
            'mandates.perp.move.floor: the floor is below the target of "main", 1.4',
            "write at least 1.4",
        ),
        ("floor = 1.60", "floor = 1.0", "mandates.perp.move.floor: 1.0 is not above 1.0", "1.15"),
        (
            "max_per_day_usd = 20_000",
            "max_per_day_usd = 49",
            "mandates.perp.move.max_per_day_usd: max_per_day_usd is below min_action_usd",
            "lower min_action_usd",
        ),
        ("50_000.5", "0", "mandates.perp.move.allowance: 0 is not above zero", "above zero"),
        ("50_000.5", "5e4", "is in scientific notation", "write it out: 50000"),
        ("floor = 1.60\n", "", "`floor` is missing", "floor = 1.60"),
        ("allowance =", "alowance =", "`alowance` is not known here", "write `allowance`"),
    ],
)
def test_settings__move_that_cannot_be_meant__is_told_with_its_fix(
    tmp_path: Path, old: str, new: str, expected: str, fix: str
) -> None:
    assert old in PERP
    message = refused(tmp_path, VALID + PERP.replace(old, new))
    assert expected in message
    assert fix in message


def test_settings__move_in_a_mandate_for_loans__is_refused(tmp_path: Path) -> None:
    loan = PERP.replace('market = "perp"\nkeeper', 'market = "aave"\nkeeper')
    assert "a mandate for aave_v3 has no `move`" in refused(tmp_path, VALID + loan)


def test_settings__known_chain__brings_its_public_addresses(tmp_path: Path) -> None:
    known = load(tmp_path, VALID.replace("id = 31337", "id = 1"))
    assert known.quoter == "0x61fFE014bA17989E743c5F6cB21bF9697530B21e"
    assert known.wrapped_native == "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"
    own = VALID.replace("id = 31337", f'id = 1\nquoter = "{OTHER}"')
    assert load(tmp_path, own).quoter == OTHER
    assert load(tmp_path, VALID).quoter is None
