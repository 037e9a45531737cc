"""The Aave v3.0 adapter against the real contracts, over accounts of every kind, months old."""

from collections import Counter
from math import log
from random import Random

import numpy as np
import pytest

from keeper.abi.words import MAX_UINT256, Function, split_words
from keeper.devnet.chain import LocalChain
from keeper.devnet.rpc import RpcError
from keeper.forecast.volatility import DAY_S
from keeper.model.book import health
from keeper.model.units import WAD, Address, Amount, Wad
from keeper.model.values import AddCollateral, Option, Payment, PositionId, Repay
from keeper.protocols import aave_v3
from keeper.protocols.aave_v3_math import percent_mul_half_up
from tests.protocols.conformance import assert_prediction_holds, read
from tests.protocols.conftest import Crowd
from tests.protocols.crowd import KINDS
from tests.protocols.reading import Reader

GET_USER_ACCOUNT_DATA = Function("getUserAccountData(address)")


def account_data(reader: Reader, account: Address) -> tuple[int, ...]:
    """The pool's own words: collateral, debt, borrowing power, threshold, max LTV, health."""
    pool = reader.chain.contracts.aave.pool.address
    return split_words(reader.call(pool, GET_USER_ACCOUNT_DATA.encode(account)))


def health_of(reader: Reader, account: Address) -> Wad | None:
    found = account_data(reader, account)[5]
    return None if found == MAX_UINT256 else Wad(found)


def test_health__210_positions_after_33_days__equals_the_pools_to_the_last_unit(
    chain: LocalChain, crowd: Crowd
) -> None:
    reader = Reader(chain)
    snapshot = reader.run(
        aave_v3.snapshot(crowd.market, crowd.accounts, timestamp=reader.timestamp)
    )
    seen: Counter[str] = Counter()
    for member in crowd.members:
        position = snapshot.position(member.account)
        found = position.account
        room = percent_mul_half_up(found.collateral_usd8, found.max_ltv) - found.debt_usd8
        assert account_data(reader, member.account) == (
            found.collateral_usd8,
            found.debt_usd8,
            max(room, 0),
            found.liquidation_threshold,
            found.max_ltv,
            MAX_UINT256 if found.health is None else found.health,
        ), member
        seen.update(leg.state.reserve.token.symbol for leg in position.legs)
        seen.update([f"e-mode {position.e_mode.index}"] if position.e_mode else [])
        seen.update("stable" for leg in position.legs if leg.stable_debt_principal)
        seen.update("no debt" for _ in range(found.health is None))
        seen.update("several" for _ in range(len(position.legs) > 2))
    wanted = ("WETH", "WBTC", "USDC", "DAI", "e-mode 1", "e-mode 2", "stable", "no debt", "several")
    assert all(seen[what] >= 20 for what in wanted), seen


def test_snapshot__same_accounts_again__one_round_trip_with_the_same_calls(
    chain: LocalChain, crowd: Crowd
) -> None:
    reader = Reader(chain)
    first = reader.run(aave_v3.snapshot(crowd.market, crowd.accounts, timestamp=reader.timestamp))
    assert reader.round_trips == 2
    second = reader.run(
        aave_v3.snapshot(
            crowd.market, crowd.accounts, timestamp=reader.timestamp, known=first.known
        )
    )
    assert reader.round_trips == 3
    assert second.known.calls is first.known.calls
    assert all(second.position(a) == first.position(a) for a in crowd.accounts)


def test_snapshot__a_reserve_used_anew__is_read_in_a_second_round_trip(
    chain: LocalChain, crowd: Crowd
) -> None:
    known = read(aave_v3, chain, crowd.market, *crowd.accounts).known
    wallet = next(member.account for member in crowd.members if member.kind == "wallet")
    chain.open_position(wallet, collateral={"WBTC": 10**8}, debt={})
    reader = Reader(chain)
    snapshot = reader.run(
        aave_v3.snapshot(crowd.market, crowd.accounts, timestamp=reader.timestamp, known=known)
    )
    assert reader.round_trips == 2
    assert [str(amount) for amount in snapshot.position(wallet).collaterals] == ["1 WBTC"]


