"""`keeper backtest`: what policies would have cost, on real prices."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from keeper.cli.output import ConfigOption, JsonOption, print_json, show, show_lines
from keeper.cli.own_position import OwnPosition, own_positions, rows_of
from keeper.cli.scoring import check_can_be_written
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # numerical libraries take their second when the command runs, not in its help
    from keeper.backtest.comparison import Comparison
    from keeper.backtest.lanes import Rules
    from keeper.backtest.positions import Known, Positions
    from keeper.backtest.positions import Row as PositionRow
    from keeper.backtest.tally import Row
    from keeper.forecast.calibration import Calibration

app = typer.Typer(
    add_completion=False,
    help="Replay policies over past prices: what they would have cost, and whom saved.",
)
_DATE = {"formats": ["%Y-%m-%d"], "show_default": False}

PricesOption = Annotated[
    Path,
    typer.Option(
        "--prices",
        help="A price file SYMBOL[_VENUE]-STEP-SPAN.csv.gz, such as ETHUSDT-1h-2024.csv.gz, or a "
        "directory of them.",
        show_default=False,
    ),
]


@app.command()
def backtest(
    prices: PricesOption,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    positions: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns pair, collateral_amount, debt_amount, health_start, gas_usd, "
            "latency_min, reserve_share, start; else a mixed set is drawn from the seed.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Replay the positions that this account has now in the configured markets, from every "
            "day of the prices on.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="A policy's file or id; may be given several times. Else all that ship.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option("--from", help="First day on which a position may start.", **_DATE),
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", help="Last day of prices used.", **_DATE)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.", min=0)] = 1,
    report: Annotated[
        Path | None, typer.Option(help="Write the report to this HTML file.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write its picture to this PNG file.", show_default=False)
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option("--table", help="Write its tables to this Markdown file.", show_default=False),
    ] = None,
    dump: Annotated[
        Path | None,
        typer.Option(
            help="Write one CSV row per episode and action to this file, gzipped if it ends in .gz.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay policies over past prices: what they would have cost, and whom saved."""
    from keeper.backtest import comparison, tally
    from keeper.backtest.policies import FIRST, chosen, shipped_default
    from keeper.backtest.positions import EPISODE_S, placed
    from keeper.backtest.replay import replay
    from keeper.backtest.tracks import STEP_S

    outputs = {"--report": report, "--picture": picture, "--table": tables, "--dump": dump}
    for option, path in outputs.items():
        check_can_be_written(option, path)
    asked = [name for each in (*(policy or ()), *(more or ())) for name in each.split(",")]
    policies = chosen(asked)
    if positions is not None and address is not None:
        raise typer.BadParameter("--positions and --address exclude each other")
    own = None if address is None else own_positions(config, address)
    known, rows, stop = _episodes(prices, positions or own, start, end, seed)
    book = placed(rows, known, end=stop)
    short = int((book.steps * STEP_S < EPISODE_S - STEP_S).sum())
    if short:
        _say(f"note: {short} positions end with the prices, before their thirty days")
    rules = {each.id: each.rule for each in policies}
    with progress_bar(int(book.steps.sum() + len(book)) * (len(rules) + 1)) as told:
        idle = replay(book, {FIRST: None}, seed=seed, told=told)
        calibration = _calibration(rules, book)
        replayed = replay(book, rules, seed=seed, calibration=calibration, told=told)
    scored = list(tally.rows(book, replayed, idle, shipped_default().id))
    found = comparison.Comparison(
        known=known, positions=book, rules=rules, replayed=replayed, rows=scored, seed=seed
    )
    _write(found, outputs)
    if as_json:
        print_json({"rows": [row.to_json() for row in scored]})
    else:
        _show(scored)


def _write(found: Comparison, outputs: Mapping[str, Path | None]) -> None:
    from keeper.backtest import comparison, replay_dump

    for option, path in outputs.items():
        if path is None:
            continue
        match option:
            case "--dump":
                replay_dump.write(path, found.positions, found.replayed)
            case "--picture":
                path.write_bytes(found.picture())
            case "--table":
                path.write_text(comparison.markdown(found), encoding="utf-8")
            case _:
                comparison.write(path, found)
        _say(f"{path} is written")


