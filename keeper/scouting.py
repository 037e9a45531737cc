"""What an account has on the protocols that keeper knows, on a chain that no settings describe yet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

from keeper.admission import is_local
from keeper.chain.heads import Heads
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.chain.settings import MULTICALL3
from keeper.config.networks import Network, network
from keeper.config.settings import MarketSettings
from keeper.model.reading import ReadingError
from keeper.model.units import Address, Amount, Wei
from keeper.model.values import Head, PositionState
from keeper.protocols.perp_v2_scouting import used
from keeper.protocols.registry import PROTOCOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One account in one market."""

    market: MarketSettings
    account: Address
    state: PositionState
    collaterals: tuple[Amount, ...] = ()
    debts: tuple[Amount, ...] = ()
    """Of a loan, by token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scouted:
    """A chain, and what was found there."""

    chain_id: int
    known: Network | None
    local: bool
    head: Head
    positions: tuple[Seen, ...]
    passed_over: Mapping[str, str]
    """Markets and positions that cannot be kept, each with the reason."""
    codes: Mapping[Address, bool]
    """Of the accounts: whether there is a contract."""

    @property
    def base_fee_wei(self) -> Wei:
        return self.head.base_fee_wei


async def scout(
    rpc_url: str, accounts: Sequence[Address], further: Iterable[MarketSettings]
) -> Scouted:
    """Look for the accounts in the chain's known markets and in `further` ones, at one block; what a
    venue has to be told, the accounts' own positions tell.

    Raises `EndpointUnavailableError`."""
    rpc = Rpc(rpc_url)
    try:
        chain_id = int(await rpc.read("eth_chainId"), 16)
        known = network(chain_id)
        head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
        reader = Reader(rpc, multicall=MULTICALL3)
        markets = known.markets if known else {}
        own = (
            MarketSettings(name=name, protocol="aave_v3", entry=entry)
            for name, entry in markets.items()
        )
        found: list[Seen] = []
        passed_over: dict[str, str] = {}
        for place in _distinct([*further, *own]):
            try:
                found += await _in_market(reader, chain_id, head, place, accounts, passed_over)
            except ReadingError as error:
                passed_over[f"{place.name} ({place.entry})"] = " ".join(str(error).split())
        return Scouted(
            chain_id=chain_id,
            known=known,
            local=await is_local(rpc),
            head=head,
            positions=tuple(found),
            passed_over=passed_over,
            codes={each: await _has_code(rpc, each, head) for each in accounts},
        )
    finally:
        await rpc.close()


def _distinct(places: Iterable[MarketSettings]) -> list[MarketSettings]:
    """Each contract once, under the first name that it has; a name that another one has is numbered."""
    found: dict[Address, MarketSettings] = {}
    names: set[str] = set()
    for place in places:
        if place.entry in found:
            continue
        numbered = (f"{place.name}{number}" for number in count(2))
        name = next(each for each in chain([place.name], numbered) if each not in names)
        names.add(name)
        found[place.entry] = replace(place, name=name)
    return list(found.values())


async def _in_market(
    reader: Reader,
    chain_id: int,
    head: Head,
    place: MarketSettings,
    accounts: Sequence[Address],
    passed_over: dict[str, str],
) -> list[Seen]:
    """The accounts that have something there. One that cannot be read is added to `passed_over`."""
    if place.protocol == "perp_v2":
        listed = await _read(reader, head, used(place.entry, accounts))
        if not listed["base_tokens"]:
            return []
        place = replace(place, listed=listed)
    protocol = PROTOCOLS[place.protocol]
    reading = protocol.discover(
        place.entry, chain_id=chain_id, name=place.name, listed=place.listed
    )
    market = await _read(reader, head, reading)
    reading = protocol.snapshot(market, tuple(accounts), timestamp=head.timestamp)
    snapshot = await _read(reader, head, reading)
    states: list[tuple[Address, Any]] = []
    for account in accounts:
        try:
            states.append((account, snapshot.position(account)))
        except ReadingError as error:
            passed_over[f"{account} in {place.name}"] = " ".join(str(error).split())
    return [
        Seen(
            market=place,
            account=account,
            state=state,
            **(
                {"collaterals": state.collaterals, "debts": state.debts}
                if place.protocol == "aave_v3"
                else {}
            ),
        )
        for account, state in states
        if state.collateral_usd8 or state.debt_usd8
    ]


async def _read(reader: Reader, head: Head, reading: Any) -> Any:
    (value,), _ = await reader.read([reading], at=head.hash)
    if isinstance(value, ReadingError):
        raise value
    return value


async def _has_code(rpc: Rpc, account: Address, head: Head) -> bool:
    return bool(await rpc.read("eth_getCode", account, {"blockHash": head.hash}) != "0x")
