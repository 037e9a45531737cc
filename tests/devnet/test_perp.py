"""Perp v2 on the local chain: its real contracts trade, charge funding and liquidate."""

import pytest

from keeper.devnet.chain import BLOCK_SECONDS, LocalChain, TransactionFailedError
from keeper.devnet.perp import MARKETS
from keeper.devnet.perp_market import PerpMarket
from keeper.model.units import WAD, Address

USDC = 10**6
DAY_S = 24 * 3600


def account_value(perp: PerpMarket, account: Address) -> int:
    return int(perp.chain.read(perp.perp.clearing_house, "getAccountValue", account))


def margin_requirement(perp: PerpMarket, account: Address) -> int:
    balance = perp.perp.account_balance
    return int(perp.chain.read(balance, "getMarginRequirementForLiquidation", account))


def size(perp: PerpMarket, account: Address, symbol: str) -> int:
    token = perp.perp.base_tokens[symbol].address
    return int(perp.chain.read(perp.perp.account_balance, "getTakerPositionSize", account, token))


def long_of_ten(perp: PerpMarket) -> Address:
    """1,000 USDC of margin behind 9,890 USD of ether: as near to ten times as fees allow."""
    trader = perp.chain.account("trader").address
    perp.deposit(trader, "USDC", 1_000 * USDC)
    perp.trade(trader, "vETH", quote=9_890 * WAD)
    return trader


def move_pool(perp: PerpMarket, symbol: str, price: float) -> None:
    data = perp.steering(symbol, price)
    assert data is not None
    arbitrageur = perp.chain.account("perp_arbitrageur").address
    perp.chain.send(arbitrageur, perp.perp.clearing_house.address, data)
    perp.chain.mine()


def liquidator(perp: PerpMarket) -> Address:
    account = perp.chain.account("perp_liquidator").address
    perp.deposit(account, "USDC", 100_000 * USDC)
    return account


@pytest.mark.parametrize("symbol", MARKETS)
def test_perp__deployed__marks_each_market_at_its_feed(perp: PerpMarket, symbol: str) -> None:
    token = perp.perp.base_tokens[symbol].address
    _, answer, *_ = perp.chain.read(perp.chain.contracts.feeds[MARKETS[symbol]], "latestRoundData")
    mark = perp.chain.read(perp.perp.account_balance, "getMarkPrice", token)
    assert mark / WAD == pytest.approx(answer / 10**8, rel=1e-4)


def test_perp__ten_times_long_whose_pool_and_index_fall__is_liquidated(perp: PerpMarket) -> None:
    trader, chain = long_of_ten(perp), perp.chain
    assert account_value(perp, trader) > margin_requirement(perp, trader) > 0
    price = perp.pair("vETH").price(chain.read(perp.perp.pools["vETH"], "slot0")[0])
    for fall in (0.97, 0.94):
        chain.set_price("WETH", round(price * fall * 10**8))
        move_pool(perp, "vETH", price * fall)
        # The averages of the mark price follow the pool within half an hour.
        chain.mine(chain.timestamp() + 1_800)
    assert account_value(perp, trader) < margin_requirement(perp, trader)
    held, by = size(perp, trader, "vETH"), liquidator(perp)
    token = perp.perp.base_tokens["vETH"].address
    chain.transact(by, perp.perp.clearing_house, "liquidate", trader, token)
    assert size(perp, trader, "vETH") < held
    assert size(perp, by, "vETH") == held - size(perp, trader, "vETH")


def test_perp__index_falls_and_the_pool_does_not__liquidates_nobody(perp: PerpMarket) -> None:
    trader, chain = long_of_ten(perp), perp.chain
    chain.set_price("WETH", 2_281 * 94 * 10**6)
    by = liquidator(perp)
    token = perp.perp.base_tokens["vETH"].address
    with pytest.raises(TransactionFailedError, match="CH_EAV"):
        chain.transact(by, perp.perp.clearing_house, "liquidate", trader, token)


def test_perp__pool_above_its_index_for_a_day__charges_longs_the_premium(perp: PerpMarket) -> None:
    trader, chain = long_of_ten(perp), perp.chain
    token = perp.perp.base_tokens["vETH"].address
    move_pool(perp, "vETH", 2_281.37 * 1.02)
    chain.mine(chain.timestamp() + DAY_S)
    owed = chain.read(perp.perp.exchange, "getPendingFundingPayment", trader, token)
    premium = 0.02 * 2_281.37 * size(perp, trader, "vETH")
    assert owed == pytest.approx(premium, rel=0.02)


def test_perp__margin_from_a_stranger__counts_for_the_trader(
    chain: LocalChain, perp: PerpMarket
) -> None:
    trader = long_of_ten(perp)
    stranger, dollars = chain.account("stranger").address, chain.contracts.tokens["USDC"]
    before = account_value(perp, trader)
    chain.mint("USDC", stranger, 50 * USDC)
    chain.transact(stranger, dollars, "approve", perp.perp.vault.address, 50 * USDC)
    chain.transact(stranger, perp.perp.vault, "depositFor", trader, dollars.address, 50 * USDC)
    chain.mine(chain.timestamp() + BLOCK_SECONDS)
    assert account_value(perp, trader) == pytest.approx(before + 50 * WAD, abs=WAD)


def test_perp__more_than_ten_times__is_refused_by_the_venue(perp: PerpMarket) -> None:
    trader = perp.chain.account("trader").address
    perp.deposit(trader, "USDC", 1_000 * USDC)
    with pytest.raises(TransactionFailedError, match="CH_NEFCI"):
        perp.trade(trader, "vETH", quote=10_100 * WAD)
