"""`keeper run`: the daemon."""

import asyncio
from typing import Annotated

import typer

from keeper.cli.output import ConfigOption

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def run(
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="One pass over the newest block.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Send transactions; without it only say what it would.")
    ] = False,
) -> None:
    """Watch every configured position and protect it."""
    from keeper.config import default_path, load_settings
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path())
    configure_logging(settings.log_level, secrets=settings.secrets)
    # Imported after the settings are known to be right: it takes its seconds.
    from keeper.app import run as protect

    asyncio.run(protect(settings, once=once, live=live))
