"""`keeper devnet`: a local chain with the real contracts, to try things on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from keeper.cli.folder import kept_with_journal
from keeper.cli.output import (
    JsonOption,
    ModeOption,
    ReserveOption,
    ScenarioOption,
    guarding,
    print_json,
)
from keeper.cli.stopping import stop_on_sigterm

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.devnet.path import Tick
    from keeper.devnet.stage import Stage

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Run a local chain with the real contracts.",
)


AFTERWARDS_S = 12
"""Wall-clock time between blocks after the scenario, as on Ethereum: the chain keeps the states of
128 blocks, so that a fork of it lasts for 25 minutes."""
BEFORE_S = 4
"""Wall-clock time between blocks before it: a keeper that sees none takes itself for blind."""


@app.command()
def install() -> None:
    """Install Anvil and the contracts; says nothing when they are there."""
    from keeper.devnet.toolchain import install

    install(lambda line: print(line, file=sys.stderr))


@app.command()
def up(
    scenario: ScenarioOption = "black-thursday",
    wait: Annotated[
        int, typer.Option(min=0, help="Seconds before it begins, to start a keeper in.")
    ] = 0,
    mode: ModeOption = "direct",
    reserve: ReserveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a chain with a market, a liquidator and open positions, until Ctrl-C or `devnet down`.

    The scenario begins at once, or after `--wait`; before it and when it is over, prices stand still
    and blocks go on slowly.
    """
    from keeper.devnet.files import write_files
    from keeper.devnet.path import endless
    from keeper.devnet.scenario import packaged_scenario
    from keeper.devnet.session import announced
    from keeper.devnet.stage import staged
    from keeper.devnet.toolchain import install

    stop_on_sigterm()
    script = packaged_scenario(scenario)
    toolchain = install(lambda line: print(line, file=sys.stderr))
    try:
        with (
            kept_with_journal("keeper-devnet-") as folder,
            staged(script, toolchain, guarding(mode, reserve)) as stage,
        ):
            chain = stage.chain
            config = write_files(stage, folder, chain.rpc_url, chain.ws_url)
            details = _details(stage, config)
            with announced(details):
                _tell(details, as_json=as_json)
                _begin(stage, wait, len(stage.path) * script.wall_seconds)
                path = endless(stage.path)
                _play(stage, islice(path, len(stage.path)), script.wall_seconds)
                _play(stage, path, AFTERWARDS_S)
    except KeyboardInterrupt:
        return


def _begin(stage: Stage, wait_s: int, lasts_s: float) -> None:
    from keeper.devnet.path import waiting

    when = f"in {wait_s} seconds" if wait_s else "now"
    lasts = f"and ends about {lasts_s:.0f} seconds later: the command above guards the twins"
    print(f"the scenario begins {when} {lasts}", file=sys.stderr, flush=True)
    ticks = waiting(stage.path, stage.chain.timestamp(), wait_s, BEFORE_S)
    if ticks:
        _play(stage, iter(ticks), wait_s / len(ticks))


def _play(stage: Stage, ticks: Iterator[Tick], wall_seconds: float) -> None:
    from keeper.devnet.pace import Pace

    pace = Pace(wall_seconds, threading.Event())
    for tick, _ in zip(ticks, pace.beats(), strict=False):
        stage.market.step(tick)


@app.command()
def down() -> None:
    """Stop the chain that `devnet up` runs."""
    from keeper.devnet.session import stop

    print("stopped" if stop() else "no local chain is up")


def _details(stage: Stage, config: Path) -> dict[str, Any]:
    from keeper.devnet.files import environment

    chain = stage.chain
    return {
        "rpc_url": chain.rpc_url,
        "ws_url": chain.ws_url,
        "chain_id": chain.chain_id,
        "accounts": {
            name: {"address": account.address, "private_key": account.private_key}
            for name, account in chain.accounts.items()
        },
        "contracts": chain.contracts.addresses(),
        "config": str(config),
        "environment": environment(),
    }


def _tell(details: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(details)
    else:
        variables = " ".join(f"{name}='{value}'" for name, value in details["environment"].items())
        accounts = {name: one["address"] for name, one in details["accounts"].items()}
        out = Console(highlight=False, soft_wrap=True)
        out.print(f"chain {details['chain_id']}: {details['rpc_url']} {details['ws_url']}")
        out.print(_addresses("account", accounts), _addresses("contract", details["contracts"]))
        out.print(
            f"guard the twins `fixed` and `forecast` with:\n"
            f"{variables} keeper run --live --config {details['config']}",
            markup=False,
        )
    # A reader at the other end of a pipe waits for this while the command goes on.
    sys.stdout.flush()


def _addresses(title: str, addresses: dict[str, Any]) -> Table:
    table = Table(title, "address")
    for name, value in addresses.items():
        if isinstance(value, dict):
            for inner, address in value.items():
                table.add_row(f"{name} {inner}".replace("_", " "), address)
        else:
            table.add_row(name.replace("_", " "), value)
    return table
