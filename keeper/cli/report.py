"""`keeper report`: what a stretch of time came to."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from keeper.cli.output import ConfigOption, JsonOption, print_json, show, usd, utc
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # the database takes its second when the command runs, not in its help
    from keeper.cli.balance import Balance
    from keeper.storage.ledger import Ledger

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
DAY_S = 86_400


@app.command()
def report(
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="The first day, such as 2026-01-31 (UTC, the chain's time); else all that is known.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="The last day, included.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page to this file.", show_default=False)
    ] = None,
    as_csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write the actions to this file, one line each.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what was done, what it cost, which losses it avoided and what capital lay idle.

    From the journal alone, with or without a keeper running.
    """
    from keeper.cli.balance import balance
    from keeper.cli.status import NOTHING, journal_path
    from keeper.storage import ledger

    first, last = _day("--from", since), _day("--to", until)
    path = journal_path(config)
    known = ledger.span(path) if path.exists() else None
    if known is None:
        show(NOTHING)
        return
    begin = known[0] if first is None else first
    end = known[1] + 1 if last is None else last + DAY_S
    if end <= begin:
        raise _wrong("--to", "the last day is before the first", "name a later one")
    found = ledger.read(path, begin, end)
    counted = balance(path, found)
    if html is not None:
        from keeper.cli.report_page import write

        _writing("--html", html, lambda: write(html, found, counted))
    if as_csv is not None:
        _writing("--csv", as_csv, lambda: _write_csv(as_csv, found, counted))
    if as_json:
        print_json(_document(found, counted))
    else:
        _show(found, counted)


def _day(option: str, written: str | None) -> int | None:
    if written is None:
        return None
    try:
        day = date.fromisoformat(written)
    except ValueError:
        raise _wrong(option, f"{written} is not a day", "write it like 2026-01-31") from None
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _wrong(where: str, what: str, fix: str) -> ConfigurationError:
    return ConfigurationError(
        Problem(where=where, what=what, why="the report is about whole days, UTC", fix=fix)
    )


def _writing(option: str, path: Path, write: Any) -> None:
    try:
        write()
    except OSError as error:
        raise ConfigurationError(
            Problem(
                where=option,
                what=f"{path} cannot be written: {error.strerror}",
                why="the report was asked for there",
                fix="name a file in a folder of yours",
            )
        ) from None
    print(f"{path} is written", file=sys.stderr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One action, as CSV and page have it."""

    decision: int
    time_utc: str
    position: str
    account: str
    cause: str
    action: str
    amount: str
    token: str
    usd: float | None
    outcome: str
    health_before: float
    health_after: float | None
    fees_coin: float
    fees_usd: float | None
    other_costs_usd: float
    transactions: str


def lines(found: Ledger, counted: Balance) -> list[Line]:
    """Of every decision that was sent, or was to be."""
    return [
        Line(
            decision=entry.decision.id,
            time_utc=utc(entry.decision.timestamp),
            position=entry.decision.label,
            account=entry.decision.account,
            cause=entry.decision.cause,
            action=entry.decision.kind or "",
            amount=entry.decision.amount or "",
            token=entry.decision.token or "",
            usd=entry.decision.amount_usd,
            outcome=entry.decision.outcome,
            health_before=entry.decision.health_before,
            health_after=entry.decision.health_after,
            fees_coin=entry.fees_wei / 1e18,
            fees_usd=cost.fees_usd,
            other_costs_usd=cost.other_usd,
            transactions=" ".join(each.tx_hash for each in entry.decision.transactions),
        )
        for entry, cost in zip(found.entries, counted.costs, strict=True)
    ]


def _write_csv(path: Path, found: Ledger, counted: Balance) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(Line.__slots__))
        writer.writeheader()
        for line in lines(found, counted):
            writer.writerow({key: _cell(value) for key, value in asdict(line).items()})


def _cell(value: Any) -> Any:
    """A label that begins as a formula does is text to a spreadsheet, too."""
    risky = isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}
    return f"'{value}" if risky else value


def _document(found: Ledger, counted: Balance) -> dict[str, Any]:
    from keeper.cli.balance import COUNTERFACTUAL

    return {
        "from": utc(found.since),
        "to": utc(found.until),
        "actions": lines(found, counted),
        "cost_usd": counted.cost_usd,
        "avoided_usd": counted.avoided_usd,
        "counterfactual": COUNTERFACTUAL,
        "episodes": [
            {
                "position": each.label,
                "decisions": [entry.decision.id for entry in each.entries],
                "cost_usd": each.cost_usd,
                "left_alone": each.left_alone,
                "avoided_usd": each.avoided_usd,
            }
            for each in counted.episodes
        ],
        "idle_capital": [asdict(each) | {"idle_usd": each.idle_usd} for each in counted.idle],
        "refusals": len(found.refusals),
        "days": found.days,
    }


def _show(found: Ledger, counted: Balance) -> None:
    from keeper.cli.balance import COUNTERFACTUAL

    done = [each for each in found.entries if each.decision.outcome == "done"]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("from, to", f"{utc(found.since)}, {utc(found.until)} UTC")
    moved = sum(each.decision.amount_usd or 0.0 for each in done)
    others = len(found.entries) - len(done)
    facts.add_row(
        "actions",
        f"{len(done)} done, {usd(moved)} USD moved"
        + (f"; {others} came to nothing" if others else "")
        + f"; {len(found.refusals)} refused",
    )
    facts.add_row("cost", f"{usd(counted.cost_usd)} USD")
    facts.add_row("losses avoided", f"{usd(counted.avoided_usd)} USD")
    for each in counted.episodes:
        facts.add_row("", f"{each.label}: {fate(each)}")
    for idle in counted.idle:
        facts.add_row(
            "idle capital",
            f"{idle.label}: {usd(idle.idle_usd)} USD of a mean reserve of "
            f"{usd(idle.mean_reserve_usd)}; the most used in a day was "
            f"{usd(idle.most_used_in_a_day_usd)}",
        )
    facts.add_row("", "")
    facts.add_row("left alone", COUNTERFACTUAL.removeprefix("Left alone means: "))
    show(facts)


def fate(episode: Any) -> str:
    """What had become of a position that was left alone."""
    alone = episode.left_alone
    if alone is None:
        return "what had become of it left alone is not known"
    if alone.liquidatable_at is None:
        return (
            f"left alone its health would have fallen to {alone.lowest_health:.3f}: no loss avoided"
        )
    return (
        f"left alone it would have been liquidated at {utc(alone.liquidatable_at)} UTC (health down "
        f"to {alone.lowest_health:.3f}): {usd(episode.avoided_usd)} USD avoided for "
        f"{usd(episode.cost_usd)}"
    )
