"""Price history: the rounds of each feed, as its contract published them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.sqlite import insert

from keeper.model.units import Address, Price
from keeper.protocols.chainlink import Round
from keeper.storage.schema import feed_rounds, feeds


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRounds:
    """How many rounds of a feed there are, and when the first and the last were published."""

    chain_id: int
    feed: Address
    pair: str | None
    """Where the feed has told."""
    rounds: int
    first: int
    last: int


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

    def name(self, chain_id: int, feed: Address, pair: str) -> None:
        """Write down which pair a feed is of."""
        row = {"chain_id": chain_id, "feed": feed, "pair": pair}
        with self._engine.begin() as connection:
            connection.execute(insert(feeds).on_conflict_do_nothing(), row)

    def feeds(self) -> list[HeldRounds]:
        """Every feed that has rounds, by chain and pair."""
        kept = feed_rounds.c
        same = (feeds.c.chain_id == kept.chain_id) & (feeds.c.feed == kept.feed)
        query = (
            select(
                kept.chain_id,
                kept.feed,
                feeds.c.pair,
                func.count(),
                func.min(kept.updated_at),
                func.max(kept.updated_at),
            )
            .select_from(feed_rounds.outerjoin(feeds, same))
            .group_by(kept.chain_id, kept.feed)
            .order_by(kept.chain_id, feeds.c.pair, kept.feed)
        )
        with self._engine.connect() as connection:
            return [
                HeldRounds(
                    chain_id=chain_id, feed=feed, pair=pair, rounds=rounds, first=first, last=last
                )
                for chain_id, feed, pair, rounds, first, last in connection.execute(query)
            ]
