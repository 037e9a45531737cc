"""How far a perp account's reserve goes."""

from dataclasses import replace

import numpy as np
import pytest

from keeper.engine.runway import Against, held_until, runway
from keeper.engine.watch import Watched
from keeper.model.units import WAD, Wad
from keeper.protocols import perp_v2
from keeper.protocols.perp_v2_position import PerpPosition
from tests.unit.perp_values import BITCOIN, ETHER, account, leg, snapshot, weth
from tests.unit.test_guardian import CHARTER, GUARD, MANDATE, POOL
from tests.unit.test_perp_guardian import SOURCE
from tests.unit.test_plan import POLICY

YEARLY = 0.1 * 365**0.5
"""A tenth a day."""


def left(position: PerpPosition, wallet: int) -> tuple[float, float, Against]:
    rich = replace(position, wallet=wallet * 10**6)
    watched = Watched(
        id=position.id, label="perp", policy=replace(POLICY, floor=Wad(13 * WAD // 10)), guard=None
    )
    found = runway(
        rich,
        watched,
        perp_v2,
        volatility_per_year=YEARLY,
        book=perp_v2.book_rows(snapshot(rich)).book.take(np.array([0])),
    )
    assert found is not None
    assert found.reserve_usd == wallet
    return found.held_down_to, found.in_deviations, found.against


def test_runway__long__falls_until_margin_and_reserve_are_at_the_floor() -> None:
    # 750 of equity and 1,000 of reserve against 5 ether at 1,950, floor 1.3 × 6.25 %:
    # 1,750 − 9,750 × (1 − x) = 0.08125 × 9,750 × x, so x = 8,000 / (9,750 × 0.91875).
    factor, deviations, against = left(account(leg(ETHER, "5", 2_000, 1_950), margin=1_000), 1_000)
    assert factor == pytest.approx(8_000 / (9_750 * 0.91875))
    assert deviations == pytest.approx(1.1305, abs=1e-3)
    assert against == "fall"
    assert held_until(against, factor) == "holds the floor until the price has fallen by 10.7 %"


def test_runway__short__rises_until_then() -> None:
    # 1,750 − 10,250 × (x − 1) = 0.08125 × 10,250 × x, so x = 12,000 / (10,250 × 1.08125).
    position = account(leg(ETHER, "-5", 2_000, 2_050), margin=1_000)
    factor, _, against = left(position, 1_000)
    assert 1 / factor == pytest.approx(12_000 / (10_250 * 1.08125))
    assert held_until(against, factor) == "holds the floor until the price has risen by 8.3 %"


def test_runway__long_and_short__every_price_moves_against_it() -> None:
    position = account(
        leg(ETHER, "5", 2_000, 1_950), leg(BITCOIN, "-0.1", 40_000, 40_000), margin=2_000
    )
    factor, _, against = left(position, 1_000)
    assert against == "any"
    # 2,750 − 9,750 × (1 − x) − 4,000 × (1/x − 1) = 0.08125 × (9,750 × x + 4,000 / x)
    lost = 9_750 * (1 - factor) + 4_000 * (1 / factor - 1)
    assert 2_750 - lost == pytest.approx(0.08125 * (9_750 * factor + 4_000 / factor))


def test_runway__nothing_in_the_wallet_and_below_the_floor__holds_nothing() -> None:
    factor, deviations, _ = left(account(leg(ETHER, "5", 2_000, 1_950), margin=1_000), 0)
    assert factor == 1.0
    assert deviations == 0.0


def test_runway__ether_of_the_reserve__counts_after_the_venues_haircut() -> None:
    position = account(leg(ETHER, "5", 2_000, 1_950), margin=1_000, holdings=(weth("0", 1_950),))
    bare, _, _ = left(position, 0)
    (holding,) = position.holdings
    rich = replace(position, holdings=(replace(holding, wallet=WAD),))
    watched = Watched(id=position.id, label="perp", policy=POLICY, guard=None)
    found = runway(
        rich,
        watched,
        perp_v2,
        volatility_per_year=YEARLY,
        book=perp_v2.book_rows(snapshot(rich)).book.take(np.array([0])),
    )
    assert found is not None
    assert found.reserve_usd == 1_950
    assert found.held_down_to < bare


def test_runway__spare_in_a_loan__is_not_counted() -> None:
    """It changes with the same prices: where both legs lose, it is gone when it is needed."""
    position = account(leg(ETHER, "5", 2_000, 1_950), margin=1_000)
    watched = Watched(
        id=position.id, label="perp", policy=POLICY, guard=replace(GUARD, sources=("spare",))
    )
    found = runway(
        position,
        watched,
        perp_v2,
        volatility_per_year=YEARLY,
        book=perp_v2.book_rows(snapshot(position)).book.take(np.array([0])),
        charter=replace(CHARTER, source=replace(SOURCE, expiry=position.timestamp)),
    )
    assert found is not None
    assert found.reserve_usd == 0


def test_runway__perp__is_made_smaller_after_it_only_where_the_mandate_lists_it() -> None:
    position = account(leg(ETHER, "5", 2_000, 1_950), margin=1_000)
    (reduction,) = perp_v2.reductions(position)
    watched = Watched(id=position.id, label="perp", policy=POLICY, guard=GUARD)
    for listed in ((reduction.token.address,), (POOL,), ()):
        found = runway(
            position,
            watched,
            perp_v2,
            volatility_per_year=YEARLY,
            book=perp_v2.book_rows(snapshot(position)).book.take(np.array([0])),
            charter=replace(CHARTER, mandate=replace(MANDATE, collaterals=listed)),
        )
        assert found is not None
        assert found.unwinds is (listed == (reduction.token.address,))


@pytest.mark.parametrize("against", ["loan", "fall", "rise", "any"])
def test_held_until__reserve_too_small_for_the_floor__tells_no_move(against: Against) -> None:
    assert held_until(against, 1.123) == "does not bring health to the floor"
