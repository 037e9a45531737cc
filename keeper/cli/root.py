"""The commands by name. Each module exposes `app` and is imported only when it is called, so that
`keeper status` does not wait for a plotting library."""

from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from keeper import __version__

COMMANDS = ("run", "status", "history", "explain", "demo", "devnet")


class _Commands(TyperGroup):
    """Every command is the module of its name."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the group's signature
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"keeper.cli.{cmd_name}").app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keep leveraged on-chain positions from being liquidated.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"keeper {__version__}")
        raise typer.Exit


@app.callback()
def _keeper(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Keep leveraged on-chain positions from being liquidated."""
