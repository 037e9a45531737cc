"""`keeper forecast fit` and `score`: breach probabilities from price histories, and their scores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from keeper.cli.output import ConfigOption, JsonOption, console, print_json
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # numerical libraries take their second when the command runs, not in its help
    from keeper.backtest.calibrate import Known
    from keeper.backtest.episodes import Episodes
    from keeper.backtest.history import Prices
    from keeper.backtest.score import Answers, Pool, Row

PAIRS = ("ETH/USD", "BTC/USD", "SOL/USD", "LINK/USD", "ETH/BTC", "stETH/ETH")

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Directory of files SYMBOL[_VENUE]-STEP-SPAN.csv.gz, such as ETHUSDT-5m-2023.csv.gz; "
        "else what `keeper prices` has put into the store.",
        show_default=False,
    ),
]
PairsOption = Annotated[
    str | None,
    typer.Option(
        "--pairs",
        help=f"Separated by commas; else those of {', '.join(PAIRS)} that there are prices of.",
        show_default=False,
    ),
]
_DATE = {"formats": ["%Y-%m-%d"], "show_default": False}


def score(
    data: DataOption = None,
    fit_until: Annotated[
        datetime | None,
        typer.Option(help="Fit on the data up to this day; else score what ships.", **_DATE),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option("--from", help="First day scored; else the day after the fit.", **_DATE),
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", help="Last day scored; else all.", **_DATE)
    ] = None,
    pairs: PairsOption = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report to this HTML file.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Write the reliability diagram to this PNG file.", show_default=False),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Write the scores as Markdown tables to this file.", show_default=False),
    ] = None,
    dump: Annotated[
        Path | None,
        typer.Option(
            help="Write one CSV row per episode to this file, gzipped if it ends in .gz.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score forecasts on history that they have not seen, beside simple ones.

    Without `--fit-until` the calibration that ships is scored, from the day after its data ends.
    """
    from keeper.backtest import diagrams
    from keeper.backtest import dump as dumped
    from keeper.backtest import report as reported
    from keeper.backtest.calibrate import fit
    from keeper.backtest.coverage import coverage, rarity
    from keeper.backtest.models import left_out, models
    from keeper.backtest.score import POOLED, answers
    from keeper.backtest.shipped import shipped
    from keeper.forecast.realised import DAY_S

    outputs = {"--report": report, "--picture": picture, "--table": table, "--dump": dump}
    for option, path in outputs.items():
        check_can_be_written(option, path)
    with _prices(data, config) as prices:
        known, hashes = _histories(prices, pairs)
    calibration = shipped() if fit_until is None else fit(known, _end_of(fit_until), hashes)
    fitted_until = calibration.until if fit_until is None else _end_of(fit_until)
    begin, stop = _span(start, end, fitted_until)
    chosen = models(calibration, known, fitted_until)
    _say(f"scoring {', '.join(chosen)}")
    for said in left_out(chosen):
        _say(f"left out: {said}")
    given = list(answers(known, chosen, start=begin, end=stop))
    if not given:
        raise ConfigurationError(
            Problem(
                where=str(data or "the store"),
                what=f"no episode begins at or after {_day(begin)} and ends in time",
                why="the prices end earlier, or have gaps throughout",
                fix="give --fit-until, or later prices",
            )
        )
    scored, shown = _scored(given)
    if dump is not None:
        dumped.write(dump, given)
    if picture is not None:
        picture.write_bytes(diagrams.reliability_picture(shown.get(POOLED, {})))
    if table is not None:
        table.write_text(reported.markdown(scored), encoding="utf-8")
    if report is not None:
        chances = {
            pair: rarity(of[DAY_S].within(begin, stop, DAY_S), calibration, pair, DAY_S)
            for pair, of in known.items()
            if DAY_S in of
        }
        covered = coverage(known, calibration, start=begin, end=stop, horizons=diagrams.SHOWN_S)
        reported.write(report, scored, shown, covered, chances, calibration)
    if as_json:
        print_json({"rows": [row.to_json() for row in scored]})
    else:
        _show(scored)


def _scored(given: Sequence[Answers]) -> tuple[list[Row], dict[str, dict[int, Pool]]]:
    """Every row, and the answers that are drawn by pair and horizon."""
    from keeper.backtest.diagrams import SHOWN_S
    from keeper.backtest.score import pools, rows

    shown: dict[str, dict[int, Pool]] = {}
    scored: list[Row] = []
    for pool in pools(given):
        scored += rows(pool)
        if pool.horizon_s in SHOWN_S:
            shown.setdefault(pool.pair, {})[pool.horizon_s] = pool
    return scored, shown


def _span(start: datetime | None, end: datetime | None, fitted_until: float) -> tuple[float, float]:
    """When the first episode may begin and the last must have ended."""
    begin = fitted_until if start is None else start.replace(tzinfo=UTC).timestamp()
    if begin < fitted_until:
        raise ConfigurationError(
            Problem(
                where="--from",
                what=f"{_day(begin)} lies in the data fitted on, which ends {_day(fitted_until)}",
                why="a forecast scored on what it has seen looks better than it is",
                fix="give a later --from or an earlier --fit-until",
            )
        )
    stop = float("inf") if end is None else _end_of(end)
    if stop <= begin:
        raise ConfigurationError(
            Problem(
                where="--to",
                what=f"the last day scored lies before the first, {_day(begin)}",
                why="an episode begins on one and ends by the other",
                fix="give a later --to, or an earlier --from or --fit-until",
            )
        )
    return begin, stop


