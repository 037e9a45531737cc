"""Reading all accounts of an Aave 3.0 market at one block.

One round trip while the accounts use the reserves they used before; two at first sight, or when
an account's bitmap shows a reserve that was not read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from keeper.abi.words import word_to_address
from keeper.model.alerts import Severity
from keeper.model.reading import Reading, Returns
from keeper.model.units import Address, Bps, Price, Ray
from keeper.model.values import NO_PURSES, PositionId, Purse
from keeper.policy.guards import Anomaly
from keeper.protocols.aave_v3_market import (
    SUPPORTED_POOL_REVISIONS,
    AaveMarket,
    UnsupportedRevisionError,
    category_data,
    category_key,
    reserve_data,
    static_words,
)
from keeper.protocols.aave_v3_position import AavePosition, Leg
from keeper.protocols.aave_v3_readset import (
    MARKET_HEAD,
    PER_RESERVE,
    Bytes,
    Field,
    Flags,
    ReadSet,
)
from keeper.protocols.aave_v3_reserve import EModeCategory, ReserveConfiguration, ReserveState
from keeper.protocols.errors import MarketChangedError, UnreadablePositionError


def snapshot(
    market: AaveMarket,
    accounts: tuple[Address, ...],
    *,
    timestamp: int,
    known: ReadSet | None = None,
    purses: Mapping[Address, Purse] = NO_PURSES,
) -> Reading["AaveSnapshot"]:
    """All accounts at one block, whose timestamp is given; `known` is the last snapshot's. `purses`
    names the reserves of accounts that do not pay from their own wallets.

    Raises `MarketChangedError` or `UnsupportedRevisionError` if the market is no longer as
    discovered, `CallFailedError` if a contract of the market itself does not answer. A price or an
    account that cannot be read spoils only the positions that need it.
    """
    reads = known
    if reads is None or reads.market != market or reads.accounts != accounts:
        reads = ReadSet.first(market, accounts, purses)
    returns = yield reads.calls
    _refuse_if_changed(market, returns)
    if (returns.words()[reads.heads] & ~reads.bitmaps).any():
        reads = reads.for_bitmaps(returns.words()[reads.heads])
        returns = yield reads.calls
    words = returns.words()
    bitmaps = words[reads.heads]
    return AaveSnapshot(
        market=market,
        timestamp=timestamp,
        reserves=_reserve_states(market, returns),
        categories=_categories(market, returns),
        known=reads.for_bitmaps(bitmaps),
        reads=reads,
        words=words,
        bits=np.unpackbits(bitmaps, axis=1)[:, ::-1].astype(np.bool_),
        e_modes=words[reads.heads + 1, -1],
        answered=np.logical_and.reduceat(returns.has_word(), reads.heads),
    )


def _refuse_if_changed(market: AaveMarket, returns: Returns) -> None:
    if returns.word(0) not in SUPPORTED_POOL_REVISIONS:
        raise UnsupportedRevisionError(market.provider, returns.word(0))
    if (oracle := word_to_address(returns.word(1))) != market.oracle:
        raise MarketChangedError(f"{market.name}: the oracle is now {oracle}")


def _reserve_states(market: AaveMarket, returns: Returns) -> tuple[ReserveState, ...]:
    priced = returns.has_word()
    states = []
    for place, reserve in enumerate(market.reserves):
        at = MARKET_HEAD + PER_RESERVE * place
        stored = reserve_data(returns, at)
        principal, _, average_rate, stable_updated_at = static_words(returns, at + 4, 4)
        states.append(
            ReserveState(
                reserve=reserve,
                configuration=ReserveConfiguration(stored[0]),
                price=returns.word(at + 1) if priced[at + 1] else None,
                liquidity_index=Ray(stored[1]),
                liquidity_rate=Ray(stored[2]),
                variable_index=Ray(stored[3]),
                variable_rate=Ray(stored[4]),
                updated_at=stored[6],
                accrued_to_treasury_scaled=stored[12],
                supplied_scaled=returns.word(at + 2),
                variable_debt_scaled=returns.word(at + 3),
                stable_debt_principal=principal,
                average_stable_rate=Ray(average_rate),
                stable_updated_at=stable_updated_at,
            )
        )
    known = {0} | {category.index for category in market.categories}
    for state in states:
        if state.configuration.e_mode_category not in known:
            symbol = state.reserve.token.symbol
            raise MarketChangedError(f"{market.name}: {symbol} joined another efficiency mode")
    return tuple(states)


def _categories(market: AaveMarket, returns: Returns) -> Mapping[int, EModeCategory]:
    priced = returns.has_word()
    at = MARKET_HEAD + PER_RESERVE * len(market.reserves)
    found = {}
    for category in market.categories:
        static = category_data(returns, at)
        at += 1
        if category_key(static) != category.price_key:
            raise MarketChangedError(f"{market.name}: efficiency mode {category.index} repriced")
        price: int | None = 0
        if category.price_key is not None:
            price = returns.word(at) if priced[at] else None
            at += 1
        found[category.index] = EModeCategory(
            index=category.index,
            max_ltv=Bps(static[0]),
            liquidation_threshold=Bps(static[1]),
            liquidation_bonus=Bps(static[2]),
            price=price,
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AaveSnapshot:
    """A market and its accounts at one block."""

    market: AaveMarket
    timestamp: int
    reserves: tuple[ReserveState, ...]
    categories: Mapping[int, EModeCategory]
    known: ReadSet
    """What to pass to the next reading: the calls for the reserves used now."""
    reads: ReadSet
    """The calls made, of which `words` are the answers."""
    words: Bytes
    bits: Flags
    """The accounts' bitmaps, lowest bit first, (accounts, 256)."""
    e_modes: Bytes
    """The accounts' efficiency modes, (accounts,)."""
    answered: Flags
    """Which accounts' calls all succeeded, (accounts,)."""

    def position(self, account: Address) -> AavePosition:
        """In exact integers. Raises `UnreadablePositionError`, or `KeyError` for an account that
        was not asked for."""
        place = self.reads.places[account]
        position = PositionId(
            chain_id=self.market.chain_id, market=self.market.name, account=account
        )
        if not self.answered[place]:
            raise UnreadablePositionError(position, "a call for it failed")
        first, last = np.searchsorted(self.reads.leg_account, [place, place + 1])
        legs = [self._leg(place, leg) for leg in range(first, last)]
        return AavePosition(
            id=position,
            market=self.market,
            timestamp=self.timestamp,
            e_mode=self.categories.get(int(self.e_modes[place])),
            legs=tuple(leg for leg in legs if leg.is_collateral or leg.is_borrowed),
        )

    def _leg(self, place: int, leg: int) -> Leg:
        state = self.reserves[self.reads.leg_reserve[leg]]
        is_borrowed, is_collateral = self.bits[place, 2 * state.reserve.index :][:2].tolist()
        rows = self.reads.leg_rows[leg].tolist()

        def value(field: Field, *, counts: bool) -> int:
            if not counts:
                return 0
            return int.from_bytes(self.words[rows[field]].tobytes(), "big")

        return Leg(
            state=state,
            is_collateral=is_collateral,
            is_borrowed=is_borrowed,
            collateral_scaled=value(Field.COLLATERAL, counts=is_collateral),
            variable_debt_scaled=value(Field.VARIABLE_DEBT, counts=is_borrowed),
            stable_debt_principal=value(Field.STABLE_PRINCIPAL, counts=is_borrowed),
            stable_rate=Ray(value(Field.STABLE_RATE, counts=is_borrowed)),
            stable_updated_at=value(Field.STABLE_UPDATED_AT, counts=is_borrowed),
            wallet=value(Field.WALLET, counts=True),
            allowance=value(Field.ALLOWANCE, counts=True),
            collateral_allowance=value(
                Field.COLLATERAL_ALLOWANCE, counts=rows[Field.COLLATERAL_ALLOWANCE] >= 0
            ),
        )

    def price(self, token: Address) -> Price | None:
        """The oracle's price of a token that the market lists; None if it gives none."""
        for state in self.reserves:
            if state.reserve.token.address == token and state.price:
                return Price(value=state.price, decimals=8, updated_at=self.timestamp)
        return None

    def paid(self) -> Mapping[str, float]:
        """Nothing: a pool does not know what its assets fetch elsewhere."""
        return {}

    def halts(self) -> Iterator[Anomaly]:
        """The reserves in which governance has stopped some or all actions."""
        for state in self.reserves:
            token, configuration = state.reserve.token, state.configuration
            if configuration.paused or configuration.frozen:
                how = "paused" if configuration.paused else "frozen"
                yield Anomaly(
                    name=f"reserve.{how}",
                    source=token.address,
                    text=f"{self.market.name}: the pool's {token.symbol} reserve is {how}",
                    severity=Severity.CRITICAL if configuration.paused else Severity.WARNING,
                )

    def revalued(self, position: AavePosition) -> AavePosition:
        """The same balances at this block: its timestamp, prices, indexes and parameters."""
        states = {state.reserve.index: state for state in self.reserves}
        mode = position.e_mode
        return replace(
            position,
            timestamp=self.timestamp,
            e_mode=self.categories.get(mode.index) if mode is not None else None,
            legs=tuple(
                replace(leg, state=states[leg.state.reserve.index]) for leg in position.legs
            ),
        )
