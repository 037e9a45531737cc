"""`keeper install-service`: the unit of systemd, put in place, verified and explained."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from keeper.model.errors import ConfigurationError, Problem

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

UNITS = Path("/etc/systemd/system")
ETC, STATE = Path("/etc/keeper"), Path("/var/lib/keeper")
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - nothing is written there
"""What the unit's ProtectHome and PrivateTmp keep from the service."""
SHIPPED_COMMAND = "/opt/keeper/bin/keeper"
EXPOSURE = 15
"""Of 100, at most, as systemd-analyze counts."""
VERIFYING_S = 60


@app.command("install-service")
def install_service(
    name: Annotated[
        str | None,
        typer.Option(
            help="Of one among several keepers: keeper@NAME, with /etc/keeper/NAME/keeper.toml.",
            show_default=False,
        ),
    ] = None,
    units: Annotated[Path, typer.Option(help="Where systemd looks for units.")] = UNITS,
    etc: Annotated[Path, typer.Option(help="Where the configuration is.")] = ETC,
    state: Annotated[
        Path, typer.Option(help="Where systemd keeps state of services.", hidden=True)
    ] = STATE,
) -> None:
    """Write keeper's systemd unit, verify it, and say what is left to do."""
    folder, journal = (etc, state) if name is None else (etc / name, state / name)
    config, command = folder / "keeper.toml", _command()
    _check_journal(config, journal)
    unit = units / ("keeper.service" if name is None else "keeper@.service")
    _write(unit, _rendered(unit.name, command, etc))
    _make_private(folder / "credentials")
    print(f"wrote {unit}, which runs {command} with {config}")
    _verify(unit)
    _explain("keeper" if name is None else f"keeper@{name}", folder)


def _command() -> Path:
    """This installation's, as systemd will start it."""
    command = Path(sys.prefix) / "bin" / "keeper"
    for hidden in HIDDEN:
        if command.is_relative_to(hidden):
            raise ConfigurationError(
                Problem(
                    where=str(command),
                    what=f"the service cannot see what is in {hidden}",
                    why="the unit hides home directories and temporary files from it",
                    fix="install keeper's wheel elsewhere, in /opt/keeper, as docs/SERVICE.md shows, then call "
                    "/opt/keeper/bin/keeper install-service",
                )
            )
    return command


def _check_journal(config: Path, state: Path) -> None:
    from keeper.config import store_path

    path = store_path(config)
    if path.parent != state:
        raise ConfigurationError(
            Problem(
                where=f"{config}: store.path",
                what=f"the journal would be {path}",
                why=f"the service may write {state} and nothing else",
                fix=f'write under [store]: path = "{state / "keeper.sqlite3"}"',
            )
        )


def _rendered(name: str, command: Path, etc: Path) -> str:
    from keeper.resources import resource

    text = resource("systemd", name).read_text()
    return text.replace(SHIPPED_COMMAND, str(command)).replace(str(ETC), str(etc))


def _write(path: Path, text: str) -> None:
    """All of it or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _not_permitted(path, error) from None


def _make_private(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _not_permitted(path, error) from None


def _not_permitted(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        Problem(
            where=str(path),
            what=f"this cannot be written: {error.strerror}",
            why="a service of the system is set up by its administrator",
            fix="run it with sudo, or name other directories with --units and --etc",
        )
    )


def _verify(unit: Path) -> None:
    """By systemd's own tool, where it is."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        print("systemd-analyze is not installed: the unit was NOT verified")
        return
    checks = {
        "its commands and settings": ["verify", "--man=no", str(unit)],
        f"an exposure of at most {EXPOSURE} of 100": [
            "security",
            "--offline=true",
            f"--threshold={EXPOSURE}",
            str(unit),
        ],
    }
    for what, arguments in checks.items():
        done = subprocess.run(  # noqa: S603 - a tool found on PATH, with our own arguments
            [tool, *arguments], capture_output=True, text=True, timeout=VERIFYING_S, check=False
        )
        said = done.stderr.strip() or done.stdout.strip().splitlines()[-1:]
        if done.returncode:
            raise ConfigurationError(
                Problem(
                    where=str(unit),
                    what=f"systemd-analyze {arguments[0]} refuses the unit: {said}",
                    why="a unit that systemd does not understand protects nobody",
                    fix="needs systemd 250 or newer; otherwise write the unit by hand from it",
                )
            )
        print(f"verified: {what}")


def _explain(service: str, folder: Path) -> None:
    credentials = folder / "credentials"
    print(
        f"""
What is left to do:
  secrets   systemd-creds encrypt --name=keeper_KEEPER_KEYSTORE_PASSWORD - {credentials}/KEEPER_KEYSTORE_PASSWORD
            systemd-creds encrypt --name=keeper_alice.json alice.json {credentials}/alice.json
            (any environment variable that the configuration needs, and any keystore, by its name)
  start     systemctl daemon-reload && systemctl enable --now {service}
  look      systemctl status {service}; journalctl -u {service} -o cat
  pause     touch the kill file that `keeper status` names; systemctl stop {service} ends it
It runs live. It may write its journal, and sees no home directory; docs/SERVICE.md says more."""
    )
