"""One mandate of the configuration, and what the chain says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keeper.chain.heads import Heads
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc, RpcError
from keeper.cli.mandate_intended import intended
from keeper.config import default_path, load_settings
from keeper.config.checks import check_chain_id
from keeper.mandate.charter import NoGuardianError, read_charter, set_mandate
from keeper.mandate.deployment import DEPLOYMENT_PROXY, GuardianCode
from keeper.mandate.owner import Shared, allowing_move
from keeper.mandate.survey import survey
from keeper.mandate.verify import Finding, Found, pool_flaw
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.protocols.registry import PROTOCOLS
from keeper.service.logging import configure_logging
from keeper.watching import guardian_code

if TYPE_CHECKING:
    from keeper.config.settings import MandateSettings, Settings
    from keeper.mandate.owner import Intended
    from keeper.model.values import Head, Unwind
    from keeper.protocols.aave_v3 import AaveMarket
    from keeper.protocols.perp_v2 import PerpVenue


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateGround:
    """Everything that a command about a mandate needs."""

    name: str
    settings: Settings
    code: GuardianCode
    intended: Intended
    found: Found
    at: Mapping[str, str]
    """The block that it was read at."""

    @property
    def owner(self) -> Address:
        return self.intended.owner

    @property
    def shared(self) -> Shared:
        """What another mandate of the owner's with the same guardian lives on as well."""
        mandates, markets = self.settings.mandates, self.settings.markets
        own = mandates[self.name]
        others = [
            each
            for each in mandates.values()
            if each.name != self.name
            and each.account == self.owner
            and markets[each.market].protocol == markets[own.market].protocol
        ]
        named = {
            token
            for each in others
            if each.mandate.reserve == self.owner
            for token in each.reserve_tokens
        }
        lent = any(
            each.move and own.move and each.move.market == own.move.market for each in others
        )
        return Shared(
            reserve=frozenset(named & self.intended.from_reserve.keys()),
            collateral=frozenset(self.intended.takeable if lent else ()),
        )

    def check_deployed(self) -> None:
        """A call to an address without code succeeds and does nothing: nobody is to believe that it
        froze or revoked. Raises `ConfigurationError`."""
        if self.found.code_is_ours is None:
            raise self.settings.error(
                "mandates",
                self.name,
                what=f"there is no guardian at {self.intended.guardian}",
                why="this version's guardian for this owner lies there; one of another version lies "
                "elsewhere, and this command does not reach it",
                fix=f"keeper mandate set {self.name}; what another guardian may take is shown and "
                "revoked by `keeper approvals`",
            )

    def unnamed(self) -> Iterator[Finding]:
        """A warning where no position of the configuration is acted for through the guardian."""
        market, guardian = self.settings.mandates[self.name].market, self.intended.guardian
        own = [
            each
            for each in self.settings.positions
            if (each.market, each.account) == (market, self.owner)
        ]
        if any(each.guardian == guardian for each in own):
            return
        line = f'guardian = "{guardian}"'
        yield Finding(
            verdict="warn",
            what="no position of the configuration names the guardian: keeper does not act through it",
            fix=f'add {line} to the [[positions]] "{own[0].label}"'
            if own
            else f'add [[positions]] of {self.owner} in market "{market}" with {line}',
        )


def look(name: str | None, config: Path | None, *, whole: bool = True) -> MandateGround:
    """Read the configuration and the chain. Not `whole`: without the market that margin may be moved
    from, where that cannot be read.

    Raises `ConfigurationError` for a mandate that is not there or cannot be meant on this chain."""
    settings = load_settings(config or default_path())
    configure_logging("warning", secrets=settings.secrets)
    return asyncio.run(_look(settings, named(settings, name), whole=whole))


def look_at_all(config: Path | None) -> list[MandateGround]:
    """As `look`, of every mandate of the configuration."""
    return [look(name, config) for name in load_settings(config or default_path()).mandates]


def named(settings: Settings, name: str | None) -> MandateSettings:
    """The mandate that a command is about. Raises `ConfigurationError`."""
    known = ", ".join(settings.mandates)
    if name is None and len(settings.mandates) == 1:
        return next(iter(settings.mandates.values()))
    if name is not None and name in settings.mandates:
        return settings.mandates[name]
    raise settings.error(
        "mandates",
        what="no mandate is configured"
        if not known
        else "several mandates are configured"
        if name is None
        else f'there is no mandate "{name}"',
        why="the command is about one",
        fix=f"name one of {known}" if known else "add a section [mandates.NAME]",
    )


async def _look(settings: Settings, chosen: MandateSettings, *, whole: bool) -> MandateGround:
    rpc = Rpc(settings.chain.rpc_url)
    try:
        check_chain_id(settings, int(await rpc.read("eth_chainId"), 16))
        head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
        at = {"blockHash": head.hash}
        reader = Reader(rpc, multicall=settings.chain.multicall)
        provider = settings.markets[chosen.market].entry
        market = await market_of(reader, settings, chosen.market, provider, head.hash)
        code = guardian_code(settings.markets[chosen.market].protocol)
        source = await _source(reader, settings, chosen, head.hash, whole=whole)
        meant = intended(settings, chosen, market, code.address(chosen.account), source)
        (charter, around), _ = await reader.read(
            [
                read_charter(meant.guardian, provider, moves=meant.delegation is not None),
                survey(
                    guardian=meant.guardian,
                    market=provider,
                    owner=chosen.account,
                    reserve=chosen.mandate.reserve,
                    a_tokens=meant.a_tokens,
                    reserve_tokens=tuple(meant.from_reserve),
                    pools=chosen.mandate.pools,
                    oracle=meant.oracle,
                    delegation=meant.delegation,
                ),
            ],
            at=head.hash,
        )
        if isinstance(around, ReadingError):
            raise around
        if isinstance(charter, ReadingError) and not isinstance(charter, NoGuardianError):
            raise charter
        deployed = bytes.fromhex((await rpc.read("eth_getCode", meant.guardian, at))[2:])
        if not deployed:
            await _check_proxy(rpc, at)
        return MandateGround(
            name=chosen.name,
            settings=settings,
            code=code,
            intended=meant,
            found=Found(
                code_is_ours=code.is_at(chosen.account, deployed) if deployed else None,
                charter=None if isinstance(charter, ReadingError) else charter,
                survey=around,
                keeper_wei=int(await rpc.read("eth_getBalance", chosen.mandate.keeper, at), 16),
                timestamp=head.timestamp,
                unwinds=await _unwinds(reader, settings, chosen, market, head),
            ),
            at=at,
        )
    finally:
        await rpc.close()


