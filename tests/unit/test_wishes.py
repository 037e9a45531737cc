"""Owners' own actions: through the same pass as the keeper's, once each, within the same limits."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.model.values import PositionId
from keeper.model.wishes import PATIENCE_S, Verb
from keeper.storage.wishes import WishView
from tests.unit.toy_chain import ALICE, BOB, FLOOR_ONLY, USD8, Ground
from tests.unit.toy_protocol import CHAIN_ID, DOLLAR, ETHER


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    yield ground
    ground.store.close()


def wish(
    ground: Ground,
    verb: Verb = "repay",
    *,
    usd: int | None = None,
    token: str | None = None,
    who: str = ALICE.address,
    ago_s: float = 0.0,
) -> int:
    return ground.store.wishes.make(
        PositionId(chain_id=CHAIN_ID, market="toy", account=who),  # type: ignore[arg-type]  # an address as text
        verb=verb,
        token=token,
        usd8=None if usd is None else usd * USD8,
        made_at=time.time() - ago_s,
    )


def outcome(ground: Ground, wish_id: int) -> WishView:
    return ground.store.wishes.view(wish_id)


async def test_wish__so_many_dollars_of_a_healthy_position__is_done_once(ground: Ground) -> None:
    ground.watch(ALICE.address)
    wish_id = wish(ground, usd=500)
    await ground.start()
    await ground.look()
    (decided,) = ground.decisions()
    assert (decided.cause, decided.kind, decided.amount) == ("owner", "Repay", "500")
    assert outcome(ground, wish_id) == WishView(state="taken", reason="", decision_id=decided.id)
    await ground.mine()
    await ground.block()
    (decided,) = ground.decisions()
    assert (decided.outcome, decided.as_predicted) == ("done", True)
    # 16000 / 12500
    assert decided.health_after == pytest.approx(1.28, abs=1e-5)
    assert len(ground.sent()) == 2


async def test_wish__made_between_passes__is_taken_up_by_the_next_but_one_at_the_latest(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    await ground.look()
    wish(ground, usd=500)
    await ground.block()
    await ground.block()
    assert [each.cause for each in ground.decisions()] == ["owner"]


async def test_wish__no_amount__reaches_the_target(ground: Ground) -> None:
    ground.watch(ALICE.address)
    wish(ground, "topup", token=ETHER.symbol)
    await ground.start()
    await ground.look()
    (decided,) = ground.decisions()
    assert (decided.kind, decided.token) == ("AddCollateral", ETHER.symbol)
    assert decided.predicted_health == pytest.approx(1.4, abs=1e-5)


@pytest.mark.parametrize(
    ("limits", "moved"),
    [
        ({"max_per_action_usd8": 300 * USD8}, 300),
        ({"max_per_day_usd8": 200 * USD8}, 200),
        ({"min_action_usd8": 10_000 * USD8}, 500),
        ({"guard_share": 0.0}, 500),
        ({"cooldown_s": 86_400}, 500),
    ],
    ids=["per action", "per day", "not its thrift", "nor its worth", "nor its patience"],
)
async def test_wish__policys_limits__hold(
    ground: Ground, limits: dict[str, int], moved: int
) -> None:
    ground.watch(ALICE.address, replace(FLOOR_ONLY, **limits))  # type: ignore[arg-type]  # of several types
    wish(ground, usd=500)
    await ground.start()
    await ground.look()
    (decided,) = ground.decisions()
    assert decided.amount_usd == moved


@pytest.mark.parametrize(
    ("verb", "usd", "token", "principal", "said"),
    [
        ("repay", None, None, 10_000, "health is at its target: say how much is to be moved"),
        ("deleverage", 500, None, 13_000, "only a guardian may sell collateral for debt"),
        ("repay", 500, ETHER.symbol, 13_000, "neither such a debt nor such a collateral"),
    ],
)
async def test_wish__cannot_be__is_refused_with_the_reason(
    ground: Ground, verb: Verb, usd: int | None, token: str | None, principal: int, said: str
) -> None:
    ground.watch(ALICE.address, principal=principal * DOLLAR.unit)
    wish_id = wish(ground, verb, usd=usd, token=token)
    await ground.start()
    await ground.look()
    found = outcome(ground, wish_id)
    assert found.state == "refused"
    assert said in found.reason
    assert ground.sent() == []
    # Nobody is in danger: only the owner is told.
    assert [each.name for each in ground.notifier.active] == []


async def test_wish__of_what_is_not_watched__is_refused(ground: Ground) -> None:
    ground.watch(ALICE.address)
    wish_id = wish(ground, usd=500, who=BOB.address)
    await ground.start()
    assert outcome(ground, wish_id).reason == "this keeper does not watch the position"


async def test_wish__that_waited_too_long__is_not_meant_any_more(ground: Ground) -> None:
    ground.watch(ALICE.address)
    wish_id = wish(ground, usd=500, ago_s=PATIENCE_S + 1)
    await ground.start()
    await ground.look()
    assert outcome(ground, wish_id).state == "withdrawn"
    assert ground.decisions() == []


async def test_wish__withdrawn_in_time__is_not_done(ground: Ground) -> None:
    ground.watch(ALICE.address)
    wish_id = wish(ground, usd=500)
    assert ground.store.wishes.settle(wish_id, "withdrawn", "changed my mind")
    await ground.start()
    await ground.look()
    assert ground.decisions() == []
    assert not ground.store.wishes.settle(wish_id, "withdrawn")


async def test_wish__while_a_transaction_is_under_way__waits(ground: Ground) -> None:
    ground.watch(ALICE.address)
    first, second = wish(ground, usd=500), wish(ground, usd=300)
    await ground.start()
    await ground.look()
    await ground.block()
    assert outcome(ground, first).state == "taken"
    assert outcome(ground, second).state == "open"
    await ground.mine()
    await ground.block()
    assert outcome(ground, second).state == "taken"
    assert [each.amount for each in ground.decisions()] == ["500", "300"]


async def test_wish__dry_run__is_told_each_time(ground: Ground) -> None:
    ground.live = False
    ground.watch(ALICE.address)
    await ground.start()
    for _ in range(2):
        wish(ground, usd=500)
        await ground.block()
        await ground.block()
    assert [each.outcome for each in ground.decisions()] == ["dry run", "dry run"]
    assert ground.sent() == []


async def test_foresee__position__is_kept_for_status_and_its_day(ground: Ground) -> None:
    ground.watch(ALICE.address)
    engine = await ground.start()
    await ground.look()
    await engine.foresee()
    ground.price(1_900)
    await ground.block()
    await engine.foresee()
    ahead = ground.position().ahead
    assert ahead is not None
    assert ahead["block"] == 101
    reserve = ahead["reserve"]
    # 15200/13000 against the floor of 1.15; the wallet's dollars pay, its ether adds.
    assert reserve["reserve_usd"] > 0
    assert 0 <= reserve["held_down_to"] < 1
