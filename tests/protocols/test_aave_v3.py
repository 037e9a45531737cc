"""The Aave v3.0 adapter where the pool refuses, changes or liquidates."""

import re

import pytest

from keeper.abi.aave_v3 import Pool
from keeper.abi.erc20 import APPROVE
from keeper.abi.words import MAX_UINT256
from keeper.devnet.chain import BLOCK_SECONDS, STABLE_RATE, LocalChain
from keeper.devnet.rpc import RpcError
from keeper.mandate import direct
from keeper.model.units import RAY, Address, Amount
from keeper.model.values import AddCollateral, Option, Payment, Repay
from keeper.protocols import aave_v3
from keeper.protocols.aave_v3_math import percent_mul_half_up
from tests.protocols.conformance import assert_prediction_holds, read
from tests.protocols.conftest import discovered
from tests.protocols.reading import Reader
from tests.protocols.test_aave_v3_crowd import health_of

ETHER = 10**18
USDC = 10**6
DEBT_CEILING_BIT = 212
"""types/DataTypes.sol, ReserveConfigurationMap."""


@pytest.fixture
def alice(chain: LocalChain) -> Address:
    """10 WETH against 9,000 USDC, with 5 WETH and 9,000 + 1,000 USDC in the wallet."""
    account = chain.account("alice").address
    chain.open_position(account, collateral={"WETH": 10 * ETHER}, debt={"USDC": 9_000 * USDC})
    chain.mint("WETH", account, 5 * ETHER)
    chain.mint("USDC", account, 1_000 * USDC)
    return account


def amount(chain: LocalChain, symbol: str, raw: int) -> Amount:
    return Amount(raw=raw, token=chain.contracts.token(symbol))


def configure(chain: LocalChain, function: str, *arguments: object) -> None:
    """As the market's admin."""
    admin = chain.account("deployer").address
    chain.transact(admin, chain.contracts.aave.pool_configurator, function, *arguments)


def refusal(chain: LocalChain, action: Payment, position: aave_v3.AavePosition) -> str:
    """Why the pool refuses the action at the latest block, in the adapter's words."""
    call = aave_v3.encode(action, position)
    request = {"from": position.id.account, "to": call.to, "data": "0x" + call.data.hex()}
    with pytest.raises(RpcError) as reverted:
        chain.rpc.call("eth_call", request, "latest")
    return aave_v3.decode_error(bytes.fromhex(reverted.value.data[2:]))


# -- which markets -------------------------------------------------------------------------------


def answer_always(chain: LocalChain, address: Address, word: int) -> None:
    """Replace a contract by one that answers any call with `word` (0 to 255)."""
    chain.rpc.call("anvil_setCode", address, f"0x60{word:02x}5f5260205ff3")


def test_discover__another_revision__is_refused_by_name(chain: LocalChain) -> None:
    answer_always(chain, chain.contracts.aave.pool.address, 7)
    with pytest.raises(aave_v3.UnsupportedRevisionError, match="POOL_REVISION is 7; supported: 1"):
        discovered(chain)


def test_discover__a_pool_that_names_no_revision__is_refused(chain: LocalChain) -> None:
    chain.rpc.call("anvil_setCode", chain.contracts.aave.pool.address, "0x5f5ffd")
    with pytest.raises(aave_v3.UnsupportedRevisionError) as refused:
        discovered(chain)
    assert refused.value.found is None


@pytest.mark.parametrize("contract", ["pool", "oracle"])
def test_discover__an_address_that_is_no_provider__is_refused(
    chain: LocalChain, contract: str
) -> None:
    address = getattr(chain.contracts.aave, contract).address
    for wrong in (address, Address("0x" + "12" * 20)):
        with pytest.raises(aave_v3.UnsupportedMarketError, match="no PoolAddressesProvider"):
            Reader(chain).run(aave_v3.discover(wrong, chain_id=chain.chain_id, name="aave"))


def test_snapshot__pool_upgraded_since__is_refused_by_name(
    chain: LocalChain, market: aave_v3.AaveMarket, alice: Address
) -> None:
    answer_always(chain, chain.contracts.aave.pool.address, 3)
    with pytest.raises(aave_v3.UnsupportedRevisionError, match="POOL_REVISION is 3"):
        read(aave_v3, chain, market, alice)


