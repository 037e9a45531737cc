"""`keeper act`: an owner's own action, through the keeper's own path."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from keeper.cli.output import ConfigOption, JsonOption, print_json, show, usd

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.cli.rehearsal import Asked, Rehearsed
    from keeper.config import Settings
    from keeper.config.settings import PositionSettings
    from keeper.model.wishes import Verb
    from keeper.storage.views import DecisionView, Explanation

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Act by hand, through the keeper and within its limits.

    The action is planned, tried, written down and sent as the keeper's own are: by the keeper that is
    running, or by one that runs for this alone. `--simulate` shows what it would be.""",
)
PositionOption = Annotated[
    str | None,
    typer.Option(help="Its label; needed where several are configured.", show_default=False),
]
UsdOption = Annotated[
    str | None,
    typer.Option(
        "--usd",
        help="How much to move, in US dollars; else what brings health to the policy's target.",
        show_default=False,
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(help="Of which token, by symbol or address; else the best.", show_default=False),
]
SimulateOption = Annotated[
    bool, typer.Option("--simulate", help="Show what it would be, and send nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before sending.")]
POLL_S = 0.2
ALL_OF_IT = 0.999
"""Amounts are whole units of tokens: what differs by less is what was asked for."""
PENDING = "pending"


def _offer(verb: Verb, told: str) -> None:
    """A command of its own for each: they differ in what the keeper is asked for."""

    @app.command(verb, help=told)
    def command(
        position: PositionOption = None,
        usd: UsdOption = None,
        token: TokenOption = None,
        simulate: SimulateOption = False,
        yes: YesOption = False,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        _act(verb, position, usd, token, config, simulate=simulate, yes=yes, as_json=as_json)


_offer("topup", "Add collateral or margin from the reserve.")
_offer("repay", "Pay debt back from the reserve.")
_offer(
    "deleverage",
    "Sell collateral for debt on the mandate's pools, or make a perp smaller; needs a guardian.",
)


def _act(
    verb: Verb,
    label: str | None,
    usd: str | None,
    token: str | None,
    config: Path | None,
    *,
    simulate: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from keeper.config import default_path, load_settings
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path())
    configure_logging("error", secrets=settings.secrets)
    from keeper.cli.rehearsal import Asked, rehearse

    asked = Asked(position=_position(settings, label), verb=verb, token=token, usd8=_usd8(usd))
    rehearsed = rehearse(settings, asked)
    possible = rehearsed.decision is not None and rehearsed.decision.decision.approved
    if as_json:
        _print(rehearsed)
    else:
        _show(settings, asked, rehearsed)
    if not possible:
        raise typer.Exit(1)
    if simulate:
        return
    if not yes and not _agreed():
        print("nothing was sent", file=sys.stderr)
        raise typer.Exit(1)
    _carry_out(settings, asked)


def _position(settings: Settings, label: str | None) -> PositionSettings:
    labels = [each.label for each in settings.positions]
    if label is None and len(labels) == 1:
        return settings.positions[0]
    if label in labels:
        return settings.positions[labels.index(label)]
    from keeper.model.errors import ConfigurationError, Problem

    raise ConfigurationError(
        Problem(
            where="--position",
            what="several positions are configured"
            if label is None
            else f"no position is called {label}",
            why="an action is for one of them",
            fix=f"name one of {', '.join(labels)}",
        )
    )


def _usd8(written: str | None) -> int | None:
    from keeper.config.amounts import usd8
    from keeper.config.written import EnvironmentText, WrongValueError
    from keeper.model.errors import ConfigurationError, Problem

    if written is None:
        return None
    try:
        return usd8(EnvironmentText(written))
    except WrongValueError as wrong:
        raise ConfigurationError(
            Problem(where="--usd", what=wrong.what, why=wrong.why, fix=wrong.fix)
        ) from None


# -- telling -----------------------------------------------------------------------------------------


def _print(rehearsed: Rehearsed) -> None:
    decision = rehearsed.decision
    print_json(
        {
            "possible": decision is not None and decision.decision.approved,
            "reason": rehearsed.wish.reason,
            "decision": None if decision is None else decision.decision,
            "document": None if decision is None else decision.document,
        }
    )


def _show(settings: Settings, asked: Asked, rehearsed: Rehearsed) -> None:
    found = rehearsed.decision
    if found is None or not found.decision.approved:
        why = rehearsed.wish.reason or (
            "a transaction of the position is under way: try again when it is settled"
        )
        print(f"keeper: {asked.position.label}: not possible: {why}", file=sys.stderr)
        return
    decision, document = found.decision, found.document
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("position", f"{decision.label}: {decision.account}")
    facts.add_row("action", f"{decision.kind} {decision.amount} {decision.token}")
    if (swap := document.get("swap")) is not None:
        facts.add_row("sells", str(swap["sold"]))
    facts.add_row("worth", f"{usd(decision.amount_usd)} USD")
    if asked.usd8 is not None and (cut := _cut(asked.usd8, found)) is not None:
        facts.add_row(
            "asked for", Text(f"{usd(asked.usd8 / 1e8)} USD, cut: {cut}", style="bold yellow")
        )
    after = decision.predicted_health
    facts.add_row(
        "health",
        Text.assemble(
            f"{decision.health_before:.4f} → ",
            ("nothing at risk" if after is None else f"{after:.4f}", "bold green"),
        ),
    )
    costs = document.get("costs", {})
    facts.add_row(
        "cash cost", f"{usd(costs.get('cash_usd'))} USD, of it gas {usd(costs.get('gas_usd'))}"
    )
    for transaction in document["transactions"]:
        gas, gwei = transaction["gas_simulated"], transaction["max_fee_gwei"]
        facts.add_row(transaction["purpose"], f"to {transaction['to']}")
        facts.add_row("fee", f"{gas:,} gas, at most {gwei:g} gwei: {gas * gwei / 1e9:.6f} coins")
        facts.add_row("calldata", transaction["data"])
    show(facts)
    _tell_of_pause(settings)


def _cut(usd8: int, found: Explanation) -> str | None:
    """Why it is less than was asked for; None where it is not."""
    if (found.decision.amount_usd or 0.0) >= ALL_OF_IT * usd8 / 1e8:
        return None
    if (part := found.document.get("costs", {}).get("slice")) is not None:
        return str(part)
    chosen = (each for each in found.document["options"] if each["verdict"] == "chosen")
    return next((each["ends_at"] for each in chosen), None)


def _tell_of_pause(settings: Settings) -> None:
    from keeper.chain.kill_file import Order, ordered

    if ordered(settings.breakers.kill_file) is not Order.RUN:
        print(
            f"{settings.breakers.kill_file}: paused: nothing is signed before `keeper resume`",
            file=sys.stderr,
        )


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("keeper: nobody is there to agree; give --yes to send", file=sys.stderr)
        return False
    return typer.confirm("have it sent? (it is sized anew at the block it is sent at)", err=True)


# -- sending -----------------------------------------------------------------------------------------


def _carry_out(settings: Settings, asked: Asked) -> None:
    from keeper.app import run
    from keeper.cli.rehearsal import about, make_wish
    from keeper.storage.database import open_database
    from keeper.storage.store import running

    journal = settings.store_path
    if running(journal):
        wish_id = make_wish(journal, settings, asked)
        print("the running keeper takes it up at its next block …", file=sys.stderr)
        _wait(journal, wish_id)
        return
    open_database(journal).dispose()
    wish_id = make_wish(journal, settings, asked)
    # A person looks on: what a daemon needs when nobody does is not asked for.
    asyncio.run(run(about(settings, asked.position), once=True, live=True, without_safety_net=True))
    _wait(journal, wish_id)


def _wait(journal: Path, wish_id: int) -> None:
    """Until it is taken up and settled. Raises `typer.Exit` where it is not done in the end."""
    from keeper.cli.rehearsal import wish_of, withdraw
    from keeper.model.wishes import PATIENCE_S

    deadline = time.monotonic() + PATIENCE_S
    while (wish := wish_of(journal, wish_id)).state == "open":
        if time.monotonic() > deadline and withdraw(journal, wish_id):
            print("keeper: no pass took it up; it is withdrawn", file=sys.stderr)
            raise typer.Exit(1)
        time.sleep(POLL_S)
    if wish.decision_id is None or wish.state != "taken":
        print(f"keeper: not done: {wish.reason}", file=sys.stderr)
        raise typer.Exit(1)
    decision = _settled(journal, wish.decision_id)
    print(_ended(decision))
    if decision.outcome != "done":
        raise typer.Exit(1)


def _settled(journal: Path, decision_id: int) -> DecisionView:
    from keeper.storage import views

    while True:
        (found,) = (each for each in views.history(journal) if each.id == decision_id)
        if found.outcome != PENDING:
            return found
        time.sleep(POLL_S)


def _ended(decision: DecisionView) -> str:
    words: dict[str, Any] = {
        "dry run": "the running keeper is in a dry run: nothing was sent",
        "done": f"done: {decision.kind} {decision.amount} {decision.token}, health "
        f"{decision.health_before:.4f} → "
        + ("nothing at risk" if decision.health_after is None else f"{decision.health_after:.4f}"),
    }
    said = words.get(decision.outcome, f"it ended as: {decision.outcome}")
    return f"{said} (keeper explain {decision.id})"
