"""Owners' wishes, from the command that makes one to the pass that takes it up.

Synchronous: for the store's thread, or for a command beside a running keeper.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, insert, select, update

from keeper.model.units import Address
from keeper.model.values import PositionId
from keeper.model.wishes import PATIENCE_S, Wish
from keeper.storage.schema import wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class WishView:
    """What came of a wish."""

    state: str
    reason: str
    decision_id: int | None


class Wishes:
    """All of one journal."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def make(
        self,
        position: PositionId,
        *,
        verb: str,
        token: str | None,
        usd8: int | None,
        made_at: float,
    ) -> int:
        """Write a wish down; its id. `made_at`: Unix seconds of this machine."""
        values = {
            "chain_id": position.chain_id,
            "market": position.market,
            "account": position.account,
            "verb": verb,
            "token": token,
            "usd8": usd8,
            "made_at": made_at,
            "state": "open",
        }
        with self._engine.begin() as connection:
            made = connection.execute(insert(wishes).values(**values).returning(wishes.c.id))
            return int(made.scalar_one())

    def open(self, chain_id: int, now_s: float) -> Sequence[Wish]:
        """Those to be looked at, oldest first; of those that waited too long it is said so."""
        mine = (wishes.c.chain_id == chain_id) & (wishes.c.state == "open")
        with self._engine.connect() as connection:
            rows = connection.execute(select(wishes).where(mine).order_by(wishes.c.id)).all()
        for row in rows:
            if row.made_at < now_s - PATIENCE_S:
                self.settle(row.id, "withdrawn", f"no pass took it up within {PATIENCE_S:.0f} s")
        return [
            Wish(
                id=row.id,
                position=PositionId(
                    chain_id=row.chain_id, market=row.market, account=Address(row.account)
                ),
                verb=row.verb,
                token=row.token,
                usd8=row.usd8,
            )
            for row in rows
            if row.made_at >= now_s - PATIENCE_S
        ]

    def settle(
        self, wish_id: int, state: str, reason: str = "", decision_id: int | None = None
    ) -> bool:
        """What came of an open one; False where it was not open any more."""
        mine = (wishes.c.id == wish_id) & (wishes.c.state == "open")
        values = {"state": state, "reason": reason, "decision_id": decision_id}
        with self._engine.begin() as connection:
            return connection.execute(update(wishes).where(mine).values(**values)).rowcount == 1

    def view(self, wish_id: int) -> WishView:
        """How it stands."""
        with self._engine.connect() as connection:
            row = connection.execute(select(wishes).where(wishes.c.id == wish_id)).one()
        return WishView(state=row.state, reason=row.reason, decision_id=row.decision_id)
