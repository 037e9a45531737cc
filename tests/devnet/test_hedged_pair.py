"""A loan against ether and a short of ether, told as one exposure by the command line."""

import json

import pytest

from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.proxy import RecordingProxy
from keeper.model.units import WAD
from tests.devnet.keeping.ground import Ground

USDC = 10**6
POLICY = "floor = 1.05\ntarget = 1.2\nmax_per_action_usd = 100_000\nmax_per_day_usd = 200_000"


@pytest.fixture
def pair(ground: Ground, perp: PerpMarket) -> Ground:
    """10 WETH at health 1.375 against dollars, and a short of 10 on 6,000 dollars of margin."""
    loan = ground.guard("loan", health="1.375", floor=1.05, target=1.2)
    account = loan.account
    perp.deposit(account.address, "USDC", 6_000 * USDC)
    perp.trade(account.address, "vETH", base=-10 * WAD)
    position = (
        f'label = "short"\nmarket = "perp"\naccount = "{account.address}"\n'
        'policy = "short"\nsigner = "loan"'
    )
    ground.sections += [
        perp.toml(),
        f"[policies.short]\n{POLICY}",
        f"[[positions]]\n{position}",
    ]
    return ground


async def test_forecast__hedged_pair__is_told_as_one_exposure(pair: Ground) -> None:
    async with RecordingProxy(pair.chain.rpc_url, pair.chain.ws_url) as proxy:
        pair.config(proxy.http_url, None)
        told = json.loads((await pair.ask("forecast", "--json")).output)
        shown = (await pair.ask("forecast")).output
    both = told["together"]
    assert set(both["legs"]) == {"loan", "short"}
    ether = {each["asset"]: each["tokens"] for each in both["deltas"]}["ETH"]
    assert ether == pytest.approx(0.0, abs=1e-6)
    assert both["hedges"] == []
    assert {shock["asset"] for shock in both["shocks"]} == {"ETH"}
    shocks = {shock["move"]: shock for shock in both["shocks"] if shock["asset"] == "ETH"}
    # A fall hurts the loan and helps the short, a rise the other way round; the two as one hold.
    assert shocks[-0.3]["healths"]["loan"] < 1.0 < shocks[-0.3]["joint"]
    assert shocks[-0.3]["healths"]["short"] > shocks[-0.1]["healths"]["short"]
    assert shocks[0.3]["healths"]["short"] < 1.0 < shocks[0.3]["joint"]
    assert shocks[0.3]["healths"]["loan"] > shocks[0.1]["healths"]["loan"]
    week = [each["horizons"][-1]["breach_probability"] for each in told["positions"]]
    assert both["chances"][-1]["breach_probability"] < min(week)
    assert "together" in shown
    assert "ETH -30 %" in shown


async def test_forecast__short_closed__suggests_the_hedge_and_sends_nothing(
    pair: Ground, perp: PerpMarket
) -> None:
    trader = next(one for one in pair.guarded).account.address
    perp.trade(trader, "vETH", base=8 * WAD)
    async with RecordingProxy(pair.chain.rpc_url, pair.chain.ws_url) as proxy:
        pair.config(proxy.http_url, None)
        both = json.loads((await pair.ask("forecast", "--json")).output)["together"]
        shown = (await pair.ask("forecast")).output
        assert proxy.recording.broadcasts() == 0
    (hedge,) = both["hedges"]
    assert (hedge["asset"], hedge["side"], hedge["where"]) == ("ETH", "sell", "vETH of perp")
    assert hedge["tokens"] == pytest.approx(8.0, abs=1e-6)
    assert "keeper never does so by itself" in shown
