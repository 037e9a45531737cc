"""`keeper drill`: a crash rehearsed on a fork of the user's chain, on the user's own positions."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from keeper.cli.forking import Handed, endpoint, hand_over
from keeper.cli.output import ConfigOption, JsonOption, print_json, show, usd
from keeper.cli.stopping import stop_on_sigterm

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.config import Settings
    from keeper.devnet.drill_report import DrillReport, PositionTold
    from keeper.devnet.falling import Fall
    from keeper.devnet.fork import Fork
    from keeper.devnet.toolchain import Toolchain

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

MOST_PERCENT = 99.0
LONGEST_S = 7 * 24 * 3600
TOLD_EVERY = 10
"""Blocks."""


@app.command()
def drill(
    drop: Annotated[float, typer.Option(help="By how many per cent all prices but dollars' fall.")],
    over: Annotated[str, typer.Option(help='Within this time, such as "2h".')] = "2h",
    config: ConfigOption = None,
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
    as_json: JsonOption = False,
) -> None:
    """Rehearse a crash on your own positions, before you arm the keeper.

    Copies your chain at its newest block to this machine, under a chain id of its own, lets the
    price feeds and the pools fall there, and runs the keeper with your policies against a
    liquidator. The chain is only read, and none of your keys is used: positions are moved to
    throw-away accounts, and guardians obey a throw-away keeper.

    Ends with 0 if no position was liquidated, with 1 if one was.
    """
    from keeper.config import default_path, keyless_environment, load_settings
    from keeper.config.checks import check_chain_id
    from keeper.devnet.fork import forked
    from keeper.devnet.origin import examined
    from keeper.devnet.toolchain import install

    stop_on_sigterm()
    fall = _fall(drop, over)
    settings = load_settings(config or default_path(), keyless_environment())
    origin = asyncio.run(examined(endpoint(rpc, settings), block))
    check_chain_id(settings, origin.chain_id)
    toolchain = install(_say)
    folder = Path(tempfile.mkdtemp(prefix="keeper-drill-"))
    try:
        with forked(origin, toolchain.anvil) as running:
            handed = hand_over(running, settings, folder, guardians=True)
            report = _played(fall, running, settings, handed, toolchain)
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            _say(f"keeper: the files of this run are in {folder}")
            raise
    else:
        shutil.rmtree(folder)
        print_json(report.document()) if as_json else show(_shown(report))
        if not report.all_kept:
            raise typer.Exit(1)


def _fall(drop: float, over: str) -> Fall:
    from keeper.config.fields import duration_s
    from keeper.config.written import WrongValueError
    from keeper.devnet.falling import Fall

    if not 0.0 < drop <= MOST_PERCENT:
        raise typer.BadParameter(
            f"{drop:g} % is no fall that can be rehearsed: give more than 0 and at most "
            f"{MOST_PERCENT:g}",
            param_hint="'--drop'",
        )
    try:
        over_s = duration_s(over)
    except WrongValueError as wrong:
        raise typer.BadParameter(f"{wrong.what}: {wrong.fix}", param_hint="'--over'") from None
    if over_s > LONGEST_S:
        raise typer.BadParameter("a drill takes a week at most", param_hint="'--over'")
    return Fall(drop_percent=drop, over_s=over_s)


def _played(
    fall: Fall, running: Fork, settings: Settings, handed: Handed, toolchain: Toolchain
) -> DrillReport:
    from keeper.config import foreign_environment
    from keeper.devnet.artifacts import Artifacts
    from keeper.devnet.drill import Drill
    from keeper.devnet.falling import FallingMarket, Subject
    from keeper.protocols.market_source import PoolMarket

    labels = {(each.market, each.account): each.label for each in settings.positions}
    head = running.rpc.call("eth_getBlockByNumber", hex(running.origin.block), False)
    market = FallingMarket(
        rpc=running.rpc,
        artifacts=Artifacts(node_modules=toolchain.node_modules),
        fall=fall,
        markets={each.market.name: each.market for each in handed.positions},
        subjects=tuple(
            Subject(
                label=labels[each.id.market, each.id.account],
                market=each.id.market,
                account=handed.moved.get(each.id.account, each.id.account),
                owed=tuple(amount.token.address for amount in each.debts),
            )
            for each in handed.positions
        ),
        pools=(
            *handed.pools,
            *(each.pool for each in settings.market_prices if isinstance(each, PoolMarket)),
        ),
        native=settings.wrapped_native,
        base_fee_wei=int(head.get("baseFeePerGas", "0x0"), 16),
    )
    # Neither the user's keys nor their webhook: what a drill finds is nobody's alarm.
    own = {
        name: value
        for name, value in settings.document.environ.items()
        if name != "KEEPER_WEBHOOK_URL"
    }
    played = Drill(
        market=market,
        config=handed.config,
        journal=handed.config.with_name("keeper.sqlite3"),
        environ={**foreign_environment(), **own, **handed.environment(settings)},
        show=_progress(),
    )
    return asyncio.run(played.play())


def _progress() -> Callable[[int, int, float], None]:
    def told(number: int, blocks: int, factor: float) -> None:
        if number % TOLD_EVERY == 0 or number == blocks:
            _say(f"block {number} of {blocks}: prices at {100 * factor:.1f} %")

    return told


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _shown(report: DrillReport) -> RenderableType:
    fall = report.fall
    table = Table(box=box.ROUNDED)
    for name in ("position", "health", "without", "lowest", "end", "actions"):
        table.add_column(name, justify="left" if name == "position" else "right")
    for name in ("moved USD", "cost USD", "verdict"):
        table.add_column(name, justify="left" if name == "verdict" else "right")
    for each in report.positions:
        table.add_row(
            each.label,
            *map(
                _health,
                (
                    each.health_start,
                    each.health_without_keeper,
                    each.health_lowest,
                    each.health_end,
                ),
            ),
            str(each.actions),
            usd(each.moved_usd),
            usd(each.cost_usd),
            _verdict(each),
        )
    lines: list[RenderableType] = [
        Text(
            f"All prices but dollars' fall by {fall.drop_percent:g} % within "
            f"{fall.over_s / 3600:g} h, over {report.blocks} blocks of {fall.step_s} s"
        ),
        table,
    ]
    lines += [
        Text(f"{each.label}: last refused: {each.last_refusal}")
        for each in report.positions
        if each.last_refusal is not None and each.verdict == "liquidated"
    ]
    if report.unmoved:
        lines.append(Text(f"pools that could not be moved: {', '.join(report.unmoved)}"))
    if report.late_blocks:
        lines.append(Text(f"the keeper was late for {report.late_blocks} blocks"))
    return Group(*lines)


def _health(health: float | None) -> str:
    return "no debt" if health is None else f"{health:.3f}"


def _verdict(told: PositionTold) -> Text:
    match told.verdict:
        case "liquidated":
            return Text(
                f"LIQUIDATED, lost {usd(told.liquidation_loss_usd)}", style="bold white on red"
            )
        case "saved":
            return Text("saved", style="green")
        case _:
            return Text(told.verdict)
