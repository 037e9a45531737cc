"""Price history: the rounds of each feed, as its contract published them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.dialects.sqlite import insert

from keeper.model.units import Address
from keeper.storage.schema import feed_rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRound:
    """One round of a feed: `answer / 10**decimals` at `updated_at` (unix seconds)."""

    round_id: int
    answer: int
    decimals: int
    updated_at: int


class PriceHistory:
    """Rounds by chain and feed. Re-reading a round that is there changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, chain_id: int, feed: Address, rounds: Iterable[StoredRound]) -> None:
        """Keep rounds."""
        rows = [
            {
                "chain_id": chain_id,
                "feed": feed,
                "round_id": item.round_id,
                "answer": item.answer,
                "decimals": item.decimals,
                "updated_at": item.updated_at,
            }
            for item in rounds
        ]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(insert(feed_rounds).on_conflict_do_nothing(), rows)

    def since(self, chain_id: int, feed: Address, timestamp: int) -> list[StoredRound]:
        """Rounds at or after `timestamp`, oldest first."""
        query = (
            select(feed_rounds)
            .where(
                feed_rounds.c.chain_id == chain_id,
                feed_rounds.c.feed == feed,
                feed_rounds.c.updated_at >= timestamp,
            )
            .order_by(feed_rounds.c.updated_at)
        )
        with self._engine.connect() as connection:
            return [
                StoredRound(
                    round_id=row.round_id,
                    answer=row.answer,
                    decimals=row.decimals,
                    updated_at=row.updated_at,
                )
                for row in connection.execute(query)
            ]
