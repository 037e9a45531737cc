"""`keeper approvals`: what the watched accounts have let others take or trade, and how to end it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from keeper.cli.output import ConfigOption, JsonOption, print_json, short, show, token_amount
from keeper.cli.owner import SafeOption, YesOption, carry_out
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.chain.allowances import Allowance
    from keeper.chain.delegations import Delegation
    from keeper.config import Settings
    from keeper.model.units import Address

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    invoke_without_command=True,
    help="List what the watched accounts have let others take or trade, and how to end it.",
)

ALL_ACTIONS = 7
"""Every bit that a perp venue's DelegateApproval knows."""
UNLIMITED = 2**255
"""More than half of the largest word: no token has so many units."""


@app.callback()
def approvals(
    context: typer.Context,
    config: ConfigOption = None,
    from_block: Annotated[
        int, typer.Option(min=0, help="Look for approvals from this block on.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """List every open allowance of the watched accounts and their reserves, and whom perp accounts let trade for them, each with the command that revokes it."""
    if context.invoked_subcommand is not None:
        return
    settings = _settings(config)
    found, delegated = asyncio.run(_found(settings, from_block))
    revoking = [_revoking(each, config) for each in found]
    ending = [_ending(each, config) for each in delegated]
    if as_json:
        print_json(
            {
                "allowances": [
                    {
                        "account": each.owner,
                        "token": each.token,
                        "symbol": each.symbol,
                        "spender": each.spender,
                        "raw": str(each.raw),
                        "unlimited": each.raw >= UNLIMITED,
                        "revoke": command,
                    }
                    for each, command in zip(found, revoking, strict=True)
                ],
                "delegations": [
                    {
                        "account": each.account,
                        "market": each.market,
                        "delegate": each.delegate,
                        "revoke": command,
                    }
                    for each, command in zip(delegated, ending, strict=True)
                ],
            }
        )
        return
    if found:
        show(_table(found))
    if delegated:
        show(_delegated_table(delegated))
    for command in (*revoking, *ending):
        print(command)
    if not found and not delegated:
        show("No allowance is open.")


@app.command()
def revoke(
    account: Annotated[str, typer.Argument(help="The account that gave the allowance.")],
    token: Annotated[str, typer.Argument(help="The token's address.")],
    spender: Annotated[str, typer.Argument(help="Who may take it.")],
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
) -> None:
    """Set one allowance to zero."""
    from keeper.abi.erc20 import APPROVE
    from keeper.model.values import Transaction

    owner, asset, taker = (
        _address(name, text)
        for name, text in (("ACCOUNT", account), ("TOKEN", token), ("SPENDER", spender))
    )
    carry_out(
        _settings(config),
        account=owner,
        transactions=[
            Transaction(
                to=asset,
                data=APPROVE.encode(taker, 0),
                purpose=f"revoke the allowance of {taker}",
            )
        ],
        explain=lambda _transaction, _output: "",
        title="Revoke an allowance",
        safe_batch=safe_batch,
        yes=yes,
    )


@app.command()
def undelegate(
    account: Annotated[str, typer.Argument(help="The account that let another trade.")],
    market: Annotated[str, typer.Argument(help="The perp venue's name in the configuration.")],
    delegate: Annotated[str, typer.Argument(help="Who may trade for it.")],
    config: ConfigOption = None,
    safe_batch: SafeOption = None,
    yes: YesOption = False,
) -> None:
    """Let nobody trade for a perp account whom it let before."""
    from keeper.abi.perp_v2 import DelegateApproval
    from keeper.model.values import Transaction

    owner, trader = _address("ACCOUNT", account), _address("DELEGATE", delegate)
    settings = _settings(config)
    venues = _venues(settings)
    if market not in venues:
        raise typer.BadParameter(
            f"there is no perp venue {market} in the configuration: "
            f"{', '.join(venues) or 'it has none'}",
            param_hint="MARKET",
        )
    approval = asyncio.run(_approval(settings, market, venues[market]))
    carry_out(
        settings,
        account=owner,
        transactions=[
            Transaction(
                to=approval,
                data=DelegateApproval.REVOKE.encode(trader, ALL_ACTIONS),
                purpose=f"let {trader} trade no more",
            )
        ],
        explain=lambda _transaction, _output: "",
        title="End a delegation",
        safe_batch=safe_batch,
        yes=yes,
    )


def _venues(settings: Settings) -> dict[str, Address]:
    """The ClearingHouses of the configured perp venues, by name."""
    return {
        name: market.entry
        for name, market in settings.markets.items()
        if market.protocol == "perp_v2"
    }


async def _approval(settings: Settings, market: str, clearing_house: Address) -> Address:
    from keeper.chain.delegations import approval_of
    from keeper.chain.heads import Heads
    from keeper.chain.reader import Reader
    from keeper.chain.rpc import Rpc
    from keeper.config.checks import check_chain_id

    rpc = Rpc(settings.chain.rpc_url)
    try:
        check_chain_id(settings, int(await rpc.read("eth_chainId"), 16))
        head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
        reader = Reader(rpc, multicall=settings.chain.multicall)
        return await approval_of(reader, market, clearing_house, at=head.hash)
    finally:
        await rpc.close()


def _settings(config: Path | None) -> Settings:
    from keeper.config import default_path, load_settings
    from keeper.service.logging import configure_logging

    settings = load_settings(config or default_path())
    configure_logging("warning", secrets=settings.secrets)
    return settings


def _address(name: str, text: str) -> Address:
    from keeper.config.fields import address
    from keeper.config.written import WrongValueError

    try:
        return address(text)
    except WrongValueError as wrong:
        raise typer.BadParameter(f"{wrong.what}: {wrong.fix}", param_hint=name) from None


def _accounts(settings: Settings) -> list[Address]:
    """Whose tokens a stolen key could reach: the watched accounts', the mandates' and their
    reserves', each once."""
    reserves = [position.reserve for position in settings.positions]
    mandates = settings.mandates.values()
    return list(
        dict.fromkeys(
            (
                *(position.account for position in settings.positions),
                *(reserve for reserve in reserves if reserve is not None),
                *(each.account for each in mandates),
                *(each.mandate.reserve for each in mandates),
            )
        )
    )


async def _found(settings: Settings, from_block: int) -> tuple[list[Allowance], list[Delegation]]:
    from keeper.chain.allowances import open_allowances
    from keeper.chain.delegations import open_delegations
    from keeper.chain.heads import Heads
    from keeper.chain.reader import Reader
    from keeper.chain.rpc import Rpc, RpcError
    from keeper.config.checks import check_chain_id

    owners = _accounts(settings)
    rpc = Rpc(settings.chain.rpc_url)
    try:
        check_chain_id(settings, int(await rpc.read("eth_chainId"), 16))
        head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
        if from_block > head.number:
            raise ConfigurationError(
                Problem(
                    where="--from-block",
                    what=f"the chain has no block {from_block} yet: its head is {head.number}",
                    why="nothing would be looked at, and nothing found",
                    fix="begin at a block that is there, or leave --from-block out",
                )
            )
        with Progress(console=Console(stderr=True), transient=True) as bar:
            asked = bar.add_task("looking for approvals", total=head.number - from_block + 1)
            reader = Reader(rpc, multicall=settings.chain.multicall)

            def progress(block: int) -> None:
                bar.update(asked, completed=block - from_block + 1)

            allowances = await open_allowances(
                rpc, reader, owners, head=head, from_block=from_block, progress=progress
            )
            delegations = [
                each
                for name, house in _venues(settings).items()
                for each in await open_delegations(
                    rpc,
                    reader,
                    market=name,
                    clearing_house=house,
                    accounts=owners,
                    head=head,
                    from_block=from_block,
                    progress=progress,
                )
            ]
            return allowances, delegations
    except RpcError as error:
        raise ConfigurationError(
            Problem(
                where="chain.rpc_url",
                what=f"the endpoint gives no events: {error.message}",
                why="allowances are found by the tokens' Approval events",
                fix="use an endpoint that answers eth_getLogs, or begin later with --from-block",
            )
        ) from None
    finally:
        await rpc.close()


def _revoking(each: Allowance, config: Path | None) -> str:
    named = "" if config is None else f" --config {config}"
    return f"keeper approvals revoke {each.owner} {each.token} {each.spender}{named}"


def _ending(each: Delegation, config: Path | None) -> str:
    named = "" if config is None else f" --config {config}"
    return f"keeper approvals undelegate {each.account} {each.market} {each.delegate}{named}"


def _delegated_table(found: Sequence[Delegation]) -> Table:
    table = Table(title="may open, grow and turn positions for an account", title_justify="left")
    for column in ("account", "venue", "who may"):
        table.add_column(column, no_wrap=True)
    for each in found:
        table.add_row(short(each.account), each.market, each.delegate)
    return table


def _table(found: Sequence[Allowance]) -> Table:
    table = Table()
    table.add_column("account", no_wrap=True)
    table.add_column("token", no_wrap=True)
    table.add_column("may be taken by", no_wrap=True)
    table.add_column("amount", justify="right")
    for each in found:
        table.add_row(
            short(each.owner),
            Text.assemble(each.symbol, (f" {short(each.token)}", "dim")),
            each.spender,
            _amount(each),
        )
    return table


def _amount(each: Allowance) -> Text:
    if each.raw >= UNLIMITED:
        return Text("unlimited", style="bold red")
    if each.decimals is None:
        return Text(f"{each.raw:,} units")
    whole, part = divmod(each.raw, 10**each.decimals)
    return Text(token_amount(f"{whole}.{part:0{each.decimals}d}", each.symbol))
