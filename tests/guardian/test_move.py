"""What may be brought over from a loan into a perp's margin, on the real contracts of both."""

from typing import Any, Final

import pytest
from eth_abi.abi import encode

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.devnet.artifacts import Contract
from keeper.devnet.perp_market import PerpMarket
from keeper.model.units import RAY, WAD, Address
from tests.guardian.ground import DAY_S, DOLLAR, USDC
from tests.guardian.mocks import mock
from tests.guardian.perp_ground import NEVER, Lending, PerpGround, perp_ground
from tests.guardian.test_callbacks import CATEGORY, WORD

START: Final = 2_281.37
FLOOR: Final = 160 * WAD // 100
INTEREST: Final = 1_000
"""Units that a few blocks may bring: a tenth of a cent."""


@pytest.fixture
def made(perp: PerpMarket) -> PerpGround:
    """4.33 ether long on 1,000 dollars, and ether has fallen by 3.2 %: health 1.15."""
    ground = perp_ground(perp)
    ground.move(START * 0.968)
    return ground


@pytest.fixture
def lending(made: PerpGround) -> Lending:
    """5,000 dollars lent, one ether borrowed: health 1.81, of which about 630 are spare."""
    found = Lending(made, 5_000 * USDC, WAD)
    found.allow(FLOOR)
    return found