def test_snapshot__oracle_replaced_since__asks_for_discovery(
    chain: LocalChain, market: aave_v3.AaveMarket, alice: Address
) -> None:
    admin, provider = chain.account("deployer").address, chain.contracts.aave
    chain.transact(admin, provider.pool_addresses_provider, "setPriceOracle", alice)
    with pytest.raises(aave_v3.MarketChangedError, match=f"the oracle is now {alice}"):
        read(aave_v3, chain, market, alice)


def test_snapshot__efficiency_mode_repriced_or_joined_since__asks_for_discovery(
    chain: LocalChain, market: aave_v3.AaveMarket, alice: Address
) -> None:
    key = chain.contracts.tokens["DAI"].address
    configure(chain, "setEModeCategory", 1, 9_700, 9_750, 10_100, key, "Stablecoins")
    with pytest.raises(aave_v3.MarketChangedError, match="efficiency mode 1 repriced"):
        read(aave_v3, chain, market, alice)
    market = discovered(chain)
    configure(chain, "setEModeCategory", 2, 9_700, 9_750, 10_100, key, "Ether")
    weth = chain.contracts.tokens["WETH"].address
    configure(chain, "setAssetEModeCategory", weth, 2)
    with pytest.raises(aave_v3.MarketChangedError, match="WETH joined another"):
        read(aave_v3, chain, market, alice)
    assert read(aave_v3, chain, discovered(chain), alice).position(alice).debts


# -- what the pool refuses -----------------------------------------------------------------------


def kinds(options: tuple[Option, ...]) -> dict[str, tuple[int, str | None]]:
    return {option.kind: (option.available.raw, option.blocked) for option in options}


def test_options__healthy_market__offers_wallet_up_to_the_debt(
    chain: LocalChain, market: aave_v3.AaveMarket, alice: Address
) -> None:
    position = read(aave_v3, chain, market, alice).position(alice)
    assert kinds(aave_v3.options(position)) == {
        "AddCollateral": (5 * ETHER, None),
        "Repay": (position.debts[0].raw, None),
    }


@pytest.mark.parametrize(
    ("switch", "blocked", "code"),
    [
        ("setReserveFreeze", {"AddCollateral": "frozen"}, "RESERVE_FROZEN (28)"),
        (
            "setReservePause",
            {"AddCollateral": "paused", "Repay": "paused"},
            "RESERVE_PAUSED (29)",
        ),
    ],
)
def test_options__reserves_switched__blocks_what_the_pool_refuses(
    chain: LocalChain,
    market: aave_v3.AaveMarket,
    alice: Address,
    switch: str,
    blocked: dict[str, str],
    code: str,
) -> None:
    for symbol in ("WETH", "USDC"):
        configure(chain, switch, chain.contracts.tokens[symbol].address, True)
    position = read(aave_v3, chain, market, alice).position(alice)
    actions: dict[str, Payment] = {
        "AddCollateral": AddCollateral(position=position.id, amount=amount(chain, "WETH", ETHER)),
        "Repay": Repay(position=position.id, amount=amount(chain, "USDC", USDC)),
    }
    for option in aave_v3.options(position):
        if option.kind in blocked:
            assert option.blocked is not None
            assert blocked[option.kind] in option.blocked
            assert refusal(chain, actions[option.kind], position) == code
        else:
            assert option.blocked is None
            assert_prediction_holds(aave_v3, chain, market, actions[option.kind], health_of)


