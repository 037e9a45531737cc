"""Bad input through the command line: what is wrong, where, why and how to mend it, and then 78."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keeper import resources
from keeper.cli import main
from keeper.cli.errors import told
from keeper.resources import resource
from keeper.storage.database import open_database
from keeper.storage.store import Store
from keeper.watching import CALLED
from tests.unit.test_config import ACCOUNT, KEY, OTHER, VALID

OPTIMISM = "0xa97684ead0e402dC232d5A977953DF7ECBaB3CDb"
MANDATE = "[mandates.main]\n%s\n[fees]"
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
    "less than one wei": ("[fees]", "[service]\nmin_gas_balance = 0.0000000000000000001\n[fees]", ":6: service.min_gas_balance: 0.0000000000000000001 has more than 18 decimals", "at most 18"),
    "19 decimals": ("= 50_000", "= 0.1234567890123456789", ":12: policies.careful.max_per_action_usd: 0.1234567890123456789 has more than 18 decimals", "at most 18"),
    "19 decimals of a fee": ("= 500", "= 500.0000000000000000001", ":6: fees.max_fee_gwei: 500.0000000000000000001 has more than 18 decimals", "at most 18"),
    "scientific dollars": ("= 50_000", "= 5e4", ":12: policies.careful.max_per_action_usd: 5e4 is in scientific notation", "write it out: 50000"),
    "small scientific dollars": ("= 50_000", "= 5000.0E-1", ":12: policies.careful.max_per_action_usd: 5000.0E-1 is in scientific notation", "write it out: 500"),
    "scientific fee": ("= 500", "= 5e2", ":6: fees.max_fee_gwei: 5e2 is in scientific notation", "write it out: 500"),
    "scientific tokens": ("[fees]", MANDATE % f'reserve_tokens = {{ "{OTHER}" = 1e3 }}', ":6: mandates.main.reserve_tokens: 1e3 is in scientific notation", "write it out: 1000"),
    "tokens in wei": ("[fees]", MANDATE % f'reserve_tokens = {{ "{OTHER}" = 2_000_000_000_000_000_000 }}', ":6: mandates.main.reserve_tokens: 2000000000000000000 whole tokens cannot be meant", "1 is one token"),
    "dollars in wei": ("= 50_000", "= 50_000_000_000_000_000_000_000", ":12: policies.careful.max_per_action_usd: 50000000000000000000000 US dollars cannot be meant", "write dollars"),
    "quoted bool": ("[fees]", MANDATE % 'emergency_outlives_expiry = "true"', ":6: mandates.main.emergency_outlives_expiry: \"true\" is text", "write it without quotes: true"),
    "infinite health": ("floor = 1.15", "floor = -inf", ":9: policies.careful.floor: -Infinity is not a finite number", "write a number"),
    "fraction for basis points": ("[fees]", MANDATE % "slippage_calm_bps = 0.005", ":6: mandates.main.slippage_calm_bps: 0.005 is not a whole number of basis points", "50 for half a percent"),
    "no cap per action": ("max_per_action_usd = 50_000\n", "", ":8: policies.careful.max_per_action_usd: `max_per_action_usd` is missing", "max_per_action_usd = 50_000"),
    "no cap per day": ("max_per_day_usd = 100_000.10\n", "", ":8: policies.careful.max_per_day_usd: `max_per_day_usd` is missing", "max_per_day_usd = 100_000"),
    "burn address": (ACCOUNT, "0x000000000000000000000000000000000000dEaD", ":25: positions[0].account: 0x000000000000000000000000000000000000dEaD is an address that burns", "that is meant"),
    "the coin's stand-in": (OTHER, "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE", ":17: markets.aave.pool_addresses_provider: 0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE is an address that burns", "that is meant"),
    "duplicate label": (AGAIN, AGAIN + AGAIN.replace(ACCOUNT, OTHER), ':29: positions[1].label: the label "main" is taken', "a label of its own"),
    "control character in a label": ('"main"', '"ma\\u0007in"', ":23: positions[0].label: the text holds characters that cannot be shown", "without control characters"),
    "line break in a label": ('"main"', '"ma\\nin"', ":23: positions[0].label: the text holds characters that cannot be shown", "one line"),
    "http to a remote host": ("http://127.0.0.1:8545", "http://eth.example", ":3: chain.rpc_url: http to a remote host is not encrypted", "write https://"),
    "URL without scheme": ("http://127.0.0.1:8545", "eth.example/v3", ":3: chain.rpc_url: this is not a URL of http or https", "http://127.0.0.1:8545"),
    "credentials in a URL": ("http://127.0.0.1:8545", "https://alice:parrot@eth.example", ":3: chain.rpc_url: the URL holds an API key or a password", "${RPC_KEY}"),
    "same endpoint twice": ("[fees]", '[endpoints.a]\nurl = "http://127.0.0.1:8545"\n[fees]', ":6: endpoints.a.url: this is the same endpoint as chain.rpc_url", "another provider"),
    "byte order mark": ("[chain]", "\ufeff[chain]", ":1: a byte order mark stands in this line", "without BOM"),
    "tab": ("floor = 1.15", "\tfloor = 1.15", ":9: a tab stands in this line", "write blanks"),
    "duplicate key": ("floor = 1.15", "floor = 1.15\nfloor = 1.25", ":10: this is not TOML", "each key and section once"),
    "duplicate section": ("[fees]", "[fees]\nmax_fee_gwei = 3\n[fees]", ":7: this is not TOML", "each key and section once"),
    "gas balance in wei": ("[fees]", "[service]\nmin_gas_balance = 1_000_000_000_000_000_000\n[fees]", ":6: service.min_gas_balance: 1000000000000000000 of the chain's coin cannot be meant", "write coins, such as 0.5"),
    "webhook in the file": ("[fees]", '[service]\nwebhook_url = "https://hooks.example/services/T0/B0/a1b2c3d4e5f6a1b2c3d4e5f6"\n[fees]', ":6: the secret `webhook_url` stands in plain sight", "KEEPER_WEBHOOK_URL"),
    "webhook above the sections": ("[chain]", 'webhook_url = "https://hooks.example/T0/B0/abc"\n[chain]', ":1: the secret `webhook_url` stands in plain sight", "KEEPER_WEBHOOK_URL"),
    "not TOML": ("[fees]", "[fees", ":5: this is not TOML", "key = value"),
}  # fmt: skip


FURTHER_POLICY = """
[policies.hasty]
horizon = "30m"
floor = 1.15
target = 1.40
max_per_action_usd = 50_000
max_per_day_usd = 100_000
"""
ON_ETHEREUM = {
    "contract of another chain": (OTHER, OPTIMISM, ":17: markets.aave.pool_addresses_provider: this is the market of OP Mainnet, Polygon, Arbitrum One, not of Ethereum", "write 0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"),
    "horizon shorter than a block": ("target =", 'horizon = "11s"\ntarget =', ":11: policies.careful.horizon: 11 s is less than a block of the chain takes (12 s)", '"24h"'),
    "alert within a block": ("[fees]", '[service]\nstall_after = "12s"\n[fees]', ":6: service.stall_after: 12 s is no longer than it takes until a block is seen", '"45s"'),
    "polled more seldom than the horizon": ("rpc_url", 'poll_interval_s = 3600\nrpc_url', ":3: chain.poll_interval_s: 3600.0 s is more than the shortest horizon of a policy (1800 s)", "less than that"),
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


@pytest.mark.parametrize(("old", "new", "expected", "fix"), ON_ETHEREUM.values(), ids=ON_ETHEREUM)
def test_run__what_a_known_chain_contradicts__is_told_at_its_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    old: str,
    new: str,
    expected: str,
    fix: str,
) -> None:
    config.write_text(VALID.replace("31337", "1").replace(old, new, 1) + FURTHER_POLICY)
    said = refused(monkeypatch, capsys, "run", "--config", config)
    assert f"{config}{expected}" in said
    assert fix in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KEEPER_PRIVATEKEY", KEY),
        ("KEEPER_CHAIN__RPC_URL", KEY),
        ("KEEPER_SIGNERS__ALICE__KEYSTORE", KEY[2:]),
        ("KEEPER_LOG__LEVEL", "test " * 11 + "junk"),
        ("KEEPER_KEYSTORE_PASSWORD", "test " * 11 + "junk"),
    ],
)
def test_run__private_key_in_a_variable_for_something_else__is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv(variable, value)
    said = refused(monkeypatch, capsys, "run", "--config", config)
    assert f"environment variable {variable}: a " in said
    assert "stands in a variable that is not for it" in said
    assert f"unset {variable}" in said
    assert "junk" not in said


def test_run__override_of_an_unknown_key__names_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    monkeypatch.setenv("KEEPER_POLICIES__CAREFUL__FLOR", "1.2")
    said = refused(monkeypatch, capsys, "run", "--config", config)
    assert "environment variable KEEPER_POLICIES__CAREFUL__FLOR: `flor` is not known here" in said
    assert "fix: write `floor`" in said


def test_run__log_that_cannot_be_written__is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    config.write_text(VALID.replace("[fees]", '[log]\nfile = "no such folder/k.log"\n[fees]'))
    said = refused(monkeypatch, capsys, "run", "--config", config)
    assert f"{config.parent}/no such folder/k.log: the log cannot be written there" in said
    assert "fix: let keeper's user write the file and its folder" in said


@pytest.mark.parametrize(
    ("name", "function"), [(name, each) for name, called in CALLED.items() for each in called]
)
def test_run__abi_that_lacks_a_function__is_named_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    name: str,
    function: str,
) -> None:
    artifact = resource("contracts_abi", "guardian", f"{name}.json")
    document = json.loads(artifact.read_text())
    for entry in document["abi"]:
        if entry.get("name") == function.partition("(")[0]:
            entry["inputs"] = entry["inputs"][1:] or [{"name": "more", "type": "uint256"}]
    spoilt = config.parent / "installed"
    shutil.copytree(artifact.parents[2] / "config", spoilt / "config")
    shutil.copytree(artifact.parent, spoilt / "contracts_abi" / "guardian")
    broken = spoilt / "contracts_abi" / "guardian" / artifact.name
    broken.write_text(json.dumps(document))
    monkeypatch.setattr(resources, "_WHEEL_RESOURCES", spoilt)
    said = refused(monkeypatch, capsys, "run", "--once", "--config", config)
    assert f"{broken}: the ABI has no {function}\n" in said
    assert "fix: install keeper anew, or build the contract of this version" in said
    assert {path.name for path in config.parent.iterdir()} == {config.name, "installed"}


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


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user may enter and write."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o000, "it cannot be opened as the journal (unable to open database file)"),
        (0o444, "it cannot be opened as the journal (attempt to write a readonly database)"),
    ],
    ids=["unreadable", "read-only"],
)
def test_store__journal_that_may_not_be_used__is_named_with_its_fix(
    open_folder: Path, capsys: pytest.CaptureFixture[str], mode: int, said: str
) -> None:
    journal = open_folder / "keeper.sqlite3"
    open_database(journal).dispose()
    journal.chmod(mode)
    with without_privileges(), pytest.raises(SystemExit) as ended, told():
        Store(journal)
    assert ended.value.code == 78
    text = capsys.readouterr().err
    assert f"keeper: {journal}: {said}" in text
    assert "fix: let keeper's user write the file and its folder" in text


@contextmanager
def without_privileges() -> Iterator[None]:
    """Modes do not bind root."""
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(65_534)
        yield
    finally:
        os.seteuid(before)
