"""Adding to the price history: what every command that does it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from keeper.cli.output import print_json
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # the database takes its second when the command runs, not in its help
    from keeper.storage.price_store import PriceStore


def wrong(where: str, what: str, fix: str) -> ConfigurationError:
    """To be raised: `where` is an option or a path."""
    why = "prices are kept by pair, venue, step and time"
    return ConfigurationError(Problem(where=where, what=what, why=why, fix=fix))


@contextmanager
def store_to_add(config: Path | None) -> Iterator[PriceStore]:
    """Of the configuration's journal, closed on leaving."""
    from keeper.cli.status import journal_path
    from keeper.storage.price_store import PriceStore

    store = PriceStore.to_add(journal_path(config))
    try:
        yield store
    finally:
        store.close()


def progress_bar() -> Progress:
    """On standard error, so that the answer stays alone on standard output."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def rows_by_source(store: PriceStore) -> dict[str, int]:
    """How much of each source is kept."""
    return {one.name: one.rows for one in store.held()}


def tell_added(before: dict[str, int], after: dict[str, int], *, as_json: bool) -> None:
    """What has come between two counts of `rows_by_source`."""
    added = {name: rows - before.get(name, 0) for name, rows in after.items()}
    if as_json:
        print_json({"added": added})
        return
    for name, rows in added.items():
        if rows:
            print(f"{name}: {rows:,} rows more, {after[name]:,} in all")
    if not any(added.values()):
        print("nothing was missing")
