"""`keeper run`: the daemon."""

import asyncio
import sys
from typing import Annotated

import typer

from keeper.cli.output import ConfigOption
from keeper.model.errors import ConfigurationError, TemporaryError

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def run(
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="One pass over the newest block.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Send transactions; without it only say what it would.")
    ] = False,
    without_safety_net: Annotated[
        bool,
        typer.Option(
            "--without-safety-net",
            help="Send on a chain with real money although one endpoint alone reads it, or nobody "
            "would hear of an alert.",
        ),
    ] = False,
) -> None:
    """Watch every configured position and protect it."""
    import structlog

    from keeper.config import default_path, load_settings
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path())
    configure_logging(settings.log_level, secrets=settings.secrets, file=settings.log_file)
    # Imported after the settings are known to be right: it takes its seconds.
    from keeper.app import run as protect

    log = structlog.get_logger()
    try:
        asyncio.run(protect(settings, once=once, live=live, without_safety_net=without_safety_net))
    except (ConfigurationError, TemporaryError):
        raise
    except Exception:
        # Nobody is there to try again with KEEPER_DEBUG: the log, without secrets, tells where.
        log.exception("keeper.crashed")
        sys.exit(1)
