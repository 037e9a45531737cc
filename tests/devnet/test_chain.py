"""A local chain as it is born, and what one can do with it."""

import itertools
from typing import Any

import pytest

from keeper.devnet.aave import RESERVES, STABLECOINS_CATEGORY
from keeper.devnet.chain import (
    FIRST_IN_BLOCK,
    SECOND_IN_BLOCK,
    STABLE_RATE,
    ChainSpec,
    LocalChain,
    TransactionFailedError,
    local_chain,
)
from keeper.devnet.deployment import TOKEN_DECIMALS
from keeper.devnet.feeds import Round
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.uniswap import POOL_DEPTHS_USD
from keeper.model.units import WAD
from tests.devnet.support import index_in_block

DAY_S = 24 * 3600


def flat(addresses: dict[str, Any]) -> list[str]:
    nested = (
        value.values() if isinstance(value, dict) else [value] for value in addresses.values()
    )
    return list(itertools.chain.from_iterable(nested))


def test_local_chain__seed_given_again__has_the_same_addresses(
    chain: LocalChain, toolchain: Toolchain
) -> None:
    with local_chain(chain.spec, toolchain) as same:
        assert same.contracts.addresses() == chain.contracts.addresses()
        assert same.account("alice") == chain.account("alice")
    with local_chain(ChainSpec(seed=1), toolchain) as other:
        assert not set(flat(other.contracts.addresses())) & (
            set(flat(chain.contracts.addresses())) - {chain.contracts.multicall3}
        )


def test_local_chain__born__has_code_at_every_address(chain: LocalChain) -> None:
    for address in flat(chain.contracts.addresses()):
        assert len(chain.rpc.call("eth_getCode", address, "latest")) > 2, address


def test_local_chain__born__stands_at_its_start(chain: LocalChain) -> None:
    assert chain.timestamp() == chain.spec.start
    assert int(chain.rpc.call("eth_chainId"), 16) == chain.chain_id


def test_local_chain__histories_given__feeds_and_pools_start_from_them(
    toolchain: Toolchain,
) -> None:
    start = 1_584_000_000
    history = [Round(200 * 10**8, start - 40 * DAY_S), Round(194 * 10**8, start - 5)]
    spec = ChainSpec(start=start, histories={"WETH": history})
    with local_chain(spec, toolchain) as chain:
        feed = chain.contracts.feeds["WETH"]
        first = chain.read(feed, "getRoundData", (1 << 64) | 1)
        assert (first[1], first[3]) == history[0]
        latest = chain.read(feed, "latestRoundData")
        assert (latest[1], latest[3]) == history[1]
        assert pool_price(chain, "WETH", "USDC", 500) == pytest.approx(194 / 0.99984, rel=1e-6)


