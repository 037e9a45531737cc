"""An Aave position valued by hand, offered actions for, and read from given answers."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_abi.abi import encode

from keeper.abi.aave_v3 import AddressesProvider, AToken, Oracle, Pool, StableDebtToken
from keeper.abi.multicall import decode_aggregate3
from keeper.model.book import QUOTE, stack
from keeper.model.reading import Call, CallFailedError, Reading
from keeper.model.units import RAY, Address, Amount, Bps, Ray, Token
from keeper.model.values import PositionId, Repay
from keeper.protocols import aave_v3
from keeper.protocols.aave_v3_position import Leg
from keeper.protocols.aave_v3_reserve import (
    EModeCategory,
    Reserve,
    ReserveConfiguration,
    ReserveState,
)

YEAR = 365 * 24 * 3600
NOW = 1_700_000_000


def address(number: int) -> Address:
    return Address(f"0x{number:040x}")


def reserve(index: int, symbol: str, decimals: int) -> Reserve:
    return Reserve(
        index=index,
        token=Token(address=address(10 * index + 1), symbol=symbol, decimals=decimals),
        a_token=address(10 * index + 2),
        stable_debt_token=address(10 * index + 3),
        variable_debt_token=address(10 * index + 4),
        price_source=address(10 * index + 5),
    )


WETH, USDC = reserve(1, "WETH", 18), reserve(3, "USDC", 6)
MARKET = aave_v3.AaveMarket(
    chain_id=1,
    name="aave",
    provider=address(101),
    pool=address(102),
    oracle=address(103),
    reserves=(WETH, USDC),
    categories=(),
)
ACCOUNT = address(200)
STABLES = EModeCategory(
    index=1,
    max_ltv=Bps(9_700),
    liquidation_threshold=Bps(9_750),
    liquidation_bonus=Bps(10_100),
    price=0,
)


def configuration(
    *, ltv: int = 8_000, threshold: int = 8_250, e_mode: int = 0, cap: int = 0, flags: int = 1
) -> ReserveConfiguration:
    """`flags` counts from the bit of an active reserve: 2 is frozen, 16 paused."""
    word = ltv | threshold << 16 | 10_500 << 32 | flags << 56 | 1_000 << 64
    return ReserveConfiguration(word | cap << 116 | e_mode << 168)


def state(
    reserve: Reserve,
    price: int | None,
    configuration: ReserveConfiguration,
    *,
    liquidity_rate: int = 0,
    variable_rate: int = 0,
) -> ReserveState:
    return ReserveState(
        reserve=reserve,
        configuration=configuration,
        price=price,
        liquidity_index=Ray(RAY),
        liquidity_rate=Ray(liquidity_rate),
        variable_index=Ray(RAY),
        variable_rate=Ray(variable_rate),
        updated_at=NOW,
        accrued_to_treasury_scaled=0,
        supplied_scaled=1_000 * 10**18,
        variable_debt_scaled=0,
        stable_debt_principal=0,
        average_stable_rate=Ray(0),
        stable_updated_at=0,
    )


def leg(state: ReserveState, *, collateral: int = 0, variable: int = 0, stable: int = 0) -> Leg:
    return Leg(
        state=state,
        is_collateral=collateral > 0,
        is_borrowed=variable + stable > 0,
        collateral_scaled=collateral,
        variable_debt_scaled=variable,
        stable_debt_principal=stable,
        stable_rate=Ray(RAY // 10 if stable else 0),
        stable_updated_at=NOW if stable else 0,
        wallet=10**24,
        allowance=0,
    )


def position(*legs: Leg, e_mode: EModeCategory | None = None) -> aave_v3.AavePosition:
    identity = PositionId(chain_id=1, market="aave", account=ACCOUNT)
    return aave_v3.AavePosition(id=identity, market=MARKET, timestamp=NOW, e_mode=e_mode, legs=legs)


WETH_STATE = state(WETH, 2_000_00000000, configuration())
USDC_STATE = state(USDC, 1_00000000, configuration(ltv=7_700, threshold=7_801, e_mode=1))


def test_health__collateral_in_two_tokens__truncates_the_average_threshold() -> None:
    """1 WETH at 2,000 and 1,000 USDC: (2000 × 8250 + 1000 × 7801) / 3000 = 8100.33 → 8100 bps,
    3000 × 0.81 = 2430 USD over a debt of 1,200 USD = 2.025."""
    found = position(
        leg(WETH_STATE, collateral=10**18),
        leg(USDC_STATE, collateral=1_000 * 10**6, variable=1_200 * 10**6),
    )
    assert found.account.liquidation_threshold == 8_100
    assert found.account.max_ltv == 7_900
    assert (found.collateral_usd8, found.debt_usd8) == (3_000_00000000, 1_200_00000000)
    assert found.health == 2_025 * 10**15


def test_health__no_debt__is_none() -> None:
    assert position(leg(WETH_STATE, collateral=10**18)).health is None
    assert position().health is None


def test_health__efficiency_mode__takes_its_threshold_for_its_members_only() -> None:
    """(2000 × 8250 + 1000 × 9750) / 3000 = 8750; 2625 / 1200 = 2.1875."""
    legs = (
        leg(WETH_STATE, collateral=10**18),
        leg(USDC_STATE, collateral=1_000 * 10**6, variable=1_200 * 10**6),
    )
    found = position(*legs, e_mode=STABLES)
    assert found.account.liquidation_threshold == 8_750
    assert found.health == 21_875 * 10**14
    # Its own price, 0.9 USD, is for its members too: (2000 × 8250 + 900 × 9750) / 2900 = 8715.5.
    priced = position(*legs, e_mode=replace(STABLES, price=90_000_000))
    assert (priced.collateral_usd8, priced.debt_usd8) == (2_900_00000000, 1_080_00000000)
    assert priced.account.liquidation_threshold == 8_715


def test_account__a_reserve_with_max_ltv_zero__keeps_it_in_an_efficiency_mode() -> None:
    barred = state(USDC, 1_00000000, configuration(ltv=0, threshold=7_801, e_mode=1))
    found = position(leg(barred, collateral=10**9, variable=10**8), e_mode=STABLES)
    assert (found.account.max_ltv, found.account.liquidation_threshold) == (0, 9_750)


def test_accrued__a_year_at_ten_percent__compounds_debt_and_adds_to_collateral() -> None:
    """Supplied: linear, 1.1. Owed: 1 + 0.1 + 0.1²/2 + 0.1³/6 = 1.1051667, of which the truncated
    third power loses up to 3 %; at the variable rate as at the stable one."""
    weth = state(WETH, 2_000_00000000, configuration(), liquidity_rate=RAY // 10)
    usdc = state(USDC, 1_00000000, configuration(), variable_rate=RAY // 10)
    before = position(
        leg(weth, collateral=10**18),
        leg(usdc, variable=10**9),
    )
    after = before.accrued(NOW + YEAR)
    assert after.collateral_usd8 == 2_200_00000000
    assert 1_105_161_666 <= after.debts[0].raw < 1_105_166_666
    stable = position(leg(USDC_STATE, stable=10**9)).accrued(NOW + YEAR)
    assert stable.debts == after.debts
    with pytest.raises(ValueError, match="no interest"):
        before.accrued(NOW - 1)


@pytest.mark.parametrize("e_mode", [None, replace(STABLES, price=None)])
def test_position__a_price_that_is_missing__is_unreadable(e_mode: EModeCategory | None) -> None:
    unpriced = state(WETH, None if e_mode is None else 1, configuration())
    with pytest.raises(aave_v3.UnreadablePositionError, match="the oracle has no price"):
        position(leg(unpriced, collateral=1), e_mode=e_mode)


@pytest.mark.parametrize(
    ("flags", "adding", "repaying"),
    [
        (0, "not active", "not active"),
        (1, None, None),
        (1 | 2, "frozen", None),
        (1 | 16, "paused", "paused"),
    ],
)
def test_options__flags_of_the_reserve__block_what_the_pool_refuses(
    flags: int, adding: str | None, repaying: str | None
) -> None:
    both = state(USDC, 1_00000000, configuration(flags=flags))
    found = aave_v3.options(position(leg(both, collateral=10**9, variable=10**6)))
    assert [option.kind for option in found] == ["AddCollateral", "Repay"]
    for option, expected in zip(found, (adding, repaying), strict=True):
        assert (option.blocked is None) == (expected is None)
        assert expected is None or expected in str(option.blocked)


def test_options__supply_cap__leaves_what_the_pool_has_room_for() -> None:
    """A cap of 1,010 whole tokens over 1,000 supplied; ten percent interest a year fills it."""
    capped = state(WETH, 1, configuration(cap=1_010), liquidity_rate=RAY // 10)
    before = position(leg(capped, collateral=1))
    assert aave_v3.options(before)[0].available.raw == 10 * 10**18
    (later,) = aave_v3.options(before.accrued(NOW + YEAR))
    assert (later.available.raw, later.blocked) == (0, "the pool's supply cap of WETH is reached")


def test_options__a_price_of_zero__blocks_what_would_not_help() -> None:
    worthless = state(WETH, 0, configuration())
    (option,) = aave_v3.options(position(leg(worthless, collateral=10**18)))
    assert option.blocked == "the oracle values WETH at nothing"


def test_options__nothing_in_the_wallet__is_still_named() -> None:
    empty = replace(leg(WETH_STATE, collateral=10**18), wallet=0)
    (option,) = aave_v3.options(position(empty))
    assert (option.kind, option.available.raw, option.blocked) == ("AddCollateral", 0, None)


def test_predict__stable_and_variable_debt__repays_the_larger_at_any_time() -> None:
    both = position(leg(USDC_STATE, variable=10**9, stable=10**9 + 1))
    action = Repay(position=both.id, amount=Amount(raw=10**10, token=USDC.token))
    for at in (NOW, NOW + YEAR):
        (left,) = aave_v3.predict(action, both, at).legs
        assert (left.variable_debt_scaled, left.stable_debt_principal) == (10**9, 0)
        assert left.is_borrowed
    assert int.from_bytes(aave_v3.encode(action, both).data[68:100], "big") == 1


def test_liquidation_terms__health_at_the_threshold__allows_the_whole_debt() -> None:
    """825 / debt: 868.421052 USD gives 0.95 and a hair more, 868.5 less."""

    def terms(debt: int) -> tuple[int, int]:
        found = aave_v3.liquidation_terms(
            position(leg(WETH_STATE, collateral=10**18 // 2), leg(USDC_STATE, variable=debt))
        )
        return found.close_factor, found.liquidation_penalty

    assert terms(868_421_052) == (5_000, 500)
    assert terms(868_500_000) == (10_000, 500)


# -- reading -------------------------------------------------------------------------------------


BITMAP = Pool.GET_USER_CONFIGURATION.selector
DEFAULT = {
    Pool.POOL_REVISION.selector: (1,),
    AddressesProvider.GET_PRICE_ORACLE.selector: (int(MARKET.oracle, 16),),
    Pool.GET_RESERVE_DATA.selector: (configuration().word, RAY, 0, RAY, 0, 0, NOW, *[0] * 8),
    Oracle.GET_ASSET_PRICE.selector: (2_000_00000000,),
    StableDebtToken.GET_SUPPLY_DATA.selector: (0, 0, 0, 0),
    AToken.SCALED_BALANCE_OF.selector: (10**18,),
}
"""One market state; balances of 10^18 scaled units everywhere."""

Failing = Callable[[Call], bool]


def taken(
    reading: Reading[aave_v3.AaveSnapshot],
    words: dict[bytes, tuple[int, ...]],
    failing: Failing = lambda _: False,
) -> aave_v3.AaveSnapshot:
    """The snapshot when every call of one selector has the same answer, zero where none is given."""
    calls = next(reading)
    while True:
        known = DEFAULT | words
        results = [
            (
                not failing(call),
                b"".join(word.to_bytes(32, "big") for word in known.get(call.data[:4], (0,))),
            )
            for call in calls
        ]
        returns = decode_aggregate3(encode(["(bool,bytes)[]"], [results]), len(calls))
        try:
            calls = reading.send(returns)
        except StopIteration as stop:
            found: aave_v3.AaveSnapshot = stop.value
            return found


def snapshot(*accounts: Address) -> Reading[aave_v3.AaveSnapshot]:
    return aave_v3.snapshot(MARKET, accounts, timestamp=NOW)


def test_snapshot__bits_of_two_reserves__reads_what_each_needs() -> None:
    """WETH has index 1, so bits 2 (borrowed) and 3 (collateral); USDC has bits 6 and 7."""
    found = taken(snapshot(ACCOUNT), {BITMAP: (1 << 3 | 1 << 6,)}).position(ACCOUNT)
    assert [(leg.is_collateral, leg.is_borrowed) for leg in found.legs] == [
        (True, False),
        (False, True),
    ]
    assert found.collaterals == (Amount(raw=10**18, token=WETH.token),)
    assert found.debts == (Amount(raw=10**18, token=USDC.token),)


def test_snapshot__a_bit_of_a_reserve_listed_since__asks_for_discovery() -> None:
    with pytest.raises(aave_v3.MarketChangedError, match="uses a reserve listed since"):
        taken(snapshot(ACCOUNT), {BITMAP: (1 << 4,)})


def test_snapshot__one_accounts_call_fails__spoils_that_account_only() -> None:
    other = address(201)
    needle = bytes.fromhex(other[2:])
    found = taken(
        snapshot(ACCOUNT, other),
        {BITMAP: (1 << 3,)},
        lambda call: call.data[:4] == AToken.SCALED_BALANCE_OF.selector and needle in call.data,
    )
    assert found.position(ACCOUNT).collaterals
    with pytest.raises(aave_v3.UnreadablePositionError, match="a call for it failed"):
        found.position(other)
    assert aave_v3.book_rows(found).accounts == (ACCOUNT,)


def test_snapshot__a_contract_of_the_market_fails__is_named_by_its_call() -> None:
    for function in (Pool.GET_RESERVE_DATA, StableDebtToken.GET_SUPPLY_DATA):
        with pytest.raises(CallFailedError):
            taken(snapshot(ACCOUNT), {function.selector: (1, 2)})


def test_snapshot__no_accounts__is_an_empty_book() -> None:
    rows = aave_v3.book_rows(taken(snapshot(), {}))
    assert rows.accounts == ()
    assert rows.book.C.shape == (0, 3)


def test_book_rows__two_reserves_of_one_symbol_and_one_feed__are_two_columns() -> None:
    """As the old and the new USDC of a bridge: the debt in one must not hide that in the other."""
    bridged = replace(
        reserve(4, "USDC", 6),
        token=replace(USDC.token, address=address(41)),
        price_source=USDC.price_source,
    )
    market = replace(MARKET, reserves=(WETH, USDC, bridged))
    reading = aave_v3.snapshot(market, (ACCOUNT,), timestamp=NOW)
    # Collateral in WETH, debts in both (bits 6 and 8).
    book = aave_v3.book_rows(taken(reading, {BITMAP: (1 << 3 | 1 << 6 | 1 << 8,)})).book
    assert len(set(book.columns)) == len(book.columns) == 4
    assert (book.D[0, 2:] > 0.0).all()
    assert stack([book]).D.sum() == book.D.sum()
    # Nor is another market's reading of the same asset.
    elsewhere = aave_v3.snapshot(replace(market, name="prime"), (ACCOUNT,), timestamp=NOW)
    other = aave_v3.book_rows(taken(elsewhere, {BITMAP: (1 << 3,)})).book
    assert set(book.columns) & set(other.columns) == {QUOTE}
