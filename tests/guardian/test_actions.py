"""What a keeper does through the guardian, on the real Aave and the real pools."""

from typing import Any

import pytest
from eth_utils.crypto import keccak

from keeper.devnet.chain import VARIABLE_RATE, LocalChain
from keeper.devnet.uniswap import MAX_UINT256, PoolKey
from keeper.model.units import BPS, WAD, Address
from tests.guardian.ground import BTC, DAY_S, DOLLAR, USDC, WETH_USDC, Ground, ground, mandate_hash
from tests.protocols.crowd import add_priced_category

TRANSFER = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
DAI_USDC: PoolKey = ("DAI", "USDC", 100)
WBTC_USDC: PoolKey = ("WBTC", "USDC", 3_000)


def act(made: Ground, call: tuple[Any, ...]) -> dict[str, int]:
    """Let the keeper act; the event, after these checks that hold for every action: health rises and
    is what was announced, the limit is used up by the value moved, the guardian keeps nothing."""
    before, available = made.health, made.available
    receipt = made.send(made.keeper, *call)
    (event,) = made.events(receipt)
    assert before < made.health == event["health_after"]
    assert available - made.available + 12 * DOLLAR >= event["value"]
    for symbol, token in made.chain.contracts.tokens.items():
        for held in (token, made.a_token(symbol), made.debt_token(symbol)):
            assert made.balance(held, made.guardian.address) == 0
        assert (
            made.chain.read(
                token, "allowance", made.guardian.address, made.chain.contracts.aave.pool.address
            )
            == 0
        )
    return event


def priced(made: Ground, symbol: str, amount: int) -> int:
    """Its value at the oracle's price, in USD with 8 decimals."""
    return amount * made.price(symbol) // made.chain.contracts.token(symbol).unit


# -- the reserve's actions ------------------------------------------------------------------------


def test_mandate_hash__by_the_documented_formula__is_the_contracts(made: Ground) -> None:
    assert made.hash == mandate_hash(made, nonce=1)


