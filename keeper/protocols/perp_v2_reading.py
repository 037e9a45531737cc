"""Reading all accounts of a Perp v2 venue at one block.

One round trip while the accounts trade the markets they traded before; two at first sight, or when
an account is in a market that was not read for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from keeper.abi.words import split_words, word_to_address, word_to_signed
from keeper.model.alerts import Severity
from keeper.model.reading import CallFailedError, Reading, ReadingError, Returns
from keeper.model.units import Address, Price
from keeper.model.values import NO_PURSES, PositionId, Purse
from keeper.policy.guards import Anomaly
from keeper.protocols.errors import UnreadablePositionError, revert_reason
from keeper.protocols.perp_v2_market import PerpVenue
from keeper.protocols.perp_v2_math import Q96, WAD18, pending_funding, premium_x96
from keeper.protocols.perp_v2_position import (
    Holding,
    Leg,
    MarginState,
    PerpPosition,
    PerpState,
    Terms,
)
from keeper.protocols.perp_v2_readset import (
    ACCOUNT_HEAD,
    PER_HOLDING,
    PER_LEG,
    PER_MARGIN,
    PER_PERP,
    VENUE_HEAD,
    ReadSet,
)


def snapshot(
    market: PerpVenue,
    accounts: tuple[Address, ...],
    *,
    timestamp: int,
    known: ReadSet | None = None,
    purses: Mapping[Address, Purse] = NO_PURSES,
) -> Reading["PerpSnapshot"]:
    """All accounts at one block, whose timestamp is given; `known` is the last snapshot's.

    Raises `CallFailedError` if a contract of the venue itself does not answer. An account that
    cannot be valued spoils only itself.
    """
    reads = known
    if reads is None or reads.venue != market or reads.accounts != accounts:
        reads = ReadSet.build(market, accounts, purses, {})
    returns = yield reads.calls
    wanted = reads.reading(_legs(reads, returns), returns.word(10))
    if not _covers(reads, wanted):
        reads = wanted
        returns = yield reads.calls
        wanted = reads.reading(_legs(reads, returns), returns.word(10))
    venue = reads.venue
    terms, perps, margins = _terms(returns), _perp_states(reads, returns), _margins(venue, returns)
    positions: dict[Address, PerpPosition | ReadingError] = {}
    for account in accounts:
        try:
            positions[account] = _position(
                reads, returns, account, terms, perps, margins, timestamp
            )
        except ReadingError as error:
            positions[account] = error
    return PerpSnapshot(
        venue=venue,
        timestamp=timestamp,
        terms=terms,
        perps=perps,
        margins=margins,
        known=wanted,
        positions=positions,
    )


def _legs(reads: ReadSet, returns: Returns) -> dict[Address, tuple[int, ...]]:
    """By account, the places of the listed markets it is in; those not listed are told later."""
    places = {perp.token.address: place for place, perp in enumerate(reads.venue.perps)}
    return {
        account: tuple(places[t] for t in _addresses(returns, head) if t in places)
        for account, head in reads.heads.items()
    }


def _covers(reads: ReadSet, wanted: ReadSet) -> bool:
    return reads.twap_s == wanted.twap_s and all(
        set(wanted.legs.get(each, ())) <= set(reads.legs.get(each, ())) for each in reads.accounts
    )


def _addresses(returns: Returns, index: int) -> tuple[Address, ...]:
    """A returned list of addresses: an offset, a length, the items. None where the call failed."""
    if not returns.ok(index):
        return ()
    return tuple(map(word_to_address, split_words(returns.output(index))[2:]))


def _terms(returns: Returns) -> Terms:
    words = [returns.word(index) for index in range(VENUE_HEAD)]
    return Terms(
        mm_ratio=words[0],
        im_ratio=words[1],
        mm_ratio_buffer=words[2],
        debt_ratio=words[3],
        penalty_ratio=words[4],
        settlement_room=max(words[5] - words[6], 0),
        vault_paused=bool(words[7]),
        house_paused=bool(words[8]),
        max_margin_tokens=words[9],
        liquidation_ratio=words[12],
        insurance_ratio=words[13],
    )


def _perp_states(reads: ReadSet, returns: Returns) -> tuple[PerpState | None, ...]:
    """None where a market's price cannot be read: its positions cannot be valued."""
    found: list[PerpState | None] = []
    answered = returns.has_word()
    for place, perp in enumerate(reads.venue.perps):
        at = VENUE_HEAD + PER_PERP * place
        is_open = bool(returns.word(at))
        closed = bool(answered[at + 3])
        # getClosedPrice answers for a closed market only; the mark is none where it is not open.
        priced = at + 1 if is_open else at + 3 if closed else at + 2
        if not (answered[priced] and answered[at + 5]):
            found.append(None)
            continue
        halted = None
        if not is_open:
            halted = f"trading in {perp.token.symbol} is {'closed' if closed else 'paused'}"
        elif returns.word(at + 4) == 0:
            halted = f"trading in {perp.token.symbol} is stopped by its exchange"
        root, funding_root = returns.word(at + 5), returns.word(at + 6) if answered[at + 6] else 0
        premium = 0
        if is_open and funding_root and answered[at + 7]:
            average_x96 = funding_root * funding_root // Q96
            premium = premium_x96(average_x96, returns.word(at + 7), returns.word(11))
        found.append(
            PerpState(
                perp=perp,
                price=returns.word(priced),
                market_price=root * root // Q96 * WAD18 // Q96,
                premium_x96=premium,
                index_price=returns.word(at + 8) if answered[at + 8] else 0,
                halted=halted,
            )
        )
    return tuple(found)


