"""`keeper key`: what becomes of a signer's key."""

from __future__ import annotations

from typing import Annotated

import typer

from keeper.cli.output import ConfigOption
from keeper.cli.owner import SafeOption, YesOption

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Move mandates to a new key, and end the old one's.",
)


@app.callback()
def _key() -> None:
    """Move mandates to a new key, and end the old one's."""


@app.command()
def rotate(
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
    wait_s: Annotated[
        int, typer.Option("--wait", min=1, help="Seconds for what is in flight to be mined.")
    ] = 180,
) -> None:
    """Move every mandate to the key that its position's `signer` names now.

    Add the new signer to the configuration and name it in the positions first. What the old key has
    in flight is waited for, with the keeper paused; then the owner sets each mandate as it is, for
    the new key. A mandate names one keeper: the old key may do nothing from then on.
    """
    from keeper.cli.rotation import Rotation

    rotation = Rotation.of(config)
    moves = rotation.look()
    if not moves:
        print("every mandate names the key of its position's signer already")
        return
    rotation.show(moves)
    if safe_batch is not None:
        rotation.write(moves, safe_batch)
        return
    rotation.carry_out(moves, wait_s=wait_s, yes=yes)
