"""The rolling limit, the cooldown, freezing and consents: what stops a keeper."""

import pytest

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.devnet.chain import BLOCK_SECONDS, LocalChain
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD, Address
from tests.guardian.ground import DAY_S, DOLLAR, USDC, Ground, ground

SMALL = 100 * USDC


@pytest.fixture
def spent(made: Ground) -> Ground:
    """1,000 USD of limit, no refill, 600 of it used."""
    made.fund("USDC", 10_000 * USDC)
    made.set_mandate(limit_max=1_000 * DOLLAR, limit_per_second=0)
    made.send(made.keeper, *made.repay("USDC", 600 * USDC))
    return made


def left(made: Ground) -> float:
    """Of the limit, in USD to four digits."""
    return round(made.available / DOLLAR, -1)


# -- the rolling limit ------------------------------------------------------------------------------


def test_limit__used__refills_with_time_up_to_its_maximum(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    made.set_mandate(limit_max=1_000 * DOLLAR, limit_per_second=DOLLAR)
    made.send(made.keeper, *made.repay("USDC", 600 * USDC))
    before = made.available
    made.chain.mine(made.chain.timestamp() + 100)
    assert made.available == before + 100 * DOLLAR
    made.chain.mine(made.chain.timestamp() + DAY_S)
    assert made.available == 1_000 * DOLLAR


def test_limit__mandate_set_again__is_not_refilled(spent: Ground) -> None:
    spent.set_mandate()
    assert left(spent) == 400


def test_limit__raised__adds_what_it_is_higher_by(spent: Ground) -> None:
    spent.set_mandate(limit_max=50_000 * DOLLAR)
    assert left(spent) == 49_400


def test_limit__raised_before_anything_was_spent__is_all_there(made: Ground) -> None:
    made.set_mandate(limit_max=1_000 * DOLLAR, limit_per_second=0)
    made.set_mandate(limit_max=100_000 * DOLLAR)
    assert made.available == 100_000 * DOLLAR


def test_limit__its_refill_raised__does_not_count_backwards(spent: Ground) -> None:
    spent.chain.mine(spent.chain.timestamp() + DAY_S)
    spent.set_mandate(limit_per_second=DOLLAR)
    assert left(spent) == 400


def test_limit__mandate_revoked_and_set_again__is_not_refilled(spent: Ground) -> None:
    spent.set_mandate(limit_per_second=DOLLAR)
    before = spent.available
    spent.send(spent.owner, "revoke_mandate", spent.market)
    assert spent.available == 0
    spent.chain.mine(spent.chain.timestamp() + DAY_S)
    spent.set_mandate()
    assert before <= spent.available <= before + 2 * BLOCK_SECONDS * DOLLAR


def test_limit__lowered_and_raised_again__forgets_nothing_spent(spent: Ground) -> None:
    spent.set_mandate(limit_max=500 * DOLLAR)
    assert spent.available == 0
    assert spent.refusal(spent.keeper, *spent.repay("USDC", SMALL)).name == "LimitReached"
    spent.set_mandate(limit_max=1_000 * DOLLAR)
    assert left(spent) == 400


def test_limit__frozen_and_unfrozen__is_not_refilled(spent: Ground) -> None:
    before = spent.available
    spent.send(spent.owner, "freeze", spent.market)
    spent.send(spent.owner, "unfreeze", spent.market)
    assert spent.available == before


def test_limit__one_for_all_actions__is_used_by_each(spent: Ground) -> None:
    spent.send(spent.keeper, *spent.deleverage(most=300 * USDC))
    assert left(spent) == 100
    spent.chain.mint("WETH", spent.owner, WAD)
    spent.allow(spent.token("WETH"), WAD)
    spent.send(spent.keeper, *spent.add_collateral("WETH"))
    assert left(spent) == 0


def test_limit__value_of_an_action__is_rounded_up(made: Ground) -> None:
    """123.456789 USDC at 0.99984 are 12,343,703,591.376 of 10^-8 USD."""
    made.fund("USDC", 10_000 * USDC)
    made.set_mandate(limit_per_second=0)
    before = made.available
    (event,) = made.events(made.send(made.keeper, *made.repay("USDC", 123_456_789)))
    assert before - made.available == event["value"] == 12_343_703_592


# -- the cooldown -----------------------------------------------------------------------------------


def test_cooldown__second_action__waits_for_its_end(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    made.set_mandate(cooldown_s=600)
    made.send(made.keeper, *made.repay("USDC", SMALL))
    acted = made.chain.timestamp()
    name, (until, _) = made.refusal(made.keeper, *made.repay("USDC", SMALL))
    assert (name, until) == ("CoolingDown", acted + 600)
    made.set_mandate()
    assert made.refusal(made.keeper, *made.repay("USDC", SMALL)).name == "CoolingDown"
    made.chain.mine(acted + 600 - BLOCK_SECONDS)
    made.send(made.keeper, *made.repay("USDC", SMALL))


# -- freezing ---------------------------------------------------------------------------------------


def test_freeze__by_the_freezer__stops_until_the_owner_says_otherwise(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    freezer = made.chain.account("freezer").address
    made.set_mandate(freezer=freezer)
    made.send(freezer, "freeze", made.market)
    assert made.refusal(made.keeper, *made.repay("USDC")).name == "MarketFrozen"
    assert made.refusal(freezer, "unfreeze", made.market).name == "NotOwner"
    made.set_mandate()
    assert made.refusal(made.keeper, *made.repay("USDC")).name == "MarketFrozen"
    made.send(made.owner, "unfreeze", made.market)
    made.send(made.keeper, *made.repay("USDC"))


@pytest.mark.parametrize("outlives", [False, True])
def test_freeze__emergency_call__obeys_it(made: Ground, outlives: bool) -> None:
    made.set_mandate(
        emergency_outlives_expiry=outlives,
        emergency_health=115 * WAD // 100,
        emergency_collateral=made.token("WETH").address,
        emergency_debt=made.token("USDC").address,
        emergency_route=(made.pool("WETH", "USDC", 500).address,),
    )
    made.send(made.owner, "freeze", made.market)
    assert made.refusal(made.keeper, "emergency", made.market).name == "MarketFrozen"


@pytest.mark.parametrize("who", ["keeper", "stranger"])
def test_freeze__by_anyone_else__is_refused(made: Ground, who: str) -> None:
    caller = made.chain.account(who).address
    refusal = made.refusal(caller, "freeze", made.market)
    assert refusal == ("NotFreezer", (caller.lower(), ZERO_ADDRESS))


# -- reserves ---------------------------------------------------------------------------------------


@pytest.fixture
def treasury(made: Ground) -> Address:
    """Another account with 5,000 USDC, an allowance for the guardian, and no consent yet."""
    account = made.chain.account("treasury").address
    made.chain.mint("USDC", account, 5_000 * USDC)
    made.allow(made.token("USDC"), 5_000 * USDC, account)
    made.set_mandate(reserve=account)
    return account


def test_reserve__without_consent__is_not_touched(made: Ground, treasury: Address) -> None:
    refusal = made.refusal(made.keeper, *made.repay("USDC"))
    assert refusal == ("ConsentMissing", (treasury.lower(), 0))


def test_reserve__consent_for_another_market__is_not_enough(
    made: Ground, treasury: Address
) -> None:
    elsewhere = made.chain.account("elsewhere").address
    made.send(treasury, "consent", elsewhere, 1_000 * DOLLAR, 0, 2**40)
    assert made.refusal(made.keeper, *made.repay("USDC")).name == "ConsentMissing"


def test_reserve__consent_to_another_owners_guardian__is_not_enough(
    made: Ground, treasury: Address
) -> None:
    other = made.elsewhere(made.chain.account("other owner").address)
    made.chain.transact(treasury, other, "consent", made.market, 1_000 * DOLLAR, 0, 2**40)
    assert made.refusal(made.keeper, *made.repay("USDC")).name == "ConsentMissing"


def test_reserve__with_consent__gives_up_to_its_own_limit(made: Ground, treasury: Address) -> None:
    made.send(treasury, "consent", made.market, 1_000 * DOLLAR, 0, 2**40)
    made.send(made.keeper, *made.repay("USDC"))
    assert 5_000 * USDC - made.balance(made.token("USDC"), treasury) == pytest.approx(
        1_000 * USDC, rel=1e-3
    )
    assert made.refusal(made.keeper, *made.repay("USDC")).name == "LimitReached"
    # Given again, it is not refilled; with a slope it comes back with time.
    made.send(treasury, "consent", made.market, 1_000 * DOLLAR, DOLLAR, 2**40)
    assert made.refusal(made.keeper, *made.repay("USDC")).name == "LimitReached"
    made.chain.mine(made.chain.timestamp() + 200)
    made.send(made.keeper, *made.repay("USDC"))
    consent, available = made.chain.read(made.guardian, "consent_of", made.market, treasury)
    assert consent == (1_000 * DOLLAR, DOLLAR, 2**40)
    assert available < DOLLAR


def test_reserve__consent_raised_after_it_was_used__adds_what_it_is_higher_by(
    made: Ground, treasury: Address
) -> None:
    for expiry in (2**40, 2**40 + 1):
        made.send(treasury, "consent", made.market, 500 * DOLLAR, 0, expiry)
    made.send(made.keeper, *made.repay("USDC"))
    made.send(treasury, "consent", made.market, 3_000 * DOLLAR, 0, 2**40)
    _, available = made.chain.read(made.guardian, "consent_of", made.market, treasury)
    assert available == pytest.approx(2_500 * DOLLAR, abs=DOLLAR)
    made.send(made.keeper, *made.repay("USDC", SMALL))


def test_reserve__consent_ended_and_given_again__is_not_refilled(
    made: Ground, treasury: Address
) -> None:
    made.send(treasury, "consent", made.market, 500 * DOLLAR, 0, 2**40)
    made.send(made.keeper, *made.repay("USDC"))
    for limit, expiry in ((0, 0), (500 * DOLLAR, 2**40)):
        made.send(treasury, "consent", made.market, limit, 0, expiry)
    assert made.refusal(made.keeper, *made.repay("USDC")).name == "LimitReached"


def test_reserve__consent_expired_or_withdrawn__is_not_touched(
    made: Ground, treasury: Address
) -> None:
    expiry = made.chain.timestamp() + 1_000
    made.send(treasury, "consent", made.market, 1_000 * DOLLAR, 0, expiry)
    made.send(made.keeper, *made.repay("USDC", SMALL))
    made.chain.mine(expiry + 1)
    refusal = made.refusal(made.keeper, *made.repay("USDC", SMALL))
    assert refusal == ("ConsentMissing", (treasury.lower(), expiry))
    made.send(treasury, "consent", made.market, 1_000 * DOLLAR, 0, 2**40)
    made.send(treasury, "consent", made.market, 0, 0, 0)
    assert made.refusal(made.keeper, *made.repay("USDC", SMALL)).name == "ConsentMissing"


def test_reserve__what_it_gives__helps_the_owner_only(made: Ground, treasury: Address) -> None:
    made.send(treasury, "consent", made.market, 10_000 * DOLLAR, 0, 2**40)
    debt = made.balance(made.debt_token("USDC"), made.owner)
    (event,) = made.events(made.send(made.keeper, *made.repay("USDC")))
    assert event["reserve"] == treasury.lower()
    repaid = debt - made.balance(made.debt_token("USDC"), made.owner)
    assert event["amount"] == pytest.approx(repaid, abs=1_000)


# -- who the owner is --------------------------------------------------------------------------------


def test_guardian__of_another_owner__does_not_touch_this_ones_position(chain: LocalChain) -> None:
    made = ground(chain, {"WETH": 10 * WAD}, {"USDC": 16_500 * USDC})
    thief = chain.account("thief").address
    other = made.elsewhere(thief)
    made.allow(made.token("USDC"), MAX_UINT256)
    terms = made.changed(keeper=thief, reserve=made.owner)
    chain.transact(thief, other, "set_mandate", made.market, terms.words())
    made.guardian, made.mandate = other, terms
    made.hash = made.status()[2]
    assert made.refusal(thief, *made.repay("USDC")).name == "HealthTooHigh"