def test_snapshot__a_debt_repaid__is_no_longer_read_next_time(
    chain: LocalChain, crowd: Crowd
) -> None:
    member = next(member for member in crowd.members if member.kind == "plain")
    before = read(aave_v3, chain, crowd.market, *crowd.accounts)
    debt = before.position(member.account).debts[0]
    asset = chain.contracts.tokens[debt.token.symbol].address
    pool = chain.contracts.aave.pool
    chain.transact(member.account, pool, "repay", asset, MAX_UINT256, 2, member.account)
    reader = Reader(chain)
    after = reader.run(
        aave_v3.snapshot(
            crowd.market, crowd.accounts, timestamp=reader.timestamp, known=before.known
        )
    )
    assert reader.round_trips == 1
    assert len(after.known.calls) < len(before.known.calls)
    assert after.position(member.account).health == health_of(reader, member.account)
    again = reader.run(
        aave_v3.snapshot(
            crowd.market, crowd.accounts, timestamp=reader.timestamp, known=after.known
        )
    )
    assert reader.round_trips == 2
    assert again.position(member.account) == after.position(member.account)


def test_book_rows__whole_crowd__health_within_the_stated_bound(
    chain: LocalChain, crowd: Crowd
) -> None:
    snapshot = read(aave_v3, chain, crowd.market, *crowd.accounts)
    rows = aave_v3.book_rows(snapshot)
    assert rows.accounts == crowd.accounts
    for account, found in zip(rows.accounts, health(rows.book), strict=True):
        position = snapshot.position(account)
        if position.health is None:
            assert np.isnan(found)
        else:
            exact = position.health / WAD
            truncated = 1 / position.account.liquidation_threshold
            unit = 4e4 / position.debt_usd8  # the dearest smallest unit is 10^-8 WBTC
            assert exact * (1 - unit) - unit <= found
            assert found <= exact * (1 + truncated + unit) + unit


def test_book_rows__whole_crowd__carry_is_the_interest_of_a_day(
    chain: LocalChain, crowd: Crowd
) -> None:
    snapshot = read(aave_v3, chain, crowd.market, *crowd.accounts)
    rows = aave_v3.book_rows(snapshot)
    charged = 0
    for account, per_second in zip(rows.accounts, rows.book.carry, strict=True):
        position = snapshot.position(account)
        later = position.accrued(snapshot.timestamp + DAY_S)
        threshold = position.account.liquidation_threshold
        if not position.debt_usd8 > 1e12 or later.account.liquidation_threshold != threshold:
            continue  # a unit too many, or a basis point of the threshold, is more than a day's interest
        assert position.health is not None
        assert later.health is not None
        grown = log(later.health / position.health)
        assert per_second * DAY_S == pytest.approx(grown, abs=1e-5)
        charged += grown < -5e-5
    assert charged > 30


def test_snapshot__one_price_missing__spoils_only_the_positions_that_need_it(
    chain: LocalChain, crowd: Crowd
) -> None:
    chain.set_price("WBTC", 0)
    snapshot = read(aave_v3, chain, crowd.market, *crowd.accounts)
    rows = aave_v3.book_rows(snapshot)
    reader = Reader(chain)
    for member in crowd.members:
        if member.account in rows.accounts:
            found = snapshot.position(member.account).health
            assert found == health_of(reader, member.account)
        else:
            with pytest.raises(aave_v3.UnreadablePositionError, match=r"no price for (WBTC|.* 2)"):
                snapshot.position(member.account)
            with pytest.raises(RpcError, match="revert"):
                account_data(reader, member.account)
    assert 0 < len(rows.accounts) < len(crowd.members)


def _chosen(option: Option, position: PositionId, random: Random) -> Payment:
    """Some part of what is available; of a debt, every third time more than all of it."""
    raw = random.randint(1, option.available.raw)
    if option.kind == "AddCollateral":
        return AddCollateral(position=position, amount=Amount(raw=raw, token=option.token))
    if random.random() < 0.34:
        raw = option.available.raw * 101 // 100 + 10
    return Repay(position=position, amount=Amount(raw=raw, token=option.token))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "wallet"])
def test_predict__random_actions__equals_what_is_read_at_the_receipts_block(
    chain: LocalChain, crowd: Crowd, kind: str
) -> None:
    random = Random(kind)
    members = [member for member in crowd.members if member.kind == kind]
    done: Counter[str] = Counter()
    for member in random.sample(members, 12):
        position = read(aave_v3, chain, crowd.market, member.account).position(member.account)
        option = random.choice(aave_v3.options(position))
        assert option.blocked is None
        action = _chosen(option, position.id, random)
        reread = assert_prediction_holds(aave_v3, chain, crowd.market, action, health_of)
        if option.kind == "AddCollateral" or position.health is None:
            assert (reread.health or 0) >= (position.health or 0)
        done[option.kind] += 1
    assert min(done["AddCollateral"], done["Repay"]) > 0
