"""What is watched, and one block's snapshot of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import structlog

from keeper.chain.pool import Endpoint
from keeper.chain.reader import Reader
from keeper.mandate.guardian import Guard
from keeper.model.book import Book
from keeper.model.reading import Calls, Reading, ReadingError
from keeper.model.units import Address, Price, Token
from keeper.model.values import (
    NO_PURSES,
    NOTHING_LISTED,
    Action,
    Head,
    LiquidationTerms,
    Listed,
    Option,
    Payment,
    PositionId,
    PositionState,
    ProtocolCall,
    Purse,
    Reduction,
    Spending,
    Unwind,
)
from keeper.policy.guards import Anomaly
from keeper.policy.rule import Rule
from keeper.policy.settings import Policy

log = structlog.get_logger()


class Rows(Protocol):
    """Row i of the book is of `accounts[i]`, which may have several: its boundary is the nearest of
    theirs. Accounts that cannot be read are left out."""

    @property
    def accounts(self) -> tuple[Address, ...]: ...
    @property
    def book(self) -> Book: ...


class Known(Protocol):
    """What a protocol remembers of its last reading, so that the next one costs one round trip."""

    @property
    def calls(self) -> Calls: ...
    def only(self, account: Address) -> "Known": ...


class MarketSnapshot(Protocol):
    """A market and its accounts at one block."""

    @property
    def known(self) -> Any: ...
    def position(self, account: Address) -> Any: ...
    def revalued(self, position: Any) -> Any: ...
    def price(self, token: Address) -> Price | None: ...
    def halts(self) -> Iterable[Anomaly]: ...
    def paid(self) -> Mapping[str, float]:
        """What the market pays now, in the quote currency, by the label of a column that follows
        it; where the reading itself tells."""
        ...


class Adapter(Protocol):
    """A protocol: which calls to make, how to decode them, what actions do. No I/O."""

    def discover(
        self, provider: Address, *, chain_id: int, name: str, listed: Listed = NOTHING_LISTED
    ) -> Reading[Any]: ...
    def price_sources(self, market: Any) -> tuple[Address, ...]: ...
    def contracts(self, market: Any) -> tuple[Address, ...]: ...
    def deltas(self, position: Any) -> Mapping[Address, float]:
        """By feed, of how many whole tokens the position's worth follows the price; for people."""
        ...

    def hedges(self, market: Any) -> Mapping[Address, str]:
        """By feed, the name of a market in which exposure to its price can be bought and sold."""
        ...

    def derived_tokens(self, market: Any) -> Mapping[Address, str]: ...
    def exposure(self, position: Any) -> frozenset[Address]: ...
    def snapshot(
        self,
        market: Any,
        accounts: tuple[Address, ...],
        *,
        timestamp: int,
        known: Any = None,
        purses: Mapping[Address, Purse] = NO_PURSES,
    ) -> Reading[Any]: ...
    def book_rows(self, snapshot: Any) -> Rows: ...
    def options(self, position: Any) -> tuple[Option, ...]: ...
    def unwinds(self, position: Any) -> tuple[Unwind, ...]: ...
    def reductions(self, position: Any) -> tuple[Reduction, ...]: ...
    def objection(self, action: Action, position: Any) -> str | None:
        """Why the protocol would refuse an action of this size, as far as that can be told."""
        ...

    def predict(self, action: Action, position: Any, at: int) -> PositionState: ...
    def encode(self, action: Payment, position: Any) -> ProtocolCall: ...
    def tokens(self, market: Any) -> Mapping[Address, Token]:
        """What its calls and a guardian's may take, by address; first what margin is paid in."""
        ...

    def payees(self, market: Any) -> tuple[Address, ...]:
        """Who takes it by an allowance."""
        ...

    def spending(self, market: Any, to: Address, data: bytes) -> Spending | None:
        """What a call takes; None if it is none of those that `encode` makes."""
        ...

    def liquidation_terms(self, position: Any) -> LiquidationTerms: ...
    def matches(self, predicted: Any, reread: Any) -> tuple[str, ...]: ...
    def decode_error(self, revert: bytes) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One position and the policy that protects it."""

    id: PositionId
    label: str
    policy: Policy
    guard: Guard | None = None
    """The guardian that acts for the account; None where the signer's key is the account's own."""
    rule: Rule | None = None
    """What the policy is fitted to the position by; None where its figures are meant as they stand."""


class WatchedMarket:
    """A market, found from its provider's address, with the accounts watched in it."""

    def __init__(
        self,
        adapter: Adapter,
        *,
        provider: Address,
        name: str,
        chain_id: int,
        accounts: tuple[Address, ...],
        purses: Mapping[Address, Purse] = NO_PURSES,
        listed: Listed = NOTHING_LISTED,
    ) -> None:
        """`purses` names the reserves of accounts that do not pay from their own wallets, `listed`
        what the market does not list itself."""
        self.adapter = adapter
        self.provider = provider
        self._purses = purses
        self._listed = listed
        self.name = name
        self.accounts = accounts
        self._chain_id = chain_id
        self._discovered: Any = None
        self._market: Any = None
        self._known: Any = None
        self.newest: MarketSnapshot | None = None
        """As the last pass saw it."""

    async def discover(self, reader: Reader, head: Head) -> None:
        """Read what stays the same from block to block. Raises `ReadingError`."""
        reading = self.adapter.discover(
            self.provider, chain_id=self._chain_id, name=self.name, listed=self._listed
        )
        (found,), _ = await reader.read([reading], at=head.hash)
        if isinstance(found, Exception):
            raise found
        if found != self._market:
            log.info("market.discovered", market=self.name)
            self._discovered = found

    @property
    def feeds(self) -> tuple[Address, ...]:
        """The feeds behind its prices; none before it has been discovered."""
        market = self._discovered or self._market
        return () if market is None else self.adapter.price_sources(market)

    @property
    def contracts(self) -> tuple[Address, ...]:
        """What it consists of; nothing before it has been discovered."""
        market = self._discovered or self._market
        return () if market is None else self.adapter.contracts(market)

    @property
    def derived_tokens(self) -> Mapping[Address, str]:
        """The market's own tokens, each with what it is; none before it has been discovered."""
        market = self._discovered or self._market
        return {} if market is None else self.adapter.derived_tokens(market)

    @property
    def market(self) -> Any:
        """As the adapter knows it; None before it has been read."""
        return self._market

    @property
    def hedges(self) -> Mapping[Address, str]:
        """Where exposure to a feed's price can be traded; nowhere before it has been discovered."""
        market = self._discovered or self._market
        return {} if market is None else self.adapter.hedges(market)

    def reading(self, head: Head) -> Reading[Any]:
        """All its accounts at a block, in the market as last discovered: a pass that is under way
        ends with the one it began with."""
        if self._discovered is not None:
            self._market, self._known, self._discovered = self._discovered, None, None
        return self.reread_all(head)

    def reread_all(self, head: Head) -> Reading[Any]:
        """The same once more, for another endpoint to answer."""
        return self.adapter.snapshot(
            self._market,
            self.accounts,
            timestamp=head.timestamp,
            known=self._known,
            purses=self._purses,
        )

    def remember(self, snapshot: MarketSnapshot) -> None:
        """Let the next reading profit from this one."""
        self._known = snapshot.known
        self.newest = snapshot

    def reread_calls(self, account: Address) -> Calls:
        """The calls of `reread`, to be appended to a simulation."""
        calls: Calls = self._known.only(account).calls
        return calls

    def reread(self, account: Address, returns: Any, timestamp: int) -> MarketSnapshot:
        """The snapshot of one account that those calls returned. Raises `ReadingError`."""
        reading = self.adapter.snapshot(
            self._market,
            (account,),
            timestamp=timestamp,
            known=self._known.only(account),
            purses=self._purses,
        )
        next(reading)
        try:
            reading.send(returns)
        except StopIteration as stop:
            snapshot: MarketSnapshot = stop.value
            return snapshot
        raise ReadingError("the action opens a reserve that was not read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything watched at one head. `positions` has one entry per watched row, or the reason why
    it could not be read."""

    head: Head
    markets: Mapping[str, MarketSnapshot]
    positions: tuple[PositionState | ReadingError, ...]
    swaps_blocked: Mapping[PositionId, str] = field(default_factory=lambda: MappingProxyType({}))
    """Why nothing may be swapped for a position now. A payment into it is never blocked."""
    nonces: Mapping[Address, int] = field(default_factory=lambda: MappingProxyType({}))
    """Of the signers whose keys are here, as far as the node told."""
    reader: Endpoint | None = None
    """Whose word all of this is; None where nothing is sent on it."""

    def price(self, token: Address | None) -> Price | None:
        """What any of its markets says of a token; None if none does."""
        if token is None:
            return None
        found = (market.price(token) for market in self.markets.values())
        return next((price for price in found if price is not None), None)


def assemble(
    head: Head,
    watched: Sequence[Watched],
    markets: Sequence[WatchedMarket],
    values: Sequence[Any],
) -> Snapshot:
    """One market that cannot be read spoils its own positions only."""
    failed: dict[str, ReadingError] = {}
    read: dict[str, MarketSnapshot] = {}
    for market, value in zip(markets, values, strict=True):
        if isinstance(value, ReadingError):
            failed[market.name] = value
            log.error("market.unreadable", market=market.name, reason=str(value))
        else:
            read[market.name] = value
    return Snapshot(
        head=head,
        markets=MappingProxyType(read),
        positions=tuple(
            failed.get(row.id.market) or _position(read[row.id.market], row.id.account)
            for row in watched
        ),
    )


def _position(snapshot: MarketSnapshot, account: Address) -> PositionState | ReadingError:
    try:
        position: PositionState = snapshot.position(account)
    except ReadingError as error:
        return error
    return position
