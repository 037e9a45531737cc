"""Unwinding on the real contracts: what is predicted beside what a guardian's call comes to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from keeper.devnet.chain import LocalChain
from keeper.devnet.rpc import RpcError
from keeper.devnet.uniswap import PoolKey
from keeper.mandate import guardian
from keeper.mandate.charter import Charter, read_charter
from keeper.mandate.guardian import Guard
from keeper.model.liquidity import Depth
from keeper.model.units import WAD, Amount, Wad, Wei
from keeper.model.values import Action, AddCollateral, Deleverage, Purse, Repay, Unwind
from keeper.policy.costs import GasPrice
from keeper.policy.plan import Refused, plan
from keeper.protocols import aave_v3
from keeper.venues import uniswap_v3
from tests.guardian.ground import BTC, DOLLAR, USDC, WETH_USDC, Ground, ground
from tests.protocols.conftest import discovered
from tests.protocols.crowd import PRICED_CATEGORY, add_priced_category
from tests.protocols.reading import Reader
from tests.protocols.test_aave_v3_crowd import health_of
from tests.unit.test_plan import NO_FORECAST, POLICY


def guard_of(made: Ground) -> Guard:
    return Guard(
        guardian=made.guardian.address,
        market=made.market,
        keeper=made.keeper,
        purse=Purse(holder=made.owner, spender=made.guardian.address),
        sources=("wallet", "pool"),
    )


def charter_of(made: Ground) -> Charter:
    return Reader(made.chain).run(read_charter(made.guardian.address, made.market))


def position_of(made: Ground, market: aave_v3.AaveMarket) -> Any:
    reader, purse = Reader(made.chain), guard_of(made).purse
    snapshot = reader.run(
        aave_v3.snapshot(
            market, (made.owner,), timestamp=reader.timestamp, purses={made.owner: purse}
        )
    )
    return snapshot.position(made.owner)


def unwinds(made: Ground, position: Any) -> tuple[Unwind, ...]:
    """What the mandate leaves, with depths as the pools quote them."""
    charter, reader = charter_of(made), Reader(made.chain)
    quoter = made.chain.contracts.uniswap.quoter.address
    assert charter.mandate is not None
    pools = reader.run(uniswap_v3.read_pools(quoter, charter.mandate.pools))
    depths: list[Depth] = []
    possible = aave_v3.unwinds(position)
    for each in possible:
        routes = uniswap_v3.routes(
            pools,
            sells=each.sells.address,
            buys=each.token.address,
            max_hops=charter.mandate.max_hops,
        )
        quotes = uniswap_v3.Quotes.of(quoter, routes, each.available.raw)
        depths += reader.run(quotes.reading())
    return guardian.unwinds(
        guard_of(made),
        charter,
        possible,
        health=Wad(position.health),
        depths=depths,
        swaps_blocked=None,
    )


def done(made: Ground, action: Action) -> Action:
    """Let the keeper do it an hour later; the action as the guardian's event tells it."""
    sent = guardian.transaction(guard_of(made), charter_of(made).mandate_hash, action)
    tx = made.chain.send(made.keeper, sent.to, sent.data, gas=5_000_000)
    made.chain.mine(made.chain.timestamp() + 3607)
    receipt = made.chain.rpc.call("eth_getTransactionReceipt", tx)
    assert receipt["status"] == "0x1", action
    own = [log for log in receipt["logs"] if log["address"] == made.guardian.address.lower()]
    return guardian.logged(action, tx, own)


def assert_prediction_holds(
    made: Ground, market: aave_v3.AaveMarket, before: Any, action: Action
) -> Any:
    """The action as it was done leads to what is read, to the last unit. Returns what was read."""
    performed = done(made, action)
    reader = Reader(made.chain)
    snapshot = reader.run(aave_v3.snapshot(market, (made.owner,), timestamp=reader.timestamp))
    reread = snapshot.position(made.owner)
    predicted = aave_v3.predict(performed, snapshot.revalued(before), reader.timestamp)
    assert aave_v3.matches(predicted, reread) == ()
    assert predicted.health == health_of(reader, made.owner)
    return reread


