"""Price history: the rounds of each feed, as its contract published them."""

from collections.abc import Iterable

from sqlalchemy import Engine, select
from sqlalchemy.dialects.sqlite import insert

from keeper.model.units import Address, Price
from keeper.protocols.chainlink import Round
from keeper.storage.schema import feed_rounds


class PriceHistory:
    """Rounds by chain and feed. Re-reading a round that is there changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, chain_id: int, feed: Address, rounds: Iterable[Round]) -> None:
        """Keep rounds."""
        rows = [
            {
                "chain_id": chain_id,
                "feed": feed,
                "round_id": each.id,
                "answer": each.price.value,
                "decimals": each.price.decimals,
                "updated_at": each.price.updated_at,
            }
            for each in rounds
        ]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(insert(feed_rounds).on_conflict_do_nothing(), rows)

    def since(self, chain_id: int, feed: Address, timestamp: int) -> list[Round]:
        """Rounds updated at or after `timestamp`, oldest first."""
        query = select(feed_rounds).where(
            feed_rounds.c.chain_id == chain_id,
            feed_rounds.c.feed == feed,
            feed_rounds.c.updated_at >= timestamp,
        )
        with self._engine.connect() as connection:
            rounds = [
                Round(
                    id=row.round_id,
                    price=Price(value=row.answer, decimals=row.decimals, updated_at=row.updated_at),
                )
                for row in connection.execute(query)
            ]
        # Ids are text in the table: only here do those of one second come in their order.
        return sorted(rounds, key=lambda each: (each.price.updated_at, each.id))
