"""Perp positions made smaller through a guardian: what is called, what comes back, and how much."""

from dataclasses import replace
from typing import Any

import pytest

from keeper.mandate import guardian, perp_guardian
from keeper.mandate.charter import MoveSource
from keeper.model.units import WAD, Amount, Wad
from keeper.model.values import (
    Action,
    AddMargin,
    LiquidationTerms,
    MoveMargin,
    Option,
    PositionState,
    ReducePosition,
    Reduction,
    Way,
)
from keeper.policy.consider import Considered
from keeper.policy.plan import Plan, Refused, plan, surviving_health
from keeper.protocols import perp_v2
from keeper.protocols.perp_v2_position import PerpPosition
from tests.unit.fake_rpc import address
from tests.unit.perp_values import ETHER, USDC, VENUE, account, leg, snapshot
from tests.unit.test_guardian import CHARTER, GUARD, GUARDIAN, HASH, MANDATE, SOON, TREASURY
from tests.unit.test_plan import FREE_GAS, NO_FORECAST, POLICY

VETH = ETHER.token
PERP_GUARD = replace(GUARD, market=VENUE.clearing_house)
MARGIN = 1_000
CENTS = 1e-8
"""The venue counts an account's value in millionths of a dollar, which a size here is no finer than."""
LONG = account(leg(ETHER, "5", 2_000, 1_950), margin=MARGIN)
SHORT = account(leg(ETHER, "-5", 2_000, 2_050), margin=MARGIN)
"""750 of equity against 6.25 % of 9,750 and of 10,250: health 1.2308 and 1.1707."""


