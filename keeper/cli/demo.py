"""`keeper demo`: a crash on a local chain, with and without a keeper."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live

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
    from keeper.devnet.demo import Playable
    from keeper.devnet.report import Report
    from keeper.devnet.scenario import Scenario
    from keeper.devnet.table import Moment
    from keeper.devnet.toolchain import Toolchain
    from keeper.devnet.twins import Guarding

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

PLAIN_LINE_EVERY_S = 5.0


@app.command()
def demo(
    scenario: ScenarioOption = "black-thursday",
    as_json: JsonOption = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the chain up at the end, until Ctrl-C.")
    ] = False,
    mode: ModeOption = "direct",
    reserve: ReserveOption = None,
    market: Annotated[
        Literal["lending", "perp", "both"],
        typer.Option(
            help="lending: loans on Aave v3. perp: longs of ether on Perp v2, kept by adding margin, "
            "or with --reserve 0 by a guardian that makes them smaller. both: a loan and a short that "
            "hedge each other, twice: each leg with a wallet of its own, and both with one; with "
            "--mode guardian a loan and a long, whose margin then comes from the loan."
        ),
    ] = "lending",
    picture: Annotated[
        Path | None,
        typer.Option(
            help="The PNG file to draw into; else keeper-demo-SCENARIO.png in this folder, for perps "
            "keeper-demo-SCENARIO-perp.png. The hedged pair has no picture.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Watch three twin positions live through a crash: unprotected, fixed rule, forecast.

    Ends with 0 only if the unprotected twin was liquidated, the forecast twin was not, protecting
    it cost less than the other one lost, and no action went beyond its target by more than 1 %;
    in the calm scenario, only if nobody was liquidated and nothing was sent.
    """
    from keeper.config import foreign_environment
    from keeper.devnet.demo import Demo
    from keeper.devnet.scenario import packaged_scenario
    from keeper.devnet.toolchain import install

    if market == "both" and mode == "guardian" and reserve:
        raise typer.BadParameter(
            "with guardians the hedged pair has no reserve but what is spare in the loan: leave it out",
            param_hint="'--reserve'",
        )
    if market == "both" and picture is not None:
        raise typer.BadParameter(
            "the hedged pair has no picture: leave it out, or take --market lending or perp",
            param_hint="'--picture'",
        )
    if market == "perp" and reserve == 0:
        mode = "guardian"  # what is left is to make the position smaller, which only it may do
    stop_on_sigterm()
    script = packaged_scenario(scenario)
    if market == "both":
        _play_pair(script, guarding(mode, reserve), as_json=as_json)
        return
    suffix = "" if market == "lending" else f"-{market}"
    image = (picture or Path(f"keeper-demo-{scenario}{suffix}.png")).resolve()
    _check_writable(image)
    toolchain = install(lambda line: print(line, file=sys.stderr))
    with (
        _folder() as folder,
        _staged(market, script, toolchain, guarding(mode, reserve)) as (stage, write),
    ):
        with _showing(Console(stderr=as_json, highlight=False)) as show:
            played = Demo(
                scenario=script,
                stage=stage,
                write=write,
                folder=folder,
                environ=foreign_environment(),
                show=show,
            )
            report = asyncio.run(played.play())
        played.draw(image, report)
        _tell(report, image, as_json=as_json)
        if keep:
            _leave_up(stage.chain.rpc_url, stage.chain.ws_url)
    problems = report.problems()
    for problem in problems:
        print(f"keeper: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(1)


def _play_pair(script: Scenario, chosen: Guarding, *, as_json: bool) -> None:
    """The hedged pair, whose report is its own."""
    from keeper.config import foreign_environment
    from keeper.devnet.pair_stage import paired
    from keeper.devnet.toolchain import install

    toolchain = install(lambda line: print(line, file=sys.stderr))
    with (
        _folder() as folder,
        paired(
            script,
            toolchain,
            folder,
            environ=foreign_environment(),
            show=lambda line: print(line, file=sys.stderr, flush=True),
            mode=chosen.mode,
            reserve=chosen.reserve,
        ) as played,
    ):
        report = asyncio.run(played.play())
    if as_json:
        print_json(report.document())
    else:
        for pair in report.pairs:
            done = ", ".join(f"{count} {kind}" for kind, count in pair.actions.items()) or "nothing"
            paid = (
                f"{pair.paid_in_usd:,.0f} of {pair.reserve_usd:,.0f} USD paid in"
                if pair.reserve_usd
                else f"{pair.paid_in_usd:,.0f} USD moved; trading {pair.trading_usd:,.2f}"
            )
            print(
                f"{pair.name}: {done}; {paid}; gas {pair.gas_usd:,.2f}, {pair.liquidations} "
                f"liquidations that took {pair.loss_usd:,.2f}: cost {pair.cost_usd:,.2f} USD; "
                f"{100 * pair.hedge_left:.0f} % of the hedge is left"
            )
    problems = report.problems()
    for problem in problems:
        print(f"keeper: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(1)


@contextmanager
def _staged(
    market: str, script: Scenario, toolchain: Toolchain, chosen: Guarding
) -> Iterator[tuple[Playable, Callable[[Path, str, str], Path]]]:
    """The twins in the market that was asked for, and what writes the keeper's files for them."""
    if market == "lending":
        from keeper.devnet.files import write_files
        from keeper.devnet.stage import staged

        with staged(script, toolchain, chosen) as stage:
            yield stage, partial(write_files, stage)
        return
    from keeper.devnet.perp_stage import perp_staged, write_perp_files

    with perp_staged(script, toolchain, chosen) as perps:
        yield perps, partial(write_perp_files, perps)


def _check_writable(image: Path) -> None:
    """Before the demo instead of after it."""
    folder = image.parent
    if not folder.is_dir():
        problem = f"there is no folder {folder}"
    elif image.is_dir():
        problem = f"{image} is a folder"
    elif image.suffix != ".png":
        problem = f"{image} does not end in .png, as what is drawn is"
    elif not os.access(image if image.exists() else folder, os.W_OK):
        problem = f"{image} cannot be written"
    else:
        return
    raise typer.BadParameter(
        f"{problem}: name a file in a folder of yours", param_hint="'--picture'"
    )


@contextmanager
def _folder() -> Iterator[Path]:
    """For the keeper's files of this run; left where it is, and named, if the run fails."""
    folder = Path(tempfile.mkdtemp(prefix="keeper-demo-"))
    failed = True
    try:
        yield folder
        failed = False
    except KeyboardInterrupt:
        failed = False
        raise
    finally:
        if failed:
            print(f"keeper: the files of this run are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)


@contextmanager
def _showing(console: Console) -> Iterator[Callable[[Moment], None]]:
    """A table that changes in place on a terminal, a line now and then elsewhere."""
    from keeper.devnet.table import live_table, plain_line

    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda moment: live.update(live_table(moment), refresh=True)
        return
    last_s = float("-inf")

    def line(moment: Moment) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= PLAIN_LINE_EVERY_S or moment.block == moment.blocks:
            last_s = time.monotonic()
            print(plain_line(moment), file=console.file, flush=True)

    yield line


def _tell(report: Report, image: Path, *, as_json: bool) -> None:
    from keeper.devnet.table import summary

    if as_json:
        print_json(report.document())
        print(f"picture: {image}", file=sys.stderr)
    else:
        Console(highlight=False, soft_wrap=True).print(summary(report))
        print(f"picture: {image}")


def _leave_up(rpc_url: str, ws_url: str) -> None:
    print(f"the chain stays up until Ctrl-C: {rpc_url} {ws_url}", file=sys.stderr, flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
