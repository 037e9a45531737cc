"""What the perp guardian does for its owner, on the venue's real contracts."""

import pytest

from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD, Address
from tests.guardian.ground import DOLLAR, USDC, Refusal
from tests.guardian.perp_ground import PerpGround, perp_ground

START = 2_281.37


@pytest.fixture
def made(perp: PerpMarket) -> PerpGround:
    """4.33 ether long on 1,000 dollars, and ether has fallen by 3.2 %: health 1.15."""
    ground = perp_ground(perp)
    ground.move(START * 0.968)
    assert 1.1 < ground.health / WAD < 1.2
    return ground


@pytest.fixture
def short(perp: PerpMarket) -> PerpGround:
    """The same the other way round, and ether has risen by 2.5 %."""
    ground = perp_ground(perp, quote=-9_800 * WAD)
    ground.move(START * 1.025)
    assert 1.1 < ground.health / WAD < 1.25
    return ground


def test_add_margin__from_the_owners_wallet__reaches_the_target(made: PerpGround) -> None:
    made.fund(1_000 * USDC)
    value, held = made.value, made.balance(made.owner)
    receipt = made.send(made.keeper, *made.add())
    paid = held - made.balance(made.owner)
    # Funding goes on between the blocks.
    assert made.value == pytest.approx(value + paid * 10**12, abs=WAD // 100)
    assert 1.5 * WAD <= made.health <= 1.5001 * WAD
    assert made.balance(made.guardian.address) == 0
    (event,) = made.events(receipt)
    assert event["event"] == "MarginAdded"
    assert (event["amount"], event["value"]) == (paid, paid * 100)


@pytest.fixture
def owing(perp: PerpMarket) -> PerpGround:
    """10,000 of settlement debt are allowed in any case. 110,000 of ether that fell by 9 % leave
    about 8,900 of debt beside 1,000 of dollars; a hundred ether of margin carry it many times."""
    made = perp_ground(perp)
    perp.deposit(made.owner, "WETH", 100 * WAD)
    perp.trade(made.owner, "vETH", quote=100_000 * WAD)
    made.fund(5_000 * USDC)
    made.move(START * 0.91)
    assert 8_000 * USDC < made.settlement_debt() < 10_000 * USDC
    assert made.health > 10 * WAD
    return made


def test_add_margin__debt_against_margin_tokens__keeps_these_from_being_sold(
    owing: PerpGround,
) -> None:
    made, debt = owing, owing.settlement_debt()
    receipt = made.send(made.keeper, *made.add())
    (event,) = made.events(receipt)
    assert event["health_before"] == pytest.approx(10_000 * USDC * WAD // debt, rel=1e-4)
    assert event["health_after"] == pytest.approx(1.5 * WAD, rel=1e-6)
    assert made.settlement_debt() == pytest.approx(10_000 * USDC / 1.5, rel=1e-4)
    # What would have been above 10,000 without it.
    made.move(START * 0.89)
    assert not made.chain.read(made.perp.perp.vault, "isLiquidatable", made.owner)
    assert made.settlement_debt() + event["amount"] > 10_000 * USDC


def test_add_margin__small_limit__does_what_it_may(made: PerpGround) -> None:
    made.fund(1_000 * USDC)
    made.set_mandate(limit_max=30 * DOLLAR)
    before = made.health
    made.send(made.keeper, *made.add())
    assert before < made.health < 1.5 * WAD
    assert made.balance(made.owner) == pytest.approx(1_000 * USDC - 30 * USDC, abs=DOLLAR // 100)


def test_add_margin__margin_tokens_beside_dollars__counts_against_the_higher_requirement(
    made: PerpGround,
) -> None:
    # Nothing is owed in dollars, so that the tokens' sale alone is to be kept away: 6.75 % of the
    # notional in place of 6.25 %.
    made.perp.deposit(made.owner, "WETH", WAD // 20)
    made.fund(1_000 * USDC)
    higher = made.value * WAD // (made.required * 675 // 625)
    assert made.settlement_debt() == 0
    (event,) = made.events(made.send(made.keeper, *made.add()))
    assert event["health_before"] == pytest.approx(higher, rel=1e-4)
    assert event["health_after"] == pytest.approx(1.5 * WAD, rel=1e-6)


def test_add_margin__target_that_closes__moves_all_there_is(made: PerpGround) -> None:
    made.fund(100 * USDC)
    made.set_mandate(target=MAX_UINT256)
    value = made.value
    made.send(made.keeper, *made.add())
    assert made.balance(made.owner) == 0
    assert made.value == pytest.approx(value + 100 * WAD, abs=WAD // 100)


def test_add_margin__limit_used_up__is_refused(made: PerpGround) -> None:
    made.fund(1_000 * USDC)
    made.set_mandate(limit_max=30 * DOLLAR, limit_per_second=0)
    made.send(made.keeper, *made.add(25 * USDC))
    assert made.refusal(made.keeper, *made.add()) == ("LimitReached", (5 * DOLLAR, 10 * DOLLAR))


@pytest.fixture
def treasury(made: PerpGround) -> Address:
    """Another account with 1,000 USDC and an allowance for the guardian; no consent yet."""
    account = made.chain.account("treasury").address
    made.chain.mint("USDC", account, 1_000 * USDC)
    made.chain.transact(account, made.usdc, "approve", made.guardian.address, MAX_UINT256)
    made.set_mandate(reserve=account)
    return account


def test_add_margin__reserve_without_consent__is_refused(
    made: PerpGround, treasury: Address
) -> None:
    assert made.refusal(made.keeper, *made.add()) == Refusal(
        "ConsentMissing", (treasury.lower(), 0)
    )


def test_add_margin__reserve_with_consent__gives_up_to_its_own_limit(
    made: PerpGround, treasury: Address
) -> None:
    made.send(treasury, "consent", made.market, 50 * DOLLAR, 0, 2**40)
    value = made.value
    made.send(made.keeper, *made.add())
    assert made.balance(treasury) == 950 * USDC
    assert made.value == pytest.approx(value + 50 * WAD, abs=WAD // 100)
    consent, left = made.chain.read(made.guardian, "consent_of", made.market, treasury)
    assert (consent, left) == ((50 * DOLLAR, 0, 2**40), 0)
    # The mandate's own limit would allow more.
    assert made.available > 99_000 * DOLLAR
    assert made.refusal(made.keeper, *made.add()) == ("LimitReached", (0, 10 * DOLLAR))


def test_reduce_position__long__sells_what_the_target_needs_and_no_more(made: PerpGround) -> None:
    size, value = made.size(), made.value
    receipt = made.send(made.keeper, *made.reduce())
    (event,) = made.events(receipt)
    assert event["event"] == "PositionReduced"
    assert made.size() == size - event["size"] > 0
    # Trading costs a little of the account: the target is missed by that and not passed.
    assert 1.48 * WAD < made.health < 1.5 * WAD
    assert event["quote"] >= event["size"] * made.index() // WAD * 9_880 // 10_000
    assert value - made.value < event["value"] * 10**10 * 120 // 10_000


def test_reduce_position__short__buys_and_stays_short(short: PerpGround) -> None:
    size = short.size()
    (event,) = short.events(short.send(short.keeper, *short.reduce()))
    assert size < short.size() == size + event["size"] < 0
    assert 1.48 * WAD < short.health < 1.5 * WAD


def test_reduce_position__keepers_maximum__is_not_passed(made: PerpGround) -> None:
    size = made.size()
    made.send(made.keeper, *made.reduce(most=WAD // 10))
    assert made.size() == size - WAD // 10


def test_reduce_position__target_that_closes__closes_and_never_turns(made: PerpGround) -> None:
    made.set_mandate(target=MAX_UINT256)
    made.send(made.keeper, *made.reduce())
    assert made.size() == 0
    assert made.value > 0


def test_reduce_position__again_after_the_target__is_refused(made: PerpGround) -> None:
    made.send(made.keeper, *made.reduce())
    refused = made.refusal(made.keeper, *made.reduce())
    assert refused.name == "HealthTooHigh"
    assert refused.figures == (made.health, made.mandate.max_health_to_act)


def test_reduce_position__limit__bounds_what_is_traded_in_a_day(made: PerpGround) -> None:
    made.set_mandate(limit_max=500 * DOLLAR, limit_per_second=0)
    size = made.size()
    made.send(made.keeper, *made.reduce())
    assert (size - made.size()) * made.index() // WAD == pytest.approx(500 * WAD, rel=1e-6)
    assert made.refusal(made.keeper, *made.reduce()).name == "LimitReached"


def test_reduce_position__pool_above_the_mark__is_no_excess(made: PerpGround) -> None:
    # The averages behind the mark follow later: what is sold now brings more than it is valued at.
    made.move_pool(START * 0.968 * 1.02)
    size = made.size()
    receipt = made.send(made.keeper, *made.reduce())
    (event,) = made.events(receipt)
    assert event["health_after"] > 1.515 * WAD
    # 1.15 to 1.5 takes about 23 % of the position at the mark, whatever more it brings.
    assert 0.2 < event["size"] / size < 0.27


def test_reduce_position__pool_below_the_index__is_refused_by_the_price(made: PerpGround) -> None:
    made.move_pool(START * 0.968 * 0.975)
    refused = made.refusal(made.keeper, *made.reduce())
    assert "CH_TLRS" in refused.name


def test_reduce_position__not_delegated__is_refused_by_the_venue(made: PerpGround) -> None:
    made.delegate("revoke")
    assert "CH_SHNAOPT" in made.refusal(made.keeper, *made.reduce()).name


@pytest.mark.parametrize("pool", [0.96, 0.98])
def test_reduce_position__makers_liquidity_in_the_market__is_refused_by_name(
    made: PerpGround, pool: float
) -> None:
    """Liquidity that has bought ether since, and that has sold some."""
    token, house = made.base_token(), made.perp.perp.clearing_house
    made.perp.deposit(made.owner, "USDC", 5_000 * USDC)
    order = (token, WAD, 2_000 * WAD, 76_000, 78_000, 0, 0, False, MAX_UINT256)
    made.chain.transact(made.owner, house, "addLiquidity", order)
    made.move_pool(START * pool)
    made.set_mandate(max_health_to_act=50 * WAD, target=60 * WAD)
    balances = made.perp.perp.account_balance
    whole = made.chain.read(balances, "getTotalPositionSize", made.owner, token)
    assert (whole > made.size()) is (pool < 0.968)
    refused = ("MakerPosition", (token.lower(), abs(whole - made.size())))
    assert made.refusal(made.keeper, *made.reduce()) == refused


def test_reduce_position__debt_alone_is_short__is_refused(owing: PerpGround) -> None:
    """A trade pays no debt, and the margin is enough."""
    refused = ("ActionTooSmall", (0, 10 * DOLLAR))
    assert owing.refusal(owing.keeper, *owing.reduce()) == refused


def test_reduce_position__smaller_than_what_has_to_go__goes_whole(perp: PerpMarket) -> None:
    made = perp_ground(perp, quote=9_000 * WAD)
    perp.trade(made.owner, "vBTC", quote=200 * WAD)
    made.set_mandate(collaterals=(made.base_token("vETH"), made.base_token("vBTC")))
    made.move(START * 0.96)
    assert made.size("vBTC") > 0
    health, ether = made.health, made.size("vETH")
    made.send(made.keeper, *made.reduce("vBTC"))
    assert (made.size("vBTC"), made.size("vETH")) == (0, ether)
    assert health < made.health < 1.5 * WAD
