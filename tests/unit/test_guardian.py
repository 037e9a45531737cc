"""What a guardian would refuse is refused before anything is tried, with the way to mend it."""

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import decode

from keeper.mandate import guardian
from keeper.mandate.charter import Charter, Consent
from keeper.mandate.guardian import Guard
from keeper.model.liquidity import Depth, Hop, Route
from keeper.model.mandate import NOBODY, Mandate
from keeper.model.units import WAD, Amount, Bps, Wad
from keeper.model.values import Deleverage, Option, Purse, Repay
from tests.unit.fake_rpc import address
from tests.unit.test_plan import LOAN, NOW, TOY, USD8
from tests.unit.toy_protocol import DOLLAR, ETHER

OWNER, KEEPER, GUARDIAN = LOAN.id.account, address("b2"), address("c3")
MARKET, POOL, TREASURY = address("d4"), address("e5"), address("f6")
HASH = bytes(range(32))
SOON = NOW + 600

MANDATE = Mandate(
    keeper=KEEPER,
    freezer=NOBODY,
    reserve=OWNER,
    max_health_to_act=Wad(13 * WAD // 10),
    target=Wad(14 * WAD // 10),
    emergency_health=Wad(0),
    emergency_outlives_expiry=False,
    slippage_calm_bps=Bps(50),
    slippage_urgent_bps=Bps(200),
    limit_max=10_000 * USD8,
    limit_per_second=USD8 // 10,
    min_action=50 * USD8,
    cooldown_s=300,
    expiry=NOW + 86_400,
    max_hops=1,
    collaterals=(ETHER.address,),
    pools=(POOL,),
    emergency_collateral=NOBODY,
    emergency_debt=NOBODY,
    emergency_route=(),
)
CHARTER = Charter(
    owner=OWNER,
    mandate=MANDATE,
    nonce=1,
    frozen=False,
    mandate_hash=HASH,
    available=10_000 * USD8,
    last_action_at=0,
)
GUARD = Guard(
    guardian=GUARDIAN,
    market=MARKET,
    keeper=KEEPER,
    purse=Purse(holder=OWNER, spender=GUARDIAN),
    sources=("wallet", "pool"),
)
DEPTH = Depth(
    route=Route(
        venue="toy",
        hops=(Hop(pool=POOL, sells=ETHER.address, buys=DOLLAR.address, fee_ppm=500),),
    ),
    quotes=((10_000 * DOLLAR.unit, 5 * ETHER.unit),),
)


def objection(charter: Charter = CHARTER, health: float = 1.1, guard: Guard = GUARD) -> str | None:
    at = Wad(int(health * WAD))
    return guardian.objection(guard, charter, account=OWNER, health=at, now=NOW, until=SOON)


def mandate(**changes: Any) -> Charter:
    return replace(CHARTER, mandate=replace(MANDATE, **changes))


@pytest.mark.parametrize(
    ("charter", "why", "fix"),
    [
        (replace(CHARTER, owner=TREASURY), f"belongs to {TREASURY}", "`keeper mandate show`"),
        (replace(CHARTER, mandate=None), "holds no mandate", "`keeper mandate set`"),
        (mandate(keeper=TREASURY), f"names {TREASURY} as its keeper", "use that key"),
        (replace(CHARTER, frozen=True), "MarketFrozen", "only its owner can unfreeze"),
        (mandate(expiry=NOW - 1), "MandateExpired", "`keeper mandate set`"),
        (mandate(expiry=SOON - 1), "MandateExpired", "`keeper mandate set`"),
        (replace(CHARTER, last_action_at=NOW - 299), "cooldown of 300 s lasts for 1 s more", ""),
        (mandate(max_health_to_act=Wad(11 * WAD // 10)), "HealthTooHigh", "sooner than the owner"),
        (replace(CHARTER, available=49 * USD8), "leaves 49.00 USD", "grows by 8,640 USD a day"),
    ],
)
def test_objection__what_the_contract_would_refuse__says_why_and_what_mends_it(
    charter: Charter, why: str, fix: str
) -> None:
    said = objection(charter)
    assert said is not None
    assert why in said
    assert fix in said


def test_objection__all_in_order__is_none() -> None:
    assert objection() is None
    assert objection(replace(CHARTER, last_action_at=NOW - 300)) is None
    assert objection(mandate(expiry=SOON)) is None
    # A dry run has no key: then it is whoever the mandate names.
    assert objection(mandate(keeper=TREASURY), guard=replace(GUARD, keeper=None)) is None


# -- payments ------------------------------------------------------------------------------------


def paid(charter: Charter = CHARTER, guard: Guard = GUARD, *, allowance: int = 10**30) -> Option:
    repay = replace(TOY.options(LOAN)[1], allowance=Amount(raw=allowance, token=DOLLAR))
    (found,) = guardian.payments(guard, charter, [repay], until=SOON)
    return found


def test_payments__own_wallet__is_bounded_by_the_guardians_allowance() -> None:
    assert paid().source == "wallet"
    assert paid().available.raw == LOAN.dollar_wallet
    assert paid(allowance=50 * DOLLAR.unit).available.raw == 50 * DOLLAR.unit


@pytest.mark.parametrize("allowance", [0, 50 * DOLLAR.unit - 1])
def test_payments__allowance_below_the_smallest_action__is_refused_with_the_fix(
    allowance: int,
) -> None:
    blocked = str(paid(allowance=allowance).blocked)
    assert "AllowanceTooSmall" in blocked
    assert f"approve {GUARDIAN}" in blocked


def test_payments__allowance_of_all_there_is__is_not_to_blame_for_a_small_reserve() -> None:
    repay = TOY.options(replace(LOAN, dollar_wallet=7))[1]
    repay = replace(repay, allowance=Amount(raw=7, token=DOLLAR))
    (found,) = guardian.payments(GUARD, CHARTER, [repay], until=SOON)
    assert found.blocked is None


def test_payments__reserve_of_another__is_bounded_by_its_consent() -> None:
    guard = replace(GUARD, purse=Purse(holder=TREASURY, spender=GUARDIAN))
    consent = Consent(expiry=SOON, available=1_500 * USD8)
    charter = replace(mandate(reserve=TREASURY), consent=consent)
    assert paid(charter, guard).source == "vault"
    assert paid(charter, guard).available.raw == 1_500 * DOLLAR.unit
    for missing in (replace(consent, available=0), replace(consent, expiry=SOON - 1)):
        assert "ConsentMissing" in str(paid(replace(charter, consent=missing), guard).blocked)


def test_payments__mandate_names_another_reserve__is_refused_with_both() -> None:
    assert paid(mandate(reserve=TREASURY)).blocked == (
        f"the mandate names {TREASURY} as the reserve, the configuration {OWNER}"
    )
    assert "names no reserve" in str(paid(mandate(reserve=NOBODY)).blocked)


# -- unwinds -------------------------------------------------------------------------------------


def test_unwinds__slippage__rises_from_calm_to_urgent() -> None:
    def limit(health: float) -> int:
        (found,) = guardian.unwinds(
            GUARD,
            CHARTER,
            TOY.unwinds(LOAN),
            health=Wad(int(health * WAD)),
            depths=[DEPTH],
            swaps_blocked=None,
        )
        return found.slippage_limit

    assert [limit(health) for health in (1.3, 1.15, 1.0, 0.9)] == [50, 125, 200, 200]


def test_unwinds__bonus_lowered_since_the_mandate__bounds_the_slippage_as_the_contract_does() -> (
    None
):
    (possible,) = TOY.unwinds(LOAN)
    (found,) = guardian.unwinds(
        GUARD,
        CHARTER,
        [replace(possible, slippage_cap=Bps(20))],
        health=Wad(WAD),
        depths=[DEPTH],
        swaps_blocked=None,
    )
    assert found.slippage_limit == 20


@pytest.mark.parametrize(
    ("changes", "routes"),
    [({}, 1), ({"pools": ()}, 0), ({"max_hops": 0}, 0)],
)
def test_unwinds__routes__are_those_that_the_mandate_lists(
    changes: dict[str, Any], routes: int
) -> None:
    (found,) = guardian.unwinds(
        GUARD,
        mandate(**changes),
        TOY.unwinds(LOAN),
        health=Wad(WAD),
        depths=[DEPTH],
        swaps_blocked=None,
    )
    assert len(found.depths) == routes
    refused = str(found.blocked)
    assert ("PoolNotAllowed" in refused and "list pools with liquidity" in refused) is not bool(
        routes
    )


def test_unwinds__pools_without_liquidity__are_refused_with_the_fix() -> None:
    (found,) = guardian.unwinds(
        GUARD, CHARTER, TOY.unwinds(LOAN), health=Wad(WAD), depths=[], swaps_blocked=None
    )
    assert "PoolTooThin" in str(found.blocked)
    assert "list pools with liquidity" in str(found.blocked)


def test_unwinds__allowance_below_the_smallest_action__is_refused_with_the_fix() -> None:
    (possible,) = TOY.unwinds(LOAN)
    # 50 dollars at least, and 2 % more of ether at 2000 dollars.
    least = ETHER.unit // 40 * 102 // 100
    for raw, refused in ((0, True), (least - 10**10, True), (least, False)):
        (found,) = guardian.unwinds(
            GUARD,
            CHARTER,
            [replace(possible, allowance=Amount(raw=raw, token=ETHER))],
            health=Wad(WAD),
            depths=[DEPTH],
            swaps_blocked=None,
        )
        assert ("AllowanceTooSmall" in str(found.blocked)) is refused
        assert (f"approve {GUARDIAN}" in str(found.blocked)) is refused


def test_unwinds__swaps_are_blocked__says_why_and_leaves_payments_alone() -> None:
    (found,) = guardian.unwinds(
        GUARD,
        CHARTER,
        TOY.unwinds(LOAN),
        health=Wad(WAD),
        depths=[DEPTH],
        swaps_blocked="the market is 5 % off the oracle",
    )
    assert found.blocked == "the market is 5 % off the oracle"
    assert paid().blocked is None


# -- calls and what they did ---------------------------------------------------------------------

UNWIND = Deleverage(
    position=LOAN.id,
    amount=Amount(raw=2_000 * DOLLAR.unit, token=DOLLAR),
    sold=Amount(raw=ETHER.unit, token=ETHER),
    route=DEPTH.route,
)
REPAY = Repay(position=LOAN.id, amount=Amount(raw=5, token=DOLLAR))


def test_transaction__unwind__carries_the_hash_and_a_bound_on_what_is_taken() -> None:
    sent = guardian.transaction(GUARD, HASH, UNWIND)
    assert (sent.to, sent.purpose) == (GUARDIAN, "Deleverage")
    types = ("address", "bytes32", "address", "address", "uint256", "uint256", "address[]", "bool")
    market, carried, sold, debt, most, taken, route, flash_loan = decode(types, sent.data[4:])
    assert (market, carried) == (MARKET.lower(), HASH)
    assert (sold, debt) == (ETHER.address.lower(), DOLLAR.address.lower())
    assert (most, taken) == (2_000 * DOLLAR.unit, ETHER.unit * 105 // 100)
    assert (route, flash_loan) == ((POOL.lower(),), False)


def test_transaction__payment__carries_the_hash_as_it_is() -> None:
    sent = guardian.transaction(GUARD, HASH, REPAY)
    assert sent.data[4 + 32 : 4 + 64] == HASH
    assert sent.data[-1] == 5


def test_returned__less_than_asked__is_what_was_done() -> None:
    words = (1_000).to_bytes(32, "big") + (7).to_bytes(32, "big")
    done = guardian.returned(UNWIND, words)
    assert isinstance(done, Deleverage)
    assert (done.amount.raw, done.sold.raw) == (1_000, 7)
    assert guardian.returned(REPAY, (4).to_bytes(32, "big")).amount.raw == 4


@pytest.mark.parametrize("output", [b"", bytes(32), (6).to_bytes(32, "big")])
def test_returned__nothing_or_more_than_asked__is_no_result(output: bytes) -> None:
    with pytest.raises(ValueError, match="the guardian did"):
        guardian.returned(REPAY, output)


def test_logged__no_event_of_the_guardian__is_no_result() -> None:
    with pytest.raises(ValueError, match="no event"):
        guardian.logged(REPAY, "0xaa", [])


@pytest.mark.parametrize(
    "log",
    [
        {},
        {"transactionHash": "0xaa"},
        {"transactionHash": "0xaa", "topics": [], "data": "0x"},
        {"transactionHash": "0xaa", "topics": ["0xbb"], "data": "0xzz"},
        {"transactionHash": "0xaa", "topics": None, "data": "0x"},
    ],
)
def test_logged__what_no_node_should_answer__is_no_result(log: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no event"):
        guardian.logged(REPAY, "0xaa", [log])
