"""One test per named error: what is refused, with which figures."""

from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.devnet.artifacts import Artifacts
from keeper.devnet.chain import LocalChain
from keeper.devnet.rpc import RpcError
from keeper.devnet.toolchain import Toolchain
from keeper.model.units import WAD
from tests.devnet.support import create
from tests.guardian.ground import (
    BTC,
    CONTENT,
    DAY_S,
    DOLLAR,
    USDC,
    WETH_USDC,
    Ground,
    Refusal,
    artifact,
    refused_with,
)


def setting(made: Ground, **changes: Any) -> Refusal:
    """How the owner is refused a mandate with these fields."""
    words = made.changed(**changes).words()
    return made.refusal(made.owner, "set_mandate", made.market, words)


# -- deploying, and who may do what -------------------------------------------------------------------


def test_owner_missing(chain: LocalChain) -> None:
    code = artifact().creation_code({}, ZERO_ADDRESS).hex()
    sender = chain.account("anyone").address
    with pytest.raises(RpcError) as caught:
        chain.rpc.call("eth_call", {"from": sender, "data": "0x" + code}, "latest")
    assert refused_with(caught.value) == ("OwnerMissing", (ZERO_ADDRESS, 0))


@pytest.mark.parametrize("function", ["set_mandate", "revoke_mandate", "unfreeze"])
def test_not_owner(made: Ground, function: str) -> None:
    terms = [made.mandate.words()] if function == "set_mandate" else []
    refusal = made.refusal(made.keeper, function, made.market, *terms)
    assert refusal == ("NotOwner", (made.keeper.lower(), made.owner.lower()))


@pytest.mark.parametrize("call", ["add_collateral", "repay", "deleverage"])
def test_not_keeper(made: Ground, call: str) -> None:
    arguments = {
        "add_collateral": made.add_collateral("WETH"),
        "repay": made.repay("USDC"),
        "deleverage": made.deleverage(),
    }[call]
    thief = made.chain.account("thief").address
    refusal = made.refusal(thief, *arguments)
    assert refusal == ("NotKeeper", (thief.lower(), made.keeper.lower()))


def test_unknown_market(made: Ground) -> None:
    elsewhere = made.chain.account("nothing here").address
    refused = ("UnknownMarket", (elsewhere.lower(), 0))
    usdc = made.token("USDC").address
    assert made.refusal(made.keeper, "repay", elsewhere, made.hash, usdc, 1) == refused
    assert made.refusal(made.owner, "set_mandate", elsewhere, made.mandate.words()) == refused
    assert made.refusal(made.owner, "revoke_mandate", elsewhere) == refused
    assert made.refusal(made.keeper, "mandate", elsewhere) == refused
    made.send(made.owner, "revoke_mandate", made.market)
    assert made.refusal(made.keeper, *made.repay("USDC")).figures[1] == 2


def test_stale_mandate(made: Ground) -> None:
    old = made.hash
    made.set_mandate()
    made.hash, current = old, made.hash
    assert made.refusal(made.keeper, *made.repay("USDC")) == ("StaleMandate", (old, current))


def test_mandate_expired(made: Ground) -> None:
    expiry = made.chain.timestamp() + DAY_S
    made.set_mandate(expiry=expiry)
    made.chain.mine(expiry + 5)
    name, figures = made.refusal(made.keeper, *made.repay("USDC"))
    assert (name, figures[0]) == ("MandateExpired", expiry)


def test_no_emergency_call(made: Ground) -> None:
    refusal = made.refusal(made.keeper, "emergency", made.market)
    assert refusal == ("NoEmergencyCall", (made.market.lower(), 0))


