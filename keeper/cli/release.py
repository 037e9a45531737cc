"""`keeper release`: what a position does not need any more, after days above its target."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from keeper.cli.output import ConfigOption, JsonOption, print_json, show, usd

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.releasing import Release

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

LONGEST = 365


@app.command()
def release(
    days: Annotated[
        int, typer.Option(min=1, max=LONGEST, help="So long above its target, without a break.")
    ] = 14,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a position does not need any more, after days above its target.

    Proposes how much collateral its owner may take out, so that health would have been at its target
    at the worst moment of these days, and tries that on the chain. Nothing is ever sent: the owner
    does that, from the account's own wallet. Nothing is borrowed again.
    """
    from keeper.config import default_path, keyless_environment, load_settings
    from keeper.releasing import releases
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path(), keyless_environment())
    configure_logging("warning", secrets=settings.secrets)
    found = asyncio.run(releases(settings, days))
    if as_json:
        print_json({"days": days, "positions": [_document(each) for each in found]})
    else:
        show(Group(*(line for each in found for line in _lines(each))))


def _document(found: Release) -> dict[str, Any]:
    call = found.transaction
    return {
        "label": found.label,
        "account": found.account,
        "target": found.target,
        "health": found.health,
        "lowest_health": found.lowest_health,
        "reason": found.reason,
        "amount": None if found.amount is None else found.amount.decimal,
        "token": None if found.amount is None else found.amount.token.symbol,
        "value_usd": found.value_usd,
        "health_after": found.health_after,
        "transaction": None
        if call is None
        else {"from": found.account, "to": call.target, "data": "0x" + call.data.hex()},
    }


def _lines(found: Release) -> list[Text]:
    if found.reason is not None or found.transaction is None:
        return [Text(f"{found.label}: nothing to release: {found.reason}")]
    return [
        Text(
            f"{found.label}: {found.amount} ({usd(found.value_usd)} USD) may leave: health "
            f"{found.health or 0:.3f} → {found.health_after or 0:.3f}, target {found.target:.3f}; "
            f"the lowest of {found.days} days was {found.lowest_health or 0:.3f}",
            style="bold",
        ),
        Text(f"  tried on the chain, not sent. From {found.account}:"),
        Text(f"  to {found.transaction.target}"),
        Text(f"  data 0x{found.transaction.data.hex()}"),
    ]
