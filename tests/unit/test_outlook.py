"""An account with several boundaries: the nearest is the position's."""

from dataclasses import replace

import numpy as np
import pytest

from keeper.backtest.shipped import shipped
from keeper.engine.outlook import Outlook, look_ahead
from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.forecast.names import Asset
from keeper.forecast.volatility import RoundSeries
from keeper.model.units import WAD, Wad, Wei
from keeper.model.values import Head
from keeper.policy.settings import Policy
from keeper.protocols import perp_v2
from tests.unit.perp_values import ETHER, ETHER_FEED, TRADER, VENUE, account, leg, snapshot, weth

NOW = 1_700_000_000
HOUR_S = 3_600


def policy() -> Policy:
    return Policy(
        name="p",
        floor=Wad(WAD * 11 // 10),
        trigger_probability=0.1,
        horizon_s=86_400,
        target=Wad(2 * WAD),
        max_health_to_act=Wad(2 * WAD),
        max_per_action_usd8=10**13,
        max_per_day_usd8=10**13,
        min_action_usd8=0,
    )


def outlook(position: perp_v2.PerpPosition) -> Outlook:
    rng = np.random.default_rng(1)
    rounds = RoundSeries(
        times=NOW - HOUR_S * np.arange(31 * 24, -1, -1, dtype=np.int64),
        log_prices=np.cumsum(rng.normal(0.0, 0.005, 31 * 24 + 1)),
        asset=Asset.of("ETH / USD"),
    )
    market = WatchedMarket(
        perp_v2,
        provider=VENUE.clearing_house,
        name="perp",
        chain_id=31_337,
        accounts=(TRADER,),
    )
    seen = snapshot(position)
    head = Head(number=1, hash="0x1", parent_hash="0x0", timestamp=NOW, base_fee_wei=Wei(1))
    return look_ahead(
        Snapshot(head=head, markets={"perp": seen}, positions=(position,)),
        [Watched(id=position.id, label="p", policy=policy())],
        {"perp": market},
        {ETHER_FEED: rounds},
        shipped(),
    )


def test_outlook__short_in_loss_on_margin_tokens__goes_by_the_nearest_boundary() -> None:
    # Of its four boundaries a debt above 75 % of the token's counted value is the nearest.
    position = account(leg(ETHER, "-1", 2_000, price=2_900), margin=0, holdings=(weth("1", 2_900),))
    rows = perp_v2.book_rows(snapshot(position))
    assert rows.accounts == (TRADER,) * 4
    ahead = outlook(position)
    assert ahead.rows.tolist() == [0]
    assert ahead.book.C.shape[0] == 1
    assert 0.0 < ahead.forecast.probability[0] < 1.0


def test_outlook__pool_below_its_mark__counts_from_the_pool() -> None:
    long = account(leg(ETHER, "1", 2_000), margin=300)
    fallen = replace(
        long,
        legs=(replace(long.legs[0], state=replace(long.legs[0].state, market_price=1_950 * WAD)),),
    )
    level, below = outlook(long).forecast, outlook(fallen).forecast
    assert below.distance[0] == pytest.approx(level.distance[0])
    assert below.gap[0] == pytest.approx(np.log(1_950 / 2_000), rel=1e-6)
    assert below.probability[0] > level.probability[0]


@pytest.mark.parametrize("size", ["10", "-10"])
def test_chances__margin_added_to_a_perp__is_the_forecast_of_the_account_that_has_it(
    size: str,
) -> None:
    # Leverage 10 and, after 4,000 more of margin, 3.3.
    before = account(leg(ETHER, size, 2_000), margin=2_000)
    after = account(leg(ETHER, size, 2_000), margin=6_000)
    (now, then) = outlook(before).chances(0, before, [before.health, after.health], 86_400)
    assert now == pytest.approx(outlook(before).forecast.probability[0], rel=1e-6)
    assert then == pytest.approx(outlook(after).forecast.probability[0], rel=1e-6)
    assert then < now / 10
