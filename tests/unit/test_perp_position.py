"""Perp accounts worked by hand: health, distance, and what an action does."""

from dataclasses import replace
from math import inf, log

import numpy as np
import pytest

from keeper.forecast.first_passage import first_passage, forecast
from keeper.forecast.moves import moves
from keeper.forecast.volatility import Covariance
from keeper.model.book import QUOTE, Book, Column, Floats, distance, health, stack
from keeper.model.units import WAD, Amount
from keeper.model.values import AddMargin, Deleverage, ReducePosition, Repay
from keeper.protocols import perp_v2
from keeper.protocols.perp_v2_position import PerpPosition
from tests.unit.perp_values import (
    BITCOIN,
    ETHER,
    ETHER_FEED,
    USDC,
    VENUE,
    account,
    leg,
    snapshot,
    weth,
)


def nearest(position: PerpPosition, **moves: float) -> float:
    """The distance of the nearest of its rows when the marks move so."""
    book = perp_v2.book_rows(snapshot(position)).book
    return float(distance(book, towards(book, **moves)).min())


def towards(book: Book, **moves: float) -> Floats:
    """One for each column whose label holds a name."""
    return np.array(
        [
            next((by for name, by in moves.items() if name in column.label), 0.0)
            for column in book.columns
        ]
    )


def test_ten_times_long__maintenance_of_5_percent__health_2_and_a_fall_of_5_3_percent() -> None:
    # 1 ETH at 2,000 on 200 of margin: equity 200, maintenance 5 % of 2,000 = 100, health 2.
    # A fall of x: 200 − 2,000x = 0.05 × 2,000 × (1 − x), so x = 100/1,900 = 5.263 %.
    position = account(leg(ETHER, "1", 2_000), margin=200, mm_ratio="0.05")
    assert position.health == 2 * WAD
    assert position.leverage == 10 * WAD
    assert nearest(position, vETH=-1.0) == pytest.approx(-log(1 - 100 / 1_900), rel=1e-9)
    assert nearest(position, vETH=1.0) == inf


def test_ten_times_long__the_venues_own_maintenance__health_1_6_and_a_fall_of_4_percent() -> None:
    # Maintenance 6.25 % of 2,000 = 125, health 1.6; x = 75/1,875 = 4 %.
    position = account(leg(ETHER, "1", 2_000), margin=200)
    assert position.health == WAD * 16 // 10
    assert nearest(position, vETH=-1.0) == pytest.approx(-log(0.96), rel=1e-9)


def test_short__price_rises__is_liquidated_sooner_than_a_long() -> None:
    # −1 ETH at 2,000 on 200: 200 − 2,000x = 0.0625 × 2,000 × (1 + x), so x = 75/2,125 = 3.529 %.
    position = account(leg(ETHER, "-1", 2_000), margin=200)
    assert position.health == WAD * 16 // 10
    assert nearest(position, vETH=1.0) == pytest.approx(log(1 + 75 / 2_125), rel=1e-9)
    assert nearest(position, vETH=-1.0) == inf


def test_cross_margin__long_ether_and_short_bitcoin__one_margin_carries_both() -> None:
    # 1 ETH at 2,000 long, 0.04 BTC at 50,000 short, 500 of margin: equity 500 against
    # 6.25 % of 4,000 = 250: health 2. Ether alone falls by x:
    # 500 − 2,000x = 0.0625 × (4,000 − 2,000x), so x = 250/1,875 = 13.33 %.
    # Both fall alike: what one loses the other gains, and the maintenance only shrinks.
    position = account(leg(ETHER, "1", 2_000), leg(BITCOIN, "-0.04", 50_000), margin=500)
    assert position.health == 2 * WAD
    assert nearest(position, vETH=-1.0) == pytest.approx(-log(1 - 250 / 1_875), rel=1e-9)
    assert nearest(position, vETH=-1.0, vBTC=-1.0) == inf


def test_funding_owed__counts_against_the_account() -> None:
    # 200 of margin less 50 of funding: 150/125 = 1.2.
    position = account(leg(ETHER, "1", 2_000, funding=50), margin=200)
    assert position.health == WAD * 12 // 10


def test_book_rows__funding_at_the_moments_premium__is_a_carry_of_whom_it_charges() -> None:
    # A premium of 20 a day on 1 ETH costs 20/24 in an hour: of 200 of margin, 1/240. A short, which
    # would be paid, is promised nothing.
    for size, hourly in (("1", log(1 - 1 / 240)), ("-1", 0.0)):
        calm = account(leg(ETHER, size, 2_000), margin=200)
        dear = replace(calm.legs[0].state, premium_x96=20 << 96)
        position = replace(calm, legs=(replace(calm.legs[0], state=dear),))
        book = perp_v2.book_rows(snapshot(position)).book
        assert book.carry * 3_600 == pytest.approx(hourly, rel=1e-9)
        assert perp_v2.book_rows(snapshot(calm)).book.carry.tolist() == [0.0]


