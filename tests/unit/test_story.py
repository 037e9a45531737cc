"""The demo's facts, told from blocks worked out by hand."""

import pytest

from keeper.devnet.story import Decided, Teller, UnexplainedActionError
from keeper.devnet.views import (
    LIQUIDATION,
    REPAY,
    SUPPLY,
    AccountView,
    BlockView,
    Fee,
    Liquidated,
    PoolEvent,
    Repaid,
    Sold,
    Supplied,
    decode_account,
    paid_fees,
    pool_events,
)
from keeper.model.units import WAD, Address, Token, Wad, Wei

WETH = Address("0x" + "11" * 20)
USDC = Address("0x" + "22" * 20)
POOL = Address("0x" + "33" * 20)
ALICE = Address("0x" + "44" * 20)
BOB = Address("0x" + "55" * 20)
GUARDIAN = Address("0x" + "66" * 20)
USD8 = 10**8

TELLER = Teller(
    tokens={
        WETH: Token(address=WETH, symbol="WETH", decimals=18),
        USDC: Token(address=USDC, symbol="USDC", decimals=6),
    },
    weth=WETH,
)


def account(collateral_usd: int, debt_usd: int) -> AccountView:
    health = Wad(collateral_usd * 80 * WAD // (debt_usd * 100)) if debt_usd else None
    return AccountView(
        collateral_usd8=collateral_usd * USD8,
        debt_usd8=debt_usd * USD8,
        liquidation_threshold_bps=8000,
        health=health,
    )


def block(
    number: int,
    view: AccountView,
    *events: PoolEvent,
    eth: int = 100,
    sales: tuple[Sold, ...] = (),
    fees: tuple[Fee, ...] = (),
) -> BlockView:
    return BlockView(
        number=number,
        timestamp=1000 + number,
        gas_price_wei=10**9,
        market_price=float(eth),
        prices_usd8={WETH: eth * USD8, USDC: USD8},
        accounts={ALICE: view},
        events=events,
        sales=sales,
        fees=fees,
    )


def test_tell__liquidated__loss_is_seized_minus_repaid_at_the_oracle_price() -> None:
    # 525 USDC repaid, 5.5125 WETH at 100 USD seized: 551.25 - 525 = 26.25 USD lost.
    event = Liquidated(
        transaction="0xa",
        account=ALICE,
        collateral_asset=WETH,
        seized_raw=5_512_500_000_000_000_000,
        debt_asset=USDC,
        repaid_raw=525_000_000,
    )
    told = TELLER.tell(
        "alice",
        ALICE,
        [block(1, account(1500, 1050)), block(2, account(1000, 525), event)],
        {},
    )
    assert [one.loss_usd8 for one in told.liquidations] == [2_625_000_000]
    assert told.loss_usd8 == 2_625_000_000
    assert (told.debt_start_usd8, told.debt_end_usd8) == (1050 * USD8, 525 * USD8)
    assert told.actions == ()


def test_tell__repaid_two_blocks_later__health_is_taken_at_the_block_acted_on() -> None:
    # At block 1: 1500 x 0.8 / 1000 = 1.2; 200 USD repaid give 1200 / 800 = 1.5, whatever the
    # price has done by block 3. Gas: approval 0.001 ETH and repayment 0.002 ETH at 90 USD.
    fees = (
        Fee(transaction="0xapprove", sender=ALICE, to=None, wei=Wei(10**15)),
        Fee(transaction="0xrepay", sender=ALICE, to=None, wei=Wei(2 * 10**15)),
        Fee(transaction="0xother", sender=BOB, to=None, wei=Wei(10**18)),
    )
    event = Repaid(transaction="0xrepay", account=ALICE, asset=USDC, amount_raw=200_000_000)
    told = TELLER.tell(
        "alice",
        ALICE,
        [
            block(1, account(1500, 1000), fees=fees),  # what the account paid before is not told
            block(2, account(1400, 1000)),
            block(3, account(1350, 800), event, eth=90, fees=fees),
        ],
        {"0xrepay": Decided(cause="forecast", head_number=1)},
    )
    (action,) = told.actions
    assert (action.kind, action.cause, action.latency_blocks) == ("Repay", "forecast", 2)
    assert (action.health_before, action.health_after) == (12 * WAD // 10, 15 * WAD // 10)
    assert action.amount_usd8 == 200 * USD8
    assert action.cost_usd8 == 27_000_000
    assert told.cost_usd8 == 27_000_000
    # Lowest within block 3, after the oracle's move and before the action: 1.12 x 90 / 100.
    assert told.min_health == 1008 * WAD // 1000


def test_tell__unwound_by_its_guardian__costs_gas_and_what_the_swap_took() -> None:
    # 300 USD repaid with 3.03 WETH at 100 USD: 3 USD of swap, and 0.002 ETH of the keeper's gas.
    # Health at block 1: 1500 x 0.8 / 1000 = 1.2, then (1500 - 303) x 0.8 / 700 = 1.368.
    event = Repaid(transaction="0xunwind", account=ALICE, asset=USDC, amount_raw=300_000_000)
    sale = Sold(
        transaction="0xunwind", guardian=GUARDIAN, asset=WETH, amount_raw=3_030_000_000_000_000_000
    )
    fees = (
        Fee(transaction="0xunwind", sender=BOB, to=GUARDIAN, wei=Wei(2 * 10**15)),
        Fee(transaction="0xother", sender=BOB, to=ALICE, wei=Wei(10**18)),
    )
    told = TELLER.tell(
        "alice",
        ALICE,
        [
            block(1, account(1500, 1000)),
            block(2, account(1197, 700), event, sales=(sale,), fees=fees),
        ],
        {"0xunwind": Decided(cause="floor", head_number=1)},
        GUARDIAN,
    )
    (action,) = told.actions
    assert action.kind == "Deleverage"
    assert action.health_after == 1368 * WAD // 1000
    assert (action.amount_usd8, action.swap_usd8) == (300 * USD8, 3 * USD8)
    assert action.cost_usd8 == told.cost_usd8 == 320_000_000


def test_tell__two_actions_on_one_head__the_second_begins_where_the_first_ended() -> None:
    # 1000 x 0.8 / 800 = 1.0; + 100 USD repaid: 800/700; + 2 WETH at 100 USD: 1200 x 0.8 / 700.
    events = (
        Repaid(transaction="0x1", account=ALICE, asset=USDC, amount_raw=100_000_000),
        Supplied(transaction="0x2", account=ALICE, asset=WETH, amount_raw=2 * 10**18),
    )
    fees = tuple(Fee(transaction=f"0x{i}", sender=ALICE, to=None, wei=Wei(0)) for i in (1, 2))
    decided = {f"0x{i}": Decided(cause="floor", head_number=1) for i in (1, 2)}
    told = TELLER.tell(
        "alice",
        ALICE,
        [block(1, account(1000, 800)), block(2, account(1200, 700), *events, fees=fees)],
        decided,
    )
    first, second = told.actions
    assert first.health_after == second.health_before == 800 * WAD // 700
    assert second.health_after == 960 * WAD // 700
    assert second.kind == "AddCollateral"


def test_tell__all_debt_repaid__no_health_is_left() -> None:
    event = Repaid(transaction="0x1", account=ALICE, asset=USDC, amount_raw=800_000_000)
    told = TELLER.tell(
        "alice",
        ALICE,
        [
            block(1, account(1000, 800)),
            block(
                2,
                account(1000, 0),
                event,
                fees=(Fee(transaction="0x1", sender=ALICE, to=None, wei=Wei(0)),),
            ),
        ],
        {"0x1": Decided(cause="floor", head_number=1)},
    )
    assert told.actions[0].health_after is None
    assert told.min_health == WAD


def test_tell__action_that_the_journal_does_not_know__is_not_passed_over() -> None:
    event = Repaid(transaction="0x1", account=ALICE, asset=USDC, amount_raw=1)
    fee = Fee(transaction="0x1", sender=ALICE, to=None, wei=Wei(0))
    with pytest.raises(UnexplainedActionError, match="0x1 in block 2"):
        TELLER.tell(
            "alice",
            ALICE,
            [block(1, account(10, 8)), block(2, account(10, 8), event, fees=(fee,))],
            {},
        )


def word(value: str | int) -> str:
    return (value[2:] if isinstance(value, str) else f"{value:x}").rjust(64, "0")


def log(topic: str, indexed: list[str], words: list[str | int], address: str = POOL) -> object:
    return {
        "address": address,
        "transactionHash": "0xa",
        "topics": [topic, *("0x" + word(one) for one in indexed)],
        "data": "0x" + "".join(map(word, words)),
    }


def test_pool_events__receipts__are_decoded_in_order_and_others_left_out() -> None:
    receipt = {
        "logs": [
            log(SUPPLY, [WETH, ALICE, "0x0"], [BOB, 7]),
            log(SUPPLY, [WETH, ALICE, "0x0"], [BOB, 7], address=BOB),
            log(REPAY, [USDC, ALICE, BOB], [8, 0]),
            log(LIQUIDATION, [WETH, USDC, ALICE], [9, 10, BOB, 0]),
            log("0x" + "ab" * 32, [], []),
        ]
    }
    assert pool_events([receipt], POOL) == (
        Supplied(transaction="0xa", account=ALICE, asset=WETH, amount_raw=7),
        Repaid(transaction="0xa", account=ALICE, asset=USDC, amount_raw=8),
        Liquidated(
            transaction="0xa",
            account=ALICE,
            collateral_asset=WETH,
            seized_raw=10,
            debt_asset=USDC,
            repaid_raw=9,
        ),
    )


def test_paid_fees__receipt__is_gas_used_times_price_paid() -> None:
    receipt = {
        "transactionHash": "0xa",
        "from": ALICE,
        "gasUsed": hex(21_000),
        "effectiveGasPrice": hex(10**9),
    }
    assert paid_fees([receipt]) == (
        Fee(transaction="0xa", sender=ALICE, to=None, wei=Wei(21_000 * 10**9)),
    )


def test_decode_account__without_debt__has_no_health() -> None:
    words = [5, 0, 0, 8000, 7500, 2**256 - 1]
    view = decode_account(b"".join(one.to_bytes(32, "big") for one in words))
    assert view.health is None
    assert view.collateral_usd8 == 5
