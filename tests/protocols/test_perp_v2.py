"""The Perp v2 adapter against the real contracts: to the last unit."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from keeper.devnet.artifacts import Artifacts
from keeper.devnet.chain import LocalChain
from keeper.devnet.perp import COLLATERALS, deploy_perp
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.toolchain import Toolchain
from keeper.model.book import health
from keeper.model.units import WAD, Address, Amount, Wad
from keeper.model.values import AddMargin, PositionId
from keeper.protocols import perp_v2
from keeper.protocols.perp_v2_math import pending_funding
from tests.protocols.conformance import assert_prediction_holds, read
from tests.protocols.crowd import Member
from tests.protocols.perp_crowd import gather
from tests.protocols.reading import Reader

USDC = 10**6
SIZE = 70


def discovered(perp: PerpMarket, **listed: tuple[Address, ...]) -> perp_v2.PerpVenue:
    tokens = perp.chain.contracts.tokens
    lists = {
        "base_tokens": tuple(token.address for token in perp.perp.base_tokens.values()),
        "collateral_tokens": tuple(tokens[symbol].address for symbol in COLLATERALS),
        **listed,
    }
    house = perp.perp.clearing_house.address
    return Reader(perp.chain).run(
        perp_v2.discover(house, chain_id=perp.chain.chain_id, name="perp", listed=lists)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpCrowd:
    perp: PerpMarket
    venue: perp_v2.PerpVenue
    members: tuple[Member, ...]

    @property
    def accounts(self) -> tuple[Address, ...]:
        return tuple(member.account for member in self.members)


@pytest.fixture(scope="module")
def crowd(shared_chain: LocalChain, toolchain: Toolchain) -> Iterator[PerpCrowd]:
    born = shared_chain.snapshot()
    contracts = deploy_perp(shared_chain, Artifacts(node_modules=toolchain.node_modules))
    perp = PerpMarket(chain=shared_chain, perp=contracts)
    perp.fund_arbitrageur()
    members = gather(perp, SIZE, seed=1)
    yield PerpCrowd(perp=perp, venue=discovered(perp), members=members)
    shared_chain.revert(born)


def test_account__crowd_after_three_days__equals_the_venues_getters_to_the_last_unit(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    snapshot = read(perp_v2, chain, crowd.venue, *crowd.accounts)
    contracts, seen = crowd.perp.perp, Counter[str]()
    for member in crowd.members:
        account, position = member.account, snapshot.position(member.account)
        found = position.account
        assert found.account_value == chain.read(
            contracts.clearing_house, "getAccountValue", account
        ), member
        assert found.margin_requirement == chain.read(
            contracts.account_balance, "getMarginRequirementForLiquidation", account
        )
        assert found.notional == chain.read(
            contracts.account_balance, "getTotalAbsPositionValue", account
        )
        assert found.funding == chain.read(
            contracts.exchange, "getAllPendingFundingPayment", account
        )
        assert found.free_collateral == chain.read(contracts.vault, "getFreeCollateral", account)
        assert found.settlement_value // 10**12 == chain.read(
            contracts.vault, "getSettlementTokenValue", account
        )
        sold = chain.read(contracts.vault, "isLiquidatable", account)
        assert sold == (found.collateral_health is not None and found.collateral_health < WAD)
        seen.update("owes funding" for _ in range(found.funding > 0))
        seen.update("is owed funding" for _ in range(found.funding < 0))
        seen.update("cross" for _ in range(len(position.legs) > 1))
        seen.update("margin tokens" for _ in range(found.holdings_value > 0))
        seen.update("in debt" for _ in range(found.settlement_value < 0))
        seen.update("sold" for _ in range(sold))
        seen.update("short" for leg in position.legs if leg.size < 0)
        seen.update("no health" for _ in range(position.health is None))
    wanted = ("owes funding", "is owed funding", "cross", "margin tokens", "in debt", "short")
    assert all(seen[what] >= 5 for what in wanted), seen
    assert seen["sold"], seen
    assert seen["no health"], seen


def test_snapshot__same_accounts_again__one_round_trip_with_the_same_calls(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    reader = Reader(chain)
    first = reader.run(perp_v2.snapshot(crowd.venue, crowd.accounts, timestamp=reader.timestamp))
    assert reader.round_trips == 2
    second = reader.run(
        perp_v2.snapshot(crowd.venue, crowd.accounts, timestamp=reader.timestamp, known=first.known)
    )
    assert reader.round_trips == 3
    assert second.known.calls is first.known.calls
    assert all(second.position(each) == first.position(each) for each in crowd.accounts)


def test_book_rows__whole_crowd__danger_where_the_venue_sees_it(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    snapshot = read(perp_v2, chain, crowd.venue, *crowd.accounts)
    rows = perp_v2.book_rows(snapshot)
    assert set(rows.accounts) == set(crowd.accounts)
    values = health(rows.book)
    for account in crowd.accounts:
        position = snapshot.position(account)
        own = values[[place for place, each in enumerate(rows.accounts) if each == account]]
        if position.health is None:
            assert not (own < 1).any()
            continue
        assert (np.nanmin(own) < 1) == (position.health < WAD)
        if position.account.health is not None:
            # The margin row comes first, and differs by rounding alone.
            assert own[0] == pytest.approx(position.account.health / WAD, rel=1e-6, abs=1e-6)


def test_prediction__margin_added_to_everybody__equals_what_is_read_to_the_last_unit(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    def health_of(reader: Reader, account: Address) -> Wad | None:
        """From the venue's getters where margin alone decides."""
        house, balance = crowd.perp.perp.clearing_house, crowd.perp.perp.account_balance
        required = chain.read(balance, "getMarginRequirementForLiquidation", account)
        value = chain.read(house, "getAccountValue", account)
        fresh = reader.run(perp_v2.snapshot(crowd.venue, (account,), timestamp=reader.timestamp))
        position = fresh.position(account)
        if position.account.health is not None:
            assert position.account.health == value * WAD // required
        return position.health

    for member in crowd.members[:7]:
        for symbol, raw in (("USDC", 17 * USDC + 3), ("WETH", 10**16 + 7)):
            # Over a feed that is silent for as long as this loop takes, the venue's own average
            # underflows.
            chain.set_price("WETH", 2_150_00000000 + raw % 1_000)
            chain.mint(symbol, member.account, raw)
            token = chain.contracts.token(symbol)
            action = AddMargin(
                position=PositionId(chain_id=chain.chain_id, market="perp", account=member.account),
                amount=Amount(raw=raw, token=token),
            )
            assert_prediction_holds(perp_v2, chain, crowd.venue, action, health_of)


