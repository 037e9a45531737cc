"""What was fitted of each pair on its own rounds, the newest fit of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.dialects.sqlite import insert

from keeper.storage.schema import pair_fits


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFit:
    """One as it was written, not yet judged."""

    pair: str
    fitted_at: int
    document: Mapping[str, Any]


class PairFits:
    """Fits by chain and pair."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, chain_id: int, fit: StoredFit) -> None:
        """In the place of the pair's earlier one."""
        row = {"fitted_at": fit.fitted_at, "document": dict(fit.document)}
        key = {"chain_id": chain_id, "pair": fit.pair}
        statement = insert(pair_fits).values(**key, **row)
        with self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=row))

    def all(self, chain_id: int) -> list[StoredFit]:
        """Of one chain, by pair."""
        query = select(pair_fits).where(pair_fits.c.chain_id == chain_id).order_by(pair_fits.c.pair)
        with self._engine.connect() as connection:
            return [
                StoredFit(pair=row.pair, fitted_at=row.fitted_at, document=row.document)
                for row in connection.execute(query)
            ]