def unwound(
    made: Ground, market: aave_v3.AaveMarket, symbol: str, *, share_percent: int = 20
) -> tuple[Deleverage, Any]:
    """Pay back a share of the debt by selling a collateral on the last of its routes."""
    position = position_of(made, market)
    (unwind,) = (each for each in unwinds(made, position) if each.sells.symbol == symbol)
    assert unwind.blocked is None
    depth = unwind.depths[-1]
    raw = unwind.available.raw * share_percent // 100
    action = Deleverage(
        position=position.id,
        amount=Amount(raw=raw, token=unwind.token),
        sold=Amount(raw=depth.sold(raw), token=unwind.sells),
        route=depth.route,
    )
    return action, position


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A position to unwind a share of, after `meanwhile`."""

    collateral: Mapping[str, int]
    debt: Mapping[str, int]
    sells: str
    share_percent: int = 20
    e_mode: int = 0
    terms: Mapping[str, int] = field(default_factory=lambda: {"slippage_calm_bps": 150})
    pools: tuple[PoolKey, ...] = ()
    """That the mandate lists; all of the chain's by default."""
    prices: Mapping[str, int] = field(default_factory=dict)
    """In USD with 8 decimals, in a market that has `add_priced_category` too."""
    meanwhile: Callable[[Ground], None] = lambda _: None


def below_one(made: Ground) -> None:
    made.drop("WETH", 1_960 * DOLLAR, WETH_USDC)
    assert made.health < WAD


def switched_off(made: Ground) -> None:
    pool, wbtc = made.chain.contracts.aave.pool, made.token("WBTC").address
    made.chain.transact(made.owner, pool, "setUserUseReserveAsCollateral", wbtc, False)


def flash_loans_disabled(made: Ground) -> None:
    for symbol in ("WETH", "USDC"):
        made.configure("setReserveFlashLoaning", made.token(symbol).address, False)


def pool_at(factor: float) -> Callable[[Ground], None]:
    """The pool this far from the oracle."""
    return lambda made: made.move_pool(WETH_USDC, made.price("WETH") / made.price("USDC") * factor)