def test_margin_token__debt_of_a_short_in_loss__second_liquidation_is_nearer() -> None:
    # 1 WETH at 2,900 of which 85 % = 2,465 counts; a short from 2,000 to 2,900 has lost 900.
    # Margin: (2,465 − 900)/(6.25 % × 2,900 = 181.25) = 8.63; to keep the token: 1,565/195.75 = 7.99.
    # Debt: 75 % × 2,465 = 1,848.75 against 900 = 2.0541: the least.
    position = account(leg(ETHER, "-1", 2_000, price=2_900), margin=0, holdings=(weth("1", 2_900),))
    assert position.account.health == 1_565 * WAD * 100 // 18_125
    assert position.account.collateral_health == position.health == 184_875 * WAD // 90_000


def test_account__nothing_open__has_no_health() -> None:
    assert account(margin=1_000).health is None
    assert account(margin=0, holdings=(weth("1", 2_000),)).health is None


def test_account__equity_gone__health_is_negative_and_distance_nothing() -> None:
    position = account(leg(ETHER, "1", 2_000, price=1_700), margin=200)
    assert position.health is not None
    assert position.health < 0
    assert nearest(position, vETH=-1.0) == 0.0
    assert position.collateral_usd8 == 0


def test_hedged_pair__each_leg_alone_and_both_as_one() -> None:
    # Lending: 10 ETH at 2,000, 82.5 % of which covers 16,500, against 12,000: a fall of 27.27 %.
    # Perp: −10 ETH at 2,000 on 4,000: 4,000/1,250 = 3.2; a rise of 2,750/21,250 = 12.94 %.
    # As one, if what is spare on one side helps the other:
    # 8.25p − 12,000 + 24,000 − 10p − 0.625p = 12,000 − 2.375p: a rise to 5,052.63, by 152.6 %.
    short = account(leg(ETHER, "-10", 2_000), margin=4_000)
    assert short.health == 32 * WAD // 10
    perp = perp_v2.book_rows(snapshot(short)).book
    mark = next(k for k, column in enumerate(perp.columns) if "vETH" in column.label)
    C, D = np.zeros((1, len(perp.columns))), np.zeros((1, len(perp.columns)))
    C[0, mark], D[0, 0] = 8.25, 12_000.0
    lending = replace(perp, C=C, D=D)
    legs = stack([lending, perp])
    down, up = towards(legs, vETH=-1.0), towards(legs, vETH=1.0)
    assert distance(legs, down) == pytest.approx([-log(12_000 / 16_500), inf])
    assert distance(legs, up) == pytest.approx([inf, log(1 + 2_750 / 21_250)])
    C, D = (matrix.sum(axis=0, keepdims=True) for matrix in (legs.C, legs.D))
    both = replace(legs, C=C, D=D, carry=legs.carry[:1])
    assert distance(both, down).tolist() == [inf]
    assert distance(both, up) == pytest.approx([log(12_000 / 2.375 / 2_000)])


def test_predict__margin_added__raises_health_by_its_share_of_the_maintenance() -> None:
    # 50 more: 250/125 = 2.
    position = account(leg(ETHER, "1", 2_000), margin=200)
    action = AddMargin(position=position.id, amount=Amount(raw=50 * 10**6, token=USDC))
    assert perp_v2.predict(action, position, position.timestamp).health == 2 * WAD


