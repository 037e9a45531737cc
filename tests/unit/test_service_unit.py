"""The units of systemd, and the command that puts them in place."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keeper.cli import errors, install_service, main
from keeper.cli.root import app
from keeper.service.attendance import LAST_WORDS_S
from keeper.service.stopping import FINISH_S, RECEIPTS_S
from tests.unit.test_config import VALID

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Sections, keys and, as a key may stand more than once, lists of values."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            found[section] = {}
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[section].setdefault(key, []).append(value)
    return found


def test_units__template__is_the_service_with_a_name() -> None:
    one, several = (unit(ROOT / "systemd" / f"{name}.service") for name in ("keeper", "keeper@"))
    named = {
        "/etc/keeper/keeper.toml": "/etc/keeper/%i/keeper.toml",
        "keeper:/etc/keeper/credentials": "keeper:/etc/keeper/%i/credentials",
        "%S/keeper": "%S/keeper/%i",
    }
    for section, keys in one.items():
        for key, values in keys.items():
            expected = []
            for value in values:
                for plain, with_name in named.items():
                    value = value.replace(plain, with_name)
                expected.append(value)
            if key == "Description":
                expected[0] += " (%i)"
            if key == "StateDirectory":
                expected[0] += "/%i"
            assert several[section][key] == expected
        assert several[section].keys() == keys.keys()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units__service__is_watched_private_and_waits_for_a_stop(path: Path) -> None:
    service = {key: values[0] for key, values in unit(path)["Service"].items()}
    assert (service["Type"], service["DynamicUser"]) == ("notify", "yes")
    assert service["StateDirectory"].startswith("keeper")
    assert service["LoadCredentialEncrypted"].startswith("keeper:")
    assert service["RestartPreventExitStatus"].split() == ["2", str(errors.EXIT_CONFIGURATION)]
    # Blind or stalled is told after 45 s by default; the watchdog must not be quicker.
    assert int(service["WatchdogSec"]) > 2 * 45
    assert int(service["TimeoutStopSec"]) > FINISH_S + RECEIPTS_S + LAST_WORDS_S


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH"
)
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units__exposure__is_at_most_15_of_100(path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in <folder>/opt, a configuration in <folder>/etc, units in <folder>/units."""
    monkeypatch.setattr(install_service, "HIDDEN", (tmp_path / "home",))
    for name in ("units", "etc/alpha", "opt/bin"):
        (tmp_path / name).mkdir(parents=True)
    command = tmp_path / "opt/bin/keeper"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "opt"))
    for folder, state in (("etc", "state"), ("etc/alpha", "state/alpha")):
        journal = f'[store]\npath = "{tmp_path / state / "keeper.sqlite3"}"\n\n'
        (tmp_path / folder / "keeper.toml").write_text(journal + VALID)
    return tmp_path


def installed(machine: Path, *more: str) -> str:
    places = ["--units", "units", "--etc", "etc", "--state", "state"]
    arguments = [each if each.startswith("--") else str(machine / each) for each in places]
    result = CliRunner().invoke(app, ["install-service", *arguments, *more], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_install__one_keeper__writes_the_unit_verifies_it_and_says_what_is_left(
    machine: Path,
) -> None:
    said = installed(machine)
    written = unit(machine / "units/keeper.service")["Service"]
    config = machine / "etc/keeper.toml"
    assert written["ExecStart"] == [f"{machine}/opt/bin/keeper run --live --config {config}"]
    assert written["LoadCredentialEncrypted"] == [f"keeper:{machine}/etc/credentials"]
    assert (machine / "etc/credentials").stat().st_mode & 0o777 == 0o700
    assert "systemctl enable --now keeper\n" in said
    assert f"systemd-creds encrypt --name=keeper_alice.json alice.json {machine}" in said
    if shutil.which("systemd-analyze"):
        assert said.count("verified: ") == 2
    else:
        assert "systemd-analyze is not installed: the unit was NOT verified" in said


def test_install__one_of_several__writes_the_template_and_names_the_instance(
    machine: Path,
) -> None:
    said = installed(machine, "--name", "alpha")
    written = unit(machine / "units/keeper@.service")["Service"]
    assert written["ExecStart"][0].endswith(f"--config {machine}/etc/%i/keeper.toml")
    assert (machine / "etc/alpha/credentials").is_dir()
    assert "systemctl enable --now keeper@alpha" in said


def test_install__again__replaces_the_unit_and_keeps_the_secrets(machine: Path) -> None:
    installed(machine)
    (machine / "etc/credentials/RPC_KEY").write_text("k")
    (machine / "units/keeper.service").write_text("old")
    installed(machine)
    assert "ExecStart" in (machine / "units/keeper.service").read_text()
    assert (machine / "etc/credentials/RPC_KEY").read_text() == "k"


def refused(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    places = [f"--{name}={machine / name}" for name in ("units", "etc", "state")]
    monkeypatch.setattr(sys, "argv", ["keeper", "install-service", *places])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == errors.EXIT_CONFIGURATION
    assert not list((machine / "units").iterdir())
    return capsys.readouterr().err


def test_install__journal_where_the_service_may_not_write__is_refused_with_the_line_to_write(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "etc/keeper.toml").write_text(VALID)
    said = refused(machine, capsys, monkeypatch)
    assert f'path = "{machine / "state/keeper.sqlite3"}"' in said


def test_install__keeper_in_a_home_directory__is_refused(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(machine / "home/alice/.venv"))
    assert "/opt/keeper/bin/keeper install-service" in refused(machine, capsys, monkeypatch)


def test_install__folder_may_not_be_written__leaves_nothing_behind(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", no)
    said = refused(machine, capsys, monkeypatch)
    assert "Permission denied" in said
    assert "sudo" in said


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH"
)
def test_install__unit_that_systemd_refuses__is_said(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keeper.model.errors import ConfigurationError

    monkeypatch.setattr(install_service, "EXPOSURE", 1)
    with pytest.raises(ConfigurationError, match="refuses the unit"):
        installed(machine)
