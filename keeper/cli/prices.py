"""`keeper prices`: the price history that forecasts are fitted on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from keeper.cli.output import ConfigOption, JsonOption, print_json, show_lines, utc
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # the database takes its second when the command runs, not in its help
    from keeper.backtest.history import PriceFile
    from keeper.chain.feed_history import FetchedRounds
    from keeper.model.candles import PriceSource
    from keeper.model.units import Address
    from keeper.storage.price_store import PriceStore, StoredPrices

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Keep the price history that forecasts are fitted on.",
)
_DATE = {"formats": ["%Y-%m-%d"], "show_default": False}
SINCE_S = 365 * 24 * 3600
"""How far back is fetched where nobody says: the forecast's longest window and time to fit on."""
NOTHING = "No prices yet: `keeper prices fetch` or `keeper prices import`."


@app.command(name="show")
def show_prices(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which prices there are, from when to when, and how complete."""
    from keeper.cli.status import journal_path
    from keeper.storage.price_store import PriceStore

    path = journal_path(config)
    held: list[dict[str, Any]] = []
    if path.exists():
        store = PriceStore.to_read(path)
        held = [_shown(one) for one in store.held()]
        store.close()
    if as_json:
        print_json({"prices": held})
    elif held:
        _show(held)
    else:
        print(NOTHING)


def _shown(one: StoredPrices) -> dict[str, Any]:
    step_s = one.source.step_s
    return {
        "pair": one.source.pair,
        "venue": one.source.venue,
        "step_s": step_s,
        "rows": one.rows,
        "first": one.first,
        "last": one.last,
        "complete": one.rows * step_s / (one.last - one.first + step_s) if step_s else None,
        "chain_id": one.chain_id,
        "feed": one.feed,
    }


def _show(held: list[dict[str, Any]]) -> None:
    lines = [
        {
            "pair": one["pair"],
            "venue": one["venue"],
            "step": f"{one['step_s']} s" if one["step_s"] else "rounds",
            "rows": f"{one['rows']:,}",
            "from (UTC)": utc(one["first"]),
            "to (UTC)": utc(one["last"]),
            "complete": "" if one["complete"] is None else f"{one['complete']:.1%}",
            "feed": "" if one["feed"] is None else f"{one['feed']} on chain {one['chain_id']}",
        }
        for one in held
    ]
    show_lines(lines, left=lines[0].keys() - {"rows", "complete"})


@app.command(name="import")
def import_prices(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="CSV files, or directories of files SYMBOL[_VENUE]-STEP-SPAN.csv.gz.",
        ),
    ],
    pair: Annotated[
        str | None,
        typer.Option(help="Of a file that is not named so, such as ETH/USD.", show_default=False),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(help="Of its candles, such as 5m; `rounds` for a feed's.", show_default=False),
    ] = None,
    venue: Annotated[str, typer.Option(help="Where its prices were made.")] = "SPOT",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take prices from CSV files: `timestamp,open,high,low,close`, or a feed's
    `timestamp,answer,decimals`; timestamps in Unix seconds.

    Every file is checked before anything is kept. What is there already stays as it is, so that an
    import may be repeated.
    """
    files = [file for path in paths for file in _files(path, pair, step, venue)]
    checked = [(file, file.candles()) for file in files]
    with _store(config) as store:
        before = _rows(store)
        with _bar() as bar:
            task = bar.add_task("keeping", total=sum(len(candles) for _, candles in checked))
            for file, candles in checked:
                bar.update(task, description=file.name)
                for kept in store.candles.add(file.source, candles):
                    bar.advance(task, kept)
        after = _rows(store)
    _tell_added(before, after, as_json=as_json)


@app.command(name="export")
def export_prices(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder; it is made if need be.")
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all of the history into files that `backtest --prices`, `policy fit` and `forecast` read.

    One file for each source, replaced by the next export.
    """
    from keeper.backtest.export import export_path, write
    from keeper.cli.status import journal_path
    from keeper.storage.price_store import PriceStore

    path = journal_path(config)
    rows: dict[str, int] = {}
    if path.exists():
        store = PriceStore.to_read(path)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for held in store.held():
                into = export_path(directory, held)
                if into is None:
                    print(
                        f"left out: {held.name}, for which there is no file name", file=sys.stderr
                    )
                else:
                    rows[str(into)] = write(into, held)
        except OSError as error:
            fix = "name a folder that you may write to"
            raise _wrong(str(directory), f"it cannot be written: {error.strerror}", fix) from None
        finally:
            store.close()
    if as_json:
        print_json({"files": rows})
        return
    for name, count in rows.items():
        print(f"{name}: {count:,} rows")
    if not rows:
        print(NOTHING)


@app.command()
def fetch(
    since: Annotated[
        datetime | None, typer.Option(help="First day; else a year back.", **_DATE)
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(help="Last day of an exchange's candles; else now.", **_DATE),
    ] = None,
    feed: Annotated[
        list[str] | None,
        typer.Option(
            help="A feed's address, on the configured chain; else every feed that a configured "
            "position depends on. May be given several times.",
            show_default=False,
        ),
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(
            help="Candles of this exchange instead, by its ccxt name (extra `exchange`).",
            show_default=False,
        ),
    ] = None,
    symbol: Annotated[
        str | None, typer.Option(help="On the exchange, such as ETH/USDT.", show_default=False)
    ] = None,
    step: Annotated[str, typer.Option(help="Of the exchange's candles.")] = "5m",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read what is missing: the rounds of price feeds from the chain, or candles of an exchange.

    What has come is kept at once: a fetch that was broken off goes on where it stopped.
    """
    now = int(time.time())
    begin, end = _span(since, until, now)
    if exchange is None:
        for name, given in (("--symbol", symbol), ("--until", until)):
            if given is not None:
                raise _wrong(name, "it goes with --exchange", "leave it out, or add --exchange")
        _fetch_feeds(config, feed, None if since is None else begin, as_json=as_json)
    elif feed:
        raise _wrong(
            "--feed", "a feed is on the chain, not on an exchange", "leave one of both out"
        )
    else:
        _fetch_candles(config, exchange, symbol, step, begin, end, as_json=as_json)


def _fetch_candles(
    config: Path | None,
    name: str,
    symbol: str | None,
    step: str,
    begin: int,
    end: int,
    *,
    as_json: bool,
) -> None:
    from keeper.backtest.ccxt_exchange import opened
    from keeper.backtest.exchange import fetched, missing, wanted
    from keeper.backtest.history import step_seconds

    step_s = step_seconds(step)
    if step_s is None:
        raise _wrong("--step", f"{step} is no step", "write it as in 5m or 1h")
    if symbol is None:
        raise _wrong("--symbol", "which of the exchange's markets is not said", "add one: ETH/USDT")
    asked = wanted(opened(name), symbol, step, step_s, since=begin, until=end)
    with _store(config) as store:
        before = _rows(store)
        spans = missing(store.candles.of(asked.source), asked)
        with _bar() as bar:
            total = sum(stop - start for start, stop in spans) // step_s
            task = bar.add_task(f"{name} {symbol}", total=total)
            done = 0
            for start, stop in spans:
                for at, candles in fetched(asked, (start, stop)):
                    for _ in store.candles.add(asked.source, candles):
                        pass
                    bar.update(task, completed=done + (at - start) // step_s)
                done += (stop - start) // step_s
        after = _rows(store)
    _tell_added(before, after, as_json=as_json)


def _fetch_feeds(
    config: Path | None, feeds: list[str] | None, since: int | None, *, as_json: bool
) -> None:
    import asyncio

    from keeper.config import default_path, load_settings
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path())
    configure_logging("warning", secrets=settings.secrets)
    wanted = [_address(text) for text in feeds or ()]
    from keeper.inquiry import fetch_rounds  # its libraries take their second

    with _store(config) as store:
        before = _rows(store)
        with _bar() as bar:
            tasks: dict[Address, TaskID] = {}

            def told(progress: FetchedRounds, begin: int) -> None:
                span = max(1, progress.latest - begin)
                if progress.feed not in tasks:
                    named = progress.pair or progress.feed
                    tasks[progress.feed] = bar.add_task(named, total=span)
                come = min(span, progress.latest - progress.oldest)
                bar.update(tasks[progress.feed], completed=come)

            asyncio.run(fetch_rounds(settings, store.rounds, wanted, since, told))
            for task in tasks.values():  # feeds that are younger than the first day have no more
                bar.update(task, completed=bar.tasks[task].total)
        after = _rows(store)
    _tell_added(before, after, as_json=as_json)


def _files(path: Path, pair: str | None, step: str | None, venue: str) -> Sequence[PriceFile]:
    from keeper.backtest.history import PriceFile, named_source, price_files

    if not path.is_file():
        return price_files(path)
    source = named_source(path) if pair is None else _source(pair, step, venue)
    if source is None:
        raise _wrong(
            str(path),
            "its name does not say of which pair these prices are",
            "add --pair ETH/USD --step 5m, or name it like ETHUSDT-5m-2023.csv.gz",
        )
    return [PriceFile(path=path, source=source)]


def _source(pair: str, step: str | None, venue: str) -> PriceSource:
    from keeper.backtest.history import KINDS, rank, step_seconds
    from keeper.model.candles import ROUNDS, PriceSource

    step_s = ROUNDS if step == "rounds" else step_seconds(step or "")
    if step_s is None:
        raise _wrong("--step", f"{step or 'nothing'} is no step", "write it as in 5m, 1h or rounds")
    _check_pair(pair)
    if rank(venue) is None:
        kinds = ", ".join(KINDS)
        raise _wrong("--venue", f"{venue} is unknown", f"begin it with one of {kinds}")
    return PriceSource(pair=pair, venue=venue, step_s=step_s)


def _check_pair(pair: str) -> None:
    base, _, quote = pair.partition("/")
    if not (base.isalnum() and quote.isalnum()):
        raise _wrong("--pair", f"{pair} is no pair", "write it as in ETH/USD")


def _span(since: datetime | None, until: datetime | None, now: int) -> tuple[int, int]:
    begin = now - SINCE_S if since is None else int(since.replace(tzinfo=UTC).timestamp())
    last = None if until is None else until.replace(tzinfo=UTC) + timedelta(days=1)
    end = now if last is None else min(now, int(last.timestamp()))
    if begin >= end:
        raise _wrong(
            "--since",
            f"nothing lies between {utc(begin)} and {utc(end)}",
            "give an earlier --since, or a later --until that is not in the future",
        )
    return begin, end


def _address(text: str) -> Address:
    from keeper.config.fields import address
    from keeper.config.written import WrongValueError

    try:
        return address(text)
    except WrongValueError as error:
        raise ConfigurationError(
            Problem(where="--feed", what=error.what, why=error.why, fix=error.fix)
        ) from None


def _wrong(where: str, what: str, fix: str) -> ConfigurationError:
    why = "prices are kept by pair, venue, step and time"
    return ConfigurationError(Problem(where=where, what=what, why=why, fix=fix))


@contextmanager
def _store(config: Path | None) -> Iterator[PriceStore]:
    from keeper.cli.status import journal_path
    from keeper.storage.price_store import PriceStore

    store = PriceStore.to_add(journal_path(config))
    try:
        yield store
    finally:
        store.close()


def _bar() -> Progress:
    """On standard error, so that the answer stays alone on standard output."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _rows(store: PriceStore) -> dict[str, int]:
    return {one.name: one.rows for one in store.held()}


def _tell_added(before: dict[str, int], after: dict[str, int], *, as_json: bool) -> None:
    added = {name: rows - before.get(name, 0) for name, rows in after.items()}
    if as_json:
        print_json({"added": added})
        return
    for name, rows in added.items():
        if rows:
            print(f"{name}: {rows:,} rows more, {after[name]:,} in all")
    if not any(added.values()):
        print("nothing was missing")
