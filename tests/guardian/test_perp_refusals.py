"""What the perp guardian refuses, by name and with figures."""

from typing import Any

import pytest

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD
from tests.guardian.ground import DOLLAR, USDC
from tests.guardian.perp_ground import PerpGround, perp_ground

START = 2_281.37


@pytest.fixture
def made(perp: PerpMarket) -> PerpGround:
    """4.33 ether long on 1,000 dollars, and ether has fallen by 3.2 %: health 1.15."""
    ground = perp_ground(perp)
    ground.move(START * 0.968)
    return ground


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"keeper": ZERO_ADDRESS}, "KeeperMissing"),
        ({"max_health_to_act": WAD}, "MaxHealthTooLow"),
        ({"target": 129 * WAD // 100}, "TargetOutOfRange"),
        ({"slippage_urgent_bps": 126}, "SlippageAboveHalfBonus"),
        ({"slippage_calm_bps": 121}, "SlippageOutOfOrder"),
        ({"limit_max": 0}, "LimitOutOfRange"),
        ({"min_action": 100_001 * DOLLAR}, "MinActionAboveLimit"),
        ({"expiry": 1}, "ExpiryOutOfRange"),
        ({"max_hops": 4}, "HopsOutOfRange"),
        ({"emergency_health": WAD}, "NoEmergencyCall"),
        ({"emergency_health": 2 * WAD}, "EmergencyHealthTooHigh"),
    ],
)
def test_set_mandate__terms_that_must_not_be__are_refused(
    made: PerpGround, changes: dict[str, Any], name: str
) -> None:
    words = made.changed(**changes).words()
    assert made.refusal(made.owner, "set_mandate", made.market, words).name == name


def test_set_mandate__token_that_is_no_market__is_refused(made: PerpGround) -> None:
    words = made.changed(collaterals=(made.usdc.address,)).words()
    refused = made.refusal(made.owner, "set_mandate", made.market, words)
    assert refused == ("UnknownAsset", (made.usdc.address.lower(), made.market.lower()))


def test_set_mandate__stranger__is_refused(made: PerpGround) -> None:
    words = made.mandate.words()
    assert made.refusal(made.keeper, "set_mandate", made.market, words).name == "NotOwner"


