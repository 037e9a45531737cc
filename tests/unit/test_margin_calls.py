"""Margin calls: exact amounts, a time, a probability, and the reason why the keeper does not do it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.engine.ahead import Chance
from keeper.engine.margin_calls import MARGIN_CALL, left_s
from keeper.model.alerts import Alert, Severity
from keeper.model.units import WAD, Amount, Wad
from keeper.policy.consider import PAYMENTS
from keeper.policy.needed import needed
from tests.unit.test_plan import LOAN, TOY
from tests.unit.toy_chain import ALICE, BOB, POLICY, Ground
from tests.unit.toy_protocol import DOLLAR, ETHER, ToyPosition

HOUR_S, DAY_S = 3_600, 86_400


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    yield ground
    ground.store.close()


def call(ground: Ground) -> Alert | None:
    return next((a for a in ground.notifier.active if a.name == MARGIN_CALL), None)


def wanted(position: ToyPosition, target: Wad) -> list[str]:
    found = needed(
        position,
        TOY.options(position),
        lambda action: TOY.predict(action, position, position.timestamp),
        target,
    )
    return [str(each) for each in found]


def test_needed__whoever_pays__is_exact_to_the_smallest_unit() -> None:
    """10 ether at 2,000 count 16,000 against 13,000. For 1.4: 16000/13000 → (1.4 × 13000 − 16000)/0.8
    = 2,750 dollars of ether, or a debt of at most 16000/1.4 = 11428.571428 and so 1571.428572 paid."""
    empty = ToyPosition(
        id=LOAN.id,
        ether=LOAN.ether,
        principal=LOAN.principal,
        updated_at=LOAN.updated_at,
        price_usd8=LOAN.price_usd8,
        timestamp=LOAN.timestamp,
        ether_wallet=0,
        dollar_wallet=0,
    )
    found = wanted(empty, Wad(14 * WAD // 10))
    assert found == ["add 1.375 ETHER", "repay 1571.428572 DOLLAR"]


def test_needed__one_unit_less__would_not_reach_the_target() -> None:
    target = Wad(14 * WAD // 10)
    found = needed(
        LOAN, TOY.options(LOAN), lambda action: TOY.predict(action, LOAN, LOAN.timestamp), target
    )
    assert [each.amount.token for each in found] == [ETHER, DOLLAR]
    for each in found:
        less = Amount(raw=each.amount.raw - 1, token=each.amount.token)
        for amount, reaches in ((each.amount, True), (less, False)):
            action = PAYMENTS[each.kind](position=LOAN.id, amount=amount)
            health = TOY.predict(action, LOAN, LOAN.timestamp).health
            assert health is not None
            assert (health >= target) is reaches


@pytest.mark.parametrize(
    ("health", "likely", "left"),
    [
        (1.1, (0.001, 0.01, 0.2), HOUR_S),
        (1.1, (0.001, 0.06, 0.2), 300),
        (1.1, (0.06, 0.1, 0.2), 0),
        (1.1, (0.001, 0.002, 0.003), None),
        (1.0, (0.0, 0.0, 0.0), 0),
        (1.1, (), 0),
    ],
)
def test_left__forecast__is_the_longest_horizon_that_stays_below_what_is_tolerable(
    health: float, likely: tuple[float, ...], left: int | None
) -> None:
    ahead = [
        Chance(
            horizon_s=horizon_s,
            breach_probability=probability,
            distance_in_sigma=None,
            volatility_per_year=0.5,
        )
        for horizon_s, probability in zip((300, HOUR_S, DAY_S), likely, strict=False)
    ]
    assert left_s(Wad(int(health * WAD)), ahead, 0.05) == left


async def test_pass__below_the_floor_and_the_reserve_is_empty__calls_for_exact_amounts(
    ground: Ground,
) -> None:
    account = ground.watch(ALICE.address, ether_wallet=0, dollar_wallet=0)
    await ground.start()
    await ground.look()
    assert call(ground) is None
    ground.price(1_850)  # 14800/13000 = 1.138
    await ground.block()
    told = call(ground)
    assert told is not None
    assert (told.severity, told.subject) == (Severity.CRITICAL, "alice@toy")
    assert told.text.startswith("health 1.1385 (floor 1.15). To reach 1.4: add 2.2972")
    assert " or repay 2428.57" in told.text
    assert "% within 1 d" in told.text
    assert "UTC" in told.text or "at once" in told.text
    assert "The keeper: refused: " in told.text
    # What it calls for, to the unit, is what the owner pays and what suffices.
    raw = int(str(told.fields["Repay_DOLLAR"]))
    account.principal -= raw
    await ground.block()
    assert ground.position().health == pytest.approx(1.4, abs=1e-6)
    assert call(ground) is None


async def test_pass__the_keeper_saves_it__calls_nobody(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    assert ground.sent()
    assert call(ground) is None


async def test_pass__the_reserve_is_too_small__calls_though_it_is_used(ground: Ground) -> None:
    ground.watch(ALICE.address, ether_wallet=0, dollar_wallet=1_500 * DOLLAR.unit)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    told = call(ground)
    assert told is not None
    assert "repay 2428.57" in told.text
    assert "The keeper: does what it can, Repay 1500 DOLLAR" in told.text


async def test_pass__dry_run__calls_since_nothing_is_sent(ground: Ground) -> None:
    ground.watch(ALICE.address)
    ground.live = False
    await ground.start()
    ground.price(1_850)
    await ground.block()
    told = call(ground)
    assert told is not None
    assert "The keeper: dry run: would Repay" in told.text


async def test_pass__figures_of_one_cannot_be_worked_out__the_others_are_called(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address, POLICY, ether_wallet=0, dollar_wallet=0)
    ground.watch(BOB.address, POLICY, ether_wallet=0, dollar_wallet=0)
    await ground.start()
    real = ground.toy.predict

    def predict(action, position, at):  # type: ignore[no-untyped-def]  # a bug in an adapter
        if position.id.account == ALICE.address:
            raise ZeroDivisionError
        return real(action, position, at)

    ground.price(1_850)
    ground.toy.predict = predict  # type: ignore[method-assign]  # as above
    await ground.block()
    assert [a.subject for a in ground.notifier.active if a.name == MARGIN_CALL] == ["bob@toy"]
