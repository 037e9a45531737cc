"""`keeper init`: from an address to a configuration that is safe to start with."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.table import Table

from keeper.cli.output import health_text, short, show, token_amount, usd

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.config.settings import MarketSettings
    from keeper.model.units import Address
    from keeper.scouting import Scouted

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
DEFAULT_RPC = "http://127.0.0.1:8545"


@app.command()
def init(
    account: Annotated[
        list[str] | None,
        typer.Option(help="Whose positions; may be given several times.", show_default="asked for"),
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option(
            help="The chain's HTTP endpoint. `${RPC_KEY}` is taken from the environment, and "
            "stays out of the file.",
            show_default="asked for",
        ),
    ] = None,
    market: Annotated[
        list[str] | None,
        typer.Option(
            help="PoolAddressesProvider of a further market of Aave v3, where keeper does not know "
            "it. On the chain of `keeper devnet up` it is found.",
            show_default=False,
        ),
    ] = None,
    venue: Annotated[
        list[str] | None,
        typer.Option(
            help="ClearingHouse of a venue of Perp v2; which of its markets and margin tokens the "
            "accounts use is found.",
            show_default=False,
        ),
    ] = None,
    keystore: Annotated[
        Path | None,
        typer.Option(
            help="Keystore file of the key that signs; else it comes by KEEPER_PRIVATE_KEY.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        Literal["careful", "balanced", "thrifty", "watchful"],
        typer.Option(help="When to act, and how far."),
    ] = "balanced",
    output: Annotated[Path, typer.Option(help="Where it is written.")] = Path("keeper.toml"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file; the old one is kept as FILE.old.")
    ] = False,
) -> None:
    """Find an account's positions and write a configuration for them.

    Only the account and an endpoint are needed. Nothing is sent, and no key is asked for: the keeper
    begins in a dry run, with limits made to the positions' measure.
    """
    _check_free(output, force=force)
    if keystore is not None:
        _check_keystore(keystore)
    endpoint = rpc or _asked("--rpc", "endpoint of the chain (HTTP)", DEFAULT_RPC)
    accounts = _addresses("--account", account or [_asked("--account", "account to protect", None)])
    further = [
        *_places("aave", "market", "aave_v3", _addresses("--market", market or [])),
        *_places("perp", "venue", "perp_v2", _addresses("--venue", venue or [])),
    ]
    scouted = _scout(endpoint, accounts, further)
    _tell(scouted)
    if not scouted.positions:
        print(
            "keeper: no position was found: nothing is written. --market and --venue name "
            "further ones",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    _write(output, scouted, endpoint, keystore, preset)


def _check_free(output: Path, *, force: bool) -> None:
    if output.exists() and not force:
        from keeper.model.errors import ConfigurationError, Problem

        raise ConfigurationError(
            Problem(
                where=str(output),
                what="there is a configuration already",
                why="it may guard positions right now",
                fix="name another file with --output, or give --force: then the old one is kept as "
                f"{output.name}.old",
            )
        )


def _check_keystore(path: Path) -> None:
    from keeper.chain.local_signer import read_keystore
    from keeper.chain.signer import SignerError
    from keeper.model.errors import ConfigurationError, Problem

    try:
        read_keystore("main", path)
    except SignerError as error:
        (problem,) = error.problems
        raise ConfigurationError(
            Problem(
                where=f"--keystore {path}",
                what=problem.what,
                why=problem.why,
                fix=f"{problem.fix}; or leave --keystore out: a dry run needs no key",
            )
        ) from None


def _asked(option: str, what: str, default: str | None) -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to ask: give it", param_hint=option)
    answer: str = typer.prompt(what, default=default, err=True)
    return answer


def _addresses(option: str, written: list[str]) -> list[Address]:
    from eth_utils.address import is_address, to_checksum_address

    from keeper.config.fields import address
    from keeper.config.written import WrongValueError
    from keeper.model.errors import ConfigurationError, Problem

    found = []
    for each in written:
        text = each.strip()
        # Wallets and explorers copy addresses without a checksum; it is shown before it is used.
        if is_address(text) and text == text.lower():
            text = to_checksum_address(text)
        try:
            found.append(address(text))
        except WrongValueError as wrong:
            raise ConfigurationError(
                Problem(where=option, what=wrong.what, why=wrong.why, fix=wrong.fix)
            ) from None
    return list(dict.fromkeys(found))


def _places(first: str, others: str, protocol: str, entries: list[Address]) -> list[MarketSettings]:
    from keeper.config.settings import MarketSettings

    return [
        MarketSettings(
            name=first if place == 1 else f"{others}{place}", protocol=protocol, entry=entry
        )
        for place, entry in enumerate(entries, start=1)
    ]


def _scout(endpoint: str, accounts: list[Address], further: list[MarketSettings]) -> Scouted:
    from keeper.chain.rpc import EndpointUnavailableError
    from keeper.config.urls import expand, http_url
    from keeper.config.written import WrongValueError
    from keeper.model.errors import ConfigurationError, Problem, TemporaryError
    from keeper.scouting import scout

    try:
        url = http_url(expand(endpoint, os.environ))
    except WrongValueError as wrong:
        raise ConfigurationError(
            Problem(where="--rpc", what=wrong.what, why=wrong.why, fix=wrong.fix)
        ) from None
    try:
        return asyncio.run(scout(url, accounts, [*_of_local_chain(url), *further]))
    except EndpointUnavailableError as error:
        raise TemporaryError(str(error)) from None


def _of_local_chain(url: str) -> list[MarketSettings]:
    """The market of the chain that `keeper devnet up` runs, if that is the one meant."""
    from keeper.devnet.session import running
    from keeper.model.units import Address

    up = running()
    if up is None or up["rpc_url"] != url:
        return []
    provider = Address(up["contracts"]["pool_addresses_provider"])
    return _places("aave", "market", "aave_v3", [provider])


def _tell(scouted: Scouted) -> None:
    name = scouted.known.name if scouted.known else "a local chain" if scouted.local else "unknown"
    print(f"chain {scouted.chain_id} ({name}), block {scouted.head.number}")
    for market, reason in scouted.passed_over.items():
        print(f"passed over: {market}: {reason}", file=sys.stderr)
    for seen in scouted.positions:
        facts = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        facts.add_row("account", f"{seen.account} in {seen.market.name}")
        health = None if seen.state.health is None else seen.state.health / 1e18
        facts.add_row("health", health_text(health, 1.25, 1.40))
        if seen.market.protocol == "perp_v2":
            facts.add_row("equity", f"{usd(seen.state.collateral_usd8 / 1e8)} USD")
            facts.add_row("notional", f"{usd(seen.state.debt_usd8 / 1e8)} USD")
        else:
            facts.add_row("collateral", _amounts(seen.collaterals, seen.state.collateral_usd8))
            facts.add_row("debt", _amounts(seen.debts, seen.state.debt_usd8))
        show(facts)
    contracts = [each for each, has_code in scouted.codes.items() if has_code]
    for each in contracts:
        print(
            f"{short(each)} is a contract, such as a Safe: it has no key. Give it a guardian "
            "(keeper mandate) and name it in its position before going live",
            file=sys.stderr,
        )


def _amounts(amounts: tuple[object, ...], usd8: int) -> str:
    listed = ", ".join(
        token_amount(each.decimal, each.token.symbol)  # type: ignore[attr-defined]  # Amount is imported for types only
        for each in amounts
        if each.raw  # type: ignore[attr-defined]  # as above
    )
    return f"{listed or 'none'} ({usd(usd8 / 1e8)} USD)"


def _write(
    output: Path, scouted: Scouted, endpoint: str, keystore: Path | None, preset: str
) -> None:
    from keeper.config.proposal import Guarded, proposed

    if keystore is not None and output.parent.resolve() != Path.cwd():
        # Paths in the file are relative to it.
        keystore = keystore.absolute()
    text = proposed(
        chain_id=scouted.chain_id,
        known=scouted.known,
        endpoint=endpoint,
        base_fee_wei=scouted.base_fee_wei,
        positions=[
            Guarded(
                market=seen.market,
                account=seen.account,
                health=None if seen.state.health is None else seen.state.health / 1e18,
                debt_usd=seen.state.debt_usd8 // 10**8,
            )
            for seen in scouted.positions
        ],
        keystore=keystore,
        preset=preset,
        further=_chain_keys(scouted),
    )
    _place(output, text)
    _check_loads(output)
    print(f"{output} is written: a dry run, until you say --live. Next:")
    named = "" if output == Path("keeper.toml") else f" --config {output}"
    following = (
        ("check", "whether everything is as it has to be, and what to do where not"),
        ("run --once", "one look: what would be done now"),
        ("run", "the dry run: watches, and says what it would do"),
        ("run --live", "protects"),
    )
    width = max(len(f"keeper {command}{named}") for command, _ in following)
    for command, what in following:
        print(f"  {f'keeper {command}{named}':<{width}}  {what}")


def _place(output: Path, text: str) -> None:
    """A file that is there is kept beside it."""
    from keeper.model.errors import ConfigurationError, Problem

    try:
        if output.exists():
            old = output.with_name(output.name + ".old")
            output.replace(old)
            print(f"{output} is replaced; the old one is {old}")
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            Problem(
                where=str(output),
                what=f"it cannot be written: {error.strerror}",
                why="the configuration is a file of yours",
                fix="name a file in a folder that is there, and yours, with --output",
            )
        ) from None


def _chain_keys(scouted: Scouted) -> dict[str, str]:
    """Where keeper's own local chain has what other chains are known to have."""
    from keeper.devnet.session import running

    up = running() if scouted.local else None
    if up is None or up["chain_id"] != scouted.chain_id:
        return {}
    contracts = up["contracts"]
    return {
        "quoter": contracts["uniswap_quoter"],
        "wrapped_native": contracts["tokens"]["WETH"],
    }


def _check_loads(output: Path) -> None:
    """What was written is read as it will be, by the same code."""
    from keeper.config import load_settings

    load_settings(output)
