"""`keeper notify`: whether alerts arrive, and that one was seen."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from keeper.cli.output import ConfigOption

if TYPE_CHECKING:  # the settings take their time when the command runs, not in its help
    from keeper.service.channels import Reach

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Try the channels that alerts go by, and acknowledge alerts.",
)

TAKEN_S = 10.0
"""A keeper looks once a second."""
POLL_S = 0.05
WITHIN_S = 30.0


@app.command("test")
def try_out(
    config: ConfigOption = None,
    channel: Annotated[
        str | None,
        typer.Option(help="Only this one: `webhook`, or a [channels.NAME].", show_default=False),
    ] = None,
) -> None:
    """Send a test by every channel, and tell which took it.

    Ends with 1 if one did not.
    """
    from keeper.config import default_path, load_settings
    from keeper.model.errors import ConfigurationError, Problem
    from keeper.service.attendance import reaches
    from keeper.service.redaction import Redactor

    settings = load_settings(config or default_path())
    found = [
        reach
        for reach in reaches(
            settings.service.alerts,
            keeper=f"chain {settings.chain.chain_id}",
            redactor=Redactor(settings.secrets),
        )
        if channel in {None, reach.channel.name}
    ]
    if not found:
        raise ConfigurationError(
            Problem(
                where=f"{settings.document.path}: channels",
                what="there is no channel" + (f" {channel}" if channel else ""),
                why="nobody but the log's readers would hear of an alert",
                fix="add [channels.phone] with KEEPER_CHANNELS__PHONE__APPRISE_URL, or set "
                "KEEPER_WEBHOOK_URL",
            )
        )
    if not all(asyncio.run(_tried(found))):
        raise typer.Exit(1)


@app.command()
def ack(
    alert: Annotated[
        str, typer.Argument(help="Its name, such as `keeper.blind`; else all.", show_default=False)
    ] = "",
    subject: Annotated[
        str, typer.Argument(help="Of which position, signer or endpoint.", show_default=False)
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Acknowledge alerts, so that they are not told again before they get worse.

    Ends with 0 once the running keeper has taken it.
    """
    from keeper.config import default_path, kill_file_path, store_path
    from keeper.model.errors import ConfigurationError, Problem
    from keeper.service.acknowledging import Acknowledgement, acknowledge, acknowledgement_file
    from keeper.storage.store import running

    path = config or default_path()
    if running(store_path(path)) is False:
        print("no keeper is running, and no alert stands")
        raise typer.Exit(1)
    file = acknowledgement_file(kill_file_path(path))
    try:
        acknowledge(file, Acknowledgement(name=alert, subject=subject))
    except OSError as error:
        raise ConfigurationError(
            Problem(
                where=str(file),
                what=f"it cannot be written: {error.strerror}",
                why="the keeper looks there for what was acknowledged",
                fix="run this as a user who may write its folder, such as the keeper's own",
            )
        ) from None
    deadline = time.monotonic() + TAKEN_S
    while file.exists():
        if time.monotonic() > deadline:
            print(f"keeper: nobody has taken it within {TAKEN_S:.0f} s", file=sys.stderr)
            raise typer.Exit(1)
        time.sleep(POLL_S)
    print("acknowledged: taken by the running keeper")


async def _tried(found: list[Reach]) -> list[bool]:
    """Whether each took it; side by side, so that one that hangs holds up no other."""
    return list(await asyncio.gather(*map(_taken, found)))


async def _taken(reach: Reach) -> bool:
    from keeper.model.alerts import Alert, Severity
    from keeper.service.channels import ChannelError, Notice

    notice = Notice(
        alert=Alert(
            name="keeper.test",
            severity=Severity.INFO,
            text="this is a test: alerts arrive here",
        ),
        resolved=False,
    )
    name = reach.channel.name
    try:
        async with asyncio.timeout(WITHIN_S):
            await reach.channel.send([notice])
    except (ChannelError, TimeoutError) as error:
        print(f"{name}: FAILED: {str(error) or f'it hung for {WITHIN_S:.0f} s'}")
        return False
    finally:
        await reach.channel.close()
    print(f"{name}: sent, told from {reach.severity.value} on")
    return True
