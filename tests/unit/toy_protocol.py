"""A protocol small enough to work by hand: ether counted at 80 % against a debt in dollars.

    health = ether × price × 0.8 / debt

The debt grows by a millionth of its principal an hour. Everything is exact integers, rounded
against the position.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from keeper.abi.words import Function, word_to_address
from keeper.model.book import QUOTE, Book, Column
from keeper.model.reading import Calls, Reading, ReadingError, Returns
from keeper.model.units import (
    WAD,
    Address,
    Amount,
    Bps,
    Price,
    Token,
    Wad,
    mul_div_down,
    mul_div_up,
)
from keeper.model.values import (
    NO_PURSES,
    NOTHING_LISTED,
    Action,
    AddCollateral,
    Deleverage,
    LiquidationTerms,
    Listed,
    Option,
    Payment,
    PositionId,
    ProtocolCall,
    Purse,
    Reduction,
    Repay,
    Spending,
    Unwind,
)
from keeper.policy.guards import Anomaly
from tests.unit.fake_rpc import address

CHAIN_ID = 31_337
ETHER = Token(address=address("e7"), symbol="ETHER", decimals=18)
DOLLAR = Token(address=address("d0"), symbol="DOLLAR", decimals=6)
LIQUIDATION_THRESHOLD_BPS = 8_000
HOUR_S = 3_600

PRICE = Function("price()")
POSITION = {
    name: Function(f"{name}(address)")
    for name in ("ether", "principal", "updatedAt", "etherWallet", "dollarWallet", "allowance")
}
ADD = Function("add(uint256)")
REPAY = Function("repay(uint256)")
FEED = Function("feed()")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyPosition:
    """Raw amounts; `price_usd8` is ether's."""

    id: PositionId
    ether: int
    principal: int
    updated_at: int
    price_usd8: int
    timestamp: int
    ether_wallet: int = 0
    dollar_wallet: int = 0
    allowance: int = 0
    blocked: str | None = None
    feed: Address | None = None

    @property
    def debt(self) -> int:
        """With interest, rounded up."""
        elapsed = self.timestamp - self.updated_at
        return self.principal + mul_div_up(self.principal, elapsed, 10**6 * HOUR_S)

    @property
    def collateral_usd8(self) -> int:
        return mul_div_down(self.ether, self.price_usd8, ETHER.unit)

    @property
    def debt_usd8(self) -> int:
        return self.debt * 100

    @property
    def health(self) -> Wad | None:
        if self.debt == 0:
            return None
        covered = mul_div_down(self.collateral_usd8, LIQUIDATION_THRESHOLD_BPS, 10_000)
        return Wad(mul_div_down(covered, WAD, self.debt_usd8))

    @property
    def terms_shown(self) -> dict[str, float | None]:
        return {}

    def accrued(self, timestamp: int) -> "ToyPosition":
        return replace(self, timestamp=timestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyMarket:
    """What a discovery finds."""

    address: Address
    name: str
    feed: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyKnown:
    """The calls that read some accounts."""

    market: Address
    accounts: tuple[Address, ...]
    calls: Calls = field(init=False)

    def __post_init__(self) -> None:
        calls = [PRICE(self.market)]
        for account in self.accounts:
            calls += [function(self.market, account) for function in POSITION.values()]
        object.__setattr__(self, "calls", tuple(calls))

    def only(self, account: Address) -> "ToyKnown":
        return ToyKnown(market=self.market, accounts=(account,))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToySnapshot:
    """A market and its accounts at one block."""

    market: ToyMarket
    known: ToyKnown
    price_usd8: int
    timestamp: int
    positions: Mapping[Address, ToyPosition | ReadingError]

    def position(self, account: Address) -> ToyPosition:
        found = self.positions[account]
        if isinstance(found, ReadingError):
            raise found
        return found

    def price(self, token: Address) -> Price | None:
        value = {ETHER.address: self.price_usd8, DOLLAR.address: 10**8}.get(token)
        return None if value is None else Price(value=value, decimals=8, updated_at=self.timestamp)

    def paid(self) -> Mapping[str, float]:
        return {}

    def halts(self) -> tuple[Anomaly, ...]:
        return ()

    def revalued(self, position: ToyPosition) -> ToyPosition:
        return replace(position, price_usd8=self.price_usd8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyRows:
    accounts: tuple[Address, ...]
    book: Book


class Toy:
    """The adapter. `unplannable` accounts make `options` fail as a bug would, `unencodable` ones
    `encode`, `unjudgeable` ones `matches`."""

    def __init__(self) -> None:
        self.unplannable: set[Address] = set()
        self.unencodable: set[Address] = set()
        self.unjudgeable: set[Address] = set()

    def discover(
        self,
        provider: Address,
        *,
        chain_id: int,
        name: str,
        listed: Listed = NOTHING_LISTED,  # noqa: ARG002 - it lists what it has
    ) -> Reading[ToyMarket]:
        assert chain_id == CHAIN_ID
        returns = yield (FEED(provider),)
        feed = word_to_address(returns.word(0))
        return ToyMarket(address=provider, name=name, feed=feed)

    def price_sources(self, market: ToyMarket) -> tuple[Address, ...]:
        return (market.feed,)

    def contracts(self, market: ToyMarket) -> tuple[Address, ...]:
        return (market.address,)

    def deltas(self, position: ToyPosition) -> dict[Address, float]:
        return {position.feed: position.ether / ETHER.unit} if position.feed else {}

    def hedges(self, market: ToyMarket) -> dict[Address, str]:
        return {market.feed: "ETHER-PERP"}

    def derived_tokens(self, market: ToyMarket) -> Mapping[Address, str]:
        return {address("a7"): f"the aToken of {market.address}"}

    def exposure(self, position: ToyPosition) -> frozenset[Address]:
        market = market_address(position.id.market)
        return frozenset({market} if position.feed is None else {market, position.feed})

    def snapshot(
        self,
        market: ToyMarket,
        accounts: tuple[Address, ...],
        *,
        timestamp: int,
        known: ToyKnown | None = None,
        purses: Mapping[Address, Purse] = NO_PURSES,  # noqa: ARG002 - toy accounts have wallets only
    ) -> Reading[ToySnapshot]:
        asked = known or ToyKnown(market=market.address, accounts=accounts)
        returns = yield asked.calls
        price = returns.word(0)
        width = len(POSITION)
        return ToySnapshot(
            market=market,
            known=asked,
            price_usd8=price,
            timestamp=timestamp,
            positions={
                account: _read(market, account, returns, 1 + width * place, price, timestamp)
                for place, account in enumerate(accounts)
            },
        )

    def book_rows(self, snapshot: ToySnapshot) -> ToyRows:
        read = {
            account: position
            for account, position in snapshot.positions.items()
            if isinstance(position, ToyPosition)
        }
        share = LIQUIDATION_THRESHOLD_BPS / 10_000
        return ToyRows(
            accounts=tuple(read),
            book=Book(
                C=np.array([[0.0, p.ether / ETHER.unit * share] for p in read.values()]).reshape(
                    -1, 2
                ),
                D=np.array([[p.debt / DOLLAR.unit, 0.0] for p in read.values()]).reshape(-1, 2),
                p=np.array([1.0, snapshot.price_usd8 / 1e8]),
                columns=(QUOTE, Column(source=snapshot.market.feed, label="ETHER")),
            ),
        )

    def options(self, position: ToyPosition) -> tuple[Option, ...]:
        if position.id.account in self.unplannable:
            raise ZeroDivisionError("a bug in an adapter")
        return (
            Option(
                kind="AddCollateral",
                source="wallet",
                gas=100_000,
                allowance=Amount(raw=position.allowance, token=ETHER),
                token=ETHER,
                held=Amount(raw=position.ether_wallet, token=ETHER),
                available=Amount(raw=position.ether_wallet, token=ETHER),
                price=Price(value=position.price_usd8, decimals=8, updated_at=position.timestamp),
                blocked=position.blocked,
                guardian_gas=100_000,
            ),
            Option(
                kind="Repay",
                source="wallet",
                gas=100_000,
                allowance=Amount(raw=position.allowance, token=DOLLAR),
                token=DOLLAR,
                held=Amount(raw=position.dollar_wallet, token=DOLLAR),
                available=Amount(raw=min(position.dollar_wallet, position.debt), token=DOLLAR),
                price=Price(value=10**8, decimals=8, updated_at=position.timestamp),
                blocked=position.blocked,
                guardian_gas=100_000,
            ),
        )

    def objection(self, action: Action, position: ToyPosition) -> str | None:  # noqa: ARG002
        return None

    def reductions(self, position: ToyPosition) -> tuple[Reduction, ...]:  # noqa: ARG002 - a loan
        return ()

    def unwinds(self, position: ToyPosition) -> tuple[Unwind, ...]:
        return (
            Unwind(
                token=DOLLAR,
                available=Amount(raw=position.debt, token=DOLLAR),
                price=Price(value=10**8, decimals=8, updated_at=position.timestamp),
                sells=ETHER,
                held=Amount(raw=position.ether, token=ETHER),
                allowance=Amount(raw=position.ether, token=ETHER),
                sells_price=Price(
                    value=position.price_usd8, decimals=8, updated_at=position.timestamp
                ),
                gas=300_000,
                slippage_cap=Bps(250),
                blocked=position.blocked,
            ),
        )

    def predict(self, action: Action, position: ToyPosition, at: int) -> ToyPosition:
        after = position.accrued(at)
        match action:
            case AddCollateral():
                return replace(
                    after,
                    ether=after.ether + action.amount.raw,
                    ether_wallet=after.ether_wallet - action.amount.raw,
                )
            case Repay():
                return replace(
                    after,
                    principal=after.debt - action.amount.raw,
                    updated_at=at,
                    dollar_wallet=after.dollar_wallet - action.amount.raw,
                )
            case Deleverage():
                return replace(
                    after,
                    principal=after.debt - action.amount.raw,
                    updated_at=at,
                    ether=after.ether - action.sold.raw,
                )
            case _:
                raise ValueError(f"a toy has no margin: {action}")

    def encode(self, action: Payment, position: ToyPosition) -> ProtocolCall:
        if position.id.account in self.unencodable:
            raise ZeroDivisionError("a bug in an adapter")
        add = isinstance(action, AddCollateral)
        call = (ADD if add else REPAY)(market_address(position.id.market), action.amount.raw)
        return ProtocolCall(
            kind="AddCollateral" if add else "Repay",
            to=call.target,
            data=call.data,
            spends=action.amount,
            allowance=Amount(raw=position.allowance, token=action.amount.token),
        )

    def tokens(self, _: ToyMarket) -> dict[Address, Token]:
        return {token.address: token for token in (ETHER, DOLLAR)}

    def payees(self, market: ToyMarket) -> tuple[Address, ...]:
        return (market_address(market.name),)

    def spending(self, market: ToyMarket, to: Address, data: bytes) -> Spending | None:
        for function, token in ((ADD, ETHER), (REPAY, DOLLAR)):
            words = function.decode(data)
            if words is not None and to == market_address(market.name):
                return Spending(account=None, token=token.address, raw=words[0])
        return None

    def liquidation_terms(self, _: object) -> LiquidationTerms:
        return LiquidationTerms(close_factor=Bps(5_000), liquidation_penalty=Bps(500))

    def matches(self, predicted: ToyPosition, reread: ToyPosition) -> tuple[str, ...]:
        if predicted.id.account in self.unjudgeable:
            raise ZeroDivisionError("a bug in an adapter")
        return tuple(
            f"{name} is {getattr(reread, name)}, predicted {getattr(predicted, name)}"
            for name in ("ether", "debt", "timestamp")
            if getattr(predicted, name) != getattr(reread, name)
        )

    def decode_error(self, revert: bytes) -> str:
        return revert.decode()


def market_address(name: str) -> Address:
    """Where the market of a name lives."""
    return address("0x" + name.encode().hex().ljust(40, "0"))


def _read(
    market: ToyMarket, account: Address, returns: Returns, start: int, price: int, timestamp: int
) -> ToyPosition | ReadingError:
    try:
        words = [returns.word(start + place) for place in range(len(POSITION))]
    except ReadingError as error:
        return error
    ether, principal, updated_at, ether_wallet, dollar_wallet, allowance = words
    return ToyPosition(
        id=PositionId(chain_id=CHAIN_ID, market=market.name, account=account),
        ether=ether,
        principal=principal,
        updated_at=updated_at,
        price_usd8=price,
        timestamp=timestamp,
        ether_wallet=ether_wallet,
        dollar_wallet=dollar_wallet,
        allowance=allowance,
        feed=market.feed,
    )