async def _unwinds(
    reader: Reader,
    settings: Settings,
    chosen: MandateSettings,
    market: AaveMarket | PerpVenue,
    head: Head,
) -> tuple[Unwind, ...] | None:
    """What the account could sell on the mandate's pools. None where it cannot be read: what is asked
    may be to revoke."""
    if not chosen.mandate.pools:
        return ()
    protocol = PROTOCOLS[settings.markets[chosen.market].protocol]
    reading = protocol.snapshot(market, (chosen.account,), timestamp=head.timestamp)
    (snapshot,), _ = await reader.read([reading], at=head.hash)
    if isinstance(snapshot, ReadingError):
        return None
    try:
        return tuple(protocol.unwinds(snapshot.position(chosen.account)))
    except ReadingError:
        return None


async def _source(
    reader: Reader, settings: Settings, chosen: MandateSettings, at: str, *, whole: bool
) -> AaveMarket | PerpVenue | None:
    """Where margin is to be moved from."""
    if chosen.move is None:
        return None
    name = chosen.move.market
    try:
        return await market_of(reader, settings, name, settings.markets[name].entry, at)
    except ReadingError:
        if whole:
            raise
        return None


async def market_of(
    reader: Reader, settings: Settings, name: str, provider: Address, at: str
) -> AaveMarket | PerpVenue:
    """The configured market as it is at a block. Raises `ReadingError`."""
    protocol, listed = PROTOCOLS[settings.markets[name].protocol], settings.markets[name].listed
    (market,), _ = await reader.read(
        [protocol.discover(provider, chain_id=settings.chain.chain_id, name=name, listed=listed)],
        at=at,
    )
    if isinstance(market, ReadingError):
        raise market
    found: AaveMarket | PerpVenue = market
    return found


async def _check_proxy(rpc: Rpc, at: Mapping[str, str]) -> None:
    if await rpc.read("eth_getCode", DEPLOYMENT_PROXY, at) == "0x":
        raise ConfigurationError(
            Problem(
                where=f"chain, {DEPLOYMENT_PROXY}",
                what="the deterministic deployment proxy is not on this chain",
                why="it makes a guardian's address follow from its code and owner",
                fix="deploy it: github.com/Arachnid/deterministic-deployment-proxy",
            )
        )


FIXES = {
    "SlippageAboveHalfBonus": ("slippage_urgent_bps", "write at most the second figure"),
    "ExpiryOutOfRange": ("expires", "write a day in the future"),
    "UnknownMarket": ("market", "name a market whose first contract is there"),
    "UnknownAsset": ("collaterals", "name assets of this market only"),
    "PoolNotAllowed": ("emergency_route", "name only pools of the mandate"),
    "CollateralNotAllowed": ("emergency_collateral", "name one of the collaterals"),
    "HopsOutOfRange": ("max_hops", "write 1 to 3"),
    "AssetWithoutPrice": ("move", "name a market whose oracle has a price for it"),
    "TargetOutOfRange": ("target", "write at least max_health_to_act and at most 10"),
}
"""Of the refusals that the configuration's own checks cannot see without the contract."""


async def check_terms(ground: MandateGround) -> None:
    """Look at its pools, and have the guardian's own code look at the rest, deployed or not.

    Raises `ConfigurationError`, with the named error where the guardian would refuse it."""
    for address, pool in zip(ground.intended.mandate.pools, ground.found.survey.pools, strict=True):
        flaw = pool_flaw(address, pool)
        if flaw is not None:
            raise ground.settings.error(
                "mandates",
                ground.name,
                "pools",
                what=flaw.what,
                why="collateral would be sold there",
                fix=flaw.fix,
            )
    rpc = Rpc(ground.settings.chain.rpc_url)
    guardian = ground.intended.guardian
    meant = ground.intended
    calls = [set_mandate(meant.market, meant.mandate)]
    if meant.move is not None:
        calls.append(allowing_move(meant, meant.move).data)
    code = "0x" + ground.code.at(ground.owner).hex()
    try:
        for data in calls:
            call = {"from": ground.owner, "to": guardian, "data": "0x" + data.hex()}
            await rpc.call("eth_call", call, ground.at, {guardian: {"code": code}})
    except RpcError as error:
        raise _refused(ground, error) from None
    finally:
        await rpc.close()


def _refused(ground: MandateGround, error: RpcError) -> ConfigurationError:
    said = ground.code.refusal(error.revert) or error.message
    key, fix = FIXES.get(said.partition(":")[0], ("", "correct the mandate"))
    path = ("mandates", ground.name, key) if key else ("mandates", ground.name)
    return ground.settings.error(
        *path,
        what=f"the guardian refuses this mandate: {said}",
        why="it checks every term",
        fix=fix,
    )