def _episodes(
    prices: Path,
    positions: Path | list[OwnPosition] | None,
    start: datetime | None,
    end: datetime | None,
    seed: int,
) -> tuple[Known, list[PositionRow], float]:
    """Prices, positions, and when the last of them ends."""
    from keeper.backtest.positions import check_pairs, drawn, read
    from keeper.backtest.terms import PAIRS

    if not isinstance(positions, Path):
        pairs = PAIRS if positions is None else tuple({own.pair: None for own in positions})
        known = known_prices(prices, pairs, strict=False)
        begin, stop = _span(known, start, end)
        rows = (
            drawn(known, start=begin, end=stop, seed=seed)
            if positions is None
            else rows_of([own for own in positions if own.pair in known], known, begin, stop)
        )
        if not rows:
            raise _beyond("--from", "no position has thirty days of prices between these days")
        return known, rows, stop
    rows = read(positions)
    known = known_prices(prices, tuple(dict.fromkeys(row.pair for row in rows)), strict=True)
    check_pairs(rows, known)
    begin, stop = _span(known, start, end)
    if start is not None or end is not None:
        rows = _within(rows, begin, stop)
    return known, rows, stop


def _calibration(rules: Rules, book: Positions) -> Calibration | None:
    """The forecast that ships, where some policy acts on one."""
    if all(rule is None or rule.trigger_probability is None for rule in rules.values()):
        return None
    from keeper.backtest.shipped import shipped

    calibration = shipped()
    if book.starts.min() < calibration.until:
        _say(
            f"note: the forecast that ships was fitted on prices until {_day(calibration.until)}, later "
            "than the first start: a trigger_probability looks better here than it will be"
        )
    return calibration


def known_prices(prices: Path, pairs: Sequence[str], *, strict: bool) -> Known:
    """The tracks of the pairs, and of the dollar prices of their quotes."""
    from keeper.backtest.history import prices_at
    from keeper.backtest.tracks import known_tracks

    files = prices_at(prices)
    quotes = {f"{pair.partition('/')[2]}/USD" for pair in pairs} - {"USD/USD"}
    known, missing = known_tracks(files, pairs)
    others, _ = known_tracks(files, sorted(quotes - known.keys()))
    for pair, reason in missing.items():
        if not strict:
            _say(f"left out: {pair}, {reason}")
    found = {**known, **others}
    if not found and not strict:
        there = ", ".join(sorted({each.source.pair for each in files}))
        raise ConfigurationError(
            Problem(
                where=str(prices),
                what=f"there are no prices of {', '.join(pairs)}",
                why="positions are replayed on the prices of their pair",
                fix=f"give price files of them; there are {there}",
            )
        )
    return found


def _span(known: Known, start: datetime | None, end: datetime | None) -> tuple[float, float]:
    """From when to when positions live. Raises `ConfigurationError` for days without prices."""
    every = [track for of in known.values() for track in of]
    first, last = min(t.start for t in every), max(t.end for t in every)
    begin = float(first) if start is None else start.replace(tzinfo=UTC).timestamp()
    stop = float(last)
    if end is not None:
        stop = (end.replace(tzinfo=UTC) + timedelta(days=1)).timestamp()
        if stop <= begin:
            raise _beyond("--to", f"the last day lies before the first, {_day(begin)}")
        if stop - 86_400 > last:
            raise _beyond(
                "--to",
                f"{_day(stop - 86_400)} lies beyond the prices, {_day(first)} to {_day(last)}",
            )
        stop = min(stop, float(last))
    if not first - 86_400 < begin < last:
        raise _beyond(
            "--from", f"{_day(begin)} lies beyond the prices, {_day(first)} to {_day(last)}"
        )
    return max(begin, float(first)), stop


def _beyond(where: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        Problem(
            where=where,
            what=what,
            why="a policy can only be replayed on days that there are prices of",
            fix="give other days, or other price files",
        )
    )


@contextmanager
def progress_bar(steps: int) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("position-steps", total=steps)
        yield lambda done: progress.advance(task, done)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


def _within(rows: Sequence[PositionRow], begin: float, stop: float) -> list[PositionRow]:
    """Those that start between these moments."""
    kept = [row for row in rows if begin <= row.start < stop]
    if len(kept) < len(rows):
        _say(f"left out: {len(rows) - len(kept)} positions that start outside of --from and --to")
    if not kept:
        raise _beyond("--from", f"no position starts between {_day(begin)} and {_day(stop)}")
    return kept


def _show(scored: Sequence[Row]) -> None:
    from keeper.backtest.comparison import HEADS, LEGEND, cells

    show_lines(
        [dict(zip(HEADS, cells(row), strict=True)) for row in scored],
        left=("policy", "group"),
        bold=[number for number, row in enumerate(scored) if row.default],
    )
    show(LEGEND)