# -- what a mandate may not say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name", "figures"),
    [
        ({"max_health_to_act": WAD}, "MaxHealthTooLow", (WAD, WAD)),
        ({"target": 124 * WAD // 100}, "TargetOutOfRange", (124 * WAD // 100, 125 * WAD // 100)),
        ({"target": 101 * WAD}, "TargetOutOfRange", (101 * WAD, 125 * WAD // 100)),
        ({"emergency_health": 2 * WAD}, "EmergencyHealthTooHigh", (2 * WAD, 125 * WAD // 100)),
        ({"slippage_calm_bps": 201}, "SlippageOutOfOrder", (201, 200)),
        ({"slippage_urgent_bps": 251}, "SlippageAboveHalfBonus", (251, 250)),
        ({"limit_max": 0}, "LimitOutOfRange", (0, DOLLAR)),
        ({"limit_max": 2**128}, "LimitOutOfRange", (2**128, DOLLAR)),
        ({"min_action": 100_001 * DOLLAR}, "MinActionAboveLimit", (100_001 * DOLLAR, 10**13)),
        ({"expiry": 2**64}, "ExpiryOutOfRange", None),
        ({"expiry": 0}, "ExpiryOutOfRange", None),
        ({"max_hops": 4}, "HopsOutOfRange", (4, 3)),
    ],
)
def test_mandate__field_out_of_range(
    made: Ground, changes: dict[str, Any], name: str, figures: tuple[int, ...] | None
) -> None:
    refusal = setting(made, **changes)
    assert refusal.name == name
    assert figures in (None, refusal.figures)


def test_keeper_missing(made: Ground) -> None:
    refusal = setting(made, keeper=ZERO_ADDRESS)
    assert refusal == ("KeeperMissing", (ZERO_ADDRESS, made.market.lower()))


def test_unknown_asset(made: Ground) -> None:
    stranger = made.a_token("WETH").address
    refused = ("UnknownAsset", (stranger, made.market.lower()))
    assert setting(made, collaterals=(stranger,)) == refused
    call = ("repay", made.market, made.hash, stranger, 1)
    assert made.refusal(made.keeper, *call) == refused


@pytest.mark.parametrize("limits", [(2**112, 0), (0, 2**96)])
def test_consent__limits_out_of_range(made: Ground, limits: tuple[int, int]) -> None:
    refusal = made.refusal(made.keeper, "consent", made.market, *limits, 0)
    assert refusal == ("LimitOutOfRange", limits)


def test_consent__expiry_out_of_range(made: Ground) -> None:
    refusal = made.refusal(made.keeper, "consent", made.market, 1, 1, 2**48)
    assert refusal.name == "ExpiryOutOfRange"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"emergency_collateral": ZERO_ADDRESS}, "CollateralNotAllowed"),
        ({"emergency_route": ()}, "HopsOutOfRange"),
        ({"emergency_debt": ZERO_ADDRESS}, "RouteBroken"),
        ({"pools": ()}, "PoolNotAllowed"),
    ],
)
def test_mandate__emergency_route_that_leads_nowhere(
    made: Ground, changes: dict[str, Any], name: str
) -> None:
    route = {
        "emergency_health": WAD,
        "emergency_collateral": made.token("WETH").address,
        "emergency_debt": made.token("USDC").address,
        "emergency_route": (made.pool(*WETH_USDC).address,),
    }
    made.set_mandate(**route)
    assert setting(made, **(route | changes)).name == name


def test_mandate__emergency_route_that_ends_at_another_collateral(made: Ground) -> None:
    refusal = setting(
        made,
        emergency_health=WAD,
        emergency_collateral=made.token("WETH").address,
        emergency_debt=made.token("USDC").address,
        emergency_route=(made.pool("WBTC", "USDC", 3_000).address,),
    )
    figures = (made.token("WBTC").address.lower(), made.token("WETH").address.lower())
    assert refusal == ("RouteBroken", figures)


# -- what an action may not do -------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["add_collateral", "repay", "deleverage"])
def test_health_too_high(made: Ground, call: str) -> None:
    made.fund("USDC", USDC)
    made.drop("WETH", 2_600 * DOLLAR)
    arguments = {
        "add_collateral": made.add_collateral("WETH"),
        "repay": made.repay("USDC"),
        "deleverage": made.deleverage(),
    }[call]
    refusal = made.refusal(made.keeper, *arguments)
    assert refusal == ("HealthTooHigh", (made.health, 125 * WAD // 100))


def test_no_reserve(made: Ground) -> None:
    refused = ("NoReserve", (made.market.lower(), ZERO_ADDRESS))
    assert made.refusal(made.keeper, *made.repay("USDC")) == refused
    assert made.refusal(made.keeper, *made.add_collateral("WETH")) == refused


@pytest.mark.parametrize("call", ["repay", "deleverage"])
def test_no_debt(made: Ground, call: str) -> None:
    made.fund("DAI", 100 * WAD)
    dai = {
        "repay": made.repay("DAI"),
        "deleverage": made.deleverage("WETH", "DAI", WETH_USDC, ("DAI", "USDC", 100)),
    }[call]
    refused = ("NoDebt", (made.token("DAI").address.lower(), 0))
    assert made.refusal(made.keeper, *dai) == refused


def test_allowance_too_small(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    made.allow(made.token("USDC"), 49 * USDC)
    name, (allowance, wanted) = made.refusal(made.keeper, *made.repay("USDC"))
    assert (name, allowance) == ("AllowanceTooSmall", 49 * USDC)
    assert wanted > 3_000 * USDC


def test_allowance_too_small__of_a_tokens(made: Ground) -> None:
    made.allow(made.a_token("WETH"), WAD // 1_000)
    name, (allowance, wanted) = made.refusal(made.keeper, *made.deleverage())
    assert name == "AllowanceTooSmall"
    assert allowance < 3 * USDC < wanted


def test_balance_too_small(made: Ground) -> None:
    made.fund("WETH", WAD // 100)
    made.allow(made.token("WETH"), WAD)
    name, (balance, _) = made.refusal(made.keeper, *made.add_collateral("WETH"))
    assert (name, balance) == ("BalanceTooSmall", WAD // 100)


def test_limit_reached(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    made.set_mandate(limit_max=100 * DOLLAR, limit_per_second=0)
    made.send(made.keeper, *made.repay("USDC", 60 * USDC))
    refused = ("LimitReached", (made.available, 50 * DOLLAR))
    assert made.refusal(made.keeper, *made.repay("USDC")) == refused
    assert made.refusal(made.keeper, *made.deleverage()) == refused


def test_action_too_small(made: Ground) -> None:
    made.fund("USDC", 10_000 * USDC)
    refused = ("ActionTooSmall", (49_99200000, 50 * DOLLAR))
    assert made.refusal(made.keeper, *made.repay("USDC", 50 * USDC)) == refused
    assert made.refusal(made.keeper, *made.deleverage(most=0)) == (
        "ActionTooSmall",
        (0, 50 * DOLLAR),
    )


def test_asset_without_price(chain: LocalChain, toolchain: Toolchain, made: Ground) -> None:
    """A feed that answers zero sends Aave's oracle to its second source, which knows none either."""
    artifacts = Artifacts(node_modules=toolchain.node_modules)
    fallback = create(chain, artifacts.aave("mocks/oracle/PriceOracle"))
    admin = chain.account("deployer").address
    chain.transact(admin, chain.contracts.aave.oracle, "setFallbackOracle", fallback.address)
    made.fund("WBTC", BTC)
    chain.set_price("WBTC", 0)
    refused = ("AssetWithoutPrice", (made.token("WBTC").address.lower(), 0))
    assert made.refusal(made.keeper, *made.add_collateral("WBTC")) == refused
    route = (("WBTC", "WETH", 500), ("WBTC", "USDC", 3_000))
    assert made.refusal(made.keeper, *made.deleverage("WETH", "USDC", *route)) == refused


# -- what a swap may not do ------------------------------------------------------------------------------


def test_collateral_not_allowed(made: Ground) -> None:
    call = made.deleverage("WBTC", "USDC", ("WBTC", "USDC", 3_000))
    refused = ("CollateralNotAllowed", (made.token("WBTC").address.lower(), made.market.lower()))
    assert made.refusal(made.keeper, *call) == refused


def test_pool_not_allowed(made: Ground) -> None:
    made.set_mandate(pools=(made.pool("WETH", "USDC", 3_000).address,))
    pool = made.pool(*WETH_USDC).address
    refused = ("PoolNotAllowed", (pool.lower(), made.market.lower()))
    assert made.refusal(made.keeper, *made.deleverage()) == refused


def test_pool_not_allowed__the_zeros_that_fill_the_list(made: Ground) -> None:
    *call, _, flash_loan = made.deleverage()
    refusal = made.refusal(made.keeper, *call, [ZERO_ADDRESS], flash_loan)
    assert refusal == ("PoolNotAllowed", (ZERO_ADDRESS, made.market.lower()))


@pytest.mark.parametrize("hops", [0, 2])
def test_hops_out_of_range(made: Ground, hops: int) -> None:
    made.set_mandate(max_hops=1)
    *call, _, flash_loan = made.deleverage()
    route = [made.pool(*WETH_USDC).address] * hops
    refusal = made.refusal(made.keeper, *call, route, flash_loan)
    assert refusal == ("HopsOutOfRange", (hops, 1))


@pytest.mark.parametrize(
    "keys",
    [
        [("DAI", "USDC", 100)],
        [("WBTC", "WETH", 500)],
        [WETH_USDC, ("WBTC", "WETH", 500)],
        [("WBTC", "USDC", 3_000), ("DAI", "USDC", 100), WETH_USDC],
    ],
)
def test_route_broken(made: Ground, keys: list[Any]) -> None:
    made.set_mandate(max_hops=3)
    assert made.refusal(made.keeper, *made.deleverage("WETH", "USDC", *keys)).name == "RouteBroken"


def test_pool_without_liquidity(chain: LocalChain, made: Ground) -> None:
    """A pool at the right price in which nobody has put anything."""
    uniswap, (weth, usdc) = chain.contracts.uniswap, (made.token("WETH"), made.token("USDC"))
    admin, root = chain.account("deployer").address, chain.read(made.pool(*WETH_USDC), "slot0")[0]
    sides = sorted((weth.address.lower(), usdc.address.lower()))
    chain.transact(
        admin, uniswap.position_manager, "createAndInitializePoolIfNecessary", *sides, 10_000, root
    )
    pool = chain.read(uniswap.factory, "getPool", *sides, 10_000)
    made.set_mandate(pools=(pool,))
    *call, _, flash_loan = made.deleverage()
    name, (received, requested) = made.refusal(made.keeper, *call, [pool], flash_loan)
    assert (name, received) == ("PoolTooThin", 0)
    assert requested > 7_000 * USDC


# -- every error is here ---------------------------------------------------------------------------------


def test_errors__each__is_named_in_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    names = [entry["name"] for entry in CONTENT["abi"] if entry["type"] == "error"]
    assert [name for name in names if f'"{name}"' not in tests] == []