def _margins(venue: PerpVenue, returns: Returns) -> tuple[MarginState | None, ...]:
    """None where a token's price cannot be read."""
    found: list[MarginState | None] = []
    answered = returns.has_word()
    for place, margin in enumerate(venue.margins):
        at = VENUE_HEAD + PER_PERP * len(venue.perps) + PER_MARGIN * place
        if not answered[at : at + PER_MARGIN].all():
            found.append(None)
            continue
        _, ratio, discount, cap = split_words(returns.output(at))[:4]
        found.append(
            MarginState(
                margin=margin,
                price=returns.word(at + 1),
                collateral_ratio=ratio,
                discount_ratio=discount,
                room=max(cap - returns.word(at + 2), 0),
            )
        )
    return tuple(found)


def _position(
    reads: ReadSet,
    returns: Returns,
    account: Address,
    terms: Terms,
    perps: tuple[PerpState | None, ...],
    margins: tuple[MarginState | None, ...],
    timestamp: int,
) -> PerpPosition:
    venue, at = reads.venue, reads.heads[account]
    id_ = PositionId(chain_id=venue.chain_id, market=venue.name, account=account)
    _refuse_unlisted(id_, venue, _addresses(returns, at), _addresses(returns, at + 1))
    try:
        pnl = [word_to_signed(word) for word in split_words(returns.output(at + 3))]
    except CallFailedError as error:
        reason = revert_reason(error.output, {})
        raise UnreadablePositionError(id_, f"the venue cannot value it: {reason}") from error
    holdings_at = at + ACCOUNT_HEAD
    legs_at = holdings_at + PER_HOLDING * len(venue.margins)
    used = set(_legs(reads, returns)[account])
    legs = tuple(
        _leg(id_, returns, legs_at + PER_LEG * n, venue, perps[place], place)
        for n, place in enumerate(reads.legs.get(account, ()))
        if place in used
    )
    position = PerpPosition(
        id=id_,
        venue=venue,
        timestamp=timestamp,
        terms=terms,
        balance=word_to_signed(returns.word(at + 2)),
        owed_pnl=pnl[0],
        debt_threshold=returns.word(at + 4),
        legs=legs,
        holdings=tuple(_holdings(id_, returns, holdings_at, margins)),
        wallet=returns.word(at + 5),
        allowance=returns.word(at + 6),
    )
    unrealised = sum(leg.value + leg.open_notional for leg in legs)
    if unrealised != pnl[1]:
        raise UnreadablePositionError(
            id_,
            f"the venue counts {pnl[1]} of unrealised profit where Perp v2 2.8.4 would count "
            f"{unrealised}: it is another version",
        )
    return position


def _refuse_unlisted(
    position: PositionId,
    venue: PerpVenue,
    bases: tuple[Address, ...],
    margins: tuple[Address, ...],
) -> None:
    known = {perp.token.address for perp in venue.perps}
    for token in bases:
        if token not in known:
            raise UnreadablePositionError(
                position, f"it is in market {token}, which `base_tokens` does not list"
            )
    known = {margin.token.address for margin in venue.margins}
    for token in margins:
        if token not in known:
            raise UnreadablePositionError(
                position, f"its margin is in token {token}, which `collateral_tokens` does not list"
            )


def _leg(
    position: PositionId,
    returns: Returns,
    at: int,
    venue: PerpVenue,
    state: PerpState | None,
    place: int,
) -> Leg:
    symbol = venue.perps[place].token.symbol
    if state is None:
        raise UnreadablePositionError(position, f"the venue has no price for {symbol}")
    if split_words(returns.output(at + 1))[1:2] != (0,):
        raise UnreadablePositionError(
            position,
            f"it makes the market in {symbol}: a maker's size follows the price, which keeper does "
            "not value. Remove its liquidity orders, or do not protect it",
        )
    size, notional, since = map(word_to_signed, split_words(returns.output(at))[:3])
    return Leg(
        state=state,
        size=size,
        open_notional=notional,
        since_x96=since,
        funding=word_to_signed(returns.word(at + 2)),
    )


