"""What `keeper fork` and `keeper drill` have in common: the chain that they copy, and the user's
positions on the copy, in hands that need no key of the user's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.config import Settings
    from keeper.devnet.fork import Fork
    from keeper.model.units import Address
    from keeper.protocols.aave_v3 import AavePosition


def endpoint(rpc: str | None, settings: Settings | None) -> str:
    """The origin's URL: `--rpc`, else the configuration's."""
    from keeper.config.urls import http_url
    from keeper.config.written import WrongValueError

    if rpc is None:
        if settings is None:
            raise typer.BadParameter("give --rpc, or --config with an endpoint in it")
        return settings.chain.rpc_url
    try:
        return http_url(rpc)
    except WrongValueError as wrong:
        raise typer.BadParameter(f"{wrong.what}: {wrong.fix}", param_hint="'--rpc'") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """The user's positions on a fork."""

    config: Path
    overrides: dict[str, str]
    """Variables over the user's own, which must not lead that configuration astray."""
    moved: dict[Address, Address]
    """Owners to the throw-away accounts that have their positions now."""
    positions: tuple[AavePosition, ...]
    """As they were found."""
    pools: tuple[Address, ...]
    """That the mandates of guardians that act on list."""

    def environment(self, settings: Settings) -> dict[str, str]:
        """What a keeper with that configuration needs, where the user's variables stand."""
        from keeper.devnet.files import environment

        overridden = self.overrides.keys() & settings.document.environ.keys()
        return environment() | {name: self.overrides[name] for name in overridden}


def hand_over(
    running: Fork, settings: Settings, folder: Path, *, guardians: bool = False
) -> Handed:
    """Give every account's positions to a throw-away account; with `guardians`, those of accounts
    that guardians act for stay, and the guardians obey a throw-away keeper instead."""
    from eth_account import Account

    from keeper.config.checks import check_code, contracts
    from keeper.devnet.fork import write_config
    from keeper.devnet.takeover import read_positions
    from keeper.model.units import Address
    from keeper.service.logging import configure_logging
    from keeper.watching import watched_markets

    configure_logging("warning", secrets=settings.secrets)
    for name in dict.fromkeys(each.market for each in settings.positions):
        if settings.markets[name].protocol != "aave_v3":
            raise settings.error(
                "markets",
                name,
                "protocol",
                what=f"positions of {settings.markets[name].protocol} cannot be handed over",
                why="only those of Aave v3.0 are moved to other accounts on a fork",
                fix="leave its positions out of the configuration for this",
            )
    for path, address in contracts(settings).items():
        code = running.rpc.call("eth_getCode", address, "latest")
        check_code(settings, path, bytes.fromhex(code[2:]))
    markets = watched_markets(settings)
    positions = asyncio.run(read_positions(running.rpc_url, settings.chain.multicall, markets))
    unguarded = {each.account for each in settings.positions if each.guardian is None}
    moving = [each for each in positions if not guardians or each.id.account in unguarded]
    staying = [each for each in positions if each not in moving]
    keeper = Account.create() if staying else None
    heirs = running.take_over(moving)
    pools = () if keeper is None else _appoint(running, settings, staying, Address(keeper.address))
    values = settings.document.values
    # What is known of the origin by its chain id is not known by the fork's.
    known = {"quoter": settings.quoter, "wrapped_native": settings.wrapped_native}
    chain = {key: value for key, value in known.items() if value is not None} | values["chain"]
    # Paths are relative to the user's file, and the fork's lies elsewhere.
    home = settings.document.path.absolute().parent
    policies = {
        name: table | ({"file": str(home / table["file"])} if "file" in table else {})
        for name, table in values["policies"].items()
    }
    original = {**values, "chain": chain, "policies": policies}
    config = write_config(folder, running, original, heirs, keeper)
    return Handed(
        config=config,
        overrides={
            "KEEPER_CHAIN__ID": str(running.chain_id),
            "KEEPER_CHAIN__RPC_URL": running.rpc_url,
            "KEEPER_CHAIN__WS_URL": running.ws_url,
            "KEEPER_STORE__PATH": str(folder / "keeper.sqlite3"),
            "KEEPER_SERVICE__HTTP_PORT": "0",
        }
        | {
            name: ""
            for name in settings.document.environ
            if name.startswith(("KEEPER_ENDPOINTS__", "KEEPER_MANDATES__"))
        },
        moved={owner: Address(heir.address) for owner, heir in heirs.items()},
        positions=tuple(positions),
        pools=pools,
    )


def _appoint(
    running: Fork, settings: Settings, positions: Sequence[AavePosition], keeper: Address
) -> tuple[Address, ...]:
    """Let the guardians of these positions obey a keeper; the pools that their mandates list."""
    from keeper.devnet.takeover import read_charters

    guardians = {
        (each.market, each.account): each.guardian
        for each in settings.positions
        if each.guardian is not None
    }
    asked = [
        (guardians[each.id.market, each.id.account], each.market.provider) for each in positions
    ]
    charters = asyncio.run(read_charters(running.rpc_url, settings.chain.multicall, asked))
    for (guardian, market), charter in zip(asked, charters, strict=True):
        running.appoint(guardian, market, charter, keeper)
    mandates = [charter.mandate for charter in charters if charter.mandate is not None]
    return tuple(dict.fromkeys(pool for each in mandates for pool in each.pools))
