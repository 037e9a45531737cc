"""`keeper mandate`: what an owner allows a keeper, set and looked at on the chain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from keeper.cli.output import ConfigOption, JsonOption, print_json, show, usd, utc
from keeper.cli.owner import SafeOption, YesOption, carry_out
from keeper.model.units import WAD

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.cli.mandate_ground import MandateGround
    from keeper.cli.mandate_pools import Offers
    from keeper.mandate.charter import Charter
    from keeper.model.units import Address
    from keeper.model.values import Transaction

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Set and look at what an owner allows a keeper.",
)

NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="A [mandates.NAME] of the configuration; may be left out where there is one.",
        show_default=False,
    ),
]
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@app.command()
def deploy(
    name: NameArgument = None,
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
) -> None:
    """Deploy the owner's guardian; `mandate set` does it as well where it is missing."""
    ground = _looked(name, config)
    if ground.found.code_is_ours is not None:
        print(f"the guardian of {ground.owner} is at {ground.intended.guardian} already")
        return
    _carry_out(ground, [ground.code.deploy(ground.owner)], ground.owner, safe_batch, yes=yes)
    print(f"guardian: {ground.intended.guardian}")


@app.command("set")
def set_(
    name: NameArgument = None,
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
) -> None:
    """Set the configured mandate, with the allowances it lives on; replaces an earlier one.

    Nothing that was spent of an earlier mandate's limit comes back.
    """
    from keeper.cli.mandate_ground import check_terms
    from keeper.mandate.owner import setting

    ground = _looked(name, config)
    asyncio.run(check_terms(ground))
    code = ground.code if ground.found.code_is_ours is None else None
    transactions = list(setting(ground.intended, ground.found.survey, code, ground.found.charter))
    _carry_out(ground, transactions, ground.owner, safe_batch, yes=yes)
    print(f"guardian: {ground.intended.guardian}")
    if ground.intended.mandate.reserve != ground.owner:
        print(f"the reserve still has to agree: keeper mandate consent {ground.name}")


@app.command()
def consent(
    name: NameArgument = None,
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
) -> None:
    """Let a mandate use a reserve other than its owner, with the reserve's key."""
    from keeper.mandate.owner import consenting

    ground = _deployed(name, config)
    reserve = ground.intended.mandate.reserve
    if reserve == ground.owner:
        print("the owner is the reserve: there is nobody else to ask")
        return
    transactions = consenting(ground.intended, ground.found.survey)
    _carry_out(ground, transactions, reserve, safe_batch, yes=yes)


@app.command()
def revoke(
    name: NameArgument = None,
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
) -> None:
    """End a mandate and the owner's allowances for it."""
    from keeper.mandate.owner import revoking

    ground = _deployed(name, config)
    shared = ground.shared
    transactions = list(
        revoking(ground.intended, ground.found.survey, ground.found.charter, shared)
    )
    if not transactions:
        print("there is no mandate and no allowance to end")
        return
    _carry_out(ground, transactions, ground.owner, safe_batch, yes=yes)
    if left := shared.reserve | shared.collateral:
        print(f"left, since another mandate lives on it: the allowance of {', '.join(left)}")


@app.command()
def freeze(
    name: NameArgument = None,
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
    as_owner: Annotated[
        bool, typer.Option("--as-owner", help="With the owner's key instead of the freezer's.")
    ] = False,
) -> None:
    """Stop everything that a mandate allows, the emergency call included."""
    from keeper.mandate.owner import freezing
    from keeper.model.mandate import NOBODY

    ground = _deployed(name, config)
    freezer = ground.intended.mandate.freezer
    by = ground.owner if as_owner or freezer == NOBODY else freezer
    _carry_out(ground, [freezing(ground.intended)], by, safe_batch, yes=yes)


@app.command()
def unfreeze(
    name: NameArgument = None,
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
) -> None:
    """Let a frozen mandate go on; only the owner can."""
    from keeper.mandate.owner import unfreezing

    ground = _deployed(name, config)
    _carry_out(ground, [unfreezing(ground.intended)], ground.owner, safe_batch, yes=yes)


