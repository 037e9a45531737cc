"""What may be signed at all: asked right before every signature, whoever holds the key.

The plan is not asked: the calldata is decoded anew and held against the settings, so that neither a
fault of planning nor a changed journal gets anything else signed. Only exact calls that this keeper
makes pass, for the position they are signed for, within its policy's limits.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from keeper.abi.erc20 import APPROVE
from keeper.abi.words import word_to_address
from keeper.chain.transactions.seams import RunOnStore, SignatureRequest
from keeper.engine.watch import Watched, WatchedMarket
from keeper.mandate import guardian
from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.units import Address
from keeper.model.values import PositionId, Spending, Transaction
from keeper.policy.plan import DAY_S
from keeper.policy.size import usd8_up

FORBIDDEN = "signature.forbidden"
UNLIMITED = 2**255
"""An allowance from here on is meant as one without an end; no token has so many units."""
HEADROOM_PERCENT = 110
"""Of a policy's limits: plans are held to the limits themselves, and are valued by the prices of the
position, which an efficiency mode may take from another oracle than the market's own."""
MOST_SOLD_PERCENT = 160
"""Of what is bought: a mandate may allow a loss of half (1.5), and a swap may turn out 5 % worse than
quoted (guardian.TAKEN_HEADROOM_BPS)."""


class MovedSince(Protocol):
    """What the journal says was moved for a position; synchronous, called on the store's thread."""

    def __call__(self, position: PositionId, timestamp: int, /) -> int: ...


class BrokenRuleError(Exception):
    """A rule that is broken, in words."""


class Rulebook:
    """The rules of one keeper, made from its settings."""

    def __init__(
        self,
        *,
        chain_id: int,
        watched: Sequence[Watched],
        markets: Sequence[WatchedMarket],
        moved_since: MovedSince,
        run: RunOnStore,
        notifier: Notifier,
    ) -> None:
        self._chain_id = chain_id
        self._watched = {row.id: row for row in watched}
        self._markets: Mapping[str, WatchedMarket] = {market.name: market for market in markets}
        self._moved_since = moved_since
        self._run = run
        self._notifier = notifier

    async def objection(self, request: SignatureRequest, *, now: int) -> str | None:
        """The rule that forbids a signature, in words; None if it may be made. `now` is the newest
        head's time."""
        watched = self._watched.get(request.position)
        subject = str(request.position) if watched is None else watched.label
        try:
            worth = self._worth_of_what_is_allowed(request)
            if worth:
                moved = await self._run(self._moved_since, request.position, now - DAY_S)
                self._check_limits(request.position, worth, moved)
        except BrokenRuleError as broken:
            words = f"{request.transaction.purpose} is not signed: {broken}"
            self._notifier.notify(
                Alert(
                    name=FORBIDDEN,
                    subject=subject,
                    severity=Severity.CRITICAL,
                    text=words,
                )
            )
            return words
        self._notifier.resolve(FORBIDDEN, subject)
        return None

    def _worth_of_what_is_allowed(self, request: SignatureRequest) -> int:
        """USD with 8 decimals that the call may take; 0 where no limit is touched. What is
        signed again is the same call, at prices that may have risen since it was allowed."""
        transaction = request.transaction
        if not request.chain_id == request.position.chain_id == self._chain_id:
            raise BrokenRuleError(
                f"it is for chain {request.chain_id}, and the settings are for {self._chain_id}"
            )
        if transaction.value_wei:
            raise BrokenRuleError(f"it would send {transaction.value_wei} wei")
        if not transaction.data and transaction.to == request.signer:
            return 0
        watched = self._watched.get(request.position)
        if watched is None:
            raise BrokenRuleError(f"{request.position} is not among the positions")
        signer = watched.id.account if watched.guard is None else watched.guard.keeper
        if request.signer != signer:
            raise BrokenRuleError(f"{request.signer} is not the signer of this position")
        market = self._markets[request.position.market]
        spending = self._spending(watched, market, transaction)
        worth = _worth_usd8(market, spending.token, spending.raw)
        if spending.sold_token is not None:
            sold = _worth_usd8(market, spending.sold_token, spending.sold_raw)
            if 100 * sold > MOST_SOLD_PERCENT * worth:
                raise BrokenRuleError(f"it would sell {sold / 1e8:,.2f} USD for {worth / 1e8:,.2f}")
        return 0 if request.again else worth

    def _check_limits(self, position: PositionId, worth: int, moved: int) -> None:
        """The journal does not hold the plan that is being signed yet."""
        policy = self._watched[position].policy
        if 100 * worth > HEADROOM_PERCENT * policy.max_per_action_usd8:
            raise BrokenRuleError(
                f"{worth / 1e8:,.2f} USD are more than max_per_action_usd = "
                f"{policy.max_per_action_usd8 / 1e8:,.2f}"
            )
        if 100 * (moved + worth) > HEADROOM_PERCENT * policy.max_per_day_usd8:
            raise BrokenRuleError(
                f"{worth / 1e8:,.2f} USD after {moved / 1e8:,.2f} within the day are more than "
                f"max_per_day_usd = {policy.max_per_day_usd8 / 1e8:,.2f}"
            )

    def _spending(
        self, watched: Watched, market: WatchedMarket, transaction: Transaction
    ) -> Spending:
        to, data, account = transaction.to, transaction.data, watched.id.account
        if watched.guard is not None:
            spending = guardian.spending(
                watched.guard,
                account,
                next(iter(market.adapter.tokens(market.market))),
                to,
                data,
            )
        elif data[:4] == APPROVE.selector:
            spending = _approved(market, transaction)
        else:
            spending = market.adapter.spending(market.market, to, data)
        if spending is None:
            raise BrokenRuleError(f"{to} with 0x{data[:4].hex()} is no call that this keeper makes")
        if spending.account not in {account, None}:
            raise BrokenRuleError(f"it acts for {spending.account}, not for {account}")
        return spending


def _approved(market: WatchedMarket, approval: Transaction) -> Spending | None:
    words = APPROVE.decode(approval.data)
    if words is None:
        return None
    spender, raw = word_to_address(words[0]), words[1]
    if raw >= UNLIMITED:
        raise BrokenRuleError(f"it would let {spender} take without limit")
    if spender not in market.adapter.payees(market.market):
        raise BrokenRuleError(f"it would let {spender} take, which is not the market's")
    return Spending(account=None, token=approval.to, raw=raw)


def _worth_usd8(market: WatchedMarket, token: Address, raw: int) -> int:
    known = market.adapter.tokens(market.market).get(token)
    if known is None:
        raise BrokenRuleError(f"{token} is no token of the market")
    price = None if market.newest is None else market.newest.price(token)
    if price is None:
        raise BrokenRuleError(f"what {known.symbol} is worth is not known")
    return usd8_up(raw, price, known.unit)
