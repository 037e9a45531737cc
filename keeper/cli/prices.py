"""`keeper prices`: the price history that forecasts are fitted on."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.output import ConfigOption, JsonOption, print_json, show_lines, utc
from keeper.cli.price_fetch import fetch_candles, fetch_feeds, span
from keeper.cli.price_keeping import progress_bar, rows_by_source, store_to_add, tell_added, wrong

if TYPE_CHECKING:  # the database takes its second when the command runs, not in its help
    from keeper.backtest.history import PriceFile
    from keeper.model.candles import PriceSource
    from keeper.storage.price_store import StoredPrices

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Keep the price history that forecasts are fitted on.",
)
_DATE = {"formats": ["%Y-%m-%d"], "show_default": False}
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
    with store_to_add(config) as store:
        before = rows_by_source(store)
        with progress_bar() as bar:
            task = bar.add_task("keeping", total=sum(len(candles) for _, candles in checked))
            for file, candles in checked:
                bar.update(task, description=file.name)
                for kept in store.candles.add(file.source, candles):
                    bar.advance(task, kept)
        after = rows_by_source(store)
    tell_added(before, after, as_json=as_json)


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
            raise wrong(str(directory), f"it cannot be written: {error.strerror}", fix) from None
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
    begin, end = span(since, until, now)
    if exchange is None:
        for name, given in (("--symbol", symbol), ("--until", until)):
            if given is not None:
                raise wrong(name, "it goes with --exchange", "leave it out, or add --exchange")
        fetch_feeds(config, feed, None if since is None else begin, as_json=as_json)
    elif feed:
        raise wrong("--feed", "a feed is on the chain, not on an exchange", "leave one of both out")
    else:
        fetch_candles(config, exchange, symbol, step, begin, end, as_json=as_json)


def _files(path: Path, pair: str | None, step: str | None, venue: str) -> Sequence[PriceFile]:
    from keeper.backtest.history import PriceFile, named_source, price_files

    if not path.is_file():
        return price_files(path)
    source = named_source(path) if pair is None else _source(pair, step, venue)
    if source is None:
        raise wrong(
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
        raise wrong("--step", f"{step or 'nothing'} is no step", "write it as in 5m, 1h or rounds")
    _check_pair(pair)
    if rank(venue) is None:
        kinds = ", ".join(KINDS)
        raise wrong("--venue", f"{venue} is unknown", f"begin it with one of {kinds}")
    return PriceSource(pair=pair, venue=venue, step_s=step_s)


def _check_pair(pair: str) -> None:
    base, _, quote = pair.partition("/")
    if not (base.isalnum() and quote.isalnum()):
        raise wrong("--pair", f"{pair} is no pair", "write it as in ETH/USD")
