"""What the command line says about itself: help, wrong usage, completion."""

import subprocess
import sys
from importlib import import_module
from itertools import pairwise

import pytest
import typer.main
from typer.testing import CliRunner

from keeper.cli.root import COMMANDS, app

EVERY = [
    [],
    *([name] for name in COMMANDS),
    ["devnet", "install"],
    ["devnet", "up"],
    ["devnet", "down"],
]
HEAVY = ("web3", "sqlalchemy", "numpy", "matplotlib", "keeper.app", "keeper.devnet")


def keeper(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """A process of its own: exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "keeper", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "80", **environ},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_help__every_command__fits_a_terminal_and_says_what_it_does(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert f"Usage: {' '.join(['keeper', *command])}" in result.stdout.replace("root", "keeper")
    # A sentence that ends early on its line was broken where the source breaks it.
    prose = [line.strip() for line in lines if line.startswith(" ") and "Usage" not in line]
    for line, following in pairwise(prose):
        if line and following and not line.endswith("."):
            assert len(line) + len(following.split()[0]) + 1 >= 78
    # Completion is a matter of the whole program.
    assert ("--show-completion" in result.stdout) == (not command)


@pytest.mark.parametrize("name", COMMANDS)
def test_help__line_in_the_list__is_the_first_of_the_commands_own(name: str) -> None:
    command = typer.main.get_command(import_module(f"keeper.cli.{name.replace('-', '_')}").app)
    assert " ".join((command.help or "").split("\n\n")[0].split()) == COMMANDS[name]


def test_help__of_the_program__imports_no_command() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['keeper', '--help']\n"
        "from keeper.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    assert ended.code == 0\n"
        f"wanted = {tuple(f'keeper.cli.{name}' for name in COMMANDS) + HEAVY!r}\n"
        "print([name for name in wanted if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"
    for name, line in COMMANDS.items():
        assert f"│ {name} " in done.stdout
        assert line.split()[0] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stauts"], "No such command 'stauts'. Did you mean 'status'?"),
        (["nothing"], "No such command 'nothing'."),
        (["devnet", "sideways"], "No such command 'sideways'."),
        (["run", "--lives"], "No such option: --lives"),
        (["run", "now"], "Got unexpected extra argument(s) (now)"),
        (["explain"], "Missing argument 'ID'."),
        (["explain", "first"], "Invalid value for 'ID'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage__wrong__is_2_with_the_reason_and_where_help_is(
    arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in " ".join(result.stderr.replace("│", "").split())
    assert "--help' for help." in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [[], ["devnet"]], ids=["keeper", "keeper devnet"])
def test_usage__no_command__shows_help(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Commands" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion__shown__is_a_script_for_the_shell(shell: str) -> None:
    # What --show-completion prints, for a shell that is named instead of detected.
    code, script, said = keeper(_KEEPER_COMPLETE=f"source_{shell}")
    assert (code, said) == (0, "")
    assert f"complete_{shell}" in script


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("keeper ", 1, set(COMMANDS)),
        ("keeper st", 1, {"status"}),
        ("keeper devnet ", 2, {"install", "up", "down"}),
        ("keeper run --", 2, {"--config", "--once", "--live", "--without-safety-net", "--help"}),
        ("keeper demo --scenario black-t", 3, {"black-thursday"}),
        ("keeper fork --b", 2, {"--block", "--block-time"}),
    ],
)
def test_completion__words_so_far__offers_what_may_follow(
    words: str, position: int, expected: set[str]
) -> None:
    code, offered, said = keeper(
        _KEEPER_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(position)
    )
    assert (code, said) == (0, "")
    assert set(offered.split()) == expected
