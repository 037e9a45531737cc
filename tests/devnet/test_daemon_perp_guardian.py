"""What the daemon does through a perp guardian, with a key that owns nothing but gas."""

import json
from dataclasses import dataclass

import pytest

from keeper.devnet.chain import FIRST_IN_BLOCK
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.proxy import RecordingProxy
from keeper.model.units import WAD
from tests.devnet.keeping.gates import Hold, carries
from tests.devnet.keeping.ground import Ground
from tests.guardian.perp_ground import PerpGround, perp_ground

POLICY = """\
[policies.perp]
floor = 1.3
target = 1.5
max_per_action_usd = 100_000
max_per_day_usd = 200_000
"""

DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward:
    """A long of ether at nearly ten times, whose guardian may make it smaller, at health 1.2."""

    ground: Ground
    perp: PerpGround

    @property
    def belongings(self) -> dict[str, int]:
        """Of the keeper's account."""
        chain = self.ground.chain
        return {
            symbol: int(chain.read(token, "balanceOf", self.perp.keeper))
            for symbol, token in chain.contracts.tokens.items()
        }


@pytest.fixture
def made(ground: Ground, perp: PerpMarket) -> Ward:
    # Trading costs, so that a guardian ends below its own target: it lies above the policy's.
    one = perp_ground(perp, target=153 * WAD // 100)
    keeper = ground.chain.account("keeper")
    position = (
        f'label = "long"\nmarket = "perp"\naccount = "{one.owner}"\n'
        f'policy = "perp"\nsigner = "perp"\nguardian = "{one.guardian.address}"'
    )
    ground.sections += [perp.toml(), f"{POLICY}[signers.perp]", f"[[positions]]\n{position}"]
    ground.environ = {"KEEPER_SIGNERS__PERP__PRIVATE_KEY": keeper.private_key}
    price = one.index() / WAD
    one.move(price * 0.975)
    ground.first_block = ground.block() + 1
    return Ward(ground=ground, perp=one)


async def test_daemon__perp_guardian_and_no_reserve__reduces_the_position_as_predicted(
    made: Ward,
) -> None:
    ground, one = made.ground, made.perp
    size = one.size()
    assert WAD < one.health < 13 * WAD // 10
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="ReducePosition")
        await ground.until_concluded(running)
        assert proxy.recording.reads_per_block() <= 2
    assert 0 < one.size() < size
    assert 15 * WAD // 10 <= one.health < 153 * WAD // 100
    assert set(made.belongings.values()) == {0}
    decision = next(each for each in ground.decisions() if each.approved)
    assert decision.as_predicted
    assert [each.purpose for each in decision.transactions] == ["ReducePosition"]
    explained = json.loads((await ground.ask("explain", str(decision.id), "--json")).output)
    (chosen,) = (o for o in explained["document"]["options"] if o["verdict"] == "chosen")
    assert chosen["source"] == "pool"
    assert ground.flaws() == []