def test_move__from_a_loan__reaches_the_target_and_leaves_the_loan_above_its_floor(
    made: PerpGround, lending: Lending
) -> None:
    value, lent, health = made.value, lending.lent, made.health
    receipt = made.send(made.keeper, *made.bring())
    moved = lent - lending.lent
    # Interest and funding go on between the blocks.
    assert made.value == pytest.approx(value + moved * 10**12, abs=WAD // 100)
    assert 1.5 * WAD <= made.health <= 1.5001 * WAD
    assert lending.health > FLOOR
    assert made.balance(made.guardian.address) == 0
    (event,) = made.events(receipt)
    assert event["event"] == "MarginMoved"
    assert event["amount"] == pytest.approx(moved, abs=INTEREST)
    assert event["value"] == event["amount"] * 100
    assert event["health_before"] == pytest.approx(health, rel=1e-5)
    assert event["health_after"] == pytest.approx(made.health, rel=1e-9)
    assert event["source_health"] == pytest.approx(lending.health, rel=1e-9)


def test_move__more_needed_than_is_spare__stops_at_the_floor(
    made: PerpGround, lending: Lending
) -> None:
    lending.allow(178 * WAD // 100)
    before = made.health
    made.send(made.keeper, *made.bring())
    # What Aave's truncated thresholds may cost is left as well.
    assert 1.78 * WAD <= lending.health <= 1.783 * WAD
    assert before < made.health < 1.4 * WAD
    refused = made.refusal(made.keeper, *made.bring())
    assert (refused.name, refused.figures[1]) == ("SourceBelowFloor", 178 * WAD // 100)


def test_move__loan_at_its_floor__is_refused_with_both_figures(
    made: PerpGround, lending: Lending
) -> None:
    lending.allow(195 * WAD // 100)
    health = lending.health
    assert health < 1.95 * WAD
    refused = made.refusal(made.keeper, *made.bring())
    assert refused.name == "SourceBelowFloor"
    assert refused.figures == (pytest.approx(health, rel=1e-6), 195 * WAD // 100)


def test_move__nobody_allowed_it__is_refused(made: PerpGround) -> None:
    Lending(made, 5_000 * USDC, WAD)
    refused = made.refusal(made.keeper, *made.bring())
    assert refused == ("ConsentMissing", (made.guardian.address.lower(), 0))


def test_move__ended_or_expired__is_refused(made: PerpGround, lending: Lending) -> None:
    lending.allow(FLOOR, limit=0)
    assert made.refusal(made.keeper, *made.bring()).name == "ConsentMissing"
    assert lending.source() == {
        "market": ZERO_ADDRESS,
        "floor": 0,
        "limit": (0, 0, 0),
        "available": 0,
        "amount": 0,
    }
    lending.allow(FLOOR, expiry=made.chain.timestamp() + 60)
    made.send(made.keeper, *made.bring(20 * USDC))
    made.chain.mine(made.chain.timestamp() + 61)
    assert made.refusal(made.keeper, *made.bring()).name == "ConsentMissing"


def test_move__own_limit__is_used_up_and_not_given_back_by_the_owner(
    made: PerpGround, lending: Lending
) -> None:
    lending.allow(FLOOR, limit=60 * DOLLAR)
    lent, available = lending.lent, made.available
    made.send(made.keeper, *made.bring())
    assert lent - lending.lent == pytest.approx(60 * USDC, abs=INTEREST)
    assert available - made.available == pytest.approx(60 * DOLLAR, abs=10 * DOLLAR)
    assert made.refusal(made.keeper, *made.bring()) == ("LimitReached", (0, 10 * DOLLAR))
    lending.allow(FLOOR, limit=0)
    lending.allow(FLOOR, limit=60 * DOLLAR, per_second=60 * DOLLAR // DAY_S)
    assert made.refusal(made.keeper, *made.bring()).name == "LimitReached"
    made.chain.mine(made.chain.timestamp() + DAY_S // 2)
    assert lending.source()["available"] == pytest.approx(30 * DOLLAR, rel=1e-3)


def test_move__mandates_limit__holds_besides(made: PerpGround, lending: Lending) -> None:
    made.set_mandate(limit_max=40 * DOLLAR, limit_per_second=0)
    lent = lending.lent
    made.send(made.keeper, *made.bring())
    assert lent - lending.lent == pytest.approx(40 * USDC, abs=INTEREST)
    assert made.refusal(made.keeper, *made.bring()) == ("LimitReached", (0, 10 * DOLLAR))


def test_move__keepers_maximum__is_not_passed(made: PerpGround, lending: Lending) -> None:
    lent = lending.lent
    made.send(made.keeper, *made.bring(25 * USDC))
    assert lent - lending.lent == pytest.approx(25 * USDC, abs=INTEREST)
    assert made.refusal(made.keeper, *made.bring(1)).name == "ActionTooSmall"


def test_move__small_allowance_of_a_tokens__is_named(made: PerpGround, lending: Lending) -> None:
    lending.approve(5 * USDC)
    refused = made.refusal(made.keeper, *made.bring())
    # One unit is kept back for a transfer that arrives short.
    assert (refused.name, refused.figures[0]) == ("AllowanceTooSmall", 5 * USDC - 1)


def test_move__allowance_that_binds__is_enough_at_any_index(
    made: PerpGround, lending: Lending
) -> None:
    """A transfer of aTokens may arrive half an index short, which is made good out of the allowance."""
    borrower = made.chain.account("borrower").address
    made.chain.open_position(borrower, collateral={"WBTC": 10**12}, debt={"USDC": 100 * 10**12})
    made.set_mandate(max_health_to_act=90 * WAD, target=95 * WAD, min_action=0)
    lending.allow(101 * WAD // 100)
    for year in range(6):
        made.chain.mine(made.chain.timestamp() + 365 * DAY_S)
        made.move_index(START * 0.968)
        made.move_pool(START * 0.968)
        made.chain.mine(made.chain.timestamp() + 1_800)
        for more in range(4):
            allowed = 15 * USDC + 7 * year + more
            lending.approve(allowed)
            (event,) = made.events(made.send(made.keeper, *made.bring()))
            index = made.chain.read(lending.pool, "getReserveNormalizedIncome", made.usdc.address)
            assert event["amount"] == allowed - 1 - int(index) // (2 * RAY)


def test_move__pool_that_lent_nearly_all__moves_what_is_left(
    made: PerpGround, lending: Lending
) -> None:
    left = int(made.chain.read(made.usdc, "balanceOf", lending.a_token.address))
    borrower = made.chain.account("borrower").address
    debt = {"USDC": left - 50 * USDC}
    made.chain.open_position(borrower, collateral={"WBTC": 10**13}, debt=debt)
    assert lending.source()["amount"] == pytest.approx(50 * USDC, abs=INTEREST)
    (event,) = made.events(made.send(made.keeper, *made.bring()))
    assert event["amount"] == pytest.approx(50 * USDC, abs=INTEREST)
    assert made.refusal(made.keeper, *made.bring()).name == "BalanceTooSmall"


def test_move__nothing_owed__may_take_what_is_lent(made: PerpGround) -> None:
    lending = Lending(made, 70 * USDC, 0)
    lending.allow(FLOOR)
    made.send(made.keeper, *made.bring())
    assert lending.lent < USDC
    assert made.refusal(made.keeper, *made.bring()).name == "BalanceTooSmall"


def test_move__not_used_as_collateral__has_no_floor_to_keep(
    made: PerpGround, lending: Lending
) -> None:
    made.chain.open_position(made.owner, collateral={"WBTC": 10**8}, debt={})
    usdc = made.usdc.address
    made.chain.transact(made.owner, lending.pool, "setUserUseReserveAsCollateral", usdc, False)
    health = lending.health
    lending.allow(health * 99 // 100)
    made.send(made.keeper, *made.bring())
    assert lending.health == pytest.approx(health, rel=1e-5)
    assert 1.5 * WAD <= made.health <= 1.5001 * WAD


def test_move__index_far_from_one__takes_exactly_what_it_pays_in(
    made: PerpGround, lending: Lending
) -> None:
    borrower = made.chain.account("borrower").address
    made.chain.open_position(borrower, collateral={"WBTC": 10**9}, debt={"USDC": 100_000 * USDC})
    for _ in range(6):
        made.chain.mine(made.chain.timestamp() + 1_111_111)
        made.move_index(START * 0.968)
        made.move_pool(START * 0.968)
        made.chain.mine(made.chain.timestamp() + 1_800)
        (event,) = made.events(made.send(made.keeper, *made.bring(15 * USDC)))
        assert event["amount"] == 15 * USDC
        assert made.balance(made.guardian.address) == 0
        holding = made.chain.read(lending.a_token, "balanceOf", made.guardian.address)
        assert holding == 0
        made.set_mandate(max_health_to_act=9 * WAD, target=10 * WAD)


def test_move__what_was_given_to_the_guardian__stays_there(
    made: PerpGround, lending: Lending
) -> None:
    donor = made.chain.account("donor").address
    made.chain.open_position(donor, collateral={"USDC": 50 * USDC}, debt={})
    for token in (made.usdc, lending.a_token):
        made.chain.mint("USDC", donor, 30 * USDC)
        made.chain.transact(donor, token, "transfer", made.guardian.address, 30 * USDC)
    lent = lending.lent
    (event,) = made.events(made.send(made.keeper, *made.bring()))
    assert lent - lending.lent == pytest.approx(event["amount"], abs=INTEREST)
    assert made.balance(made.guardian.address) == 30 * USDC
    assert made.chain.read(lending.a_token, "balanceOf", made.guardian.address) == pytest.approx(
        30 * USDC, abs=INTEREST
    )


def test_move__whoever_may_not__is_refused(made: PerpGround, lending: Lending) -> None:
    stranger = made.chain.account("stranger").address
    assert made.refusal(stranger, *made.bring()).name == "NotKeeper"
    assert made.refusal(made.owner, *made.bring()).name == "NotKeeper"
    made.send(made.owner, "freeze", made.market)
    assert made.refusal(made.keeper, *made.bring()).name == "MarketFrozen"
    made.send(made.owner, "unfreeze", made.market)
    made.set_mandate(cooldown_s=600)
    made.send(made.keeper, *made.bring(20 * USDC))
    assert made.refusal(made.keeper, *made.bring()).name == "CoolingDown"
    made.set_mandate(cooldown_s=0, max_health_to_act=105 * WAD // 100)
    assert made.refusal(made.keeper, *made.bring()).name == "HealthTooHigh"
    made.send(made.owner, "revoke_mandate", made.market)
    assert made.refusal(made.keeper, *made.bring()).name == "UnknownMarket"


def test_source_of__loan_above_its_floor__is_what_may_be_moved(
    made: PerpGround, lending: Lending
) -> None:
    found = lending.source()
    # (collateral × threshold − floor × debt) / threshold, a thousandth of the floor left out.
    price, threshold = START * 0.968, lending.account["threshold"] / 10_000
    spare = 5_000 - 1.001 * 1.6 * price / threshold
    assert found["amount"] == pytest.approx(spare * USDC, rel=0.02)
    assert found["market"] == lending.market.lower()
    assert found["floor"] == FLOOR
    assert found["limit"] == (10_000 * DOLLAR, 0, NEVER)
    assert found["available"] == 10_000 * DOLLAR
    lending.approve(7 * USDC)
    assert lending.source()["amount"] == 7 * USDC - 1


def test_allow_move__what_cannot_be_meant__is_refused(made: PerpGround, lending: Lending) -> None:
    def refused(sender: Address, *changes: tuple[int, object]) -> Any:
        terms: list[object] = [made.market, lending.market, FLOOR, DOLLAR, 0, NEVER]
        for place, value in changes:
            terms[place] = value
        return made.refusal(sender, "allow_move", *terms)

    unlisted, priceless = mock(made.chain, "FakeMarket"), mock(made.chain, "FakeMarket")
    made.chain.transact(made.owner, priceless, "tell", (0,) * 6, (0,) * 6, 0, WORD, 0, 0)
    assert refused(made.keeper).name == "NotOwner"
    assert refused(made.owner, (2, WAD)) == ("FloorTooLow", (WAD, WAD))
    assert refused(made.owner, (1, made.keeper)).name == "UnknownMarket"
    assert refused(made.owner, (1, unlisted.address)).name == "UnknownAsset"
    assert refused(made.owner, (1, priceless.address)).name == "AssetWithoutPrice"
    assert refused(made.owner, (3, 2**112)).name == "LimitOutOfRange"
    assert refused(made.owner, (4, 2**96)).name == "LimitOutOfRange"
    assert refused(made.owner, (5, 2**48)).name == "ExpiryOutOfRange"


def test_allow_move__another_source__takes_the_place_of_the_first(
    made: PerpGround, lending: Lending
) -> None:
    made.send(made.keeper, *made.bring(20 * USDC))
    assert lending.source()["available"] == 9_980 * DOLLAR
    first = lending.market
    lying(made, lending, after=WAD)
    found = lending.source()
    assert found["market"] == lending.market.lower() != first.lower()
    # The limit is that of what is moved to this venue, wherever from.
    assert found["available"] == 9_980 * DOLLAR


def give(made: PerpGround, to: Address, amount: int) -> None:
    donor = made.chain.account("donor").address
    made.chain.mint("USDC", donor, amount)
    made.chain.transact(donor, made.usdc, "transfer", to, amount)


def lying(
    made: PerpGround, lending: Lending, *, after: int, short: int = 0, word: int = WORD
) -> Contract:
    """A market that says of the owner, when it has been withdrawn from, that its health is this."""
    market = mock(made.chain, "FakeMarket")
    healthy = (14_000 * DOLLAR, 5_000 * DOLLAR, 0, 8_000, 0, 224 * WAD // 100)
    told = (healthy, (*healthy[:5], after), DOLLAR, word, 10_000 * USDC, short)
    made.chain.transact(made.owner, market, "tell", *told)
    give(made, market.address, 10_000 * USDC)
    lending.market = market.address
    lending.allow(FLOOR)
    return market


def test_move__source_ends_below_its_floor__is_refused(made: PerpGround, lending: Lending) -> None:
    lying(made, lending, after=FLOOR - 1)
    assert made.refusal(made.keeper, *made.bring()) == ("SourceBelowFloor", (FLOOR - 1, FLOOR))
    lying(made, lending, after=FLOOR)
    made.send(made.keeper, *made.bring())


def test_move__source_gives_less_than_it_was_asked_for__spends_nothing_else(
    made: PerpGround, lending: Lending
) -> None:
    lying(made, lending, after=FLOOR, short=1)
    give(made, made.guardian.address, 5_000 * USDC)
    assert made.refusal(made.keeper, *made.bring()).name == "TransferShort"


def test_move__withdrawal_that_leaves_a_tokens__gives_them_back_to_the_owner(
    made: PerpGround, lending: Lending
) -> None:
    market = lying(made, lending, after=FLOOR)
    made.chain.transact(made.owner, market, "keep", 3)
    made.send(made.keeper, *made.bring())
    assert made.chain.read(market, "returned", made.owner) == 3


# 14,000 × 0.8 counted, of which 1.6 × 5,000 and a thousandth more are kept for the floor: 3,192.
@pytest.mark.parametrize("source", [0, 1])
def test_move__loan_in_an_e_mode__counts_by_the_categorys_threshold(
    made: PerpGround, lending: Lending, source: int
) -> None:
    """With a price of its own, or without."""
    market = lying(made, lending, after=FLOOR)
    assert lending.source()["amount"] == 3_990 * USDC
    category = encode(["uint256"] * 6, [32, 0, 9_500, 10_100, source, 0])
    made.chain.transact(made.owner, market, "tell_e_mode", 1, category)
    assert lending.source()["amount"] == 3_360 * USDC
    made.send(made.keeper, *made.bring())


def test_move__asset_without_a_threshold_in_an_e_mode__has_no_floor_to_keep(
    made: PerpGround, lending: Lending
) -> None:
    market = lying(made, lending, after=FLOOR, word=WORD - (8_000 << 16))
    made.chain.transact(made.owner, market, "tell_e_mode", 1, CATEGORY)
    assert lending.source()["amount"] == 10_000 * USDC


@pytest.mark.parametrize("answer", [b"", CATEGORY[:128]])
def test_move__e_mode_that_cannot_be_read__is_refused(
    made: PerpGround, lending: Lending, answer: bytes
) -> None:
    """By the compiler's own checks, which give no reason."""
    market = lying(made, lending, after=FLOOR)
    made.chain.transact(made.owner, market, "tell_e_mode", 1, answer)
    assert made.refusal(made.keeper, *made.bring()).name == "eth_call: execution reverted (code 3)"


def test_consent__of_somebody_else__allows_no_move(made: PerpGround, lending: Lending) -> None:
    lending.allow(FLOOR, limit=0)
    thief = made.chain.account("thief").address
    made.send(thief, "consent", made.market, 1_000 * DOLLAR, 0, NEVER)
    assert made.refusal(made.keeper, *made.bring()).name == "ConsentMissing"
