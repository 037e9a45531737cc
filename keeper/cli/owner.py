"""Transactions that an owner makes by hand: shown, agreed to, then sent or written as a Safe's batch."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from keeper.cli.output import show
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.chain.by_hand import Explain
    from keeper.chain.signer import Signer
    from keeper.config import Settings
    from keeper.model.units import Address
    from keeper.model.values import Transaction

SafeOption = Annotated[
    Path | None,
    typer.Option(
        "--safe-batch",
        help="Send nothing: write the transactions to this file, for a Safe's Transaction Builder.",
        show_default=False,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before sending.")]


def carry_out(
    settings: Settings,
    *,
    account: Address,
    transactions: Sequence[Transaction],
    explain: Explain,
    title: str,
    safe_batch: Path | None,
    yes: bool,
) -> None:
    """Have `account` make the transactions, in order.

    Raises `ConfigurationError` where no configured signer is the account, and what
    `send_in_turn` raises.
    """
    show(_table(account, transactions))
    if safe_batch is not None:
        _write_batch(safe_batch, settings, account, transactions, title)
        return
    asyncio.run(_send(settings, account, transactions, explain, yes=yes))


def _table(account: Address, transactions: Sequence[Transaction]) -> Table:
    table = Table(title=f"by {account}", title_justify="left")
    table.add_column("what")
    table.add_column("to", no_wrap=True)
    for transaction in transactions:
        table.add_row(Text(transaction.purpose), transaction.to)
    return table


def _write_batch(
    path: Path,
    settings: Settings,
    account: Address,
    transactions: Sequence[Transaction],
    title: str,
) -> None:
    from keeper.mandate.safe import batch

    document = batch(
        chain_id=settings.chain.chain_id,
        safe=account,
        transactions=transactions,
        title=title,
        created_at_s=int(time.time()),
    )
    try:
        path.write_text(json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise ConfigurationError(
            Problem(
                where=str(path),
                what=f"the batch cannot be written: {error.strerror}",
                why="a Safe's owners load it from a file",
                fix="name a file in a folder of yours with --safe-batch",
            )
        ) from None
    print(f"{path}: load it in the Safe's Transaction Builder, simulate it there, then sign")


async def _signer(settings: Settings, account: Address) -> Signer:
    """The configured signer that is `account`. They are opened one by one until it is found."""
    from keeper.chain.local_signer import KeyMissingError
    from keeper.chain.signers import open_signer

    others = []
    for named in settings.signers.values():
        try:
            signer = await open_signer(named)
        except KeyMissingError:
            continue
        if signer.address == account:
            return signer
        await signer.close()
        others.append(f"{named.name} is {signer.address}")
    raise ConfigurationError(
        Problem(
            where=f"{settings.document.path}: signers",
            what=f"no signer with a key is {account}"
            + (f" ({', '.join(others)})" if others else ""),
            why="only this account can make these transactions",
            fix="add [signers.owner] with the account's keystore for this command, or, where the "
            "account is a Safe, write the transactions to a file with --safe-batch FILE",
        )
    )


def agreed(count: int) -> bool:
    """Whether the person at the terminal wants them sent."""
    if not sys.stdin.isatty():
        print(
            "keeper: nobody is there to agree; give --yes to send without asking", file=sys.stderr
        )
        return False
    return typer.confirm(f"send {'it' if count == 1 else f'these {count}'}?", err=True)


async def _send(
    settings: Settings,
    account: Address,
    transactions: Sequence[Transaction],
    explain: Explain,
    *,
    yes: bool,
) -> None:
    from keeper.chain.by_hand import send_in_turn
    from keeper.chain.pool import Pool
    from keeper.chain.rpc import Rpc
    from keeper.chain.sending import Broadcaster
    from keeper.config.checks import check_chain_id

    signer = await _signer(settings, account)
    if not yes and not agreed(len(transactions)):
        print("nothing was sent", file=sys.stderr)
        await signer.close()
        raise typer.Exit(1)
    rpc, pool = Rpc(settings.chain.rpc_url), Pool.of(settings.chain)
    broadcaster = Broadcaster.over(pool, private_only=settings.chain.private_only)
    try:
        check_chain_id(settings, int(await rpc.read("eth_chainId"), 16))
        async for done, tx_hash in send_in_turn(
            transactions,
            rpc=rpc,
            broadcaster=broadcaster,
            chain_id=settings.chain.chain_id,
            signer=signer,
            fees=settings.fees,
            explain=explain,
            sent=lambda one, tx_hash: print(
                f"sent: {one.purpose} ({tx_hash}), waiting for its block", file=sys.stderr
            ),
        ):
            print(f"mined: {done.purpose} ({tx_hash})", flush=True)
    finally:
        await signer.close()
        await broadcaster.close()
        await pool.close()
        await rpc.close()
