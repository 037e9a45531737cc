"""What a stretch of time cost and did, for `keeper report`. Read-only, while the daemon runs or
after it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from keeper.model.units import SECONDS_PER_DAY, WAD, Address
from keeper.storage import views
from keeper.storage.database import open_for_reading
from keeper.storage.prices import PriceHistory
from keeper.storage.schema import attempts, days, decisions, intents, observations


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
    """What was seen of a position on one day."""

    label: str
    day: int
    """Unix days, UTC."""
    lowest_health: float | None
    highest_probability: float | None
    samples: int
    """Of which the three below are the means."""
    mean_reserve_usd: float
    mean_debt_usd: float
    mean_collateral_usd: float


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
    """Between its samples a position was also seen whenever something was decided about it, and at
    the last pass."""
    seen = _seen(connection, since, until, told)
    first, last = since // SECONDS_PER_DAY, (until - 1) // SECONDS_PER_DAY
    query = select(days).where(days.c.day.between(first, last)).order_by(days.c.label, days.c.day)
    return [
        DayView(
            label=row.label,
            day=row.day,
            lowest_health=min(
                _known(row.lowest_health, *(each.health for each in seen[row.label, row.day])),
                default=None,
            ),
            highest_probability=max(
                _known(
                    row.highest_probability,
                    *(each.probability for each in seen[row.label, row.day]),
                ),
                default=None,
            ),
            samples=row.samples,
            mean_reserve_usd=row.reserve_usd / row.samples,
            mean_debt_usd=row.debt_usd / row.samples,
            mean_collateral_usd=row.collateral_usd / row.samples,
        )
        for row in connection.execute(query)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glance:
    """A position at one block beside the day's samples."""

    health: float | None
    probability: float | None


def _seen(
    connection: Connection, since: int, until: int, told: Sequence[views.DecisionView]
) -> Mapping[tuple[str, int], list[_Glance]]:
    """By label and day."""
    found: defaultdict[tuple[str, int], list[_Glance]] = defaultdict(list)
    # Not taken out of the document by the database: SQLite reads no JSON that holds a NaN.
    within = decisions.c.timestamp.between(since, until)
    forecast = {
        row.id: row.document.get("forecast", {}).get("breach_probability")
        for row in connection.execute(select(decisions.c.id, decisions.c.document).where(within))
    }
    for each in told:
        glance = _Glance(health=each.health_before, probability=forecast[each.id])
        found[each.label, each.timestamp // SECONDS_PER_DAY].append(glance)
    for row in connection.execute(select(observations)):
        health = None if row.health is None else row.health / WAD
        glance = _Glance(health=health, probability=row.breach_probability)
        found[row.label, row.timestamp // SECONDS_PER_DAY].append(glance)
    return found


def _known(*figures: float | None) -> list[float]:
    return [each for each in figures if each is not None]
