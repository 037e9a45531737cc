"""The report as one HTML page that needs no other file."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path

from keeper.backtest.sheet import table, write_page
from keeper.cli.balance import COUNTERFACTUAL, Balance, Episode
from keeper.cli.output import percent, token_amount, usd, utc
from keeper.cli.report import fate, lines
from keeper.model.units import SECONDS_PER_DAY
from keeper.storage.ledger import Ledger

TILES = """<style>.tiles{display:flex;flex-wrap:wrap;gap:1rem;margin:1.5rem 0}
.tile{border:1px solid #ddd;border-radius:.5rem;padding:.6rem 1rem;min-width:9rem}
.tile b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}.tile span{color:#666}
.note{color:#555;max-width:60rem}td{font-variant-numeric:tabular-nums}
table{display:block;overflow-x:auto}td,th{white-space:nowrap}
.wrapped td:last-child{white-space:normal;min-width:20rem;text-align:left}</style>"""


def write(path: Path, found: Ledger, counted: Balance) -> None:
    """Raises `OSError`."""
    write_page(
        path,
        "Keeper: report",
        [
            TILES,
            "<h1>What the keeper did</h1>",
            f"<p>{utc(found.since)} to {utc(found.until)} UTC, the chain's time.</p>",
            _tiles(found, counted),
            "<h2>Actions</h2>",
            _actions(found, counted),
            "<h2>Losses avoided</h2>",
            f"<p class=note>{escape(COUNTERFACTUAL)}</p>",
            f"<div class=wrapped>{_episodes(counted)}</div>",
            "<h2>Idle capital</h2>",
            (
                "<p class=note>The mean of what lay in each reserve, less the most that was used of it in "
                "one day.</p>"
            ),
            _idle(counted),
            "<h2>Day by day</h2>",
            _days(found),
        ],
    )


def _tiles(found: Ledger, counted: Balance) -> str:
    done = [each for each in found.entries if each.decision.outcome == "done"]
    tiles = (
        (str(len(done)), "actions done"),
        (usd(sum(each.decision.amount_usd or 0.0 for each in done)), "USD moved"),
        (usd(counted.cost_usd), "USD of cost"),
        (usd(counted.avoided_usd), "USD of losses avoided"),
        (usd(sum(each.idle_usd for each in counted.idle)), "USD idle"),
        (str(len(found.refusals)), "refused"),
    )
    return (
        "<div class=tiles>"
        + "".join(
            f"<div class=tile><b>{value}</b><span>{what}</span></div>" for value, what in tiles
        )
        + "</div>"
    )


def _actions(found: Ledger, counted: Balance) -> str:
    heads = (
        "#",
        "time, UTC",
        "position",
        "cause",
        "action",
        "USD",
        "health",
        "fees",
        "other costs",
        "",
    )
    rows = [
        (
            line.outcome != "done",
            (
                str(line.decision),
                line.time_utc,
                line.position,
                line.cause,
                f"{line.action} {token_amount(line.amount, line.token)}",
                usd(line.usd),
                f"{line.health_before:.3f} → "
                + ("–" if line.health_after is None else f"{line.health_after:.3f}"),
                f"{line.fees_coin:.6f} coin"
                if line.fees_usd is None
                else f"{usd(line.fees_usd)} USD",
                f"{usd(line.other_costs_usd)} USD",
                line.outcome,
            ),
        )
        for line in lines(found, counted)
    ]
    return table(heads, rows) if rows else "<p>None.</p>"


def _episodes(counted: Balance) -> str:
    def row(each: Episode) -> tuple[bool, tuple[str, ...]]:
        began = utc(each.entries[0].decision.timestamp)
        return False, (
            each.label,
            began,
            str(len(each.entries)),
            f"{usd(each.cost_usd)} USD",
            "–" if each.avoided_usd is None else f"{usd(each.avoided_usd)} USD",
            fate(each),
        )

    heads = ("position", "began, UTC", "actions", "cost", "avoided", "left alone")
    return table(heads, map(row, counted.episodes)) if counted.episodes else "<p>None.</p>"


def _idle(counted: Balance) -> str:
    heads = ("position", "samples", "mean reserve", "most used in a day", "idle")
    rows = [
        (
            False,
            (
                each.label,
                f"{each.samples:,}",
                f"{usd(each.mean_reserve_usd)} USD",
                f"{usd(each.most_used_in_a_day_usd)} USD",
                f"{usd(each.idle_usd)} USD",
            ),
        )
        for each in counted.idle
    ]
    return table(heads, rows) if rows else "<p>Nothing was recorded.</p>"


def _days(found: Ledger) -> str:
    heads = (
        "day",
        "position",
        "lowest health",
        "highest probability",
        "mean reserve",
        "mean debt",
        "mean collateral",
        "samples",
    )
    rows = [
        (
            False,
            (
                f"{datetime.fromtimestamp(each.day * SECONDS_PER_DAY, UTC):%Y-%m-%d}",
                each.label,
                "–" if each.lowest_health is None else f"{each.lowest_health:.3f}",
                percent(each.highest_probability),
                usd(each.mean_reserve_usd),
                usd(each.mean_debt_usd),
                usd(each.mean_collateral_usd),
                f"{each.samples:,}",
            ),
        )
        for each in found.days
    ]
    return table(heads, rows) if rows else "<p>Nothing was recorded.</p>"
