"""The local chain's own contracts: the price feed, the liquidator, and their committed code."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.chain import SECOND_IN_BLOCK, LocalChain
from keeper.devnet.feeds import Round
from keeper.devnet.overlay import laid_over
from keeper.devnet.rpc import RpcError
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD, Address
from tests.devnet.compile_contracts import CONTRACTS, compiled
from tests.devnet.support import create, index_in_block, succeeded

PHASE = 1 << 64
DOLLAR = 10**8


@pytest.mark.parametrize("source", sorted(CONTRACTS.glob("*.vy")), ids=lambda path: path.stem)
def test_committed_code__compiled_again__is_the_same(source: Path) -> None:
    assert source.with_suffix(".json").read_text() == compiled(source)


@pytest.fixture
def feed(chain: LocalChain, toolchain: Toolchain) -> Contract:
    """A feed without rounds."""
    artifact = Artifacts(node_modules=toolchain.node_modules).own("PriceFeed")
    return create(chain, artifact, 8, "ODD / USD")


def test_feed__back_filled_and_pushed__answers_every_round_like_a_chainlink_proxy(
    chain: LocalChain, feed: Contract
) -> None:
    sender = chain.account("feeds").address
    chain.transact(sender, feed, "back_fill", [7 << 64 | 100, 8 << 64 | 160])
    chain.transact(sender, feed, "push", 9, 220)
    assert chain.read(feed, "decimals") == 8
    assert chain.read(feed, "description") == "ODD / USD"
    assert chain.read(feed, "latestAnswer") == 9
    third = (PHASE | 3, 9, 220, 220, PHASE | 3)
    assert chain.read(feed, "latestRoundData") == third
    rounds = [chain.read(feed, "getRoundData", PHASE | number) for number in (1, 2, 3)]
    assert rounds == [
        (PHASE | 1, 7, 100, 100, PHASE | 1),
        (PHASE | 2, 8, 160, 160, PHASE | 2),
        third,
    ]


def test_overlay__in_a_feeds_place__answers_its_history_and_then_what_is_published(
    chain: LocalChain, toolchain: Toolchain
) -> None:
    feed = chain.contracts.feeds["WETH"]
    last = chain.read(feed, "latestRoundData")
    older = chain.read(feed, "getRoundData", last[0] - 5)
    (laid,) = laid_over(chain.rpc, Artifacts(node_modules=toolchain.node_modules), [feed.address])
    assert laid.falls
    assert chain.read(feed, "latestRoundData") == last
    assert chain.read(feed, "latestAnswer") == last[1]
    assert chain.read(feed, "description") == "ETH / USD"
    now = chain.timestamp() + 60
    assert laid.due(0.996, now) is None  # 0.4 % are within the feed's deviation
    due = laid.due(0.99, now)
    assert due == Round(round(last[1] * 0.99), now)
    chain.transact(chain.account("feeds").address, laid.rounds, "push", *due)
    new = (last[0] + 1, due.answer, now, now, last[0] + 1)
    assert chain.read(feed, "latestRoundData") == new
    assert chain.read(feed, "getRoundData", last[0] + 1) == new
    assert chain.read(feed, "getRoundData", last[0] - 5) == older
    assert chain.read(feed, "latestRound") == last[0] + 1
    assert chain.read(feed, "latestTimestamp") == now
    weth = chain.contracts.tokens["WETH"].address
    assert chain.read(chain.contracts.aave.oracle, "getAssetPrice", weth) == due.answer


def test_feed__negative_answer__keeps_its_sign(chain: LocalChain, feed: Contract) -> None:
    chain.transact(chain.account("feeds").address, feed, "push", -5, 300)
    assert chain.read(feed, "latestRoundData")[1] == -5


def test_feed__round_that_does_not_exist__answers_zeros(chain: LocalChain, feed: Contract) -> None:
    assert chain.read(feed, "getRoundData", PHASE | 9) == (PHASE | 9, 0, 0, 0, PHASE | 9)


def test_feed__round_of_another_phase__reverts(chain: LocalChain, feed: Contract) -> None:
    with pytest.raises(RpcError, match="No data present"):
        chain.read(feed, "getRoundData", 2 << 64 | 1)


# 10 WETH at 2000 USD against 13,000 USD: health 20,000 × 0.825 / 13,000 = 1.27. At 1500 USD it is
# 15,000 × 0.825 / 13,000 = 0.95 and a liquidation repays half of the debt.


def borrower(chain: LocalChain, name: str, debt: str) -> Address:
    account = chain.account(name).address
    unit = chain.contracts.token(debt).unit
    chain.open_position(account, collateral={"WETH": 10 * WAD}, debt={debt: 13_000 * unit})
    return account


def crash(chain: LocalChain, accounts: Sequence[Address]) -> str:
    """The price falls and the liquidator strikes, in one block; the strike's hash."""
    liquidator = chain.contracts.liquidator
    data = liquidator.encode("strike", accounts)
    bot = chain.account("bot").address
    strike = chain.send(bot, liquidator.address, data, fees=SECOND_IN_BLOCK, gas=20_000_000)
    now = chain.timestamp() + 12
    update = chain.send_price("WETH", 1_500 * DOLLAR, now)
    chain.mine(now)
    assert (index_in_block(chain, update), index_in_block(chain, strike)) == (0, 1)
    assert succeeded(chain, strike)
    return strike


