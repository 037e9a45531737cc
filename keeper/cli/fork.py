"""`keeper fork`: a copy of a real chain, to rehearse on one's own positions."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from keeper.cli.folder import kept_with_journal
from keeper.cli.forking import endpoint, hand_over
from keeper.cli.output import JsonOption, print_json
from keeper.cli.stopping import stop_on_sigterm

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.config import Settings
    from keeper.devnet.fork import Fork

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def fork(
    rpc: Annotated[
        str | None,
        typer.Option(
            help="The chain's HTTP endpoint; else the configuration's. Other users of this machine "
            "see what stands on a command line.",
            show_default=False,
        ),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(min=0, help="Block to fork from; else the newest.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Your configuration: its positions are moved to throw-away accounts on the fork.",
            show_default=False,
        ),
    ] = None,
    block_time: Annotated[int, typer.Option(min=1, help="Seconds between blocks.")] = 12,
    as_json: JsonOption = False,
) -> None:
    """Run a copy of a real chain, to rehearse on your own positions.

    The copy runs on this machine until Ctrl-C, under a chain id of its own. The origin is only
    read, and none of your keys is used: with `--config`, each account's position, tokens and ether
    are given to a new account on the fork, and a configuration is written with which
    `keeper run --live` guards it as yours would guard the original. Without, all stays in place.

    The node acts for any account that it is asked to. Prices move only if somebody moves them.
    """
    from keeper.config import keyless_environment, load_settings
    from keeper.config.checks import check_chain_id
    from keeper.devnet.fork import forked
    from keeper.devnet.origin import examined
    from keeper.devnet.toolchain import install

    stop_on_sigterm()
    settings = None if config is None else load_settings(config, keyless_environment())
    try:
        origin = asyncio.run(examined(endpoint(rpc, settings), block))
        if settings is not None:
            check_chain_id(settings, origin.chain_id)
        toolchain = install(lambda line: print(line, file=sys.stderr))
        with (
            kept_with_journal("keeper-fork-") as folder,
            forked(origin, toolchain.anvil) as running,
        ):
            guard = {} if settings is None else _guarded(running, settings, folder)
            running.start_mining(block_time)
            _tell(running, guard, as_json=as_json)
            _wait_for_end(running)
    except KeyboardInterrupt:
        return


def _guarded(running: Fork, settings: Settings, folder: Path) -> dict[str, Any]:
    """Move the positions; the configuration that guards them and the variables that it needs."""
    handed = hand_over(running, settings, folder)
    return {
        "config": str(handed.config),
        "environment": handed.environment(settings),
        "accounts": handed.moved,
    }


def _tell(running: Fork, guard: dict[str, Any], *, as_json: bool) -> None:
    details = {
        "rpc_url": running.rpc_url,
        "ws_url": running.ws_url,
        "chain_id": running.chain_id,
        "origin_chain_id": running.origin.chain_id,
        "forked_block": running.origin.block,
        **guard,
    }
    if as_json:
        print_json(details)
    else:
        out = Console(highlight=False, soft_wrap=True, markup=False)
        out.print(
            f"chain {running.chain_id}, forked from chain {running.origin.chain_id} at block "
            f"{running.origin.block}: {running.rpc_url} {running.ws_url}"
        )
        for owner, heir in guard.get("accounts", {}).items():
            out.print(f"the positions of {owner} are moved to {heir}")
        if guard:
            variables = " ".join(
                f"{name}='{value}'" for name, value in guard["environment"].items()
            )
            out.print(f"guard them with:\n{variables} keeper run --live --config {guard['config']}")
    # A reader at the other end of a pipe waits for this while the command goes on.
    sys.stdout.flush()


def _wait_for_end(running: Fork) -> None:
    """Return only if the node ends; Ctrl-C and SIGTERM interrupt this."""
    ended = select.poll()
    ended.register(os.pidfd_open(running.node.pid), select.POLLIN)
    ended.poll()
    raise running.failure()
