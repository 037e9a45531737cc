"""What a stretch of time cost and did, for `keeper report`. Read-only, while the daemon runs or
after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from keeper.model.units import SECONDS_PER_DAY, Address
from keeper.storage import views
from keeper.storage.database import open_for_reading
from keeper.storage.prices import PriceHistory
from keeper.storage.schema import attempts, days, decisions, intents


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One decision that was approved for sending, with what it took."""

    decision: views.DecisionView
    chain_id: int
    episode: int | None
    fees_wei: int
    """Paid for all that was mined of it, reverted and cancelling transactions too."""
    document: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayView:
    """What was seen of a position on one day, in means over the day's samples."""

    label: str
    day: int
    """Unix days, UTC."""
    lowest_health: float | None
    highest_probability: float | None
    reserve_usd: float
    debt_usd: float
    collateral_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """From `since` until `until` (Unix seconds of the chain's time)."""

    since: int
    until: int
    entries: tuple[Entry, ...]
    refusals: tuple[views.DecisionView, ...]
    days: tuple[DayView, ...]


Rounds = dict[str, list[tuple[int, float]]]


def read(path: Path, since: int, until: int) -> Ledger:
    """Raises `DatabaseUnusableError`."""
    told = [each for each in views.history(path) if since <= each.timestamp < until]
    engine = open_for_reading(path)
    try:
        with engine.connect() as connection:
            entries = [
                _entry(connection, each)
                for each in told
                if each.approved and each.outcome != "dry run"
            ]
            return Ledger(
                since=since,
                until=until,
                entries=tuple(entries),
                refusals=tuple(each for each in told if not each.approved),
                days=tuple(_days(connection, since, until, told)),
            )
    finally:
        engine.dispose()


def span(path: Path) -> tuple[int, int] | None:
    """From the first to the last moment that the journal knows of; None where there is none."""
    told = [each.timestamp for each in views.history(path)]
    seen = [each.timestamp for each in views.positions(path)]
    moments = [*told, *seen]
    return (min(moments), max(moments)) if moments else None


def rounds(path: Path, chain_id: int, feeds: Sequence[str], since: int) -> Rounds:
    """What the oracles' feeds published from `since` on."""
    engine: Engine = open_for_reading(path)
    try:
        history = PriceHistory(engine)
        return {
            feed: [
                (each.price.updated_at, each.price.value / 10**each.price.decimals)
                for each in history.since(chain_id, Address(feed), since)
            ]
            for feed in feeds
        }
    finally:
        engine.dispose()


def _entry(connection: Connection, decision: views.DecisionView) -> Entry:
    row = connection.execute(
        select(decisions.c.chain_id, decisions.c.document).where(decisions.c.id == decision.id)
    ).one()
    mine = intents.c.decision_id == decision.id
    episode = connection.scalar(select(intents.c.episode).where(mine).limit(1))
    mined = connection.execute(
        select(attempts)
        .join(intents, attempts.c.intent_id == intents.c.id)
        .where(mine, attempts.c.gas_used.is_not(None))
    )
    return Entry(
        decision=decision,
        chain_id=row.chain_id,
        episode=episode,
        fees_wei=sum(
            each.gas_used * each.effective_gas_price_wei + (each.l1_fee_wei or 0) for each in mined
        ),
        document=row.document,
    )


def _days(
    connection: Connection, since: int, until: int, told: Sequence[views.DecisionView]
) -> list[DayView]:
    """Between its samples a position was also seen whenever something was decided about it."""
    first, last = since // SECONDS_PER_DAY, (until - 1) // SECONDS_PER_DAY
    query = select(days).where(days.c.day.between(first, last)).order_by(days.c.label, days.c.day)
    return [
        DayView(
            label=row.label,
            day=row.day,
            lowest_health=min(
                (
                    *([] if row.lowest_health is None else [row.lowest_health]),
                    *(
                        each.health_before
                        for each in told
                        if (each.label, each.timestamp // SECONDS_PER_DAY) == (row.label, row.day)
                    ),
                ),
                default=None,
            ),
            highest_probability=row.highest_probability,
            reserve_usd=row.reserve_usd / row.samples,
            debt_usd=row.debt_usd / row.samples,
            collateral_usd=row.collateral_usd / row.samples,
        )
        for row in connection.execute(query)
    ]