def test_predict__half_of_a_long_sold__realises_half_of_its_loss() -> None:
    # 1 ETH bought at 2,000 stands at 1,900: equity 100 of 118.75 needed. Half sold brings 945
    # (5 below the mark): realised 945 − 1,000 = −55; equity 95 against 59.375.
    position = account(leg(ETHER, "1", 2_000, price=1_900), margin=200)
    action = ReducePosition(
        position=position.id,
        amount=Amount(raw=WAD // 2, token=ETHER.token),
        quote=Amount(raw=945 * WAD, token=VENUE.quote),
    )
    after = perp_v2.predict(action, position, position.timestamp)
    assert (after.legs[0].size, after.legs[0].open_notional) == (WAD // 2, -1_000 * WAD)
    assert after.owed_pnl == -55 * WAD
    assert after.health == 95 * 10**3 * WAD // 59_375


@pytest.mark.parametrize(
    ("token", "raw", "why"),
    [
        (ETHER.token, WAD + 1, "only"),
        (BITCOIN.token, WAD, "closed meanwhile"),
        (ETHER.token, 0, "not a positive amount"),
    ],
)
def test_predict__order_beyond_the_position__is_impossible(
    token: object, raw: int, why: str
) -> None:
    position = account(leg(ETHER, "1", 2_000), margin=200)
    action = ReducePosition(
        position=position.id,
        amount=Amount(raw=raw, token=token),  # type: ignore[arg-type]  # from the table above
        quote=Amount(raw=WAD, token=VENUE.quote),
    )
    with pytest.raises(perp_v2.ImpossibleActionError, match=why):
        perp_v2.predict(action, position, position.timestamp)


def test_predict__token_that_is_no_margin_or_another_protocols_action__is_impossible() -> None:
    position = account(leg(ETHER, "1", 2_000), margin=200)
    odd = AddMargin(position=position.id, amount=Amount(raw=1, token=ETHER.token))
    with pytest.raises(perp_v2.ImpossibleActionError, match="not accepted as margin"):
        perp_v2.predict(odd, position, position.timestamp)
    with pytest.raises(perp_v2.ImpossibleActionError, match="not accepted as margin"):
        perp_v2.encode(odd, position)
    repay = Repay(position=position.id, amount=Amount(raw=1, token=USDC))
    with pytest.raises(perp_v2.ImpossibleActionError, match="margin"):
        perp_v2.predict(repay, position, position.timestamp)
    assert not issubclass(Deleverage, AddMargin)


def test_accrued__premium_against_the_position__is_owed_and_one_in_its_favour_is_not_counted() -> (
    None
):
    # The pool stands 20 above the index: a long owes 20 a day per ETH, 0.1388… in 600 s.
    long = account(leg(ETHER, "1", 2_000), margin=200)
    dear = replace(long.legs[0].state, premium_x96=20 << 96)
    owing = replace(long, legs=(replace(long.legs[0], state=dear),))
    later = owing.accrued(owing.timestamp + 600)
    assert later.account.funding == 20 * WAD * 600 // 86_400 + 1
    short = account(leg(ETHER, "-1", 2_000), margin=200)
    earning = replace(short, legs=(replace(short.legs[0], state=dear),))
    assert earning.accrued(earning.timestamp + 600).account.funding == 0
    with pytest.raises(ValueError, match="before"):
        owing.accrued(owing.timestamp - 1)


def test_decode_error__known_and_unknown__gives_words() -> None:
    reason = b"V_GTDC"
    revert = bytes.fromhex("08c379a0") + b"".join(
        [(32).to_bytes(32, "big"), len(reason).to_bytes(32, "big"), reason.ljust(32, b"\0")]
    )
    assert (
        perp_v2.decode_error(revert) == "the venue's cap on this margin token is reached (V_GTDC)"
    )
    assert perp_v2.decode_error(b"") == "reverted without a reason"


def test_moves__perps_of_every_kind__are_where_the_search_finds_them() -> None:
    """Longs and shorts, in profit, in loss, past their boundary, and with more margin than notional."""
    rng = np.random.default_rng(3)
    rows, price = 400, 2_000.0
    size = rng.choice([-1.0, 1.0], rows) * rng.uniform(0.1, 5.0, rows)
    C, D = np.zeros((rows, 2)), np.zeros((rows, 2))
    C[:, 1], D[:, 1] = size, 0.0625 * np.abs(size)
    C[:, 0] = np.abs(size) * price * rng.uniform(-0.02, 1.4, rows) - size * price
    columns = (QUOTE, Column(source=ETHER_FEED, label="mark"))
    perps = Book(C=C, D=D, p=np.array([1.0, price]), columns=columns)
    now, variance = health(perps), np.diag([0.0, 0.8**2 / 31_536_000])
    found = moves(perps, now, variance)
    alive = now > 0
    falls = np.where(C[:, :1] < 0, [[0.0, -1.0]], [[0.0, 1.0]])
    assert found.distance[alive] == pytest.approx(distance(perps, falls)[alive], rel=1e-9)
    assert (found.pair[alive] == 2).all()
    assert np.isinf(found.distance[alive]).any()
    assert (found.distance[alive] == 0.0).any()
    # Volatility and drift are those of the price, whose rise a short has to fear.
    known = Covariance(per_second=variance, reasons=(None, None))
    day = forecast(perps, known, horizon_s=86_400.0, monitored_every_s=0.0)
    moving = alive & np.isfinite(found.distance)
    assert day.volatility_per_year[moving] == pytest.approx(0.8)
    drift = np.where(C[:, 0] < 0, -0.5, 0.5) * variance[1, 1]
    assert day.probability[moving] == pytest.approx(
        first_passage(
            found.distance,
            np.full(rows, np.sqrt(variance[1, 1])),
            drift,
            horizon_s=86_400.0,
            monitored_every_s=0.0,
        )[moving]
    )