def test_prediction__funding_settled_by_a_trade__growth_tells_what_was_owed(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    member = next(m for m in crowd.members if m.kind == "long")
    before = read(perp_v2, chain, crowd.venue, member.account).position(member.account)
    leg = before.legs[0]
    crowd.perp.trade(member.account, leg.state.perp.token.symbol, quote=10 * WAD)
    at = Reader(chain)
    after = at.run(perp_v2.snapshot(crowd.venue, (member.account,), timestamp=at.timestamp))
    now = after.position(member.account).legs[0]
    owed = pending_funding(leg.size, now.since_x96, leg.since_x96)
    assert after.revalued(before).legs[0].funding == owed
    assert after.position(member.account).owed_pnl == before.owed_pnl - owed
    assert now.funding == 0


def test_snapshot__funding_averages_over_another_time__are_read_anew_and_still_exact(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    first = read(perp_v2, chain, crowd.venue, *crowd.accounts)
    chain.transact(
        chain.account("deployer").address, crowd.perp.perp.config, "setTwapInterval", 1_800
    )
    chain.set_price("WETH", 2_100_00000000)
    chain.mine(chain.timestamp() + 600)
    reader = Reader(chain)
    reading = perp_v2.snapshot(
        crowd.venue, crowd.accounts, timestamp=reader.timestamp, known=first.known
    )
    snapshot = reader.run(reading)
    assert snapshot.known.twap_s == 1_800
    for account in crowd.accounts:
        owed = chain.read(crowd.perp.perp.exchange, "getAllPendingFundingPayment", account)
        assert snapshot.position(account).account.funding == owed


def test_snapshot__a_maker__is_refused_by_name_and_others_are_read(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    maker, other = chain.account("deployer").address, crowd.accounts[0]
    snapshot = read(perp_v2, chain, crowd.venue, maker, other)
    assert snapshot.position(other).health is not None
    with pytest.raises(perp_v2.UnreadablePositionError, match="makes the market in vETH"):
        snapshot.position(maker)


def test_snapshot__market_that_is_not_listed__is_refused_by_its_address(
    crowd: PerpCrowd,
) -> None:
    token = crowd.perp.perp.base_tokens["vETH"].address
    venue = discovered(crowd.perp, base_tokens=(token,))
    pair = next(m for m in crowd.members if m.kind == "pair").account
    snapshot = read(perp_v2, crowd.perp.chain, venue, pair)
    with pytest.raises(perp_v2.UnreadablePositionError, match="`base_tokens` does not list"):
        snapshot.position(pair)


def test_snapshot__margin_token_that_is_not_listed__is_refused(crowd: PerpCrowd) -> None:
    venue = discovered(crowd.perp, collateral_tokens=())
    account = next(m for m in crowd.members if m.kind == "ether margin").account
    snapshot = read(perp_v2, crowd.perp.chain, venue, account)
    with pytest.raises(perp_v2.UnreadablePositionError, match="`collateral_tokens` does not list"):
        snapshot.position(account)


def test_discover__not_a_clearing_house__is_refused(crowd: PerpCrowd) -> None:
    pool = crowd.perp.chain.contracts.aave.pool.address
    reading = perp_v2.discover(pool, chain_id=31337, name="perp", listed={})
    with pytest.raises(perp_v2.UnsupportedVenueError, match="no ClearingHouse of Perp v2"):
        Reader(crowd.perp.chain).run(reading)


def test_discover__token_without_a_market__is_refused_by_its_address(crowd: PerpCrowd) -> None:
    weth = crowd.perp.chain.contracts.tokens["WETH"].address
    with pytest.raises(perp_v2.UnsupportedVenueError, match=f"{weth} is not a market"):
        discovered(crowd.perp, base_tokens=(weth,))


def test_discover__token_that_is_no_margin__is_refused_by_its_address(crowd: PerpCrowd) -> None:
    wbtc = crowd.perp.chain.contracts.tokens["WBTC"].address
    with pytest.raises(perp_v2.UnsupportedVenueError, match=f"{wbtc} is not accepted as margin"):
        discovered(crowd.perp, collateral_tokens=(wbtc,))


def test_snapshot__paused_market__is_told_and_still_valued_as_the_venue_does(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    token = crowd.perp.perp.base_tokens["vETH"]
    chain.transact(chain.account("deployer").address, token, "pause")
    chain.mine(chain.timestamp() + 3_600)
    snapshot = read(perp_v2, chain, crowd.venue, *crowd.accounts)
    (halt,) = snapshot.halts()
    assert "trading in vETH is paused" in halt.text
    for account in crowd.accounts:
        assert snapshot.position(account).account.account_value == chain.read(
            crowd.perp.perp.clearing_house, "getAccountValue", account
        )


def test_snapshot__feed_silent_for_hours_after_a_fall__is_refused_with_the_venues_reason(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    """Its average of the index is the difference of two sums that then cross."""
    chain.mine(chain.timestamp() + 6 * 3_600)
    member = next(m for m in crowd.members if m.kind == "pair")
    snapshot = read(perp_v2, chain, crowd.venue, member.account)
    with pytest.raises(perp_v2.UnreadablePositionError, match="cannot value it: SafeMath"):
        snapshot.position(member.account)
    assert perp_v2.book_rows(snapshot).accounts == ()


def test_options__vault_paused__every_deposit_is_refused_with_the_reason(
    chain: LocalChain, crowd: PerpCrowd
) -> None:
    chain.transact(chain.account("deployer").address, crowd.perp.perp.vault, "pause")
    position = read(perp_v2, chain, crowd.venue, crowd.accounts[0]).position(crowd.accounts[0])
    assert {option.blocked for option in perp_v2.options(position)} == {
        "the venue's vault is paused"
    }