def test_repay__enough_reserve__restores_the_target(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    debt, purse = made.account()["debt"], made.balance(made.token("USDC"), made.owner)
    event = act(made, made.repay("USDC"))
    assert made.health == pytest.approx(made.mandate.target, rel=1e-6)
    assert purse - made.balance(made.token("USDC"), made.owner) == event["amount"]
    assert debt - made.account()["debt"] == pytest.approx(event["value"], rel=1e-5)


def test_add_collateral__enough_reserve__restores_the_target(made: Ground) -> None:
    made.fund("WETH", 10 * WAD)
    event = act(made, made.add_collateral("WETH"))
    assert made.health == pytest.approx(made.mandate.target, rel=1e-6)
    assert made.balance(made.token("WETH"), made.owner) == 10 * WAD - event["amount"]


def test_add_collateral__target_of_everything__is_held_by_the_other_bounds(made: Ground) -> None:
    made.fund("WETH", 3 * WAD)
    made.set_mandate(target=MAX_UINT256)
    assert act(made, made.add_collateral("WETH"))["amount"] == 3 * WAD


def test_repay__keepers_figure__is_a_maximum(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    assert act(made, made.repay("USDC", 123 * USDC))["amount"] == 123 * USDC


def test_repay__reserve_smaller_than_the_need__uses_all_of_it(made: Ground) -> None:
    made.fund("USDC", 70 * USDC)
    usdc, spent = made.token("USDC"), made.chain.account("elsewhere").address
    made.chain.transact(made.owner, usdc, "transfer", spent, 16_500 * USDC)
    assert act(made, made.repay("USDC"))["amount"] == 70 * USDC
    assert made.balance(usdc, made.owner) == 0


def test_repay__limit_smaller_than_the_need__uses_all_of_it(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    # The first mandate's 100,000 USD are cut down to the new maximum.
    made.set_mandate(limit_max=1_000 * DOLLAR, limit_per_second=0)
    event = act(made, made.repay("USDC"))
    assert event["value"] == pytest.approx(1_000 * DOLLAR, rel=1e-6)
    assert made.refusal(made.keeper, *made.repay("USDC")).name == "LimitReached"


def test_repay__target_of_everything__leaves_no_debt_to_the_last_unit(made: Ground) -> None:
    made.fund("USDC", 20_000 * USDC)
    made.set_mandate(target=MAX_UINT256)
    made.chain.mine(made.chain.timestamp() + 30 * DAY_S)
    made.send(made.keeper, *made.repay("USDC"))
    assert made.balance(made.debt_token("USDC"), made.owner) == 0
    assert made.health == MAX_UINT256


def test_repay__tokens_donated_to_the_guardian__are_neither_used_nor_lost(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    donor = made.chain.account("donor").address
    made.chain.mint("USDC", donor, 777 * USDC)
    made.chain.transact(donor, made.token("USDC"), "transfer", made.guardian.address, 777 * USDC)
    made.send(made.keeper, *made.repay("USDC"))
    assert made.balance(made.token("USDC"), made.guardian.address) == 777 * USDC


# -- unwinding --------------------------------------------------------------------------------------


def unwind(made: Ground, call: tuple[Any, ...], *, worst_bps: int = 200) -> dict[str, int]:
    """An unwind takes no more than the allowed slippage, and what the event says left the owner."""
    event = act(made, call)
    sold = next(s for s, t in made.chain.contracts.tokens.items() if t.address == call[3])
    given = priced(made, sold, event["taken"])
    assert given <= event["value"] * (BPS + worst_bps) // BPS + priced(made, sold, 2) + 2
    return event


def test_deleverage__one_pool__meets_the_target_less_the_cost(made: Ground) -> None:
    before, held = made.account(), made.balance(made.a_token("WETH"), made.owner)
    event = unwind(made, made.deleverage())
    assert made.mandate.target * 0.998 < made.health <= made.mandate.target
    assert held - made.balance(made.a_token("WETH"), made.owner) == pytest.approx(
        event["taken"], abs=10**12
    )
    # (1.4 × debt − counted) / (1.4 − 0.825), to a part in a million: interest of one block.
    counted = before["collateral"] * before["threshold"] // BPS
    gap = made.mandate.target * before["debt"] // WAD - counted
    assert event["value"] == pytest.approx(gap * 1_000 // 575, rel=1e-6)


def test_deleverage__flash_loan__does_the_same_for_its_premium(made: Ground) -> None:
    made.configure("updateFlashloanPremiumTotal", 9)
    event = unwind(made, made.deleverage(flash_loan=True))
    assert made.mandate.target * 0.998 < made.health <= made.mandate.target
    # 0.05 % to the pool for its swap and 0.09 % to Aave for its loan
    assert priced(made, "WETH", event["taken"]) > event["value"] * 1.0014


def test_deleverage__flash_loans_disabled__works_by_flash_swap(made: Ground) -> None:
    made.configure("setReserveFlashLoaning", made.token("USDC").address, False)
    refusal = made.refusal(made.keeper, *made.deleverage(flash_loan=True))
    assert "91" in refusal.name  # Errors.sol, FLASHLOAN_DISABLED
    unwind(made, made.deleverage())


@pytest.mark.parametrize("flash_loan", [False, True])
def test_deleverage__two_hops__passes_both_pools(chain: LocalChain, flash_loan: bool) -> None:
    made = ground(chain, {"WETH": 10 * WAD}, {"DAI": 16_500 * WAD})
    unwind(made, made.deleverage("WETH", "DAI", WETH_USDC, DAI_USDC, flash_loan=flash_loan))
    assert made.health > made.mandate.target * 0.998


def test_deleverage__wbtc_to_usdc__minds_the_decimals(chain: LocalChain) -> None:
    made = ground(chain, {"WBTC": BTC}, {"USDC": 27_500 * USDC})
    made.set_mandate(slippage_calm_bps=100)
    unwind(made, made.deleverage("WBTC", "USDC", WBTC_USDC))
    assert made.health > made.mandate.target * 0.995


def test_deleverage__health_below_one__repays_before_it_takes(made: Ground) -> None:
    """16,500 USDC against 10 WETH at 1,960 USD: health 0.98."""
    made.drop("WETH", 1_960 * DOLLAR, WETH_USDC)
    assert made.health < WAD
    unwind(made, made.deleverage())
    assert made.health > made.mandate.target * 0.99


def test_deleverage__partial_below_one__is_refused_by_aave_until_it_reaches_one(
    made: Ground,
) -> None:
    made.drop("WETH", 1_960 * DOLLAR, WETH_USDC)
    refusal = made.refusal(made.keeper, *made.deleverage(most=100 * USDC))
    assert "35" in refusal.name  # Errors.sol, HEALTH_FACTOR_LOWER_THAN_LIQUIDATION_THRESHOLD
    unwind(made, made.deleverage(most=3_000 * USDC))


def test_deleverage__debt_above_the_collateral__wants_all_of_it_and_is_refused_by_aave(
    made: Ground,
) -> None:
    """No sale lifts such a position to 1; without the debt that stays, nothing may leave it."""
    made.drop("WETH", 1_600 * DOLLAR, WETH_USDC)
    assert "35" in made.refusal(made.keeper, *made.deleverage()).name


def test_deleverage__target_of_everything__repays_the_whole_debt(made: Ground) -> None:
    made.set_mandate(target=MAX_UINT256)
    made.chain.mine(made.chain.timestamp() + 30 * DAY_S)
    made.send(made.keeper, *made.deleverage())
    assert made.balance(made.debt_token("USDC"), made.owner) == 0
    assert made.health == MAX_UINT256
    assert made.balance(made.token("USDC"), made.guardian.address) == 0


def test_deleverage__second_collateral_with_ltv_0__is_the_one_to_sell_first(
    chain: LocalChain,
) -> None:
    made = ground(chain, {"WETH": 8 * WAD, "WBTC": BTC // 10}, {"USDC": 16_500 * USDC})
    made.set_mandate(slippage_calm_bps=100)
    made.configure("configureReserveAsCollateral", made.token("WBTC").address, 0, 7_500, 10_650)
    refusal = made.refusal(made.keeper, *made.deleverage())
    assert "57" in refusal.name  # Errors.sol, LTV_VALIDATION_FAILED
    unwind(made, made.deleverage("WBTC", "USDC", WBTC_USDC, most=3_000 * USDC))


def test_deleverage__collateral_switched_off__sells_what_does_not_count(chain: LocalChain) -> None:
    made = ground(chain, {"WETH": 10 * WAD, "WBTC": BTC}, {"USDC": 16_500 * USDC})
    made.set_mandate(slippage_calm_bps=100)
    pool, wbtc = chain.contracts.aave.pool, made.token("WBTC").address
    chain.transact(made.owner, pool, "setUserUseReserveAsCollateral", wbtc, False)
    before = made.account()
    unwind(made, made.deleverage("WBTC", "USDC", WBTC_USDC))
    assert made.account()["collateral"] == pytest.approx(before["collateral"], rel=1e-6)
    assert made.health == pytest.approx(made.mandate.target, rel=1e-6)


def test_add_collateral__switched_off__is_refused_since_health_does_not_rise(made: Ground) -> None:
    made.fund("WBTC", BTC)
    pool, wbtc = made.chain.contracts.aave.pool, made.token("WBTC")
    made.chain.open_position(made.owner, collateral={"WBTC": BTC // 10}, debt={})
    made.chain.transact(made.owner, pool, "setUserUseReserveAsCollateral", wbtc.address, False)
    made.allow(wbtc, BTC)
    assert made.refusal(made.keeper, *made.add_collateral("WBTC")).name == "CollateralFell"


@pytest.mark.parametrize(("years", "index", "more"), [(10, 1.32, 1), (36, 2.14, 2)])
def test_deleverage__a_token_transfer_short_by_its_rounding__is_made_good_and_returned(
    chain: LocalChain, years: int, index: float, more: int
) -> None:
    """The pool keeps aTokens divided by an index: at 1.3, one transfer in eight arrives a unit short.
    Then half an index more is pulled, rounded up, and what the withdrawal does not need goes back. Above
    an index of 2 one unit is no unit of what the pool keeps."""
    whale = chain.account("whale").address
    chain.open_position(whale, collateral={"WBTC": 5_000 * BTC}, debt={"WETH": 50_000 * WAD})
    chain.mine(chain.timestamp() + years * 365 * DAY_S)
    made = ground(chain, {"WETH": 10 * WAD}, {"USDC": 16_500 * USDC})
    pool, weth = chain.contracts.aave.pool, made.token("WETH").address
    ray = chain.read(pool, "getReserveNormalizedIncome", weth)
    assert ray / 10**27 == pytest.approx(index, abs=0.01)
    returned = 0
    for cents in range(40):
        receipt = made.send(made.keeper, *made.deleverage(most=60 * USDC + cents * 10_007))
        (event,) = made.events(receipt)
        moves = transfers(receipt, made.a_token("WETH").address)
        pulled = [amount for sender, _, amount in moves if sender == int(made.owner, 16)]
        assert pulled in ([event["taken"]], [event["taken"], more])
        assert made.balance(made.a_token("WETH"), made.guardian.address) == 0
        guardian, owner = int(made.guardian.address, 16), int(made.owner, 16)
        returned += sum((sender, to) == (guardian, owner) for sender, to, _ in moves)
    assert 0 < returned < 40, returned


def transfers(receipt: dict[str, Any], token: str) -> list[tuple[int, int, int]]:
    """Sender, recipient and amount of each ERC-20 transfer of a token."""
    return [
        (int(log["topics"][1], 16), int(log["topics"][2], 16), int(log["data"], 16))
        for log in receipt["logs"]
        if log["address"] == token.lower() and log["topics"][0] == TRANSFER
    ]


# -- efficiency modes -----------------------------------------------------------------------------


def stable_position(chain: LocalChain) -> Ground:
    """DAI against USDC at a threshold of 97.5 %: health 1.02."""
    return ground(
        chain,
        {"DAI": 10_000 * WAD},
        {"USDC": 9_560 * USDC},
        e_mode=1,
        max_health_to_act=103 * WAD // 100,
        target=104 * WAD // 100,
        slippage_calm_bps=10,
        slippage_urgent_bps=50,
    )


def test_deleverage__e_mode__counts_with_the_categorys_threshold(chain: LocalChain) -> None:
    made = stable_position(chain)
    unwind(made, made.deleverage("DAI", "USDC", DAI_USDC), worst_bps=50)
    assert made.mandate.target * 0.99 < made.health <= made.mandate.target


def test_set_mandate__e_mode__measures_slippage_by_the_categorys_bonus(chain: LocalChain) -> None:
    made = stable_position(chain)
    refusal = made.refusal(
        made.owner, "set_mandate", made.market, made.changed(slippage_urgent_bps=51).words()
    )
    assert refusal == ("SlippageAboveHalfBonus", (51, 50))


def test_deleverage__e_mode_with_a_price_of_its_own__sizes_by_that_price(chain: LocalChain) -> None:
    """WBTC against WETH, both counted at one price per token: 1 WBTC carries 0.75 WETH."""
    add_priced_category(chain)
    chain.set_price("WBTC", 42_265_19000000)
    made = ground(
        chain, {"WBTC": BTC}, {"WETH": 78 * WAD // 100}, e_mode=2, slippage_urgent_bps=100
    )
    event = act(made, made.deleverage("WBTC", "WETH", ("WBTC", "WETH", 500)))
    # Health 0.9 / 0.78; (1.4 × 0.78 − 0.9) / (1.4 − 0.9) WETH are repaid, for 1/18 of it in WBTC.
    assert event["repaid"] == pytest.approx(0.384 * WAD, rel=1e-4)
    assert event["taken"] == pytest.approx(0.384 * BTC * 2_281.37 / 42_265.19, rel=1e-2)
    assert made.health > made.mandate.target


# -- pools off the oracle ----------------------------------------------------------------------------


def test_deleverage__pool_3_percent_worse__is_refused_by_the_price_limit(made: Ground) -> None:
    made.move_pool(WETH_USDC, 2_281.37 / 0.99984 * 0.97)
    assert made.refusal(made.keeper, *made.deleverage()).name == "PriceBeyondLimit"


def test_deleverage__pool_3_percent_better__is_the_owners_gain(made: Ground) -> None:
    made.move_pool(WETH_USDC, 2_281.37 / 0.99984 * 1.03)
    event = unwind(made, made.deleverage())
    assert priced(made, "WETH", event["taken"]) < event["value"] * 0.972
    assert made.health > made.mandate.target


def test_deleverage__pool_1_percent_worse__pays_within_the_slippage(made: Ground) -> None:
    made.move_pool(WETH_USDC, 2_281.37 / 0.99984 * 0.99)
    event = unwind(made, made.deleverage(), worst_bps=116)
    assert priced(made, "WETH", event["taken"]) > event["value"] * 1.01


def test_deleverage__keepers_figure__is_a_maximum(made: Ground) -> None:
    assert unwind(made, made.deleverage(most=123 * USDC))["repaid"] == 123 * USDC


def test_deleverage__bonus_lowered_since__tightens_the_slippage(made: Ground) -> None:
    """Half of a bonus of 0.4 % is 0.2 %, less than the mandate's 0.5 % to 2 %."""
    made.move_pool(WETH_USDC, 2_281.37 / 0.99984 * 0.995)
    unwind(made, made.deleverage(most=100 * USDC), worst_bps=56)
    made.configure("configureReserveAsCollateral", made.token("WETH").address, 8_000, 8_250, 10_040)
    assert made.refusal(made.keeper, *made.deleverage()).name == "PriceBeyondLimit"


def test_deleverage__tokens_donated_to_the_guardian__are_left_there(made: Ground) -> None:
    donor, given = made.chain.account("donor").address, (("USDC", 777 * USDC), ("WETH", WAD))
    for symbol, amount in given:
        made.chain.mint(symbol, donor, amount)
        token = made.token(symbol)
        made.chain.transact(donor, token, "transfer", made.guardian.address, amount)
    for flash_loan in (False, True):
        made.send(made.keeper, *made.deleverage(most=500 * USDC, flash_loan=flash_loan))
    for symbol, amount in given:
        assert made.balance(made.token(symbol), made.guardian.address) == amount


def test_deleverage__keepers_own_bound_on_the_price__holds(made: Ground) -> None:
    refusal = made.refusal(made.keeper, *made.deleverage(most_taken=4 * WAD // 10))
    assert refusal.name == "SlippageTooHigh"
    assert refusal.figures[1] == 4 * WAD // 10


def test_deleverage__depth_ends_before_the_amount__is_refused_whole(chain: LocalChain) -> None:
    """1.1 % down already, 1.15 % allowed: the price limit stops the swap part of the way."""
    made = ground(chain, {"WETH": 1_000 * WAD}, {"USDC": 1_650_000 * USDC})
    made.set_mandate(limit_max=10**7 * DOLLAR)
    chain.mine(chain.timestamp() + 20 * DAY_S)
    chain.set_price("WETH", 2_281_37000000)
    made.set_mandate(limit_per_second=10**6 * DOLLAR)
    chain.mine(chain.timestamp() + DAY_S)
    made.move_pool(WETH_USDC, 2_281.37 / 0.99984 * 0.9895)
    assert made.refusal(made.keeper, *made.deleverage()).name == "PoolTooThin"


# -- the emergency call ----------------------------------------------------------------------------


def with_emergency(made: Ground, **changes: object) -> Address:
    """Below health 1.15 anyone may unwind; a stranger who will."""
    made.set_mandate(
        emergency_health=115 * WAD // 100,
        emergency_collateral=made.token("WETH").address,
        emergency_debt=made.token("USDC").address,
        emergency_route=(made.pool(*WETH_USDC).address,),
        **changes,
    )
    return made.chain.account("stranger").address


def test_emergency__stranger__unwinds_to_the_target_and_gets_nothing(made: Ground) -> None:
    stranger = with_emergency(made)
    before = made.health
    (event,) = made.events(made.send(stranger, "emergency", made.market))
    assert before < made.health == event["health_after"] <= made.mandate.target
    assert event["caller"] == stranger.lower()
    assert all(made.balance(t, stranger) == 0 for t in made.chain.contracts.tokens.values())


def test_emergency__health_above_its_bound__is_refused(made: Ground) -> None:
    stranger = with_emergency(made)
    made.drop("WETH", 2_400 * DOLLAR)
    refusal = made.refusal(stranger, "emergency", made.market)
    assert refusal == ("HealthTooHigh", (made.health, 115 * WAD // 100))


def test_emergency__tighter_slippage__refuses_what_the_keeper_may(made: Ground) -> None:
    stranger = with_emergency(made)
    made.move_pool(WETH_USDC, 2_281.37 / 0.99984 * 0.992)
    assert made.refusal(stranger, "emergency", made.market).name == "PriceBeyondLimit"
    unwind(made, made.deleverage())


@pytest.mark.parametrize(("weth", "parts"), [(300, 1), (500, 2), (1_000, 8)])
def test_emergency__more_than_the_pool_bears__unwinds_half_or_an_eighth_of_it(
    chain: LocalChain, weth: int, parts: int
) -> None:
    """Of (target × debt − counted) / (target − threshold), with a threshold of 0.825. At half of the
    slippage the pool bears between 223,000 and 372,000 USDC."""
    made = ground(
        chain, {"WETH": weth * WAD}, {"USDC": weth * 1_650 * USDC}, limit_max=10**6 * DOLLAR
    )
    stranger = with_emergency(made, slippage_calm_bps=100)
    debt, counted = made.account()["debt"], priced(made, "WETH", weth * WAD) * 0.825
    needed = (1.4 * debt - counted) / (1.4 - 0.825)
    before = made.health
    (event,) = made.events(made.send(stranger, "emergency", made.market))
    assert event["value"] == pytest.approx(needed / parts, rel=1e-5)
    assert event["caller"] == stranger.lower()
    assert before < made.health == event["health_after"] < made.mandate.target


def test_emergency__part_of_it__is_made_by_nobody_else(made: Ground) -> None:
    stranger = with_emergency(made)
    for caller in (stranger, made.keeper, made.owner):
        refusal = made.refusal(caller, "emergency_part", made.market, caller, 8)
        assert refusal == ("UnexpectedCallback", (caller.lower(), (8).to_bytes(32)))


@pytest.mark.parametrize("outlives", [True, False])
def test_emergency__after_expiry__works_if_the_mandate_says_so(
    made: Ground, outlives: bool
) -> None:
    expiry = made.chain.timestamp() + DAY_S
    stranger = with_emergency(made, expiry=expiry, emergency_outlives_expiry=outlives)
    made.chain.mine(expiry + 1)
    assert made.refusal(made.keeper, *made.deleverage()).name == "MandateExpired"
    if outlives:
        made.send(stranger, "emergency", made.market)
    else:
        assert made.refusal(stranger, "emergency", made.market).name == "MandateExpired"


# -- what others do ----------------------------------------------------------------------------------


def test_repay__debt_repaid_by_somebody_else__does_less(made: Ground) -> None:
    """The amount follows the state at inclusion, so a change after the simulation does not revert."""
    made.fund("USDC", 10_000 * USDC)
    pool, usdc, friend = made.chain.contracts.aave.pool, made.token("USDC"), "friend"
    account = made.chain.account(friend).address
    made.chain.mint("USDC", account, 1_000 * USDC)
    made.chain.transact(account, usdc, "approve", pool.address, 1_000 * USDC)
    simulated = made.simulated(made.keeper, *made.repay("USDC"))
    made.chain.transact(
        account, pool, "repay", usdc.address, 1_000 * USDC, VARIABLE_RATE, made.owner
    )
    event = act(made, made.repay("USDC"))
    assert event["amount"] == pytest.approx(simulated - 1_000 * USDC, rel=1e-6)
