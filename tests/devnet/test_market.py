"""The market: pools follow the path, feeds follow the pools, liquidators follow the feeds."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pytest

from keeper.devnet.chain import Fees
from keeper.devnet.path import Tick
from keeper.devnet.scenario import packaged_scenario
from keeper.devnet.stage import Stage, staged
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.twins import HEALTH_AT_START, WALLET_USDC, WALLET_WETH
from keeper.devnet.views import BlockView, Liquidated
from keeper.devnet.witness import Witness
from keeper.model.units import WAD, Address

CRASH_BLOCKS = 175
"""Black Thursday until noon: the first fall below 130 USD."""
GREEDY = Fees(max_wei=10**13, priority_wei=10**12)
"""A tip that outbids anyone but the feeds and the liquidator."""


@dataclass(frozen=True)
class Crash:
    stage: Stage
    views: list[BlockView]
    rounds: list[tuple[int, list[str]]]
    """Per block: its number and the senders in the block's order."""
    wallets: list[tuple[int, int]]
    """WETH and USDC of each twin before the first block."""


@pytest.fixture(scope="module")
def crash(toolchain: Toolchain) -> Iterator[Crash]:
    with staged(packaged_scenario("black-thursday"), toolchain) as stage:
        accounts = tuple(account.address for account in stage.twins.values())
        witness = Witness(market=stage.market, accounts=accounts)
        views = [witness.look(int(stage.chain.rpc.call("eth_blockNumber"), 16))]
        tokens = [stage.chain.contracts.tokens[symbol] for symbol in ("WETH", "USDC")]
        wallets = [
            (stage.chain.read(weth, "balanceOf", one), stage.chain.read(usdc, "balanceOf", one))
            for weth, usdc in [tokens]
            for one in accounts
        ]
        senders = []
        bystander = stage.chain.account("bystander").address
        for tick in islice(stage.path, CRASH_BLOCKS):
            stage.chain.send(bystander, bystander, b"", fees=GREEDY)
            views.append(witness.look(stage.market.step(tick)))
            block = stage.chain.rpc.call("eth_getBlockByNumber", hex(views[-1].number), True)
            senders.append((views[-1].number, [tx["from"] for tx in block["transactions"]]))
        yield Crash(stage, views, senders, wallets)


def path_of(crash: Crash) -> Iterator[tuple[Tick, BlockView, BlockView]]:
    yield from zip(crash.stage.path, crash.views, crash.views[1:], strict=False)


def weth(crash: Crash) -> Address:
    return crash.stage.chain.contracts.tokens["WETH"].address


def test_staged__twins__are_equal_with_health_one_and_a_half(crash: Crash) -> None:
    first = crash.views[0]
    assert [view.health for view in first.accounts.values()] == [
        pytest.approx(HEALTH_AT_START, rel=1e-6)
    ] * 3
    assert crash.wallets == [(WALLET_WETH * 10**18, WALLET_USDC * 10**6)] * 3


def test_step__every_tick__moves_pool_time_and_base_fee(crash: Crash) -> None:
    for tick, _, view in path_of(crash):
        assert view.market_price == pytest.approx(tick.prices["WETH"], rel=1e-9)
        assert view.timestamp == tick.timestamp
        assert view.gas_price_wei == tick.gas_price_wei


def test_step__all_pools__agree_on_the_price(crash: Crash) -> None:
    tick = crash.stage.path[CRASH_BLOCKS - 1]
    chain = crash.stage.chain
    one_btc = (chain.contracts.token("WBTC"), chain.contracts.token("WETH"))
    for fee in (500, 3_000):
        pool = chain.contracts.uniswap.pools["WBTC", "WETH", fee]
        root = chain.read(pool, "slot0")[0]
        ratio = (root / 2**96) ** 2
        if int(one_btc[0].address, 16) > int(one_btc[1].address, 16):
            ratio = 1 / ratio
        price = ratio * one_btc[0].unit / one_btc[1].unit
        assert price == pytest.approx(tick.prices["WBTC"] / tick.prices["WETH"], rel=1e-9)


def test_step__pool_away_or_hour_over__feed_publishes_in_the_next_block(crash: Crash) -> None:
    published = 0
    last_at = crash.stage.chain.spec.start
    for tick, before, view in path_of(crash):
        held = before.prices_usd8[weth(crash)]
        deviates = abs(before.market_price * 1e8 - held) >= 0.005 * held
        due = deviates or tick.timestamp - last_at >= 3600
        answer = view.prices_usd8[weth(crash)]
        if due:
            assert answer == round(before.market_price * 1e8)
            last_at, published = tick.timestamp, published + 1
        else:
            assert answer == held
    assert published > 60


def test_step__round_published__comes_first_and_the_liquidator_right_behind(crash: Crash) -> None:
    feeds = crash.stage.chain.account("feeds").address.lower()
    liquidator = crash.stage.chain.account("liquidator").address.lower()
    with_rounds = 0
    for _, senders in crash.rounds:
        rounds = senders.count(feeds)
        assert senders[:rounds] == [feeds] * rounds
        if rounds:
            with_rounds += 1
            assert senders[rounds] == liquidator
        assert senders.count(liquidator) == bool(rounds)
    assert with_rounds > 60


def test_step__unprotected_below_one__is_liquidated_in_the_block_of_the_round(
    crash: Crash,
) -> None:
    twin = crash.stage.twins["unprotected"].address
    events = [
        (before, view, event)
        for _, before, view in path_of(crash)
        for event in view.events
        if isinstance(event, Liquidated) and event.account == twin
    ]
    assert events
    before, view, event = events[0]
    health_before = before.accounts[twin].health
    assert health_before is not None
    assert health_before >= WAD
    # The round of this very block took it below 1 before the liquidator struck: with the
    # collateral and debt of the block before, health at this block's price is below 1.
    prices = [one.prices_usd8[weth(crash)] for one in (before, view)]
    assert health_before * prices[1] // prices[0] < WAD
    after = view.accounts[twin].health
    assert after is not None
    assert after > WAD
    assert event.repaid_raw == pytest.approx(before.accounts[twin].debt_usd8 // 200, rel=1e-4)


def test_strikes__account_borrows_later__is_struck_too(crash: Crash) -> None:
    chain = crash.stage.chain
    late = chain.account("latecomer").address
    unit = {symbol: chain.contracts.token(symbol).unit for symbol in ("WETH", "USDC")}
    price = chain.read(chain.contracts.feeds["WETH"], "latestAnswer") / 1e8
    debt = int(10 * price * 0.79) * unit["USDC"]
    snapshot = chain.snapshot()
    chain.mine()  # back to the quiet base fee that opening a position bids for
    chain.open_position(late, collateral={"WETH": 10 * unit["WETH"]}, debt={"USDC": debt})
    answer = round(price * 0.95 * 1e8)
    now = chain.timestamp() + 60
    chain.send_price("WETH", answer, now)
    liquidator = crash.stage.market.liquidator
    for calldata in liquidator.strikes():
        chain.send(chain.account("liquidator").address, liquidator.contract.address, calldata)
    chain.mine(now)
    owed = chain.read(chain.contracts.aave.pool, "getUserAccountData", late)[1]
    chain.revert(snapshot)
    assert owed == pytest.approx(debt * 100 / 2, rel=1e-3)


def test_step__dollar_coins__publish_every_hour(crash: Crash) -> None:
    chain = crash.stage.chain
    newest = chain.read(chain.contracts.feeds["USDC"], "latestRoundData")
    assert newest[1] == 10**8
    assert 0 <= crash.views[-1].timestamp - newest[3] < 3600
