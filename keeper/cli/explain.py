"""`keeper explain ID`: inputs, forecast, options and limits of one decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keeper.cli.history import outcome
from keeper.cli.output import ConfigOption, JsonOption, narrow, print_json, show, usd, utc
from keeper.cli.status import journal_path
from keeper.cli.words import named, valued

if TYPE_CHECKING:  # the database takes its second when the command runs, not in its help
    from keeper.storage.views import DecisionView, Explanation, TransactionView

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


def _id(written: str) -> int:
    if not written.isdecimal():
        raise typer.BadParameter("an id is a whole number, as `keeper history` lists them")
    return int(written)


@app.command()
def explain(
    decision_id: Annotated[
        int, typer.Argument(metavar="ID", parser=_id, help="From `keeper history`.")
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell why a decision was made: what was seen, forecast, weighed and allowed."""
    from keeper.storage import views

    told = views.explanation(journal_path(config), decision_id)
    if as_json:
        print_json(told)
    else:
        show(_story(told))


def _story(told: Explanation) -> RenderableType:
    decision = told.decision
    parts: list[RenderableType] = [_heading(decision), _facts(_decided(decision))]
    for name, value in told.document.items():
        parts += [_section(name), _shown(value)]
    if decision.transactions:
        parts += [_section("sent"), _transactions(decision.transactions)]
    if told.differences:
        parts += [_section("differs from the prediction"), _shown(list(told.differences))]
    return Group(*parts)


def _heading(decision: DecisionView) -> Text:
    verdict = "approved" if decision.approved else "refused"
    because = f": {decision.reason}" if decision.reason else ""
    return Text(f"#{decision.id} {decision.label}, {verdict}{because}", style="bold")


def _decided(decision: DecisionView) -> Mapping[str, Any]:
    facts: dict[str, Any] = {
        "position": f"{decision.account} in {decision.market}",
        "block": f"{decision.block}, {utc(decision.timestamp)} UTC",
        "cause": decision.cause,
        "health before": decision.health_before,
    }
    if decision.kind:
        facts["action"] = (
            f"{decision.kind} {decision.amount} {decision.token} ({usd(decision.amount_usd)} USD)"
        )
    if decision.predicted_health is not None:
        facts["predicted health"] = (
            f"{decision.predicted_health:,.6g}, at the prices of block {decision.block}"
        )
    if decision.health_after is not None:
        later = decision.block + (decision.latency_blocks or 0)
        facts["health after"] = f"{decision.health_after:,.6g}, at the prices of block {later}"
    # What was reverted or expired changed nothing that could be compared.
    if decision.as_predicted is not None and decision.outcome == "done":
        facts["as predicted"] = (
            "yes, to the last unit: what the prediction comes to at that block's own prices"
            if decision.as_predicted
            else "no, or it could not be read again: see the end"
        )
    facts["outcome"] = outcome(decision)
    return facts


def _section(name: str) -> Text:
    return Text(f"\n{named(name)}", style="bold cyan")


def _shown(value: Any) -> RenderableType:
    """Whatever a decision recorded: records as rows, lists of records as a table."""
    match value:
        case dict():
            return _facts(value)
        case [dict(), *_]:
            return _rows(value)
        case list():
            return Padding(Group(*(Text(f"· {item}") for item in value)), (0, 2))
        case _:
            return Padding(_scalar(value), (0, 2))


def _facts(facts: Mapping[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        nested = isinstance(value, dict | list) and value
        said = _shown(value) if nested else _scalar(valued(name, value))
        table.add_row(named(name), said)
    return Padding(table, (0, 2))


def _rows(rows: list[dict[str, Any]]) -> RenderableType:
    if narrow():
        return Group(*(part for row in rows for part in (_facts(row), "")))
    table = Table(box=box.ROUNDED)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(named(name), overflow="fold")
    for row in rows:
        table.add_row(*(_scalar(valued(name, row.get(name))) for name in names))
    return Padding(table, (0, 2))


def _scalar(value: Any) -> Text:
    match value:
        case Text():
            return value
        case dict() if value:
            said = (f"{named(key)}: {_scalar(valued(key, inner))}" for key, inner in value.items())
            return Text("\n".join(said))
        case None | [] | {}:
            return Text("–", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case float():
            return Text(f"{value:,.6g}")
        case _:
            return Text(str(value))


def _transactions(transactions: tuple[TransactionView, ...]) -> RenderableType:
    return _rows([_transaction(tx) for tx in transactions])


def _transaction(tx: TransactionView) -> dict[str, Any]:
    price = tx.effective_gas_price_wei
    return {
        "purpose": tx.purpose,
        "state": tx.state,
        "nonce": tx.nonce,
        "block": tx.block,
        "gas": f"{tx.gas_used:,}" if tx.gas_used else None,
        "gwei": f"{price / 1e9:,.3f}" if price else None,
        "hash": tx.tx_hash,
    }
