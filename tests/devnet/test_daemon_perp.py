"""What the daemon does for perp accounts on the real contracts, judged by the chain."""

import json
from dataclasses import dataclass

import pytest

from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.proxy import RecordingProxy
from keeper.model.units import WAD, Address
from tests.devnet.keeping.ground import Ground

USDC = 10**6
POLICY = """\
[policies.perp]
floor = 1.6
target = 2.0
max_per_action_usd = 100_000
max_per_day_usd = 200_000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpGround:
    """A trader at about five times, and a keeper that watches the account."""

    ground: Ground
    perp: PerpMarket
    account: Address

    def health(self) -> float:
        contracts, chain = self.perp.perp, self.perp.chain
        value = chain.read(contracts.clearing_house, "getAccountValue", self.account)
        required = chain.read(
            contracts.account_balance, "getMarginRequirementForLiquidation", self.account
        )
        return float(value / required)

    def fall(self, share: float) -> None:
        """Index and pool fall in two steps, each with half an hour for the mark to follow: the
        exchange lets nobody move a pool by more than a tenth at once."""
        chain = self.perp.chain
        arbitrageur = chain.account("perp_arbitrageur").address
        for fallen in (share / 2, share):
            price = 2_281.37 * (1 - fallen)
            chain.set_price("WETH", round(price * 10**8))
            data = self.perp.steering("vETH", price)
            assert data is not None
            chain.send(arbitrageur, self.perp.perp.clearing_house.address, data)
            chain.mine(chain.timestamp() + 12)
            chain.mine(chain.timestamp() + 1_800)


@pytest.fixture
def made(ground: Ground, perp: PerpMarket) -> PerpGround:
    trader = ground.chain.account("trader")
    perp.deposit(trader.address, "USDC", 2_000 * USDC)
    perp.trade(trader.address, "vETH", quote=10_000 * WAD)
    position = (
        f'label = "long"\nmarket = "perp"\naccount = "{trader.address}"\n'
        'policy = "perp"\nsigner = "trader"'
    )
    ground.sections += [perp.toml(), f"{POLICY}[signers.trader]", f"[[positions]]\n{position}"]
    ground.environ["KEEPER_SIGNERS__TRADER__PRIVATE_KEY"] = trader.private_key
    ground.first_block = ground.block() + 1
    return PerpGround(ground=ground, perp=perp, account=trader.address)


async def test_daemon__long_below_its_floor__adds_margin_exactly(made: PerpGround) -> None:
    ground = made.ground
    ground.chain.mint("USDC", made.account, 5_000 * USDC)
    made.fall(0.12)
    assert 1 < made.health() < 1.6
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="AddMargin")
        await ground.until_concluded(running)
        status = json.loads((await ground.ask("status", "--json")).output)
    assert proxy.recording.reads_per_block() <= 2
    assert made.health() == pytest.approx(2.0, rel=0.01)
    assert ground.flaws() == []
    (one,) = status["positions"]
    decision = next(each for each in ground.decisions() if each.approved)
    explained = json.loads((await ground.ask("explain", str(decision.id), "--json")).output)
    inputs = explained["document"]["inputs"]
    assert 1.2 < inputs["margin_health"] < 1.6
    assert inputs["equity_usd"] * inputs["leverage"] == pytest.approx(inputs["notional_usd"])
    assert inputs["maintenance_margin_usd"] == pytest.approx(inputs["notional_usd"] / 16)
    assert one["label"] == "long"
    assert one["breach_probability"] is not None


async def test_daemon__empty_wallet__refuses_with_the_reason_and_sends_nothing(
    made: PerpGround,
) -> None:
    made.fall(0.12)
    ground = made.ground
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await ground.pass_block(running)
    (decision, *_) = ground.decisions()
    assert not decision.approved
    assert "AddMargin USDC: the reserve holds no USDC" in decision.reason
    assert proxy.recording.broadcasts() == 0


async def test_daemon__position_closed_meanwhile__is_idle(made: PerpGround) -> None:
    contracts, ground = made.perp.perp, made.ground
    token = contracts.base_tokens["vETH"].address
    close = (token, 0, 0, 2**64, bytes(32))
    made.perp.chain.transact(made.account, contracts.clearing_house, "closePosition", close)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await ground.pass_block(running)
        status = json.loads((await ground.ask("status", "--json")).output)
    assert status["positions"][0]["note"] == "idle: no position"
    assert ground.decisions() == []


async def test_commands__perp_position__speak_of_margin(made: PerpGround) -> None:
    made.ground.chain.mint("USDC", made.account, 5_000 * USDC)
    made.fall(0.12)
    ground = made.ground
    ground.config(ground.chain.rpc_url, None)
    said = await ground.ask("check")
    checked = " ".join(said.output.split())
    assert "the reserve of 5,000 USD holds the floor until the price has fallen by" in checked
    assert "keeper act topup --simulate" in checked
    added = await ground.ask("act", "topup", "--usd", "500", "--simulate")
    assert added.exit_code == 0, added.log(added.output)
    assert "AddMargin 500" in added.output
    smaller = await ground.ask("act", "deleverage", "--simulate")
    assert "only a guardian may make a position smaller" in smaller.output + smaller.text
    repaid = await ground.ask("act", "repay", "--simulate")
    assert "a perp account has no debt to pay back" in repaid.output + repaid.text