ETHER, DOLLARS = {"WETH": 10 * WAD}, {"USDC": 16_500 * USDC}
WBTC_WETH: PoolKey = ("WBTC", "WETH", 500)
WBTC_PRICE = 42_265 * DOLLAR
CASES: Mapping[str, Case] = {
    "one pool": Case(collateral=ETHER, debt=DOLLARS, sells="WETH", pools=(WETH_USDC,)),
    "8 decimals into 6": Case(collateral={"WBTC": BTC}, debt={"USDC": 28_000 * USDC}, sells="WBTC"),
    "two pools into 18": Case(collateral={"WBTC": BTC}, debt={"DAI": 28_000 * WAD}, sells="WBTC"),
    "two collaterals": Case(
        collateral={"WETH": 10 * WAD, "WBTC": BTC // 10},
        debt={"USDC": 18_500 * USDC},
        sells="WBTC",
        share_percent=15,
    ),
    "e-mode": Case(
        collateral={"DAI": 10_000 * WAD},
        debt={"USDC": 9_560 * USDC},
        sells="DAI",
        e_mode=1,
        terms={"slippage_calm_bps": 20, "slippage_urgent_bps": 50},
    ),
    "e-mode with a price of its own": Case(
        collateral={"WETH": 10 * WAD},
        debt={"WBTC": 78 * BTC // 10},
        sells="WETH",
        e_mode=PRICED_CATEGORY,
        terms={"slippage_calm_bps": 50, "slippage_urgent_bps": 100, "limit_max": 10**6 * DOLLAR},
        pools=(WBTC_WETH,),
        prices={"WBTC": WBTC_PRICE, "WETH": WBTC_PRICE * 96 // 100},
        meanwhile=lambda made: made.move_pool(WBTC_WETH, 1 / 0.96),
    ),
    "health below 1": Case(
        collateral=ETHER,
        debt=DOLLARS,
        sells="WETH",
        share_percent=60,
        pools=(WETH_USDC,),
        meanwhile=below_one,
    ),
    "another collateral switched off": Case(
        collateral={"WETH": 10 * WAD, "WBTC": BTC},
        debt=DOLLARS,
        sells="WETH",
        meanwhile=switched_off,
    ),
    "flash loans disabled": Case(
        collateral=ETHER, debt=DOLLARS, sells="WETH", meanwhile=flash_loans_disabled
    ),
    "pool 3 % above the oracle": Case(
        collateral=ETHER,
        debt=DOLLARS,
        sells="WETH",
        pools=(WETH_USDC,),
        meanwhile=pool_at(1.03),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_predict__unwind_through_a_guardian__equals_what_is_read(
    chain: LocalChain, market: aave_v3.AaveMarket, name: str
) -> None:
    case = CASES[name]
    if case.prices:
        add_priced_category(chain)
        for symbol, price in case.prices.items():
            chain.set_price(symbol, price)
        market = discovered(chain)
    pools = [chain.contracts.uniswap.pools[key].address for key in case.pools]
    made = ground(
        chain,
        case.collateral,
        case.debt,
        e_mode=case.e_mode,
        **({"target": 2 * WAD, **case.terms} | ({"pools": tuple(pools)} if pools else {})),
    )
    case.meanwhile(made)
    action, before = unwound(made, market, case.sells, share_percent=case.share_percent)
    reread = assert_prediction_holds(made, market, before, action)
    assert reread.health > before.health


def test_plan__pool_3_percent_below_the_oracle__is_refused_here_as_by_the_guardian(
    chain: LocalChain, market: aave_v3.AaveMarket
) -> None:
    made = ground(chain, ETHER, DOLLARS, pools=(chain.contracts.uniswap.pools[WETH_USDC].address,))
    pool_at(0.97)(made)
    position = position_of(made, market)
    refused = plan(
        position=position,
        cause="floor",
        policy=POLICY,
        options=unwinds(made, position),
        predict=lambda action: aave_v3.predict(action, position, position.timestamp),
        moved_today_usd8=0,
        gas_price=GasPrice(fee_wei=Wei(0), native=None),
        threat=NO_FORECAST,
        surviving=Wad(WAD),
    )
    assert isinstance(refused, Refused)
    assert "against the oracle that are allowed now" in refused.reason
    assert made.refusal(made.keeper, *made.deleverage()).name == "PriceBeyondLimit"


def test_unwinds__e_mode_with_a_price_of_its_own__are_judged_at_the_oracles(
    chain: LocalChain, market: aave_v3.AaveMarket
) -> None:
    """As the guardian judges the swap; health counts both assets at the mode's price."""
    add_priced_category(chain)
    for symbol, price in CASES["e-mode with a price of its own"].prices.items():
        chain.set_price(symbol, price)
    made = ground(
        chain,
        {"WETH": 10 * WAD},
        {"WBTC": 7 * BTC},
        e_mode=PRICED_CATEGORY,
        slippage_urgent_bps=100,
    )
    position = position_of(made, discovered(chain))
    (unwind,) = aave_v3.unwinds(position)
    assert (unwind.sells_price.value, unwind.price.value) == (made.price("WETH"), WBTC_PRICE)
    (added,) = (o for o in aave_v3.options(position) if o.kind == "AddCollateral")
    assert added.price.value == made.price("WETH") == WBTC_PRICE * 96 // 100
    # 10 × 0.9 × the mode's price against 7 × the same.
    assert position.health == pytest.approx(10 * 0.9 / 7 * WAD, rel=1e-6)


def test_objection__health_that_stays_below_1__is_what_the_pool_says(
    chain: LocalChain, market: aave_v3.AaveMarket
) -> None:
    made = ground(chain, ETHER, DOLLARS, target=2 * WAD)
    below_one(made)
    verdicts: dict[int, tuple[str | None, str | None]] = {}
    for share in (5, 60):
        action, position = unwound(made, market, "WETH", share_percent=share)
        found = aave_v3.objection(action, position)
        sent = guardian.transaction(guard_of(made), charter_of(made).mandate_hash, action)
        request = {"from": made.keeper, "to": sent.to, "data": "0x" + sent.data.hex()}
        try:
            made.chain.rpc.call("eth_call", request, "latest")
            verdicts[share] = (found, None)
        except RpcError as error:
            verdicts[share] = (found, str(error))
    assert verdicts[60] == (None, None)
    objection, reverted = verdicts[5]
    assert "no collateral may leave below 1" in str(objection)
    # As the pool says: its code 35 is HEALTH_FACTOR_LOWER_THAN_LIQUIDATION_THRESHOLD.
    assert "35" in str(reverted)


def test_predict__whole_debt_unwound__equals_what_is_read(
    chain: LocalChain, market: aave_v3.AaveMarket
) -> None:
    made = ground(chain, {"WETH": 10 * WAD}, {"USDC": 16_500 * USDC}, target=2**256 - 1)
    action, before = unwound(made, market, "WETH", share_percent=101)
    reread = assert_prediction_holds(made, market, before, action)
    assert reread.health is None
    assert [str(amount.token.symbol) for amount in reread.collaterals] == ["WETH"]


def test_predict__payments_through_a_guardian__equal_what_is_read(
    chain: LocalChain, market: aave_v3.AaveMarket
) -> None:
    made = ground(chain, {"WETH": 10 * WAD}, {"USDC": 16_500 * USDC})
    made.fund("USDC", 1_000 * USDC)
    made.fund("WETH", WAD)
    for kind in (Repay, AddCollateral):
        before = position_of(made, market)
        (option,) = (
            each
            for each in guardian.payments(
                guard_of(made), charter_of(made), aave_v3.options(before), until=before.timestamp
            )
            if each.kind == kind.__name__
        )
        assert option.source == "wallet"
        action = kind(position=before.id, amount=option.available)
        reread = assert_prediction_holds(made, market, before, action)
        assert reread.health > before.health


def test_unwinds__a_collateral_without_ltv__must_leave_first(
    chain: LocalChain, market: aave_v3.AaveMarket
) -> None:
    made = ground(chain, {"WETH": 10 * WAD, "WBTC": BTC // 10}, {"USDC": 18_500 * USDC})
    wbtc = made.token("WBTC").address
    made.configure("configureReserveAsCollateral", wbtc, 0, 7_500, 10_650)
    position = position_of(made, market)
    blocked = {each.sells.symbol: each.blocked for each in aave_v3.unwinds(position)}
    assert blocked["WBTC"] is None
    assert str(blocked["WETH"]).startswith("no collateral may leave before WBTC")
    # As the pool says: its code 57 is LTV_VALIDATION_FAILED.
    refused = made.refusal(made.keeper, *made.deleverage("WETH", "USDC", most=2_000 * USDC))
    assert "57" in refused.name
    action, before = unwound(made, market, "WBTC", share_percent=15)
    assert_prediction_holds(made, market, before, action)


def test_unwinds__allowance_and_mandate__bound_what_may_be_sold(
    chain: LocalChain, market: aave_v3.AaveMarket
) -> None:
    made = ground(chain, {"WETH": 10 * WAD}, {"USDC": 16_500 * USDC})
    made.allow(made.a_token("WETH"), WAD)
    (unwind,) = unwinds(made, position_of(made, market))
    assert unwind.held.raw == WAD
    # An ether at 2281.37 dollars, at the worst price allowed, in USDC at 0.99984.
    worst = 2_281.37 / (1 + unwind.slippage_limit / 1e4) / 0.99984
    assert unwind.available.raw == pytest.approx(worst * USDC, rel=1e-6)
    made.allow(made.a_token("WETH"), 0)
    (unwind,) = unwinds(made, position_of(made, market))
    assert "approve" in str(unwind.blocked)
    made.set_mandate(collaterals=(made.token("WBTC").address,))
    (unwind,) = unwinds(made, position_of(made, market))
    assert "does not list WETH" in str(unwind.blocked)