def limited(position: PerpPosition = LONG, blocked: str | None = None, **terms: Any) -> Reduction:
    """Under a mandate that lists ether."""
    listed: dict[str, Any] = {"collaterals": (VETH.address,), "target": Wad(16 * WAD // 10)}
    charter = replace(CHARTER, mandate=replace(MANDATE, **(listed | terms)))
    assert position.health is not None
    (found,) = perp_guardian.reductions(
        charter, perp_v2.reductions(position), health=position.health, trades_blocked=blocked
    )
    return found


def terms(position: PositionState) -> LiquidationTerms:
    assert isinstance(position, PerpPosition)
    return perp_v2.liquidation_terms(position)


def considered(position: PerpPosition, option: Way, **rules: Any) -> Plan | Refused:
    return plan(
        position=position,
        cause="floor",
        policy=replace(POLICY, target=Wad(15 * WAD // 10), **rules),
        options=[option],
        predict=lambda action: perp_v2.predict(action, position, position.timestamp),
        objection=lambda action: perp_v2.objection(action, position),
        moved_today_usd8=0,
        gas_price=FREE_GAS,
        threat=replace(NO_FORECAST, terms=terms),
        surviving=Wad(WAD),
    )


def planned(position: PerpPosition, option: Reduction, **rules: Any) -> tuple[Plan, Considered]:
    found = considered(position, option, **rules)
    assert isinstance(found, Plan), found
    return found, found.considered[0]


def reduced(size: int, quote: int) -> ReducePosition:
    return ReducePosition(
        position=LONG.id,
        amount=Amount(raw=size, token=VETH),
        quote=Amount(raw=quote, token=VENUE.quote),
    )


# -- what the mandate leaves ---------------------------------------------------------------------


def test_reductions__listed_market__slippage_by_health_and_at_most_half_the_penalty() -> None:
    # Calm 50 at 1.3, urgent 200 at 1: at 1.2308 23 % of the way, 84; half of 2.5 % is 125.
    assert limited().slippage_limit == 84
    assert limited(slippage_calm_bps=150).slippage_limit == 125
    assert limited().available.raw == 5 * WAD
    assert limited().blocked is None


def test_reductions__another_market_listed__is_blocked_by_name() -> None:
    found = limited(collaterals=(address("b1"),))
    assert found.blocked == "the mandate does not list vETH among its collaterals"


def test_reductions__swaps_blocked__say_why() -> None:
    assert limited(blocked="the pool disagrees").blocked == "the pool disagrees"


@pytest.mark.parametrize(
    ("position", "why"),
    [
        (replace(LONG, terms=replace(LONG.terms, house_paused=True)), "ClearingHouse is paused"),
        (
            replace(
                LONG,
                legs=tuple(
                    replace(each, state=replace(each.state, index_price=0)) for each in LONG.legs
                ),
            ),
            "the feed behind vETH gives no price",
        ),
        (
            replace(
                LONG,
                legs=tuple(
                    replace(each, state=replace(each.state, halted="vETH is stopped"))
                    for each in LONG.legs
                ),
            ),
            "vETH is stopped",
        ),
    ],
)
def test_reductions__venue_that_does_not_trade__is_blocked(
    position: PerpPosition, why: str
) -> None:
    assert why in str(limited(position).blocked)


def test_payments__margin_token_beside_the_settlement_token__is_none_of_the_guardians() -> None:
    option = replace(perp_v2.options(LONG)[0], guardian_gas=None)
    (found,) = guardian.payments(PERP_GUARD, CHARTER, [option], until=SOON)
    assert found.blocked == "the guardian pays in the venue's settlement token alone"


def test_payments__settlement_token__counts_the_gas_of_the_guardians_call() -> None:
    rich = replace(LONG, wallet=10**9, allowance=10**9)
    (found, *_) = guardian.payments(PERP_GUARD, CHARTER, perp_v2.options(rich), until=SOON)
    assert found.blocked is None
    assert found.gas == 660_000


# -- what may be moved from a loan ---------------------------------------------------------------

SOURCE = MoveSource(
    market=address("aa"),
    floor=Wad(16 * WAD // 10),
    limit_max=300 * 10**8,
    limit_per_second=0,
    expiry=SOON,
    available=250 * 10**8,
    spare=400 * 10**6,
)


def moved(source: MoveSource | None = SOURCE, position: PerpPosition = LONG) -> tuple[Option, ...]:
    charter = replace(CHARTER, source=source)
    return perp_guardian.moves(charter, perp_v2.options(position), until=SOON)


def test_moves__allowed__as_much_as_is_spare_and_the_limit_leaves() -> None:
    (found,) = moved()
    assert (found.kind, found.source, found.token) == ("MoveMargin", "spare", USDC)
    assert found.blocked is None
    assert found.available.raw == 250 * 10**6
    (found,) = moved(replace(SOURCE, available=500 * 10**8))
    assert found.available.raw == found.held.raw == 400 * 10**6


def test_moves__owner_allows_none__there_is_no_such_way() -> None:
    assert moved(None) == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"spare": 0}, "nothing is spare above health 1.6 at 0x"),
        ({"available": 0}, "the limit of what may be moved is used up"),
        ({"expiry": SOON - 1}, "ConsentMissing"),
    ],
)
def test_moves__not_now__are_blocked_with_the_reason(changes: dict[str, Any], why: str) -> None:
    (found,) = moved(replace(SOURCE, **changes))
    assert why in str(found.blocked)


def test_moves__venues_cap_nearly_reached__ask_for_no_more_than_it_takes() -> None:
    (found,) = moved(position=replace(LONG, terms=replace(LONG.terms, settlement_room=50 * 10**6)))
    assert found.available.raw == 50 * 10**6
    assert found.blocked is None


def test_moves__source_that_cannot_be_read__is_a_way_that_is_blocked() -> None:
    charter = replace(CHARTER, source=None, source_unread=True)
    (found,) = perp_guardian.moves(charter, perp_v2.options(LONG), until=SOON)
    assert "cannot be read" in str(found.blocked)


def test_moves__paused_vault__are_blocked_as_deposits_are() -> None:
    (found,) = moved(position=replace(LONG, terms=replace(LONG.terms, vault_paused=True)))
    assert found.blocked == "the venue's vault is paused"


def test_plan__move__raises_health_by_what_is_moved_and_takes_nothing_of_the_wallet() -> None:
    # 750 + m = 1.5 × 609.375.
    found = considered(LONG, moved()[0])
    assert isinstance(found, Plan), found
    assert found.action == MoveMargin(position=LONG.id, amount=Amount(raw=164_062_500, token=USDC))
    assert isinstance(found.predicted, PerpPosition)
    assert found.predicted.wallet == LONG.wallet
    assert found.predicted.health == 15 * WAD // 10


def test_surviving_health__perp__leaves_its_prices_the_room_that_a_loan_has() -> None:
    # e^0.013958 = f of prices; of 5 ether with 6.25 % maintenance: 1/f + 16 × (1 − 1/f).
    rows = perp_v2.book_rows(snapshot(LONG)).book
    assert surviving_health(0.8, 600, rows) == pytest.approx(1.20792 * WAD, rel=1e-5)
    assert surviving_health(float("nan"), 600, rows) == WAD


# -- how much ------------------------------------------------------------------------------------


def test_plan__long__is_sized_at_the_worst_quote_and_priced_at_the_pools() -> None:
    # r of 5 ether at 1,950 × 0.99: 750 − 19.5r = 1.5 × 121.875 × (5 − r), r = 164.0625/163.3125.
    found, sized = planned(LONG, replace(limited(), slippage_limit=100))
    assert isinstance(found.action, ReducePosition)
    size = found.action.amount.raw
    assert size == pytest.approx(1_640_625 * WAD // 1_633_125, rel=CENTS)
    assert found.action.quote.raw == -(-size * 1_950 * 99 // 100)
    assert found.reaches_target
    assert sized.costs is not None
    # The pool pays the index; its fee of 0.05 % is what is lost.
    assert sized.costs.cash_usd8 == pytest.approx(size * 1_950 * 50_000 / WAD, rel=1e-6)


def test_plan__short__buys_back_at_the_worst_quote() -> None:
    # 750 − 20.5r = 1.5 × 128.125 × (5 − r), r = 210.9375/171.6875.
    found, _ = planned(SHORT, replace(limited(SHORT), slippage_limit=100))
    assert isinstance(found.action, ReducePosition)
    size = found.action.amount.raw
    assert size == pytest.approx(2_109_375 * WAD // 1_716_875, rel=CENTS)
    assert found.action.quote.raw == size * 2_050 * 101 // 100


def test_plan__any_quote_within_the_bound__leaves_at_least_the_predicted_health() -> None:
    found, _ = planned(LONG, limited())
    assert isinstance(found.action, ReducePosition)
    fair = found.action.amount.raw * 1_950
    better = replace(found.action, quote=Amount(raw=fair * 999 // 1_000, token=VENUE.quote))
    health = perp_v2.predict(better, LONG, LONG.timestamp).health
    assert health is not None
    assert found.predicted.health is not None
    assert health > found.predicted.health


def test_plan__guardians_target_near_the_policys__asks_for_no_more_than_it_would_do() -> None:
    # At the mark: 1.53 × 121.875 × (5 − r) = 750, r = 182.34375/186.46875.
    option = replace(limited(target=Wad(153 * WAD // 100)), slippage_limit=100)
    found, _ = planned(LONG, option)
    assert found.action.amount.raw == pytest.approx(18_234_375 * WAD // 18_646_875, rel=CENTS)
    assert not found.reaches_target


def test_plan__limit_per_action__bounds_the_size_at_the_index() -> None:
    found, _ = planned(LONG, limited(), max_per_action_usd8=975 * 10**8)
    assert found.action.amount.raw == WAD // 2
    assert [each.amount.raw for each in found.smaller] == [45 * WAD // 100, 40 * WAD // 100]


def test_plan__too_little_for_the_venues_margin__is_refused_in_its_words() -> None:
    # At 1,924: equity 620, against 6.25 % of the 10,000 that the position cost. Nothing smaller than
    # 5 × (1 − 620/625) = 0.04 of 5 ether may be traded, and 20 dollars are 0.0104.
    thin = account(leg(ETHER, "5", 2_000, 1_924), margin=MARGIN)
    refused = considered(thin, limited(thin), max_per_action_usd8=20 * 10**8)
    assert isinstance(refused, Refused)
    # 620 − 0.8 of what the sale realises against 9,979: 16.1 times, where 1/6.25 % are allowed.
    assert "only a liquidator may close the position (CH_NEFCM)" in refused.reason
    assert "leverage 16.1 after it, above 16" in refused.reason
    found, _ = planned(thin, limited(thin))
    assert found.action.amount.raw > WAD // 25


# -- what is called, and what comes back ---------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "token", "raw"),
    [
        (reduced(WAD, 1_900 * WAD), VETH.address, WAD),
        (
            AddMargin(position=LONG.id, amount=Amount(raw=250 * 10**6, token=USDC)),
            USDC.address,
            250 * 10**6,
        ),
        (
            MoveMargin(position=LONG.id, amount=Amount(raw=90 * 10**6, token=USDC)),
            USDC.address,
            90 * 10**6,
        ),
    ],
)
def test_transaction__decoded_again__takes_what_it_was_made_for(
    action: Action, token: str, raw: int
) -> None:
    made = guardian.transaction(PERP_GUARD, HASH, action)
    assert made.to == GUARDIAN
    assert made.purpose == type(action).__name__
    owner = LONG.id.account
    found = guardian.spending(PERP_GUARD, owner, USDC.address, made.to, made.data)
    assert found is not None
    assert (found.account, found.token, found.raw) == (owner, token, raw)
    elsewhere = replace(PERP_GUARD, market=TREASURY)
    assert guardian.spending(elsewhere, owner, USDC.address, made.to, made.data) is None


def test_returned__size_and_quote__are_what_was_done() -> None:
    output = (WAD // 2).to_bytes(32, "big") + (960 * WAD).to_bytes(32, "big")
    assert guardian.returned(reduced(WAD, 1_900 * WAD), output) == reduced(WAD // 2, 960 * WAD)


@pytest.mark.parametrize("size", [0, WAD + 1])
def test_returned__nothing_or_more_than_asked_for__raises(size: int) -> None:
    output = size.to_bytes(32, "big") + (960 * WAD).to_bytes(32, "big")
    with pytest.raises(ValueError, match="where 1 vETH was asked for"):
        guardian.returned(reduced(WAD, 1_900 * WAD), output)


def test_logged__event_of_the_transaction__says_size_and_quote() -> None:
    words = (WAD // 2, 960 * WAD, 975 * 10**8, WAD, 2 * WAD)
    log = {
        "transactionHash": "0x01",
        "topics": [perp_guardian.POSITION_REDUCED],
        "data": "0x" + b"".join(word.to_bytes(32, "big") for word in words).hex(),
    }
    asked = reduced(WAD, 1_900 * WAD)
    assert guardian.logged(asked, "0x01", [log]) == reduced(WAD // 2, 960 * WAD)
    with pytest.raises(ValueError, match="holds no event"):
        guardian.logged(asked, "0x02", [log])
    margin = AddMargin(position=LONG.id, amount=Amount(raw=1, token=USDC))
    with pytest.raises(ValueError, match="holds no event"):
        guardian.logged(margin, "0x01", [log])


def test_logged__margin_that_was_moved__is_what_the_event_says() -> None:
    words = (80 * 10**6, 80 * 10**8, WAD, 2 * WAD, 17 * WAD // 10)
    log = {
        "transactionHash": "0x01",
        "topics": [perp_guardian.MARGIN_MOVED],
        "data": "0x" + b"".join(word.to_bytes(32, "big") for word in words).hex(),
    }
    asked = MoveMargin(position=LONG.id, amount=Amount(raw=90 * 10**6, token=USDC))
    done = replace(asked, amount=Amount(raw=80 * 10**6, token=USDC))
    assert guardian.logged(asked, "0x01", [log]) == done
    assert guardian.returned(asked, (80 * 10**6).to_bytes(32, "big")) == done
