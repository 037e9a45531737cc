"""The commands by name. Each module exposes `app` and is imported only when its command runs, so
that neither help nor completion waits for a database or a plotting library."""

from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from keeper import __version__

COMMANDS = {
    "init": "Find an account's positions and write a configuration for them.",
    "check": "Tell whether everything is as it has to be, and what mends it where not.",
    "run": "Watch every configured position and protect it.",
    "status": "Show each position's health, forecast and last action.",
    "pause": "Stop signing; watching and alerts go on.",
    "resume": "End a pause or a kill.",
    "kill": "Stop signing, and end the keeper.",
    "act": "Act by hand, through the keeper and within its limits.",
    "history": "Show every decision, oldest first; `keeper explain ID` tells why.",
    "report": "Tell what was done, what it cost, which losses it avoided and what capital lay idle.",
    "explain": "Tell why a decision was made: what was seen, forecast, weighed and allowed.",
    "mandate": "Set and look at what an owner allows a keeper.",
    "key": "Move mandates to a new key, and end the old one's.",
    "approvals": "List what the watched accounts have let others take or trade, and how to end it.",
    "backtest": "Replay policies over past prices: what they would have cost, and whom saved.",
    "forecast": "Show how likely each position is to be liquidated; fit and score the probabilities.",
    "schema": "Print the JSON schema of the configuration, for editors.",
    "policy": "Show the policies that ship, or fit one on past prices.",
    "prices": "Keep the price history that forecasts are fitted on.",
    "notify": "Try the channels that alerts go by, and acknowledge alerts.",
    "install-service": "Write keeper's systemd unit, verify it, and say what is left to do.",
    "demo": "Watch three twin positions live through a crash: unprotected, fixed rule, forecast.",
    "devnet": "Run a local chain with the real contracts.",
    "fork": "Run a copy of a real chain, to rehearse on your own positions.",
    "release": "Tell what a position does not need any more, after days above its target.",
    "drill": "Rehearse a crash on your own positions, before you arm the keeper.",
}
"""Each with the first line of its help."""


class _Commands(TyperGroup):
    """Every command is the module of its name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=line) for name, line in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, in place of the line that lists it."""
        name, listed, rest = super().resolve_command(ctx, args)
        if listed is None:
            return name, None, rest
        module = import_module("keeper.cli." + str(name).replace("-", "_"))
        command = typer.main.get_command(module.app)
        command.name = name
        return name, command, rest


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
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