@pytest.mark.parametrize("symbol", ["WETH", "DAI"])
def test_options__near_the_supply_cap__offers_exactly_what_fits_when_mined(
    chain: LocalChain, market: aave_v3.AaveMarket, symbol: str
) -> None:
    """An hour of interest is known to the unit in advance, with the treasury's share of it: of
    variable debt in WETH, of stable debt too in DAI."""
    bob, carol = chain.account("bob").address, chain.account("carol").address
    stable = {"DAI": 1_000_000 * ETHER}
    chain.open_position(bob, collateral={"WETH": 1_000 * ETHER}, debt=stable, rate_mode=STABLE_RATE)
    chain.open_position(carol, collateral={symbol: ETHER}, debt={})
    token = chain.contracts.tokens[symbol]
    chain.mint(symbol, carol, 10**6 * ETHER)
    chain.transact(carol, token, "approve", market.pool, MAX_UINT256)
    chain.mine(chain.timestamp() + 10 * 24 * 3600)
    (leg,) = read(aave_v3, chain, market, carol).position(carol).legs
    supplied = leg.state.supplied_scaled * leg.state.normalized_income(chain.timestamp()) // RAY
    configure(chain, "setSupplyCap", token.address, supplied // ETHER + 50_000)
    position = read(aave_v3, chain, market, carol).position(carol)
    mined_at = position.timestamp + 3600
    (now,), (then,) = aave_v3.options(position), aave_v3.options(position.accrued(mined_at))
    assert 0 < then.available.raw < now.available.raw < 50_001 * ETHER
    hashes = [
        chain.send(carol, market.pool, Pool.SUPPLY.encode(token.address, raw, carol, 0))
        for raw in (then.available.raw + 1, then.available.raw, 10)
    ]
    chain.mine(mined_at)
    receipts = [chain.rpc.call("eth_getTransactionReceipt", sent) for sent in hashes]
    assert [receipt["status"] for receipt in receipts] == ["0x0", "0x1", "0x0"]
    full = read(aave_v3, chain, market, carol).position(carol)
    (option,) = aave_v3.options(full)
    reached = f"the pool's supply cap of {symbol} is reached"
    assert (option.available.raw, option.blocked) == (0, reached)
    one = AddCollateral(position=full.id, amount=amount(chain, symbol, 10))
    assert refusal(chain, one, full) == "SUPPLY_CAP_EXCEEDED (51)"


def test_predict__isolated_collateral__supplies_and_repays_as_predicted(
    chain: LocalChain, market: aave_v3.AaveMarket, alice: Address
) -> None:
    """The ceiling limits new borrowing only; a repayment lowers the pool's isolated debt."""
    weth, aave = chain.contracts.tokens["WETH"].address, chain.contracts.aave
    word = chain.read(aave.pool, "getConfiguration", weth)[0] | 10_000_00 << DEBT_CEILING_BIT
    configurator = aave.pool_configurator.address
    chain.rpc.call("anvil_setBalance", configurator, hex(ETHER))
    data = aave.pool.encode("setConfiguration", weth, (word,))
    chain.send(configurator, aave.pool.address, data)
    chain.mine()
    position = read(aave_v3, chain, market, alice).position(alice)
    assert position.legs[0].state.configuration.word == word
    for action in (
        AddCollateral(position=position.id, amount=amount(chain, "WETH", ETHER + 1)),
        Repay(position=position.id, amount=amount(chain, "USDC", 2_000 * USDC + 1)),
    ):
        assert_prediction_holds(aave_v3, chain, market, action, health_of)


def test_predict__stable_debt_repaid_in_part_and_in_full__leaves_the_variable_debt(
    chain: LocalChain, market: aave_v3.AaveMarket
) -> None:
    """One rate at a time, the larger first; the borrowing bit goes with the last of them."""
    bob = chain.account("bob").address
    chain.open_position(
        bob, collateral={"WETH": 10 * ETHER}, debt={"DAI": 5_000 * ETHER}, rate_mode=STABLE_RATE
    )
    chain.open_position(bob, collateral={}, debt={"DAI": 2_000 * ETHER})
    chain.mint("DAI", bob, 1_000 * ETHER)
    chain.mine(chain.timestamp() + 40 * 24 * 3600)
    position = read(aave_v3, chain, market, bob).position(bob)
    assert position.debts[0].raw > 7_000 * ETHER
    part, more = amount(chain, "DAI", 10**18 + 3), amount(chain, "DAI", 6_000 * ETHER)
    left = position
    for repaid in (part, more, more):
        action = Repay(position=position.id, amount=repaid)
        left = assert_prediction_holds(aave_v3, chain, market, action, health_of)
    assert left.debts == ()
    assert left.health is None
    assert [leg.is_borrowed for leg in left.legs] == [False]


# -- approvals and refused actions ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "purposes", "left"),
    [
        (0, ["approve", "AddCollateral"], 0),
        (7, ["reset_approval", "approve", "AddCollateral"], 0),
        (ETHER, ["AddCollateral"], 0),
        (ETHER + 1, ["AddCollateral"], 1),
    ],
)
def test_direct__any_allowance__approves_exactly_what_is_spent(
    chain: LocalChain,
    market: aave_v3.AaveMarket,
    alice: Address,
    allowed: int,
    purposes: list[str],
    left: int,
) -> None:
    weth = chain.contracts.tokens["WETH"]
    chain.send(alice, weth.address, APPROVE.encode(market.pool, allowed))
    chain.mine()
    position = read(aave_v3, chain, market, alice).position(alice)
    action = AddCollateral(position=position.id, amount=amount(chain, "WETH", ETHER))
    sent = direct.transactions(aave_v3.encode(action, position))
    assert [transaction.purpose for transaction in sent] == purposes
    after = assert_prediction_holds(aave_v3, chain, market, action, health_of)
    assert after.legs[0].allowance == left
    assert after.legs[0].wallet == 4 * ETHER


