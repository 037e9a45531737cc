"""What is summed up of the journal, and what the daily summary says of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.engine.reporting import PassReport, PositionReport
from keeper.engine.reserves import reserve_usd8
from keeper.model.alerts import Alert, Severity
from keeper.model.lifecycle import State
from keeper.service.digest import MOST_POSITIONS, digest
from keeper.storage.store import Store
from tests.unit.fake_rpc import head_at
from tests.unit.journal_values import CHAIN_ID, NOW, decision, intent, kept, opened, result
from tests.unit.test_plan import LOAN, TOY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "journal.sqlite3")
    yield store
    store.close()


def concluded(store: Store, *, succeeded: bool, cost_usd: float, nonce: int) -> None:
    journal = store.journal
    document = {"costs": {"cash_usd": cost_usd}}
    decision_id, episode = opened(journal, document=document)
    one = intent(decision_id, episode, nonce=nonce, step=nonce, state=State.MINED)
    kept(journal, [one])
    journal.record_result(
        result(decision_id, succeeded=succeeded),
        {one.key: State.CONFIRMED if succeeded else State.REVERTED},
    )


def test_actions__by_kind_and_what_came_of_them__are_counted_since_a_time(store: Store) -> None:
    concluded(store, succeeded=True, cost_usd=1.5, nonce=0)
    concluded(store, succeeded=True, cost_usd=2.25, nonce=1)
    concluded(store, succeeded=False, cost_usd=9.0, nonce=2)
    decision_id, episode = opened(store.journal)
    kept(store.journal, [intent(decision_id, episode, nonce=3, step=3)])
    store.journal.record_decision(decision(approved=False, kind=None))
    store.journal.record_decision(decision(reason="dry run"))
    tallies = store.tallies
    assert tallies.actions_since(CHAIN_ID, 0) == {
        ("Repay", "done"): 2,
        ("Repay", "failed"): 1,
        ("Repay", "pending"): 1,
        ("none", "refused"): 1,
        ("Repay", "dry run"): 1,
    }
    assert tallies.actions_since(CHAIN_ID, NOW) == {}
    assert tallies.actions_since(CHAIN_ID + 1, 0) == {}
    # What failed has cost gas only, which the signer's figures tell.
    assert tallies.cost_usd(CHAIN_ID) == pytest.approx(3.75)
    assert tallies.cost_usd(CHAIN_ID + 1) == 0.0


def test_reserve__options_of_one_token__count_it_once() -> None:
    """10 ether at 2,000 and 10,000 dollars."""
    assert reserve_usd8(TOY.options(LOAN)) == 30_000 * 10**8
    assert reserve_usd8([*TOY.options(LOAN), *TOY.options(LOAN)]) == 30_000 * 10**8


def position(label: str, health: float | None, *, readable: bool = True) -> PositionReport:
    return PositionReport(
        label=label,
        readable=readable,
        health=health,
        breach_probability=None if health is None else 0.031,
    )


def report(*positions: PositionReport) -> PassReport:
    return PassReport(head=head_at(7), positions=positions, worsened_positions=0)


def test_digest__positions__come_with_the_most_endangered_first() -> None:
    found = digest(
        report(position("safe", 2.0), position("idle", None), position("low", 1.1234)),
        actions={("Repay", "done"): 2, ("none", "refused"): 1},
        spent_wei=15 * 10**14,
        standing=[Alert(name="keeper.paused", severity=Severity.CRITICAL, text="")],
    )
    assert found.severity is Severity.INFO
    assert found.text.splitlines() == [
        "block 7, 3 positions",
        "low: health 1.1234, breach 3.1 %",
        "safe: health 2.0000, breach 3.1 %",
        "idle: no debt",
        "24 hours: 2 Repay done, 1 none refused; gas 0.001500 of the chain's coin",
        "alerts that stand: keeper.paused",
    ]


def test_digest__unreadable_position__comes_first() -> None:
    text = digest(
        report(position("low", 1.1), position("blind", None, readable=False)),
        actions={},
        spent_wei=0,
        standing=[],
    ).text
    assert text.splitlines()[1] == "blind: CANNOT BE READ"
    assert "24 hours: nothing to do" in text
    assert text.endswith("alerts that stand: none")


def test_digest__many_positions__the_rest_is_counted() -> None:
    many = [position(f"p{number}", 1.0 + number) for number in range(MOST_POSITIONS + 3)]
    text = digest(report(*many), actions={}, spent_wei=0, standing=[]).text
    assert "and 3 healthier ones" in text
    assert f"p{MOST_POSITIONS - 1}:" in text
    assert f"p{MOST_POSITIONS}:" not in text


def test_digest__before_the_first_pass__says_so() -> None:
    text = digest(None, actions={}, spent_wei=0, standing=[]).text
    assert text.startswith("no pass has ended yet")