@app.command("show")
def show_(
    name: NameArgument = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show the mandate that is in force on the chain."""
    ground = _looked(name, config)
    charter = ground.found.charter
    if as_json:
        print_json({"name": ground.name, "guardian": ground.intended.guardian, "charter": charter})
    elif charter is None or charter.mandate is None:
        show(f"{ground.intended.guardian} has no mandate: [bold]keeper mandate set[/bold]")
    else:
        show(_charter_table(ground, charter))


@app.command()
def verify(
    name: NameArgument = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Check that the guardian can do what the configuration means it to.

    Without a name all mandates are. Ends with 1 if anything fails.
    """
    from keeper.cli.mandate_ground import look_at_all
    from keeper.mandate.verify import findings

    grounds = (look_at_all(config) if name is None else []) or [_looked(name, config)]
    found = [
        (each, [*findings(each.name, each.intended, each.found), *each.unnamed()])
        for each in grounds
    ]
    if as_json:
        told = [
            {"name": each.name, "guardian": each.intended.guardian, "findings": lines}
            for each, lines in found
        ]
        print_json(told[0] if len(told) == 1 else {"mandates": told})
    for each, lines in () if as_json else found:
        if len(found) > 1:
            show(Text(each.name, style="bold"))
        for line in lines:
            show(Text.assemble((f"{line.verdict:<5}", STYLES[line.verdict]), line.what))
            if line.fix:
                show(Text(f"     fix: {line.fix}", style="dim"))
    if any(line.verdict == "fail" for _, lines in found for line in lines):
        raise typer.Exit(1)


@app.command()
def pools(
    name: NameArgument = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Find the pools that a mandate could list, and tell what selling for the debt would cost there.

    Looks at every fee tier, straight and over the market's other assets. Nothing is written or sent.
    """
    from keeper.cli.mandate_pools import SHARES, look_for_pools

    found = look_for_pools(name, config)
    if as_json:
        print_json(
            {
                "pools": found.pools,
                "routes": [
                    {
                        "sells": each.unwind.sells.symbol,
                        "buys": each.unwind.token.symbol,
                        "pools": [hop.pool for hop in each.route.hops],
                        "cost_bps": {
                            f"1/{share}": cost
                            for share, cost in zip(SHARES, each.cost_bps, strict=True)
                        },
                    }
                    for each in found.offers
                ],
            }
        )
        return
    if not found.offers:
        show("No pool sells the collateral for the debt within the mandate's slippage.")
        return
    show(_offers_table(found))
    listed = ", ".join(f'"{pool}"' for pool in found.pools)
    print(f"pools = [{listed}]")


def _offers_table(found: Offers) -> Table:
    table = Table(title="cost against the oracle, of the debt", title_justify="left")
    for column in ("", "route", "a sixteenth", "a quarter", "all"):
        table.add_column(column, justify="left" if column in {"", "route"} else "right")
    for each in found.offers:
        costs = ("too thin" if cost is None else f"{cost / 100:.2f} %" for cost in each.cost_bps)
        pair = f"{each.unwind.sells.symbol} for {each.unwind.token.symbol}"
        table.add_row(pair, str(each.route), *costs)
    return table


def _looked(name: str | None, config: Path | None) -> MandateGround:
    from keeper.cli.mandate_ground import look

    return look(name, config)


def _deployed(name: str | None, config: Path | None) -> MandateGround:
    from keeper.cli.mandate_ground import look

    # What stops or ends something must not hang on a market that does not answer.
    ground = look(name, config, whole=False)
    ground.check_deployed()
    return ground


def _carry_out(
    ground: MandateGround,
    transactions: Iterable[Transaction],
    account: Address,
    safe_batch: Path | None,
    *,
    yes: bool,
) -> None:
    refusal: Callable[[bytes], str | None] = ground.code.refusal
    carry_out(
        ground.settings,
        account=account,
        transactions=list(transactions),
        explain=lambda _transaction, output: refusal(output) or "",
        title=f"Keeper: mandate {ground.name}",
        safe_batch=safe_batch,
        yes=yes,
    )


def _charter_table(ground: MandateGround, charter: Charter) -> Table:
    from keeper.model.mandate import NOBODY

    terms = charter.mandate
    assert terms is not None
    table = Table(
        title=f"guardian {ground.intended.guardian}", title_justify="left", show_header=False
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    closes, loans = terms.target > 100 * WAD, ground.intended.delegation is None
    rows = {
        "owner": charter.owner,
        "keeper": terms.keeper,
        "freezer": terms.freezer if terms.freezer != NOBODY else "nobody",
        "reserve": terms.reserve if terms.reserve != NOBODY else "none",
        "state": "frozen" if charter.frozen else "in force",
        "acts below health": f"{terms.max_health_to_act / WAD:.4f}",
        "up to": ("no debt" if loans else "no position") if closes else f"{terms.target / WAD:.4f}",
        "anyone below": f"{terms.emergency_health / WAD:.4f}"
        if terms.emergency_health
        else "never",
        "allowed slippage": f"{terms.slippage_calm_bps / 100} % to {terms.slippage_urgent_bps / 100} %",
        "limit": f"{usd(terms.limit_max / 1e8)} USD, of which now {usd(charter.available / 1e8)}",
        "least action": f"{usd(terms.min_action / 1e8)} USD, {terms.cooldown_s} s apart",
        "expires": f"{utc(terms.expiry)} UTC",
        "may sell" if loans else "may make smaller": "\n".join(terms.collaterals) or "nothing",
        **(
            {"on pools": "\n".join(terms.pools) or "none"}
            if loans
            else {"may move into the margin": _movable(charter)}
        ),
        "last action": utc(charter.last_action_at) if charter.last_action_at else "none",
        "mandate hash": "0x" + charter.mandate_hash.hex(),
    }
    for label, value in rows.items():
        table.add_row(label, Text(value))
    return table


def _movable(charter: Charter) -> str:
    source = charter.source
    if source is None:
        return "cannot be read now" if charter.source_unread else "nothing"
    return (
        f"from {source.market}, down to health {source.floor / WAD:.4f} there\n"
        f"{usd(source.limit_max / 1e8)} USD, of which now {usd(source.available / 1e8)}, "
        f"until {utc(source.expiry)} UTC"
    )
