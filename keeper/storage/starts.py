"""At what health each position was when it was first seen with debt."""

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects.sqlite import insert

from keeper.model.units import Address, Wad
from keeper.model.values import PositionId
from keeper.storage.schema import starts


class Starts:
    """One for each position that has debt and a policy that asks for it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, chain_id: int) -> dict[PositionId, Wad]:
        """Of one chain."""
        query = select(starts).where(starts.c.chain_id == chain_id)
        with self._engine.connect() as connection:
            return {
                PositionId(
                    chain_id=row.chain_id, market=row.market, account=Address(row.account)
                ): row.health
                for row in connection.execute(query)
            }

    def keep(self, position: PositionId, health: Wad, timestamp: int) -> None:
        """The first; a later one changes nothing."""
        row = {
            "chain_id": position.chain_id,
            "market": position.market,
            "account": position.account,
            "health": health,
            "timestamp": timestamp,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(starts).values(row).on_conflict_do_nothing())

    def forget(self, position: PositionId) -> None:
        """It has no debt any more."""
        with self._engine.begin() as connection:
            connection.execute(
                delete(starts).where(
                    starts.c.chain_id == position.chain_id,
                    starts.c.market == position.market,
                    starts.c.account == position.account,
                )
            )