def debt_of(chain: LocalChain, account: Address) -> int:
    return int(chain.read(chain.contracts.aave.pool, "getUserAccountData", account)[1])


def test_strike__price_update_in_the_same_block__liquidates_right_behind_it(
    chain: LocalChain,
) -> None:
    chain.set_price("WETH", 2_000 * DOLLAR)
    risky = borrower(chain, "risky", "USDC")
    careful = chain.account("careful").address
    chain.open_position(careful, collateral={"WETH": 10 * WAD}, debt={"USDC": 10**9})
    before = debt_of(chain, careful)
    crash(chain, [risky, careful, chain.account("stranger").address])
    assert debt_of(chain, risky) / DOLLAR == pytest.approx(6_500, rel=1e-3)
    assert debt_of(chain, careful) == pytest.approx(before, rel=1e-6)


def test_strike__one_liquidation_fails__still_liquidates_the_others(chain: LocalChain) -> None:
    chain.set_price("WETH", 2_000 * DOLLAR)
    unlucky, next_one = borrower(chain, "first", "DAI"), borrower(chain, "second", "USDC")
    dai, liquidator = chain.contracts.tokens["DAI"], chain.contracts.liquidator.address
    chain.account("bot")
    chain.rpc.call("anvil_setBalance", liquidator, hex(WAD))
    everything = chain.read(dai, "balanceOf", liquidator)
    chain.transact(liquidator, dai, "transfer", unlucky, everything)
    before = debt_of(chain, unlucky)
    crash(chain, [unlucky, next_one])
    assert debt_of(chain, unlucky) >= before
    assert debt_of(chain, next_one) / DOLLAR == pytest.approx(6_500, rel=1e-3)


def test_strike__several_assets__takes_the_largest_of_each_side(chain: LocalChain) -> None:
    chain.set_price("WETH", 2_000 * DOLLAR)
    account = chain.account("mixed").address
    chain.open_position(
        account,
        collateral={"USDC": 100 * 10**6, "WETH": 10 * WAD},
        debt={"DAI": 500 * WAD, "USDC": 12_600 * 10**6},
    )
    aave, tokens = chain.contracts.aave, chain.contracts.tokens
    crash(chain, [account])

    def held(symbol: str) -> tuple[int, ...]:
        asset = tokens[symbol].address
        found: tuple[int, ...] = chain.read(
            aave.reserve_data_provider, "getUserReserveData", asset, account
        )
        return found

    assert held("DAI")[2] >= 500 * WAD
    assert held("USDC")[2] == pytest.approx(6_300 * 10**6, rel=1e-3)
    assert held("WETH")[0] < 6 * WAD


def test_approve__liquidator__lets_the_pool_take_its_tokens(chain: LocalChain) -> None:
    pool, liquidator = chain.contracts.aave.pool.address, chain.contracts.liquidator.address
    for token in chain.contracts.tokens.values():
        assert chain.read(token, "allowance", liquidator, pool) == MAX_UINT256