def check_can_be_written(option: str, path: Path | None) -> None:
    """Before the minutes that the scores take."""
    if path is None or (
        path.parent.is_dir()
        and not path.is_dir()
        and os.access(path if path.exists() else path.parent, os.W_OK)
    ):
        return
    raise ConfigurationError(
        Problem(
            where=option,
            what=f"{path} cannot be written",
            why="its folder is not there, or may not be written to, or it is a folder itself",
            fix="name a file in a folder that you may write to",
        )
    )


def fit(
    out: Annotated[Path, typer.Option(help="The JSON file to write.", show_default=False)],
    data: DataOption = None,
    until: Annotated[
        datetime | None, typer.Option(help="Fit on the data up to this day; else all.", **_DATE)
    ] = None,
    pairs: PairsOption = None,
    config: ConfigOption = None,
) -> None:
    """Fit the volatility's forecast and the tables, and write them as one JSON file."""
    from keeper.backtest import calibrate

    check_can_be_written("--out", out)
    from keeper.backtest.shipped import save

    with _prices(data, config) as prices:
        known, hashes = _histories(prices, pairs)
    end = float("inf") if until is None else _end_of(until)
    calibration = calibrate.fit(known, end, hashes)
    save(calibration, out)
    for pair, (first, last) in calibration.spans.items():
        print(f"{pair}: {_day(first)} to {_day(last)}")


@contextmanager
def _prices(data: Path | None, config: Path | None) -> Iterator[Sequence[Prices]]:
    """The price files of a directory, or what the store holds."""
    from keeper.backtest.history import price_files

    if data is not None:
        files = price_files(data)
        taken = {file.name for file in files}
        others = sorted(path.name for path in data.glob("*.csv*") if path.name not in taken)
        if others:
            _say(f"left alone, not being named SYMBOL[_VENUE]-STEP-SPAN: {', '.join(others)}")
        yield files
        return
    from keeper.cli.status import journal_path
    from keeper.storage.price_store import PriceStore

    path = journal_path(config)
    store = PriceStore.to_read(path) if path.exists() else None
    try:
        held = store.held() if store is not None else []
        if not held:
            raise ConfigurationError(
                Problem(
                    where=str(path),
                    what="the store holds no prices",
                    why="a forecast is fitted and scored on them",
                    fix="`keeper prices fetch` or `import` first, or give --data DIR",
                )
            )
        yield held
    finally:
        if store is not None:
            store.close()


def _histories(files: Sequence[Prices], pairs: str | None) -> tuple[Known, dict[str, str]]:
    """Episodes by pair and horizon, and the SHA-256 of every file they come from. Pairs that nobody
    asked for by name are left out where there are no prices, or too few."""
    from keeper.backtest.candles import NoPricesError
    from keeper.backtest.episodes import episodes
    from keeper.backtest.history import series

    known: dict[str, dict[int, Episodes]] = {}
    hashes: dict[str, str] = {}
    for pair in _pairs(pairs) or PAIRS:
        _say(f"reading {pair}")
        try:
            venues = series(files, pair)
            known[pair] = episodes(venues)
        except NoPricesError as error:
            if pairs is not None:
                raise
            _say(f"left out: {pair}, {error.reason}")
            continue
        hashes |= {f.name: f.sha256() for venue in venues for f in venue.files}
    if not known:
        raise NoPricesError(
            "the price files",
            f"they hold no episode of {', '.join(PAIRS)}",
            fix="give longer ones, or name pairs by --pairs; there are "
            + ", ".join(sorted({f.source.pair for f in files})),
        )
    return known, dict(sorted(hashes.items()))


def _pairs(written: str | None) -> tuple[str, ...]:
    """Those asked for; none where nobody asks."""
    return () if written is None else tuple(name.strip() for name in written.split(","))


def _show(scored: list[Row]) -> None:
    from keeper.backtest.models import hours
    from keeper.backtest.report import falls_short

    table = Table()
    for name in (
        "horizon",
        "pair",
        "model",
        "from",
        "to",
        "n",
        "base rate",
        "Brier skill",
        "log skill",
    ):
        table.add_column(name)
    for name in ("calibration error", "observed/predicted 1-5 %", "t against the default"):
        table.add_column(name)
    missed: list[str] = []
    for row in scored:
        if not row.default and row.pair != "pooled":
            continue
        missed += falls_short(row).values()
        table.add_row(
            hours(row.horizon_s),
            row.pair,
            row.model,
            _day(row.first),
            _day(row.last),
            f"{row.n:,}",
            f"{row.base_rate:.4f}",
            f"{row.brier_skill:.3f}",
            f"{row.log_skill:.3f}",
            f"{row.calibration_error:.4f}",
            f"{row.observed_over_predicted_1_5:.2f}",
            "" if row.default else f"{row.dm_t:.1f}",
            style="bold" if row.default and row.pair == "pooled" else None,
        )
    console().print(table)
    for said in missed:
        print(f"falls short: {said}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _end_of(day: datetime) -> float:
    return (day.replace(tzinfo=UTC) + timedelta(days=1)).timestamp()


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
