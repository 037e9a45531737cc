"""What stops a signature: counted from the journal, and looked at last of all."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
from sqlalchemy import insert

from keeper.chain.breakers import QUARANTINED, RATE, SPEND, Breakers
from keeper.chain.settings import BreakerSettings
from keeper.chain.transactions.seams import SignatureRequest
from keeper.model.alerts import Alert
from keeper.model.lifecycle import State
from keeper.model.units import Wei
from keeper.model.values import Transaction
from keeper.storage.database import open_database
from keeper.storage.journal import Journal
from keeper.storage.schema import attempts, intents
from keeper.storage.tallies import Tallies
from tests.unit.journal_values import ALICE, CHAIN_ID, NOW, decision

P = ParamSpec("P")
R = TypeVar("R")
HOUR_S, DAY_S = 3600, 86_400
COST = 21_000 * 10
"""Of each transaction here: gas × price."""


async def at_once(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return method(*args, **kwargs)


class Ears:
    """A notifier that keeps what stands."""

    def __init__(self) -> None:
        self.standing: dict[tuple[str, str], Alert] = {}

    def notify(self, alert: Alert) -> None:
        self.standing[alert.key] = alert

    def resolve(self, name: str, subject: str = "") -> None:
        self.standing.pop((name, subject), None)


class Desk:
    """A journal on disk, and breakers over it that can be made anew as after a restart."""

    def __init__(self, folder: Path) -> None:
        self.engine = open_database(folder / "journal.sqlite3")
        self.journal = Journal(self.engine)
        self.kill_file = folder / "keeper.kill"
        self.ears = Ears()
        self.now = NOW
        self.forgiven: dict[object, int] = {}

    @property
    def breakers(self) -> Breakers:
        return Breakers(
            BreakerSettings(
                kill_file=self.kill_file,
                quarantine_after_reverts=3,
                quarantine_s=6 * HOUR_S,
                max_transactions_per_hour=4,
                max_spend_per_day_wei=Wei(10 * COST),
            ),
            tallies=Tallies(self.engine),
            run=at_once,
            notifier=self.ears,
            labels={ALICE: "main"},
            forgiven={ALICE: self.forgiven.get(ALICE, 0)},
            now=lambda: self.now,
        )

    def ended(self, state: State, *, succeeded: bool | None = None) -> int:
        """A plan of one transaction that ended so; its decision."""
        decision_id = self.journal.record_decision(decision(timestamp=self.now))
        episode = self.journal.open_episode(ALICE, 100)
        mined = not state.open
        with self.engine.begin() as connection:
            intent_id = connection.execute(
                insert(intents)
                .values(
                    key=f"key {decision_id}",
                    decision_id=decision_id,
                    episode=episode,
                    step=decision_id,
                    chain_id=CHAIN_ID,
                    market=ALICE.market,
                    account=ALICE.account,
                    signer=ALICE.account,
                    to=ALICE.account,
                    data=b"",
                    value_wei=0,
                    purpose="Repay",
                    head_number=100,
                    deadline_block=105,
                    state=state,
                )
                .returning(intents.c.id)
            ).scalar_one()
            connection.execute(
                insert(attempts).values(
                    intent_id=intent_id,
                    nonce=decision_id,
                    hash=f"0x{decision_id}",
                    raw=b"",
                    gas_limit=21_000,
                    max_fee_wei=10,
                    priority_fee_wei=1,
                    gas_used=21_000 if mined else None,
                    effective_gas_price_wei=10 if mined else None,
                    succeeded=succeeded,
                )
            )
        return decision_id

    async def objection(
        self, *, most_wei: int = COST, replaces: bool = False, replaced_wei: int = 0
    ) -> str | None:
        return await self.breakers.objection(
            SignatureRequest(
                chain_id=CHAIN_ID,
                signer=ALICE.account,
                position=ALICE,
                transaction=Transaction(to=ALICE.account, data=b"", purpose="Repay"),
                replaces=replaces,
                again=replaces,
                replaced_wei=Wei(replaced_wei),
                most_wei=Wei(most_wei),
            )
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    found = Desk(tmp_path)
    yield found
    found.engine.dispose()


async def test_objection__nothing_in_the_way__is_none(desk: Desk) -> None:
    desk.ended(State.CONFIRMED)
    assert await desk.objection() is None
    assert desk.ears.standing == {}


@pytest.mark.parametrize("replaces", [False, True])
async def test_objection__kill_file__forbids_every_signature_until_it_is_removed(
    desk: Desk, replaces: bool
) -> None:
    desk.kill_file.touch()
    assert "keeper.kill exists" in (await desk.objection(replaces=replaces) or "")
    desk.kill_file.unlink()
    assert await desk.objection(replaces=replaces) is None


async def test_objection__kill_file_leads_nowhere__forbids_too(desk: Desk) -> None:
    desk.kill_file.symlink_to("nowhere")
    assert await desk.objection() is not None


async def test_objection__kill_file_cannot_be_looked_for__forbids_too(desk: Desk) -> None:
    desk.kill_file.parent.joinpath("file").touch()
    desk.kill_file = desk.kill_file.parent / "file" / "keeper.kill"
    assert "cannot be seen" in (await desk.objection() or "")


async def test_objection__as_many_transactions_as_an_hour_may_have__waits_for_the_hour_to_end(
    desk: Desk,
) -> None:
    for _ in range(4):
        desk.ended(State.CONFIRMED)
    assert "max_transactions_per_hour" in (await desk.objection() or "")
    assert (RATE, ALICE.account) in desk.ears.standing
    # A replacement is no further transaction: a stuck one must not stay stuck.
    assert await desk.objection(replaces=True) is None
    desk.now += HOUR_S
    assert await desk.objection() is None
    assert desk.ears.standing == {}


async def test_objection__the_day_is_spent__waits_for_the_day_to_end(desk: Desk) -> None:
    for _ in range(2):
        desk.ended(State.CONFIRMED)
        desk.ended(State.BROADCAST)
        desk.now += HOUR_S + 1
    assert await desk.objection(most_wei=6 * COST) is None
    assert "max_spend_per_day" in (await desk.objection(most_wei=6 * COST + 1) or "")
    assert (SPEND, ALICE.account) in desk.ears.standing
    desk.now += DAY_S
    assert await desk.objection(most_wei=6 * COST + 1) is None


async def test_objection__replacement__only_what_it_costs_more_than_what_it_replaces_counts(
    desk: Desk,
) -> None:
    for _ in range(2):
        desk.ended(State.CONFIRMED)
        desk.ended(State.BROADCAST)
        desk.now += HOUR_S + 1

    async def may_cost(most_wei: int) -> bool:
        found = await desk.objection(most_wei=most_wei, replaces=True, replaced_wei=COST)
        return found is None

    assert await may_cost(7 * COST)
    assert not await may_cost(7 * COST + 1)


async def test_quarantine__as_many_reverts_in_a_row__holds_until_its_time_is_over(
    desk: Desk,
) -> None:
    for _ in range(2):
        desk.ended(State.REVERTED)
        assert await desk.breakers.quarantine(ALICE) is None
    newest = desk.ended(State.REVERTED)
    reason = await desk.breakers.quarantine(ALICE) or ""
    assert "last 3 plans reverted" in reason
    assert f"forgive_reverts_through = {newest}" in reason
    assert (QUARANTINED, "main") in desk.ears.standing
    desk.now += 6 * HOUR_S
    assert await desk.breakers.quarantine(ALICE) is None
    assert desk.ears.standing == {}
    # One more was tried: it reverts, and the position is left alone again at once.
    desk.ended(State.REVERTED)
    assert await desk.breakers.quarantine(ALICE) is not None


async def test_quarantine__reverted_and_not_deep_yet__counts(desk: Desk) -> None:
    """With a dozen confirmations each of a dozen blocks would bring another revert."""
    for _ in range(3):
        desk.ended(State.MINED, succeeded=False)
    assert await desk.breakers.quarantine(ALICE) is not None


async def test_quarantine__a_success_between_them__starts_the_count_anew(desk: Desk) -> None:
    for state in (State.REVERTED, State.REVERTED, State.CONFIRMED, State.REVERTED, State.EXPIRED):
        desk.ended(state)
    assert await desk.breakers.quarantine(ALICE) is None


async def test_quarantine__forgiven_by_configuration__is_over(desk: Desk) -> None:
    newest = [desk.ended(State.REVERTED) for _ in range(3)][-1]
    desk.forgiven[ALICE] = newest
    assert await desk.breakers.quarantine(ALICE) is None