def _holdings(
    position: PositionId, returns: Returns, at: int, margins: tuple[MarginState | None, ...]
) -> Iterator[Holding]:
    for place, state in enumerate(margins):
        start = at + PER_HOLDING * place
        balance = word_to_signed(returns.word(start))
        if state is None:
            if balance:
                raise UnreadablePositionError(position, "the venue cannot price its margin")
            continue
        yield Holding(
            state=state,
            balance=balance,
            wallet=returns.word(start + 1),
            allowance=returns.word(start + 2),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerpSnapshot:
    """A venue and its accounts at one block."""

    venue: PerpVenue
    timestamp: int
    terms: Terms
    perps: tuple[PerpState | None, ...]
    margins: tuple[MarginState | None, ...]
    known: ReadSet
    """What to pass to the next reading: the calls for the markets traded now."""
    positions: Mapping[Address, PerpPosition | ReadingError]

    def position(self, account: Address) -> PerpPosition:
        """In exact integers. Raises `UnreadablePositionError`, or `KeyError` for an account that
        was not asked for."""
        found = self.positions[account]
        if isinstance(found, ReadingError):
            raise found
        return found

    def price(self, token: Address) -> Price | None:
        """What the venue counts a margin token at, and the index of a base token; None for others."""
        if token == self.venue.settlement.address:
            return Price(value=10**8, decimals=8, updated_at=self.timestamp)
        for state in self.margins:
            if state is not None and state.margin.token.address == token and state.price > 0:
                return Price(
                    value=state.price,
                    decimals=state.margin.price_decimals,
                    updated_at=self.timestamp,
                )
        for perp in self.perps:
            if perp is not None and perp.perp.token.address == token and perp.index_price > 0:
                return Price(value=perp.index_price, decimals=18, updated_at=self.timestamp)
        return None

    def paid(self) -> dict[str, float]:
        """What the pools pay, in USD, by the label of the mark that follows them."""
        return {
            mark_label(self.venue, state): state.market_price / WAD18
            for state in self.perps
            if state is not None and state.halted is None
        }

    def halts(self) -> Iterator[Anomaly]:
        """What the venue's owner has stopped."""
        if self.terms.house_paused or self.terms.vault_paused:
            what = "ClearingHouse" if self.terms.house_paused else "Vault"
            yield Anomaly(
                name="venue.paused",
                source=self.venue.clearing_house,
                text=f"{self.venue.name}: the venue's {what} is paused",
                severity=Severity.CRITICAL,
            )
        for state in self.perps:
            if state is not None and state.halted is not None:
                yield Anomaly(
                    name="market.halted",
                    source=state.perp.token.address,
                    text=f"{self.venue.name}: {state.halted}",
                    severity=Severity.CRITICAL,
                )

    def revalued(self, position: PerpPosition) -> PerpPosition:
        """The same account before what happened in this block, at this block: its timestamp, prices,
        parameters, and the funding owed by then.

        Whatever settles funding leaves the growth by which it did, so that what the account owed
        just before is known to the last unit. A position that ended with it leaves nothing: then
        the funding it owed when it was read stands."""
        states = {s.perp.token.address: s for s in self.perps if s is not None}
        margins = {s.margin.token.address: s for s in self.margins if s is not None}
        now = self.positions.get(position.id.account)
        after = now if isinstance(now, PerpPosition) else None
        return replace(
            position,
            timestamp=self.timestamp,
            terms=self.terms,
            debt_threshold=after.debt_threshold if after else position.debt_threshold,
            legs=tuple(_revalued_leg(leg, states, after) for leg in position.legs),
            holdings=tuple(
                replace(h, state=margins.get(h.state.margin.token.address, h.state))
                for h in position.holdings
            ),
        )


def _revalued_leg(leg: Leg, states: Mapping[Address, PerpState], after: PerpPosition | None) -> Leg:
    token = leg.state.perp.token.address
    there = None if after is None else after.leg(token)
    funding = leg.funding
    if there is not None and there.since_x96 == leg.since_x96:
        funding = there.funding
    elif there is not None:
        funding = pending_funding(leg.size, there.since_x96, leg.since_x96)
    return replace(leg, state=states.get(token, leg.state), funding=funding)


def mark_label(venue: PerpVenue, state: PerpState) -> str:
    """Names a market's mark among all readings of the chain."""
    return f"{venue.name} mark {state.perp.token.address} {state.perp.token.symbol}"
