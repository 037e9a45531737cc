"""What the journal's transactions add up to. Counted anew each time, so that no restart forgets.

Synchronous, for the store's thread. Times are the chain's: a transaction counts from the head that
its decision was made at.
"""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Engine, case, distinct, func, select

from keeper.model.lifecycle import State
from keeper.model.units import Address
from keeper.model.values import PositionId
from keeper.storage.schema import attempts, decisions, intents, results


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverts:
    """A position's plans that reverted on the chain one after the other, up to the newest, however
    few blocks ago."""

    count: int
    decision_id: int
    """The newest of them; 0 if there is none."""
    timestamp: int


class Tallies:
    """Sums over intents and attempts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def by_state(self, chain_id: int) -> dict[str, int]:
        """How many intents stand where."""
        query = (
            select(intents.c.state, func.count())
            .where(intents.c.chain_id == chain_id)
            .group_by(intents.c.state)
        )
        with self._engine.connect() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def signed_since(self, chain_id: int, signer: Address, timestamp: int) -> int:
        """Transactions signed by `signer` since; several attempts in one nonce slot are one."""
        query = (
            select(func.count(distinct(attempts.c.intent_id)))
            .join(intents, attempts.c.intent_id == intents.c.id)
            .join(decisions, intents.c.decision_id == decisions.c.id)
            .where(
                intents.c.chain_id == chain_id,
                intents.c.signer == signer,
                decisions.c.timestamp > timestamp,
            )
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def spent_wei_since(self, chain_id: int, signer: Address, timestamp: int) -> int:
        """Fees that `signer` has paid since; of a nonce that is not mined the most it can cost."""
        query = (
            select(attempts, intents.c.state)
            .join(intents, attempts.c.intent_id == intents.c.id)
            .join(decisions, intents.c.decision_id == decisions.c.id)
            .where(
                intents.c.chain_id == chain_id,
                intents.c.signer == signer,
                decisions.c.timestamp > timestamp,
            )
        )
        mined: Counter[int] = Counter()
        possible: dict[int, int] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                if row.gas_used is not None:
                    mined[row.nonce] += row.gas_used * row.effective_gas_price_wei + (
                        row.l1_fee_wei or 0
                    )
                elif State(row.state).open:
                    most = row.gas_limit * row.max_fee_wei + (row.l1_fee_wei or 0)
                    possible[row.nonce] = max(possible.get(row.nonce, 0), most)
        return sum(mined.values()) + sum(
            most for nonce, most in possible.items() if nonce not in mined
        )

    def actions_since(self, chain_id: int, timestamp: int) -> dict[tuple[str, str], int]:
        """Decisions by kind and by what came of them: done, failed, pending, or refused."""
        sent = decisions.c.id.in_(select(intents.c.decision_id))
        outcome = case(
            (results.c.succeeded, "done"),
            (results.c.succeeded.is_(False), "failed"),
            (sent, "pending"),
            (decisions.c.approved, "dry run"),
            else_="refused",
        )
        kind = func.coalesce(decisions.c.kind, "none")
        query = (
            select(kind, outcome, func.count())
            .select_from(decisions.outerjoin(results))
            .where(decisions.c.chain_id == chain_id, decisions.c.timestamp > timestamp)
            .group_by(kind, outcome)
        )
        with self._engine.connect() as connection:
            return {
                (str(name), str(end)): int(count) for name, end, count in connection.execute(query)
            }

    def cost_usd(self, chain_id: int) -> float:
        """The expected cash cost of all actions that succeeded."""
        cost = func.json_extract(decisions.c.document, "$.costs.cash_usd")
        query = (
            select(func.coalesce(func.sum(cost), 0.0))
            .select_from(decisions.join(results))
            .where(decisions.c.chain_id == chain_id, results.c.succeeded)
        )
        with self._engine.connect() as connection:
            return float(connection.execute(query).scalar_one())

    def acted_at(self, chain_id: int) -> dict[PositionId, int]:
        """When each position was last acted for: the chain time of the newest decision that has
        intents."""
        query = (
            select(
                decisions.c.chain_id,
                decisions.c.market,
                decisions.c.account,
                func.max(decisions.c.timestamp),
            )
            .where(
                decisions.c.chain_id == chain_id,
                decisions.c.id.in_(select(intents.c.decision_id)),
            )
            .group_by(decisions.c.market, decisions.c.account)
        )
        with self._engine.connect() as connection:
            return {
                PositionId(chain_id=chain, market=market, account=Address(account)): int(newest)
                for chain, market, account, newest in connection.execute(query)
            }

    def reverts_in_a_row(self, position: PositionId, *, after_decision: int = 0) -> Reverts:
        """Newest first, until a plan that succeeded; plans that were never mined do not count, nor
        those up to `after_decision`."""
        undone = (
            select(attempts.c.intent_id)
            .where(attempts.c.intent_id == intents.c.id, attempts.c.succeeded.is_(False))
            .exists()
        )
        query = (
            select(
                intents.c.decision_id,
                case(
                    (undone & (intents.c.state == State.MINED), State.REVERTED),
                    else_=intents.c.state,
                ),
                decisions.c.timestamp,
            )
            .join(decisions, intents.c.decision_id == decisions.c.id)
            .where(
                intents.c.chain_id == position.chain_id,
                intents.c.market == position.market,
                intents.c.account == position.account,
                intents.c.decision_id > after_decision,
            )
            .order_by(intents.c.id.desc())
        )
        found: list[tuple[int, int]] = []
        with self._engine.connect() as connection:
            for decision_id, state, timestamp in connection.execute(query):
                if state == State.REVERTED:
                    if decision_id not in {each for each, _ in found}:
                        found.append((decision_id, timestamp))
                elif _succeeded(state) and decision_id not in {each for each, _ in found}:
                    break
        newest = found[0] if found else (0, 0)
        return Reverts(count=len(found), decision_id=newest[0], timestamp=newest[1])


def _succeeded(state: str) -> bool:
    return state in {"confirmed", "finalized"}