@pytest.mark.parametrize("symbol", TOKEN_DECIMALS)
def test_feed__born__has_thirty_days_of_rounds_by_deviation_and_heartbeat(
    chain: LocalChain, symbol: str
) -> None:
    feed = chain.contracts.feeds[symbol]
    last = chain.read(feed, "latestRoundData")
    count = last[0] & (2**64 - 1)
    rounds = [chain.read(feed, "getRoundData", (1 << 64) | n) for n in (1, count // 2, count)]
    assert rounds[-1] == last
    assert last[3] == chain.spec.start
    assert last[3] - rounds[0][3] >= 30 * DAY_S
    assert count >= 30 * 24
    assert all(answer > 0 for _, answer, *_ in rounds)


@pytest.mark.parametrize("symbol", RESERVES)
def test_reserve__born__has_its_terms_and_accrues(chain: LocalChain, symbol: str) -> None:
    provider = chain.contracts.aave.reserve_data_provider
    asset = chain.contracts.tokens[symbol].address
    terms = RESERVES[symbol]
    assert chain.read(provider, "getReserveConfigurationData", asset) == (
        TOKEN_DECIMALS[symbol],
        terms.ltv,
        terms.liquidation_threshold,
        terms.liquidation_bonus,
        terms.reserve_factor,
        True,  # may be collateral
        True,  # may be borrowed
        terms.stable_borrowing,
        True,  # active
        False,  # frozen
    )
    assert chain.read(provider, "getFlashLoanEnabled", asset) is True
    pool = chain.contracts.aave.pool
    before = chain.read(pool, "getReserveNormalizedVariableDebt", asset)
    chain.mine(chain.timestamp() + DAY_S)
    assert chain.read(pool, "getReserveNormalizedVariableDebt", asset) > before


def pool_price(chain: LocalChain, base: str, quote: str, fee: int) -> float:
    pool = chain.contracts.uniswap.pools[base, quote, fee]
    ratio = (chain.read(pool, "slot0")[0] / 2**96) ** 2
    first = chain.read(pool, "token0")
    if first != chain.contracts.tokens[base].address.lower():
        ratio = 1 / ratio
    return float(ratio * 10 ** (TOKEN_DECIMALS[base] - TOKEN_DECIMALS[quote]))


@pytest.mark.parametrize("key", POOL_DEPTHS_USD, ids=str)
def test_pool__born__stands_at_the_feeds_price(
    chain: LocalChain, key: tuple[str, str, int]
) -> None:
    base, quote, fee = key
    answers = {s: chain.read(chain.contracts.feeds[s], "latestAnswer") for s in (base, quote)}
    assert pool_price(chain, base, quote, fee) == pytest.approx(
        answers[base] / answers[quote], rel=1e-6
    )


def test_router__swap__pays_what_the_quoter_said(chain: LocalChain) -> None:
    uniswap, tokens = chain.contracts.uniswap, chain.contracts.tokens
    weth, usdc = tokens["WETH"].address, tokens["USDC"].address
    trader = chain.account("trader").address
    chain.mint("WETH", trader, 5 * WAD)
    quoted = chain.read(uniswap.quoter, "quoteExactInputSingle", (weth, usdc, 5 * WAD, 500, 0))[0]
    chain.transact(trader, tokens["WETH"], "approve", uniswap.router.address, 5 * WAD)
    trade = (weth, usdc, 500, trader, 5 * WAD, quoted, 0)
    chain.transact(trader, uniswap.router, "exactInputSingle", trade)
    assert chain.read(tokens["USDC"], "balanceOf", trader) == quoted
    assert quoted == pytest.approx(5 * 2_281.37 / 0.99984 * 0.9995 * 10**6, rel=1e-3)


def test_open_position__e_mode_and_stable_rate__are_aaves(chain: LocalChain) -> None:
    account = chain.account("stables").address
    chain.open_position(
        account,
        collateral={"USDC": 1_000 * 10**6},
        debt={"DAI": 900 * WAD},
        rate_mode=STABLE_RATE,
        e_mode=STABLECOINS_CATEGORY,
    )
    pool, provider = chain.contracts.aave.pool, chain.contracts.aave.reserve_data_provider
    assert chain.read(pool, "getUserAccountData", account)[3] == 9_750
    dai = chain.contracts.tokens["DAI"].address
    assert chain.read(provider, "getUserReserveData", dai, account)[1] >= 900 * WAD


def test_transact__contract_reverts__says_why(chain: LocalChain) -> None:
    account = chain.account("poor").address
    # Aave 3.0's code 34: the collateral balance is 0.
    with pytest.raises(TransactionFailedError, match=r"borrow reverted: .*34"):
        chain.open_position(account, collateral={}, debt={"DAI": WAD})


def test_mine__bids_differ__orders_by_fee_limit(chain: LocalChain) -> None:
    to = chain.account("to").address
    bids = {"late": None, "second": SECOND_IN_BLOCK, "first": FIRST_IN_BLOCK}
    sent = {
        name: chain.send(chain.account(name).address, to, b"", fees=bid, gas=21_000)
        for name, bid in bids.items()
    }
    chain.mine()
    assert {name: index_in_block(chain, item) for name, item in sent.items()} == {
        "first": 0,
        "second": 1,
        "late": 2,
    }


def test_mine__time_and_fee_given__has_them(chain: LocalChain) -> None:
    later = chain.timestamp() + 300
    chain.mine(later, base_fee_wei=77 * 10**9)
    block = chain.rpc.call("eth_getBlockByNumber", "latest", False)
    assert (int(block["timestamp"], 16), int(block["baseFeePerGas"], 16)) == (later, 77 * 10**9)
    chain.mine()
    block = chain.rpc.call("eth_getBlockByNumber", "latest", False)
    assert int(block["timestamp"], 16) == later + 12
    assert int(block["baseFeePerGas"], 16) == chain.spec.base_fee_wei


def test_revert__after_a_snapshot__takes_back_blocks_balances_and_what_waits(
    chain: LocalChain,
) -> None:
    start, token = chain.timestamp(), chain.contracts.tokens["USDC"]
    snapshot = chain.snapshot()
    account = chain.account("gone").address
    chain.mint("USDC", account, 5)
    chain.send(account, account, b"")
    chain.revert(snapshot)
    assert chain.timestamp() == start
    assert chain.read(token, "balanceOf", account) == 0
    chain.mine()
    assert chain.rpc.call("eth_getBlockByNumber", "latest", False)["transactions"] == []
    assert chain.timestamp() == start + 12
    chain.mint("USDC", chain.account("gone").address, 5)
