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
        origin = asyncio.run(examined(_endpoint(rpc, settings), block))
        if settings is not None:
            check_chain_id(settings, origin.chain_id)
        toolchain = install(lambda line: print(line, file=sys.stderr))
        with (
            kept_with_journal("keeper-fork-") as folder,
            forked(origin, toolchain.anvil) as running,
        ):
            guard = {} if settings is None else _guard(running, settings, folder)
            running.start_mining(block_time)
            _tell(running, guard, as_json=as_json)
            _wait_for_end(running)
    except KeyboardInterrupt:
        return


def _endpoint(rpc: str | None, settings: Settings | None) -> str:
    from keeper.config.fields import WrongValueError
    from keeper.config.urls import http_url

    if rpc is None:
        if settings is None:
            raise typer.BadParameter("give --rpc, or --config with an endpoint in it")
        return settings.chain.rpc_url
    try:
        return http_url(rpc)
    except WrongValueError as wrong:
        raise typer.BadParameter(f"{wrong.what}: {wrong.fix}", param_hint="'--rpc'") from None


def _guard(running: Fork, settings: Settings, folder: Path) -> dict[str, Any]:
    """Move the positions; the configuration that guards them and the variables that it needs."""
    from keeper.config.checks import check_code, contracts
    from keeper.devnet.files import environment
    from keeper.devnet.fork import write_config
    from keeper.devnet.takeover import read_positions
    from keeper.service.logging import configure_logging
    from keeper.watching import watched_markets

    configure_logging("warning", secrets=settings.secrets)
    for path, address in contracts(settings).items():
        code = running.rpc.call("eth_getCode", address, "latest")
        check_code(settings, path, bytes.fromhex(code[2:]))
    markets = watched_markets(settings)
    positions = asyncio.run(read_positions(running.rpc_url, settings.chain.multicall, markets))
    heirs = running.take_over(positions)
    values = settings.document.values
    # What is known of the origin by its chain id is not known by the fork's.
    known = {"quoter": settings.quoter, "wrapped_native": settings.wrapped_native}
    chain = {key: value for key, value in known.items() if value is not None} | values["chain"]
    config = write_config(folder, running, {**values, "chain": chain}, heirs)
    # What the user's environment overrides in their configuration must not lead this one astray.
    replaced = {
        "KEEPER_CHAIN__ID": str(running.chain_id),
        "KEEPER_CHAIN__RPC_URL": running.rpc_url,
        "KEEPER_CHAIN__WS_URL": running.ws_url,
        "KEEPER_STORE__PATH": str(folder / "keeper.sqlite3"),
        "KEEPER_SERVICE__HTTP_PORT": "0",
    } | {
        name: ""
        for name in settings.document.environ
        if name.startswith(("KEEPER_ENDPOINTS__", "KEEPER_MANDATES__"))
    }
    return {
        "config": str(config),
        "environment": environment()
        | {name: replaced[name] for name in replaced.keys() & settings.document.environ.keys()},
        "accounts": {owner: heir.address for owner, heir in heirs.items()},
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
