"""Bad input through the command line: what is wrong, where, why and how to mend it, and then 78."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from keeper.cli import main
from keeper.storage.database import open_database
from tests.unit.test_config import ACCOUNT, KEY, OTHER, VALID

AGAIN = VALID[VALID.index("[[positions]]") :]

TABLE = {
    "unknown key": ("[fees]", "[fees]\ncolour = 3", ":6: fees.colour: `colour` is not known here", "known here are: max_fee_gwei"),
    "mistyped key": ("floor = 1.15", "flor = 1.15", ":9: policies.careful.flor: `flor` is not known here", "write `floor`"),
    "mistyped section": ("[fees]", "[fee]", ":5: fee: `fee` is not known here", "write `fees`"),
    "wrong type": ("max_fee_gwei = 500", 'max_fee_gwei = "500"', ':6: fees.max_fee_gwei: "500" is text', "write it without quotes: 500"),
    "NaN": ("floor = 1.15", "floor = nan", ":9: policies.careful.floor: NaN is not a finite number", "write a number"),
    "negative amount": ("= 50_000", "= -50_000", ":12: policies.careful.max_per_action_usd: -50000 is not above", "above zero"),
    "zero amount": ("= 50_000", "= 0", ":12: policies.careful.max_per_action_usd: 0 is not above zero", "above zero"),
    "percent for a health": ("target = 1.40", "target = 150", ":11: policies.careful.target: 150 is a percentage", "write 1.5"),
    "percent for a probability": ("0.05", "5", ":10: policies.careful.trigger_probability: 5 is a percentage", "write 0.05"),
    "target at the floor": ("target = 1.40", "target = 1.15", ":11: policies.careful.target: target is not above floor", "1.40 over 1.15"),
    "target below the floor": ("target = 1.40", "target = 1.10", ":11: policies.careful.target: target is not above floor", "1.40 over 1.15"),
    "floor at liquidation": ("floor = 1.15", "floor = 1.0", ":9: policies.careful.floor: 1.0 is not above 1.0", "such as 1.15"),
    "floor below liquidation": ("floor = 1.15", "floor = 0.95", ":9: policies.careful.floor: 0.95 is not above 1.0", "such as 1.15"),
    "probability of 0": ("0.05", "0", ":10: policies.careful.trigger_probability: 0 is not between 0 and 1", "such as 0.05"),
    "probability of 1": ("0.05", "1.0", ":10: policies.careful.trigger_probability: 1.0 is not between 0 and 1", "such as 0.05"),
    "probability below 0": ("0.05", "-0.05", ":10: policies.careful.trigger_probability: -0.05 is not between", "such as 0.05"),
    "daily cap below the cap per action": ("100_000.10", "49_999.99", ":13: policies.careful.max_per_day_usd: max_per_day_usd is below", "raise the daily cap"),
    "bad checksum": (ACCOUNT, ACCOUNT[:-2] + "e7", f":25: positions[0].account: {ACCOUNT[:-2]}e7 has a wrong checksum", "copy it again"),
    "zero address": (OTHER, "0x" + 40 * "0", ":17: markets.aave.pool_addresses_provider: this is the zero address", "that is meant"),
    "duplicate position": (AGAIN, AGAIN + AGAIN.replace('"main"', '"other"'), ':31: positions[1].account: "main" is already this account', "take one of them away"),
    "private key in the file": ('keystore = "alice.json"', f'private_key = "{KEY}"', ":20: a private key stands in plain sight", "KEEPER_PRIVATE_KEY"),
    "password in the file": ('keystore = "alice.json"', 'keystore_password = "x"', ":20: the secret `keystore_password` stands in plain sight", "KEEPER_KEYSTORE_PASSWORD"),
    "port that is none": ("[fees]", "[service]\nhttp_port = 70_000\n[fees]", ":6: service.http_port: 70000 is no port", "between 1024 and 65535"),
    "port below zero": ("[fees]", "[service]\nhttp_port = -1\n[fees]", ":6: service.http_port: -1 is no port", "between 1024 and 65535"),
    "half a port": ("[fees]", "[service]\nhttp_port = 94.5\n[fees]", ":6: service.http_port: 94.5 is no port", "between 1024 and 65535"),
    "port in quotes": ("[fees]", '[service]\nhttp_port = "9464"\n[fees]', ':6: service.http_port: "9464" is text', "write it without quotes: 9464"),
    "coins in wei": ("[fees]", "[breakers]\nmax_spend_per_day = 500_000_000_000_000_000\n[fees]", ":6: breakers.max_spend_per_day: 500000000000000000 of the chain's coin cannot be meant", "write coins, such as 0.5"),
    "no coins to spend": ("[fees]", "[breakers]\nmax_spend_per_day = 0\n[fees]", ":6: breakers.max_spend_per_day: 0 is not above zero", "above zero"),
    "coins below zero": ("[fees]", "[breakers]\nmax_spend_per_day = -0.5\n[fees]", ":6: breakers.max_spend_per_day: -0.5 is not above zero", "above zero"),
    "coins in quotes": ("[fees]", '[breakers]\nmax_spend_per_day = "0.5"\n[fees]', ':6: breakers.max_spend_per_day: "0.5" is text', "write it without quotes: 0.5"),
    "endless coins": ("[fees]", "[breakers]\nmax_spend_per_day = inf\n[fees]", ":6: breakers.max_spend_per_day: Infinity is not a finite number", "write a number"),
    "less than one wei": ("[fees]", "[service]\nmin_gas_balance = 1e-19\n[fees]", ":6: service.min_gas_balance: 1E-19 is less than one wei", "write coins, such as 0.5"),
    "gas balance in wei": ("[fees]", "[service]\nmin_gas_balance = 1_000_000_000_000_000_000\n[fees]", ":6: service.min_gas_balance: 1000000000000000000 of the chain's coin cannot be meant", "write coins, such as 0.5"),
    "webhook in the file": ("[fees]", '[service]\nwebhook_url = "https://hooks.example/services/T0/B0/a1b2c3d4e5f6a1b2c3d4e5f6"\n[fees]', ":6: the secret `webhook_url` stands in plain sight", "KEEPER_WEBHOOK_URL"),
    "webhook above the sections": ("[chain]", 'webhook_url = "https://hooks.example/T0/B0/abc"\n[chain]', ":1: the secret `webhook_url` stands in plain sight", "KEEPER_WEBHOOK_URL"),
    "not TOML": ("[fees]", "[fees", ":5: this is not TOML", "key = value"),
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid file; no variable of the one who runs the tests gets in its way."""
    for name in ("PRIVATE_KEY", "KEYSTORE_PASSWORD", "CHAIN__RPC_URL", "DEBUG"):
        monkeypatch.delenv(f"KEEPER_{name}", raising=False)
    path = tmp_path / "keeper.toml"
    path.write_text(VALID)
    return path


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> str:
    """What a command says on standard error before it ends with 78, and with nothing else."""
    monkeypatch.setattr(sys, "argv", ["keeper", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 78
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("keeper: ")
    assert "\n  why: " in said.err
    assert "\n  fix: " in said.err
    assert "Traceback" not in said.err
    assert KEY[2:] not in said.err
    assert "hooks.example" not in said.err
    return said.err


@pytest.mark.parametrize(("old", "new", "expected", "fix"), TABLE.values(), ids=TABLE)
def test_run__bad_configuration__is_told_at_its_line_and_nothing_begins(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    old: str,
    new: str,
    expected: str,
    fix: str,
) -> None:
    assert old in VALID
    config.write_text(VALID.replace(old, new, 1))
    # Sockets are refused to unit tests: whoever would ask the chain fails here.
    said = refused(monkeypatch, capsys, "run", "--live", "--config", config)
    assert f"{config}{expected}" in said
    assert fix in said.partition(expected)[2].partition("\n  fix: ")[2].splitlines()[0]
    assert list(config.parent.iterdir()) == [config]


def test_run__directory_for_a_configuration__asks_for_the_file_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    said = refused(monkeypatch, capsys, "run", "--config", config.parent)
    assert f"{config.parent}: it is a directory" in said
    assert "fix: name the file in it" in said


def test_run__bad_configuration_in_a_process__is_78_and_leaves_standard_output_alone(
    config: Path,
) -> None:
    config.write_text(VALID.replace("1.15", "0.95"))
    done = subprocess.run(
        [sys.executable, "-m", "keeper", "run", "--live", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        f"keeper: {config}:9: policies.careful.floor: 0.95 is not above 1.0\n"
        "  why: a position is liquidatable when its health falls below 1.0, so this acts too late\n"
        "  fix: write a health above 1, such as 1.15\n"
    )


@pytest.mark.parametrize(
    "arguments", [["--private-key", KEY], [f"--key={KEY[2:]}"], [KEY], ["--config", KEY]]
)
def test_run__private_key_on_the_command_line__is_refused_whatever_else_is_there(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    arguments: list[str],
) -> None:
    said = refused(monkeypatch, capsys, "run", "--config", config, *arguments)
    assert "command line: a private key stands in plain sight" in said
    assert "every process" in said
    assert "move the funds to a new key" in said


@pytest.mark.parametrize("command", [["status"], ["history"], ["explain", "1"]])
def test_reading__database_that_is_none__is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    command: list[str],
) -> None:
    journal = config.parent / "keeper.sqlite3"
    journal.write_text("this is no database, whatever it may be called")
    said = refused(monkeypatch, capsys, *command, "--config", config)
    assert f"{journal}: it cannot be read (file is not a database)" in said


@pytest.mark.parametrize("command", [["status"], ["history"], ["explain", "1"]])
def test_reading__database_of_a_newer_keeper__asks_for_the_same_version(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    command: list[str],
) -> None:
    journal = config.parent / "keeper.sqlite3"
    open_database(journal).dispose()
    with sqlite3.connect(journal) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    said = refused(monkeypatch, capsys, *command, "--config", config)
    assert f"{journal}: it has schema 9999, this keeper reads " in said
    assert "fix: run the same version as the daemon" in said