async def test_daemon__perp_guardian_with_a_reserve__adds_margin_first(made: Ward) -> None:
    ground, one = made.ground, made.perp
    one.fund(5_000 * 10**6)
    ground.first_block = ground.block() + 1
    size = one.size()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="AddMargin")
        await ground.until_concluded(running)
    assert one.size() == size
    assert one.health == pytest.approx(15 * WAD // 10, rel=0.001)
    assert set(made.belongings.values()) == {0}
    assert ground.flaws() == []


async def refused(ground: Ground, *, alert: str | None = None) -> str:
    """Why a live keeper sends nothing."""
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        if alert is not None:
            await running.said("alert.raised", alert=alert)
        plan = await running.said("plan.refused")
        await ground.pass_block(running)
        assert proxy.recording.broadcasts() == 0
    return str(plan["reason"])


async def test_daemon__market_that_the_mandate_does_not_list__is_refused_and_nothing_sent(
    made: Ward,
) -> None:
    ground, one = made.ground, made.perp
    one.set_mandate(collaterals=(one.base_token("vBTC"),))
    assert "the mandate does not list vETH" in await refused(ground)


async def test_daemon__position_not_delegated__is_refused_in_words_and_nothing_sent(
    made: Ward,
) -> None:
    ground, one = made.ground, made.perp
    one.delegate("revoke")
    assert "has not delegated its positions" in await refused(ground)


async def test_daemon__market_paused_by_its_venue__is_refused_and_nothing_sent(made: Ward) -> None:
    ground, one = made.ground, made.perp
    owner = ground.chain.account("deployer").address
    ground.chain.transact(owner, one.perp.perp.base_tokens["vETH"], "pause")
    assert "trading in vETH is paused" in await refused(ground, alert="market.halted")


async def test_daemon__pool_further_from_the_index_than_allowed__is_refused_before_it_is_tried(
    made: Ward,
) -> None:
    ground, one = made.ground, made.perp
    one.move_pool(one.index() / WAD * 0.97)
    assert "its pool is further from the index than the" in await refused(ground)


async def test_check__preset_that_would_act_above_the_mandate__tells_so(made: Ward) -> None:
    preset = 'preset = "balanced"\n'
    made.ground.sections = [
        each.replace("floor = 1.3\ntarget = 1.5\n", preset) for each in made.ground.sections
    ]
    made.ground.config(made.ground.chain.rpc_url, None)
    lines = json.loads((await made.ground.ask("check", "--json")).output)["lines"]
    (line,) = (each for each in lines if each["topic"] == "mandate long")
    # The preset's least floor of a perp is 2.15, above all that the mandate allows.
    assert line["verdict"] == "fail"
    assert "the policy wants to act sooner than the owner allowed" in line["what"]


async def test_daemon__index_feed_is_stale_and_no_reserve__tries_no_order(made: Ward) -> None:
    ground, one = made.ground, made.perp
    size = one.size()
    ground.chain.mine(ground.chain.timestamp() + DAY_S)
    assert WAD < one.health < 13 * WAD // 10
    reason = await refused(ground, alert="oracle.stale")
    assert "no swaps: " in reason
    assert "has not been updated for" in reason
    assert one.size() == size


async def test_daemon__index_feed_is_stale_and_a_reserve__pays_margin_in_and_tries_no_order(
    made: Ward,
) -> None:
    ground, one = made.ground, made.perp
    # Too little to leave the danger: an order would have to follow.
    one.move(one.index() / WAD * 0.99)
    one.fund(60 * 10**6)
    size = one.size()
    ground.chain.mine(ground.chain.timestamp() + DAY_S)
    ground.first_block = ground.block() + 1
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("alert.raised", alert="oracle.stale")
        await running.said("transaction.sent", purpose="AddMargin")
        ground.chain.mine()
        await running.said("plan.concluded", succeeded=True)
        assert "no swaps: " in (await running.said("plan.refused"))["reason"]
        await ground.pass_block(running)
        assert proxy.recording.broadcasts() == 1
    assert one.size() == size
    assert one.balance(one.owner) == 0
    assert ground.flaws() == []


async def test_daemon__position_closed_while_an_order_is_tried__order_is_withdrawn(
    made: Ward,
) -> None:
    """What is tried is the block that was read. The next one shows the position closed."""
    ground, one = made.ground, made.perp
    hold = Hold(carries("eth_simulateV1"))
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, hold) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await hold.reached()
        close = (one.base_token(), 0, 0, 2**64, bytes(32))
        house = one.perp.perp.clearing_house
        ground.chain.transact(one.owner, house, "closePosition", close)
        hold.release()
        await running.said("transaction.sent", purpose="ReducePosition")
        await running.said("transaction.sent", purpose="cancel")
        while ground.open():
            await ground.pass_block(running)
        await ground.pass_block(running)
        status = json.loads((await ground.ask("status", "--json")).output)
        assert proxy.recording.broadcasts() == 2
    assert one.size() == 0
    (decision,) = ground.decisions()
    assert decision.outcome == "cancelled"
    assert status["positions"][0]["note"] == "idle: no position"
    assert ground.flaws() == []


async def test_daemon__position_closed_in_the_block_before_the_order__reverts_and_changes_nothing(
    made: Ward,
) -> None:
    """What no reading can foresee; the guardian finds no danger any more."""
    ground, one = made.ground, made.perp
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="ReducePosition")
        close = (one.base_token(), 0, 0, 2**64, bytes(32))
        data = one.perp.perp.clearing_house.encode("closePosition", close)
        # In the same block, and before it: it pays more.
        ground.chain.send(one.owner, one.market, data, fees=FIRST_IN_BLOCK)
        while ground.open():
            await ground.pass_block(running)
    assert one.size() == 0
    (decision,) = ground.decisions()
    assert [each.state for each in decision.transactions] == ["reverted"]
    assert decision.outcome == "reverted"
    assert ground.flaws() == []
