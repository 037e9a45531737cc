"""What `keeper prices fetch` reads: rounds of feeds from the chain, or candles of an exchange."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from keeper.cli.output import utc
from keeper.cli.price_keeping import progress_bar, rows_by_source, store_to_add, tell_added, wrong
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from rich.progress import TaskID

    from keeper.chain.feed_history import FetchedRounds
    from keeper.model.units import Address

SINCE_S = 365 * 24 * 3600
"""How far back is fetched where nobody says: the forecast's longest window and time to fit on."""


def fetch_candles(
    config: Path | None,
    name: str,
    symbol: str | None,
    step: str,
    begin: int,
    end: int,
    *,
    as_json: bool,
) -> None:
    """Of the exchange of this ccxt name, from `begin` to `end` in Unix seconds: what is missing."""
    from keeper.backtest.ccxt_exchange import opened
    from keeper.backtest.exchange import fetched, missing, wanted
    from keeper.backtest.history import step_seconds

    step_s = step_seconds(step)
    if step_s is None:
        raise wrong("--step", f"{step} is no step", "write it as in 5m or 1h")
    if symbol is None:
        raise wrong("--symbol", "which of the exchange's markets is not said", "add one: ETH/USDT")
    asked = wanted(opened(name), symbol, step, step_s, since=begin, until=end)
    with store_to_add(config) as store:
        before = rows_by_source(store)
        spans = missing(store.candles.of(asked.source), asked)
        with progress_bar() as bar:
            total = sum(stop - start for start, stop in spans) // step_s
            task = bar.add_task(f"{name} {symbol}", total=total)
            done = 0
            for start, stop in spans:
                for at, candles in fetched(asked, (start, stop)):
                    for _ in store.candles.add(asked.source, candles):
                        pass
                    bar.update(task, completed=done + (at - start) // step_s)
                done += (stop - start) // step_s
        after = rows_by_source(store)
    tell_added(before, after, as_json=as_json)


def fetch_feeds(
    config: Path | None, feeds: list[str] | None, since: int | None, *, as_json: bool
) -> None:
    """Since then in Unix seconds, else as far back as each position needs; all feeds that one depends
    on where none is named."""
    import asyncio

    from keeper.config import default_path, load_settings
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path())
    configure_logging("warning", secrets=settings.secrets)
    wanted = [_address(text) for text in feeds or ()]
    from keeper.inquiry import fetch_rounds  # its libraries take their second

    with store_to_add(config) as store:
        before = rows_by_source(store)
        with progress_bar() as bar:
            tasks: dict[Address, TaskID] = {}

            def told(come: FetchedRounds, begin: int) -> None:
                whole = max(1, come.latest - begin)
                if come.feed not in tasks:
                    tasks[come.feed] = bar.add_task(come.pair or come.feed, total=whole)
                done = min(whole, come.latest - come.oldest)
                bar.update(tasks[come.feed], completed=done)

            asyncio.run(fetch_rounds(settings, store.rounds, wanted, since, told))
            for task in tasks.values():  # feeds that are younger than the first day have no more
                bar.update(task, completed=bar.tasks[task].total)
        after = rows_by_source(store)
    tell_added(before, after, as_json=as_json)


def span(since: datetime | None, until: datetime | None, now: int) -> tuple[int, int]:
    """From the first day's beginning to the last day's end, or now, in Unix seconds."""
    begin = now - SINCE_S if since is None else int(since.replace(tzinfo=UTC).timestamp())
    last = None if until is None else until.replace(tzinfo=UTC) + timedelta(days=1)
    end = now if last is None else min(now, int(last.timestamp()))
    if begin >= end:
        raise wrong(
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
