"""What lies ahead of a position: chances by horizon, what each price does to it, how low it may go."""

from math import log

import numpy as np
import pytest

from keeper.engine.ahead import QUANTILES, TIMES_S, chances, exposures, fan
from keeper.engine.outlook import Outlook, nothing_known
from keeper.forecast.calibrated import Asked, forecast
from keeper.forecast.realised import DAY_S, HORIZONS_S
from keeper.forecast.scales import Scales
from keeper.forecast.volatility import RoundSeries, covariance
from keeper.model.book import Book, Column
from keeper.model.units import Address
from tests.unit.test_calibrated import (
    COLUMNS,
    LONG,
    NOW,
    SHIPPED,
    book,
    histories,
)

BASKET = ({1: 1.0, 2: 0.05}, {0: 2_000.0, 3: 1_000.0})
"""Ether worth 2,000 and bitcoin worth 2,000 against 3,000: health 4/3."""


def outlook(rows: Book, series: dict[Address, RoundSeries] | None = None) -> Outlook:
    known = series or histories()
    asked = Asked(
        scales=Scales.of(COLUMNS, known, SHIPPED, NOW),
        market_prices=rows.p,
        short=covariance(COLUMNS, known, NOW),
    )
    return Outlook(
        forecast=forecast(rows, asked, horizon_s=float(DAY_S)),
        book=rows,
        rows=np.arange(len(rows.C)),
        why_cold=asked.scales.reasons,
        rounds=(None,) * len(COLUMNS),
        gaps=(None,) * len(COLUMNS),
        now=NOW,
        calibration=SHIPPED,
        asked=asked,
    )


def test_chances__every_horizon__is_the_daemons_forecast_of_it_and_never_falls() -> None:
    seen = outlook(book(LONG, BASKET))
    found = chances(seen)
    for row in (0, 1):
        assert [each.horizon_s for each in found[row]] == list(HORIZONS_S)
        said = [each.breach_probability for each in found[row]]
        assert said == sorted(said)
        assert said[HORIZONS_S.index(DAY_S)] == seen.forecast.probability[row]
        sigmas = [each.distance_in_sigma or 0.0 for each in found[row]]
        assert sigmas == sorted(sigmas, reverse=True)


def test_chances__no_debt__is_none_at_any_horizon() -> None:
    (found,) = chances(outlook(book(({1: 1.0}, {})))).values()
    assert {each.breach_probability for each in found} == {0.0}
    assert {each.distance_in_sigma for each in found} == {None}


def test_exposures__ether_against_dollars__is_liquidated_where_they_are_worth_the_same() -> None:
    (ether,) = exposures(outlook(book(LONG)), 0)
    assert ether.price == 2_000.0
    assert ether.liquidation_price == pytest.approx(1_900.0)
    assert ether.sensitivity == pytest.approx(1.0)


def test_exposures__basket__each_price_alone_and_by_its_weight() -> None:
    # 1,000 are to spare: either half of the collateral may lose half of its 2,000, and the
    # thousand in stablecoins may double.
    ether, bitcoin, dollars = exposures(outlook(book(BASKET)), 0)
    assert ether.liquidation_price == pytest.approx(1_000.0)
    assert bitcoin.liquidation_price == pytest.approx(20_000.0)
    assert dollars.liquidation_price == pytest.approx(2.0)
    assert [ether.sensitivity, bitcoin.sensitivity] == pytest.approx([0.5, 0.5])
    assert dollars.sensitivity == pytest.approx(-1.0 / 3.0)


def test_exposures__collateral_that_suffices_without_it__no_price_of_it_liquidates() -> None:
    _, bitcoin = exposures(outlook(book(({1: 1.0, 2: 0.01}, {0: 1_000.0}))), 0)
    assert bitcoin.liquidation_price is None


def test_exposures__two_columns_of_one_oracle__move_together() -> None:
    rows = Book(
        C=np.array([[0.0, 1.0, 0.5]]),
        D=np.array([[2_000.0, 0.0, 0.0]]),
        p=np.array([1.0, 2_000.0, 2_000.0]),
        columns=(COLUMNS[0], COLUMNS[1], Column(source=COLUMNS[1].source, label="e-mode")),
    )
    seen = outlook(book(LONG))
    (ether,) = exposures(
        Outlook(**{name: getattr(seen, name) for name in Outlook.__slots__} | {"book": rows}), 0
    )
    assert ether.liquidation_price == pytest.approx(2_000.0 * 2.0 / 3.0)


def test_fan__any_edge__is_reached_as_often_as_it_says() -> None:
    seen = outlook(book(LONG))
    lowest = fan(seen, 0)
    assert lowest is not None
    assert seen.asked is not None
    assert (np.diff(lowest, axis=0) <= 0.0).all()
    assert (np.diff(lowest, axis=1) <= 1e-9).all()
    now = 2_000.0 / 1_900.0
    day = int(np.argmin(abs(TIMES_S - DAY_S)))
    for quantile, level in zip(QUANTILES, lowest[:, day].tolist(), strict=True):
        # Health reaches the level when the price has fallen by what takes it there.
        there = ({1: 1.0}, {0: 1_900.0 * level})
        reached = forecast(book(there), seen.asked, horizon_s=float(TIMES_S[day])).probability[0]
        assert reached == pytest.approx(quantile, rel=0.05)
        assert log(now / level) >= 0.0


def test_fan__nothing_to_lose_or_nothing_known__is_none() -> None:
    assert fan(outlook(book(({1: 1.0}, {}))), 0) is None
    assert fan(nothing_known(1), 0) is None
    assert chances(nothing_known(1)) == {}
