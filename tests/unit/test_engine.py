"""Passes of the engine over a chain in memory: who is protected, when, and what is written."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper.storage.views import explanation
from tests.unit.toy_chain import ALICE, FLOOR_ONLY, POLICY, USD8, Ground
from tests.unit.toy_protocol import CHAIN_ID, DOLLAR


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3", "toy", "other")
    yield ground
    ground.store.close()


# -- causes --------------------------------------------------------------------------------------


async def test_pass__healthy_and_no_forecast_rule__does_nothing(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    await ground.look()
    assert (ground.decisions(), ground.sent()) == ([], [])
    seen = ground.position()
    assert seen.health == pytest.approx(16 / 13)
    assert (seen.policy, seen.block) == ("fixed", 100)
    assert seen.note == "watched: health is above its floor"
    assert seen.breach_probability is not None
    assert ground.engine.passes == 1


async def test_pass__health_below_the_floor__repays_to_the_target(ground: Ground) -> None:
    account = ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)  # 14800/13000 = 1.138
    await ground.block()
    (decided,) = ground.decisions()
    assert (decided.cause, decided.kind, decided.outcome) == ("floor", "Repay", "pending")
    assert decided.block == 101
    assert [tx.nonce for tx in ground.sent()] == [0, 1]
    assert ground.position().note == "a transaction is under way"

    await ground.mine()
    (decided,) = ground.decisions()
    assert (decided.outcome, decided.as_predicted, decided.latency_blocks) == ("done", True, 1)
    assert [tx.purpose for tx in decided.transactions] == ["approve", "Repay"]
    assert decided.health_after is not None
    # Sized to hold for the margin, in which a ten-millionth of the debt accrues.
    assert 1.4 < decided.health_after < 1.4000005
    assert account.allowance == 0
    assert ground.engine.worsened_positions == 0
    assert ground.position().note.startswith("watched: ")


async def test_pass__forecast_above_the_trigger__acts_above_the_floor(ground: Ground) -> None:
    ground.watch(ALICE.address, POLICY)
    await ground.start()
    await ground.look()
    (decided,) = ground.decisions()
    assert decided.cause == "forecast"
    assert decided.health_before == pytest.approx(16 / 13, abs=1e-6)
    document = explanation(ground.path, decided.id).document
    assert document["forecast"]["breach_probability"] > POLICY.trigger_probability
    assert document["forecast"]["cold"] == {}
    assert [option["verdict"] for option in document["options"]] == [
        "another costs less, does more or comes first",
        "chosen",
    ]
    assert [tx["purpose"] for tx in document["transactions"]] == ["approve", "Repay"]
    assert document["limits"]["moved_last_24h_usd"] == 0


async def test_pass__calm_market__the_forecast_does_not_act(ground: Ground) -> None:
    ground.watch(ALICE.address, POLICY)
    feed = ground.chain.market().feed
    feed.rounds = [(2_000 * USD8 + n % 2, time) for n, (_, time) in enumerate(feed.rounds)]
    await ground.start()
    await ground.look()
    assert ground.decisions() == []
    assert ground.position().breach_probability == pytest.approx(0.0)


async def test_pass__feed_without_rounds__only_the_floor_acts(ground: Ground) -> None:
    ground.watch(ALICE.address, POLICY)
    ground.chain.market().feed.rounds = []
    await ground.start()
    await ground.look()
    assert ground.decisions() == []
    seen = ground.position()
    assert (seen.forecast_model, seen.breach_probability) == ("cold", None)
    assert seen.note == "watched; no forecast for lack of price history: only the floor acts"
    ground.price(1_850)
    await ground.block()
    (decided,) = ground.decisions()
    assert decided.cause == "floor"
    assert explanation(ground.path, decided.id).document["forecast"]["cold"]


async def test_pass__no_debt__is_idle(ground: Ground) -> None:
    ground.watch(ALICE.address, POLICY, principal=0)
    await ground.start()
    await ground.look()
    assert ground.decisions() == []
    assert ground.position().note == "idle: no debt"


# -- no churn ------------------------------------------------------------------------------------


async def test_pass__plan_under_way__the_position_is_left_alone(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    ground.price(1_700)
    for _ in range(3):
        await ground.block()
    assert len(ground.decisions()) == 1
    # It is outbid after two blocks, and that is all.
    assert [tx.nonce for tx in ground.sent()] == [0, 1, 0, 1]
    assert len({tx.call for tx in ground.sent()}) == 2


async def test_pass__forecast_has_acted__waits_until_the_danger_has_passed_once(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address, POLICY)
    await ground.start()
    await ground.look()
    await ground.mine()
    ground.price(1_900)  # 1.33: as likely to be breached as before, above the floor
    for _ in range(3):
        await ground.block()
    seen = ground.position()
    assert len(ground.decisions()) == 1
    assert seen.breach_probability is not None
    assert seen.breach_probability > 0.05

    await ground.start()  # a restart forgets nothing of it
    await ground.block()
    assert len(ground.decisions()) == 1

    ground.price(4_000)
    await ground.block()
    ground.price(1_900)
    await ground.block()
    assert [each.cause for each in ground.decisions()] == ["forecast"] * 2


async def test_pass__forecast_has_acted__the_floor_acts_all_the_same(ground: Ground) -> None:
    ground.watch(ALICE.address, POLICY)
    await ground.start()
    await ground.look()
    await ground.mine()
    ground.price(1_600)
    await ground.block()
    assert [each.cause for each in ground.decisions()] == ["forecast", "floor"]


async def test_pass__target_out_of_reach__the_forecast_stays_armed(ground: Ground) -> None:
    poor = ground.watch(ALICE.address, POLICY, dollar_wallet=100 * DOLLAR.unit, ether_wallet=0)
    await ground.start()
    await ground.look()
    await ground.mine()
    assert poor.dollar_wallet == 0
    poor.dollar_wallet = 10_000 * DOLLAR.unit
    await ground.block()
    told = [(each.amount, each.outcome) for each in ground.decisions()]
    assert told[:2] == [("100", "done"), (None, "refused")]
    assert told[2][1] == "pending"


async def test_pass__episode__opens_with_the_first_plan_and_closes_at_the_target(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address, replace(FLOOR_ONLY, max_per_action_usd8=100 * USD8))
    await ground.start()
    ground.price(1_850)
    await ground.block()
    opened = ground.store.journal.open_episodes(CHAIN_ID)
    assert opened == {ground.watched[0].id}
    await ground.mine()  # 14800/12900 = 1.147: the next plan is of the same episode
    assert {intent.episode for intent in ground.store.journal.open_intents(CHAIN_ID)} == {1}
    await ground.mine()  # 14800/12800 = 1.156: above the floor, not at the target
    assert ground.store.journal.open_intents(CHAIN_ID) == []
    assert ground.store.journal.open_episodes(CHAIN_ID) == opened
    ground.price(3_000)
    await ground.mine()
    assert ground.store.journal.open_episodes(CHAIN_ID) == set()
    ground.price(1_700)  # 13600/12800 = 1.0625
    await ground.block()
    assert {intent.episode for intent in ground.store.journal.open_intents(CHAIN_ID)} == {2}


async def test_pass__restart_with_a_plan_under_way__is_one_execution(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    await ground.start()
    await ground.block()
    await ground.mine()
    await ground.block()
    (decided,) = ground.decisions()
    assert decided.outcome == "done"
    assert len(ground.sent()) == 2


# -- limits and refusals -------------------------------------------------------------------------


async def test_pass__refused__is_written_once_and_not_at_each_block(ground: Ground) -> None:
    ground.watch(ALICE.address, dollar_wallet=0, ether_wallet=0)
    await ground.start()
    ground.price(1_850)
    with capture_logs() as logs:
        for _ in range(3):
            await ground.block()
    (decided,) = ground.decisions()
    assert (decided.outcome, decided.cause) == ("refused", "floor")
    assert "the reserve holds no DOLLAR" in decided.reason
    assert ground.position().note == f"refused: {decided.reason}"
    assert [line["event"] for line in logs].count("plan.refused") == 1
    ground.price(2_000)
    await ground.block()
    assert ground.position().note.startswith("watched: ")
    ground.price(1_850)
    await ground.block()
    assert len(ground.decisions()) == 2  # the danger came anew


async def test_pass__limit_per_day_used_up__is_refused_until_tomorrow(ground: Ground) -> None:
    rules = replace(FLOOR_ONLY, max_per_day_usd8=100 * USD8)
    ground.watch(ALICE.address, rules)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    await ground.mine()
    await ground.block()
    done, refused = ground.decisions()
    assert (done.amount, done.outcome, refused.outcome) == ("100", "done", "refused")
    assert "per day is used up" in refused.reason


async def test_pass__would_revert__is_refused_with_the_protocols_reason(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    ground.chain.node.rpc.answers["eth_simulateV1"] = _reverting
    await ground.block()
    (decided,) = ground.decisions()
    assert decided.reason == (
        "approve would revert: no way; "
        "instead AddCollateral 2.297299387837837838 ETHER: approve would revert: no way"
    )
    assert ground.sent() == []


def _reverting(options: object, block: str) -> object:
    failed = {"status": "0x0", "gasUsed": "0x1", "returnData": "0x" + b"no way".hex()}
    return [{"timestamp": "0x1", "calls": [failed, failed, failed]}]


async def test_pass__simulation_differs_from_the_prediction__nothing_is_sent(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    ground.chain.market().skewed = 7
    await ground.start()
    ground.price(1_850)
    await ground.block()
    (decided,) = ground.decisions()
    assert "the simulation differs from the prediction: debt is" in decided.reason
    assert ground.sent() == []


async def test_pass__dry_run__says_what_it_would_do_once_and_sends_nothing(ground: Ground) -> None:
    ground.live = False
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    for _ in range(3):
        await ground.block()
    (decided,) = ground.decisions()
    assert (decided.outcome, decided.kind, decided.approved) == ("dry run", "Repay", True)
    assert ground.position().note.startswith("dry run: would Repay ")
    assert ground.sent() == []
    assert ground.store.journal.open_episodes(CHAIN_ID) == set()
    assert ground.store.journal.open_intents(CHAIN_ID) == []


# -- what it costs, and whose turn it is ---------------------------------------------------------


async def test_pass__action_not_worth_its_costs__is_said_and_told_until_it_is(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address, replace(FLOOR_ONLY, guard_share=0.01))
    await ground.start()
    ground.price(1_850)
    await ground.block()
    await ground.block()
    (decided,) = ground.decisions()
    assert not decided.approved
    assert decided.reason == (
        "not worth it: it would cost 7.98 USD, more than 0.01 × the 325.00 USD that a liquidation "
        "would take (guard_share)"
    )
    assert ground.position().note.startswith("refused: ")
    assert ground.sent() == []
    (alert,) = ground.notifier.active
    assert (alert.name, alert.subject) == ("position.not_worth_gas", "alice@toy")
    ground.price(2_000)
    await ground.block()
    assert ground.notifier.active == ()


async def test_pass__approved__the_decision_tells_what_is_at_stake_and_each_cost(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    document = explanation(ground.path, ground.decisions()[0].id).document
    stake = document["at_stake"]
    assert stake["liquidation_loss_usd"] == pytest.approx(325, rel=1e-6)
    assert stake["worth_at_most_usd"] == pytest.approx(130, rel=1e-6)
    assert 0 < stake["expected_loss_usd"] < 325
    costs = document["costs"]
    # 2,428.57 dollars for a month at 4 % a year; what is left to fear is less than before.
    assert costs["carry_usd"] == pytest.approx(2_428.57 * 0.04 * 30 / 365, rel=1e-4)
    assert costs["cash_usd"] == costs["carry_usd"]
    assert 0 < costs["loss_left_usd"] < stake["expected_loss_usd"]
    assert document["options"][1]["costs"]["loss_left_usd"] == costs["loss_left_usd"]


async def test_pass__one_wallet_for_two_positions__saves_first_where_a_dollar_spares_more(
    ground: Ground,
) -> None:
    # Both owe as much. "other" stands at 1.10, so that a liquidation is likelier than of "toy" at
    # 1.138, but takes more to restore; the wallet's 4,000 dollars are too few for both.
    for market in ("toy", "other"):
        ground.watch(
            ALICE.address, market=market, ether_wallet=0, dollar_wallet=4_000 * DOLLAR.unit
        )
    await ground.start()
    ground.price(1_850)
    ground.price(1_800, "other")
    await ground.block()
    (decided,) = ground.decisions()
    document = explanation(ground.path, decided.id).document
    # 325 dollars at 45 % less 22 left to fear, on 2,714 dollars: 4.6 cents a dollar, against 4.3.
    assert decided.label == "alice@other"
    assert document["reserve"]["order"] == ["alice@other", "alice@toy"]
    assert document["reserve"]["left_for_this_one"] == "4000 DOLLAR"


async def test_pass__soon_after_an_action__waits_for_the_cooldown_unless_it_is_urgent(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address, replace(FLOOR_ONLY, cooldown_s=60))
    await ground.start()
    ground.price(1_850)
    await ground.block()
    await ground.mine()
    ground.price(1_500)  # 1.135 again
    await ground.block()
    assert len(ground.decisions()) == 1
    note = "cooling down for 36 s after the last action (cooldown)"
    assert ground.position().note == note
    # A restart does not forget it.
    await ground.start()
    await ground.look()
    assert ground.position().note == note
    ground.price(1_400)  # 1.06: more than half of the way from the floor to 1 is gone
    await ground.block()
    assert len(ground.decisions()) == 2
