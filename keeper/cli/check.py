"""`keeper check`: the doctor."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from keeper.cli.output import ConfigOption, JsonOption, console, print_json, show

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.checkup import Line
    from keeper.config import Settings

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell whether everything is as it has to be, and what mends it where not.

    Nothing is changed and nothing sent. Ends with 0 unless a line fails, and then with 1; with 78
    where the configuration itself cannot be meant.
    """
    from keeper.config import default_path, load_settings
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path())
    configure_logging("error", secrets=settings.secrets)
    lines = asyncio.run(_lines(settings))
    failed = any(line.verdict == "fail" for line in lines)
    if as_json:
        print_json({"healthy": not failed, "lines": lines})
    else:
        show(_table(lines))
        counts = {verdict: sum(line.verdict == verdict for line in lines) for verdict in STYLES}
        show(
            Text.assemble(
                (f"{counts['ok']} ok", "green"),
                (f", {counts['warn']} to look at", "yellow"),
                (f", {counts['fail']} to put right", "bold red" if failed else "dim"),
            )
        )
    if failed:
        raise typer.Exit(1)


async def _lines(settings: Settings) -> list[Line]:
    from keeper.checkup import checkup

    return [line async for line in checkup(settings, now_s=time.time())]


def _table(lines: list[Line]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=min(100, console().width - 26))
    for line in lines:
        said = Text(line.what)
        if line.fix:
            said.append(f"\n→ {line.fix}", style="dim")
        table.add_row(Text(line.verdict, style=STYLES[line.verdict]), line.topic, said)
    return table