def test_predict_and_encode__an_action_that_does_not_fit__is_refused(
    chain: LocalChain, market: aave_v3.AaveMarket, alice: Address
) -> None:
    position = read(aave_v3, chain, market, alice).position(alice)
    other = read(aave_v3, chain, market, market.pool).position(market.pool)
    for action in (
        AddCollateral(position=position.id, amount=amount(chain, "USDC", USDC)),
        Repay(position=position.id, amount=amount(chain, "WETH", ETHER)),
        Repay(position=position.id, amount=amount(chain, "USDC", 0)),
        Repay(position=other.id, amount=amount(chain, "USDC", USDC)),
    ):
        with pytest.raises(aave_v3.ImpossibleActionError):
            aave_v3.predict(action, position, position.timestamp)
        with pytest.raises(aave_v3.ImpossibleActionError):
            aave_v3.encode(action, position)


def test_matches__another_action_came_between__names_the_differences(
    chain: LocalChain, market: aave_v3.AaveMarket, alice: Address
) -> None:
    before = read(aave_v3, chain, market, alice).position(alice)
    chain.open_position(alice, collateral={"WETH": 1, "WBTC": 1}, debt={})
    after = read(aave_v3, chain, market, alice)
    differences = aave_v3.matches(after.revalued(before), after.position(alice))
    assert [re.split(r"[ :]", line)[0] for line in differences] == [
        "health",
        "collateral_usd8",
        "WBTC",
        "WETH",
    ]


# -- liquidation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "close_factor"), [(1_074_00000000, 5_000), (1_030_00000000, 10_000)]
)
def test_liquidation_terms__below_one__are_what_a_liquidation_takes(
    chain: LocalChain,
    market: aave_v3.AaveMarket,
    alice: Address,
    price: int,
    close_factor: int,
) -> None:
    """9,000 USDC against 10 WETH at 82.5 %: health 0.985 at 1,074 USD and 0.944 at 1,030."""
    chain.set_price("WETH", price)
    position = read(aave_v3, chain, market, alice).position(alice)
    terms = aave_v3.liquidation_terms(position)
    assert (terms.close_factor, terms.liquidation_penalty) == (close_factor, 500)
    lara, pool = chain.account("lara").address, chain.contracts.aave.pool
    weth, usdc = chain.contracts.tokens["WETH"].address, chain.contracts.tokens["USDC"]
    chain.mint("USDC", lara, 20_000 * USDC)
    chain.transact(lara, usdc, "approve", market.pool, MAX_UINT256)
    owed = position.accrued(chain.timestamp() + BLOCK_SECONDS).debts[0].raw
    everything = (weth, usdc.address, alice, MAX_UINT256, False)
    chain.transact(lara, pool, "liquidationCall", *everything)
    paid = 20_000 * USDC - chain.read(usdc, "balanceOf", lara)
    assert paid == percent_mul_half_up(owed, terms.close_factor)
    seized = chain.read(chain.contracts.tokens["WETH"], "balanceOf", lara)
    worth = seized * price / ETHER
    # The pool's treasury keeps 10 % of the penalty of 5 %.
    assert worth == pytest.approx(paid * 99_984000 / USDC * 1.045, rel=1e-6)
