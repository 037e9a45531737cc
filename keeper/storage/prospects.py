"""What lies ahead of each position, the newest of it, and what each day saw. Synchronous."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func
from sqlalchemy.dialects.sqlite import insert

from keeper.model.units import SECONDS_PER_DAY
from keeper.model.values import PositionId
from keeper.storage.schema import days, prospects

KEYS = ("chain_id", "market", "account")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """Of one position, at one block."""

    position: PositionId
    label: str
    head_number: int
    timestamp: int
    health: float | None
    breach_probability: float | None
    reserve_usd: float
    debt_usd: float
    collateral_usd: float
    document: dict[str, Any]
    """`horizons`, `assets` and `reserve`, as `keeper status --json` shows them."""


class Prospects:
    """Of one journal."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, seen: Sequence[Prospect]) -> None:
        """The newest of each position, and its day's share of it."""
        if not seen:
            return
        with self._engine.begin() as connection:
            newest = insert(prospects)
            newest = newest.on_conflict_do_update(
                index_elements=KEYS,
                set_={
                    name: newest.excluded[name] for name in ("head_number", "timestamp", "document")
                },
            )
            connection.execute(newest, [self._newest(each) for each in seen])
            one = insert(days)
            more = one.excluded
            merged = one.on_conflict_do_update(
                index_elements=(*KEYS, "day"),
                set_={
                    "label": more.label,
                    # SQLite's min and max of several values are null if one is.
                    "lowest_health": func.coalesce(
                        func.min(days.c.lowest_health, more.lowest_health),
                        days.c.lowest_health,
                        more.lowest_health,
                    ),
                    "highest_probability": func.coalesce(
                        func.max(days.c.highest_probability, more.highest_probability),
                        days.c.highest_probability,
                        more.highest_probability,
                    ),
                    "reserve_usd": days.c.reserve_usd + more.reserve_usd,
                    "debt_usd": days.c.debt_usd + more.debt_usd,
                    "collateral_usd": days.c.collateral_usd + more.collateral_usd,
                    "samples": days.c.samples + 1,
                },
            )
            connection.execute(merged, [self._day(each) for each in seen])

    @staticmethod
    def _newest(each: Prospect) -> dict[str, Any]:
        return {
            **_key(each.position),
            "head_number": each.head_number,
            "timestamp": each.timestamp,
            "document": each.document,
        }

    @staticmethod
    def _day(each: Prospect) -> dict[str, Any]:
        return {
            **_key(each.position),
            "day": each.timestamp // SECONDS_PER_DAY,
            "label": each.label,
            "lowest_health": each.health,
            "highest_probability": each.breach_probability,
            "reserve_usd": each.reserve_usd,
            "debt_usd": each.debt_usd,
            "collateral_usd": each.collateral_usd,
            "samples": 1,
        }


def _key(position: PositionId) -> dict[str, Any]:
    return {
        "chain_id": position.chain_id,
        "market": position.market,
        "account": position.account,
    }