@pytest.mark.parametrize("action", ["add", "reduce"])
def test_action__whoever_may_not__is_refused(made: PerpGround, action: str) -> None:
    made.fund(500 * USDC)
    call, stranger = getattr(made, action), made.chain.account("stranger").address
    assert made.refusal(stranger, *call()).name == "NotKeeper"
    assert made.refusal(made.owner, *call()).name == "NotKeeper"
    carried = made.hash
    made.set_mandate(target=160 * WAD // 100)
    made.hash, current = carried, made.hash
    assert made.refusal(made.keeper, *call()).name == "StaleMandate"
    made.hash = current
    made.send(made.owner, "freeze", made.market)
    assert made.refusal(made.keeper, *call()).name == "MarketFrozen"
    made.send(made.owner, "unfreeze", made.market)
    made.set_mandate(expiry=made.chain.timestamp() + 60)
    made.chain.mine(made.chain.timestamp() + 61)
    assert made.refusal(made.keeper, *call()).name == "MandateExpired"
    made.send(made.owner, "revoke_mandate", made.market)
    assert made.refusal(made.keeper, *call()).name == "UnknownMarket"


def test_guardian__asked_whose_it_is__names_the_owner(made: PerpGround) -> None:
    assert made.chain.read(made.guardian, "owner") == made.owner.lower()


def test_market__without_a_mandate__has_an_empty_status_and_nothing_to_revoke(
    made: PerpGround,
) -> None:
    elsewhere = made.chain.account("nothing here").address
    status = made.chain.read(made.guardian, "status", elsewhere)
    assert status == (0, False, bytes(32), 0, 0)
    refused = ("UnknownMarket", (elsewhere.lower(), 0))
    assert made.refusal(made.owner, "revoke_mandate", elsewhere) == refused
    assert made.refusal(made.keeper, "mandate", elsewhere) == refused


def test_freeze__by_the_freezer__stops_until_the_owner_says_otherwise(made: PerpGround) -> None:
    freezer = made.chain.account("freezer").address
    made.set_mandate(freezer=freezer)
    refused = ("NotFreezer", (made.keeper.lower(), freezer.lower()))
    assert made.refusal(made.keeper, "freeze", made.market) == refused
    made.send(freezer, "freeze", made.market)
    assert made.refusal(made.keeper, *made.reduce()).name == "MarketFrozen"
    refused = ("NotOwner", (freezer.lower(), made.owner.lower()))
    assert made.refusal(freezer, "unfreeze", made.market) == refused
    made.send(made.owner, "unfreeze", made.market)
    made.send(made.keeper, *made.reduce())


@pytest.mark.parametrize(
    ("limits", "expiry", "name"),
    [
        ((2**112, 0), 0, "LimitOutOfRange"),
        ((0, 2**96), 0, "LimitOutOfRange"),
        ((1, 1), 2**48, "ExpiryOutOfRange"),
    ],
)
def test_consent__out_of_range__is_refused(
    made: PerpGround, limits: tuple[int, int], expiry: int, name: str
) -> None:
    refused = made.refusal(made.keeper, "consent", made.market, *limits, expiry)
    assert refused.name == name
    assert refused.figures[0] == (limits[0] if name == "LimitOutOfRange" else expiry)


@pytest.mark.parametrize("action", ["add", "reduce"])
def test_action__health_at_the_bound__is_refused(made: PerpGround, action: str) -> None:
    made.fund(500 * USDC)
    made.set_mandate(max_health_to_act=105 * WAD // 100)
    assert made.refusal(made.keeper, *getattr(made, action)()).name == "HealthTooHigh"


@pytest.mark.parametrize("action", ["add", "reduce"])
def test_action__twice_within_the_cooldown__is_refused(made: PerpGround, action: str) -> None:
    made.fund(1_000 * USDC)
    made.set_mandate(cooldown_s=600, limit_max=100 * DOLLAR, limit_per_second=DOLLAR)
    made.send(made.keeper, *getattr(made, action)())
    assert made.refusal(made.keeper, *getattr(made, action)()).name == "CoolingDown"


def test_add_margin__what_is_missing__is_named(made: PerpGround) -> None:
    assert made.refusal(made.keeper, *made.add()).name == "NoReserve"
    made.set_mandate(reserve=made.owner)
    made.chain.mint("USDC", made.owner, 1_000 * USDC)
    assert made.refusal(made.keeper, *made.add()).name == "AllowanceTooSmall"
    made.fund(1_000 * USDC)
    assert made.refusal(made.keeper, *made.add(most=1)).name == "ActionTooSmall"
    made.chain.transact(made.owner, made.usdc, "transfer", made.keeper, made.balance(made.owner))
    assert made.refusal(made.keeper, *made.add()).name == "BalanceTooSmall"


def test_reduce_position__market_that_is_not_the_mandates__is_refused(made: PerpGround) -> None:
    assert made.refusal(made.keeper, *made.reduce("vBTC")).name == "CollateralNotAllowed"


def test_reduce_position__zero_address__is_refused(made: PerpGround) -> None:
    call = ("reduce_position", made.market, made.hash, ZERO_ADDRESS, MAX_UINT256)
    assert made.refusal(made.keeper, *call).name == "CollateralNotAllowed"


def test_reduce_position__market_without_a_position__is_refused(made: PerpGround) -> None:
    made.set_mandate(collaterals=(made.base_token("vETH"), made.base_token("vBTC")))
    assert made.refusal(made.keeper, *made.reduce("vBTC")).name == "NoPosition"


def test_reduce_position__dust__is_refused(made: PerpGround) -> None:
    refused = made.refusal(made.keeper, *made.reduce(most=10**12))
    assert refused.name == "ActionTooSmall"
    assert refused.figures[1] == made.mandate.min_action
