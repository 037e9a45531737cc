"""What the journal tells people, read beside the daemon or after it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keeper.model.lifecycle import State
from keeper.model.records import DRY_RUN, MinedReceipt
from keeper.model.units import WAD, Wad, Wei
from keeper.storage.database import DatabaseUnusableError, open_database
from keeper.storage.journal import Journal
from keeper.storage.views import (
    DecisionView,
    TransactionView,
    UnknownDecisionError,
    explanation,
    history,
    positions,
)
from tests.unit.journal_values import BOB, decision, intent, kept, observation, opened, result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Journal:
    """Left open, as a running daemon's is."""
    return Journal(open_database(path))


def only(path: Path) -> DecisionView:
    (view,) = history(path)
    return view


def test_positions__watched__are_shown_by_label_in_plain_numbers(
    journal: Journal, path: Path
) -> None:
    main = observation(health=Wad(5 * WAD // 4), debt_usd8=150_000_000, collateral_usd8=0)
    journal.observe([main, replace(main, position=BOB, label="alt", health=None)])
    alt, shown = positions(path)
    assert (alt.label, alt.health) == ("alt", None)
    assert (shown.health, shown.debt_usd, shown.collateral_usd) == (1.25, 1.5, 0.0)
    assert (shown.breach_probability, shown.distance) == (0.25, None)
    assert shown.block == 100


def test_positions__no_journal__is_refused(path: Path) -> None:
    with pytest.raises(DatabaseUnusableError):
        positions(path)


@pytest.mark.parametrize(
    ("raw", "decimals", "amount"),
    [
        (1, 6, "0.000001"),
        (2_500_000, 6, "2.5"),
        (3_000_000, 6, "3"),
        (7, 0, "7"),
        (10**40, 18, "1" + "0" * 22),
    ],
)
def test_history__amount__is_decimal_text(
    journal: Journal, path: Path, raw: int, decimals: int, amount: str
) -> None:
    recorded = decision()
    assert recorded.token is not None
    journal.record_decision(
        replace(recorded, amount_raw=raw, token=replace(recorded.token, decimals=decimals))
    )
    assert only(path).amount == amount


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"approved": False, "reason": "paused"}, "refused"),
        ({"reason": DRY_RUN}, "dry run"),
        ({"reason": ""}, "not sent"),
    ],
)
def test_history__nothing_signed__tells_why(
    journal: Journal, path: Path, changes: dict[str, Any], outcome: str
) -> None:
    journal.record_decision(replace(decision(), **changes))
    view = only(path)
    assert view.outcome == outcome
    assert (view.transactions, view.latency_blocks, view.as_predicted) == ((), None, None)


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        ((State.SIGNED, State.SIGNED), "pending"),
        ((State.CONFIRMED, State.BROADCAST), "pending"),
        ((State.CONFIRMED, State.MINED), "pending"),
        ((State.CONFIRMED, State.CONFIRMED), "done"),
        ((State.CONFIRMED, State.REVERTED), "reverted"),
        ((State.EXPIRED, State.EXPIRED), "expired"),
        ((State.CONFIRMED, State.CANCELLED), "cancelled"),
        ((State.CONFIRMED, State.NONCE_LOST), "nonce lost"),
        ((State.SKIPPED, State.SKIPPED), "skipped"),
        ((State.FINALIZED, State.FINALIZED), "done"),
    ],
)
def test_history__signed__tells_what_came_of_it(
    journal: Journal, path: Path, states: tuple[State, State], outcome: str
) -> None:
    ids = opened(journal)
    batch = [intent(*ids, nonce=4, state=states[0]), intent(*ids, nonce=5, step=1, state=states[1])]
    kept(journal, batch)
    assert only(path).outcome == outcome


def test_history__done__shows_the_action_and_what_it_led_to(journal: Journal, path: Path) -> None:
    ids = opened(journal)
    done = intent(*ids, nonce=4)
    kept(journal, [done])
    journal.record_mined(
        [
            MinedReceipt(
                hash=done.attempt.hash,
                block_number=102,
                block_hash="0xb",
                succeeded=True,
                gas_used=50_000,
                effective_gas_price_wei=Wei(2**70),
            )
        ],
        {done.key: State.MINED},
    )
    journal.record_result(
        result(ids[0], health_after=Wad(2 * WAD), differences=("debt is 5, predicted 4",)),
        {done.key: State.CONFIRMED},
    )
    view = only(path)
    assert (view.health_before, view.predicted_health, view.health_after) == (1.0, 2.0, 2.0)
    assert (view.as_predicted, view.latency_blocks, view.outcome) == (False, 2, "done")
    assert view.transactions == (
        TransactionView(
            purpose="Repay",
            state="confirmed",
            tx_hash=done.attempt.hash,
            nonce=4,
            block=102,
            gas_used=50_000,
            effective_gas_price_wei=2**70,
        ),
    )
    told = explanation(path, ids[0])
    assert told.decision == view
    assert told.document == {"options": [1, "two", None]}
    assert told.differences == ("debt is 5, predicted 4",)


def test_explanation__unknown__says_where_to_look(journal: Journal, path: Path) -> None:
    with pytest.raises(UnknownDecisionError, match="keeper history"):
        explanation(path, 7)
