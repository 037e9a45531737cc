"""What the journal tells people. Read-only, while the daemon runs or after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from keeper.model.lifecycle import Purpose, State
from keeper.model.records import DRY_RUN
from keeper.model.units import WAD, Amount, Token
from keeper.storage.database import open_for_reading
from keeper.storage.schema import (
    attempts,
    days,
    decisions,
    intents,
    observations,
    prospects,
    results,
)

_FAILED = (
    State.EXPIRED,
    State.REVERTED,
    State.NONCE_LOST,
    State.SKIPPED,
    State.CANCELLED,
)
"""Ends without success; the first that a transaction of a plan came to is the plan's."""


class UnknownDecisionError(Exception):
    """No decision has this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """The last that is known of a position."""

    label: str
    chain_id: int
    market: str
    account: str
    policy: str
    block: int
    timestamp: int
    health: float | None
    floor: float
    target: float
    breach_probability: float | None
    distance: float | None
    volatility_per_year: float | None
    forecast_model: str
    collateral_usd: float
    debt_usd: float
    note: str
    ahead: dict[str, Any] | None
    """The newest of `horizons`, `assets` (prices that liquidate) and `reserve`, with its `block`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionView:
    """One transaction that was signed for an approved plan; of those with one nonce at most one is
    ever mined."""

    purpose: str
    """Of the plan's own ones; `cancel` or `fill` for a no-op."""
    state: str
    """Of the intent that it was signed for."""
    tx_hash: str
    nonce: int
    block: int | None
    gas_used: int | None
    effective_gas_price_wei: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """One decision and what came of it."""

    id: int
    label: str
    account: str
    market: str
    cause: str
    approved: bool
    reason: str
    outcome: str
    """`refused`, `dry run`, `not sent`, `pending`, `done`, `reverted`, `cancelled`, `expired`,
    `nonce lost` or `skipped`."""
    kind: str | None
    amount: str | None
    """Decimal text in whole tokens."""
    token: str | None
    amount_usd: float | None
    health_before: float
    predicted_health: float | None
    health_after: float | None
    as_predicted: bool | None
    block: int
    """The head that was acted upon."""
    timestamp: int
    latency_blocks: int | None
    """From that head to the block of the action."""
    transactions: tuple[TransactionView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with all that went into it."""

    decision: DecisionView
    document: dict[str, Any]
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayView:
    """What one day saw of a position."""

    market: str
    account: str
    day: int
    """Unix days, the chain's time."""
    lowest_health: float | None
    """None without debt all day."""


def lowest_of_days(path: Path, since: int, until: int) -> list[DayView]:
    """Of the days from `since` to `until`, both included."""
    query = select(days).where(days.c.day >= since, days.c.day <= until)
    with _reading(path) as connection:
        return [
            DayView(
                market=row.market,
                account=row.account,
                day=row.day,
                lowest_health=row.lowest_health,
            )
            for row in connection.execute(query)
        ]


def positions(path: Path) -> list[PositionView]:
    """Every position that was ever watched, by label."""
    with _reading(path) as connection:
        rows = connection.execute(select(observations).order_by(observations.c.label)).all()
        ahead = {
            (row.chain_id, row.market, row.account): row.document
            for row in connection.execute(select(prospects))
        }
    return [
        PositionView(
            label=row.label,
            chain_id=row.chain_id,
            market=row.market,
            account=row.account,
            policy=row.policy,
            block=row.head_number,
            timestamp=row.timestamp,
            health=_shown(row.health),
            floor=row.floor / WAD,
            target=row.target / WAD,
            breach_probability=row.breach_probability,
            distance=row.distance,
            volatility_per_year=row.volatility_per_year,
            forecast_model=row.forecast_model,
            collateral_usd=row.collateral_usd8 / 1e8,
            debt_usd=row.debt_usd8 / 1e8,
            note=row.note,
            ahead=ahead.get((row.chain_id, row.market, row.account)),
        )
        for row in rows
    ]


def history(path: Path) -> list[DecisionView]:
    """Every decision, oldest first."""
    with _reading(path) as connection:
        return _decisions(connection)


def explanation(path: Path, decision_id: int) -> Explanation:
    """One decision in full. Raises `UnknownDecisionError`."""
    with _reading(path) as connection:
        found = [view for view in _decisions(connection) if view.id == decision_id]
        if not found:
            raise UnknownDecisionError(
                f"no decision {decision_id} in {path}: `keeper history` lists them"
            )
        document, differences = connection.execute(
            select(decisions.c.document, results.c.differences)
            .outerjoin(results, results.c.decision_id == decisions.c.id)
            .where(decisions.c.id == decision_id)
        ).one()
    return Explanation(
        decision=found[0],
        document=document,
        differences=tuple(differences or ()),
    )


@contextmanager
def _reading(path: Path) -> Iterator[Connection]:
    engine = open_for_reading(path)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _decisions(connection: Connection) -> list[DecisionView]:
    sent: dict[int, list[Any]] = {}
    query = (
        select(
            intents.c.id.label("intent"),
            intents.c.decision_id,
            intents.c.purpose,
            intents.c.state,
            attempts.c.purpose.label("of_attempt"),
            attempts.c.hash,
            attempts.c.nonce,
            attempts.c.block_number,
            attempts.c.gas_used,
            attempts.c.effective_gas_price_wei,
        )
        .outerjoin(attempts, attempts.c.intent_id == intents.c.id)
        .order_by(intents.c.id, attempts.c.id)
    )
    for row in connection.execute(query):
        sent.setdefault(row.decision_id, []).append(row)
    query = (
        select(decisions, results)
        .outerjoin(results, results.c.decision_id == decisions.c.id)
        .order_by(decisions.c.id)
    )
    return [_decision(row, sent.get(row.id, [])) for row in connection.execute(query)]


def _decision(row: Any, sent: list[Any]) -> DecisionView:
    mined = _block_of_action(sent)
    return DecisionView(
        id=row.id,
        label=row.label,
        account=row.account,
        market=row.market,
        cause=row.cause,
        approved=row.approved,
        reason=row.reason,
        outcome=_outcome(row, sent),
        kind=row.kind,
        amount=_amount(row),
        token=row.token_symbol,
        amount_usd=None if row.moved_usd8 is None else row.moved_usd8 / 1e8,
        health_before=row.health_before / WAD,
        predicted_health=_shown(row.predicted_health),
        health_after=_shown(row.health_after),
        as_predicted=None if row.differences is None else not row.differences,
        block=row.head_number,
        timestamp=row.timestamp,
        latency_blocks=None if mined is None else mined - row.head_number,
        transactions=tuple(
            TransactionView(
                purpose=tx.purpose if tx.of_attempt == Purpose.CALL else tx.of_attempt,
                state=tx.state,
                tx_hash=tx.hash,
                nonce=tx.nonce,
                block=tx.block_number,
                gas_used=tx.gas_used,
                effective_gas_price_wei=tx.effective_gas_price_wei,
            )
            for tx in sent
            if tx.hash is not None
        ),
    )


def _block_of_action(sent: list[Any]) -> int | None:
    """Where the last intent's own transaction is, whichever of its attempts it was."""
    return next(
        (
            tx.block_number
            for tx in reversed(sent)
            if tx.intent == sent[-1].intent
            and tx.of_attempt == Purpose.CALL
            and tx.block_number is not None
        ),
        None,
    )


def _outcome(row: Any, sent: list[Any]) -> str:
    if not row.approved:
        return "refused"
    if not sent:
        return "dry run" if row.reason == DRY_RUN else "not sent"
    states = {State(tx.state) for tx in sent}
    for end in _FAILED:
        if end in states:
            return end.value
    return "pending" if any(state.open for state in states) else "done"


def _shown(wad: int | None) -> float | None:
    return None if wad is None else wad / WAD


def _amount(row: Row[Any]) -> str | None:
    if row.amount_raw is None:
        return None
    token = Token(address=row.token_address, symbol=row.token_symbol, decimals=row.token_decimals)
    return Amount(raw=row.amount_raw, token=token).decimal
