"""The daemon behind an endpoint that is slow, deaf, forgetful or poorer than others."""

import pytest

from keeper.devnet.proxy import Gate, RecordingProxy
from keeper.devnet.recording import CHAIN, POLL, SEND
from tests.devnet.keeping.gates import Lost, Outage, Unheard, WithoutMethod, carries, nth
from tests.devnet.keeping.ground import DEADLINE_BLOCKS, Ground, target_of

SIMULATION = "eth_simulateV1"


async def test_endpoint__down_for_a_while__protection_resumes(ground: Ground) -> None:
    one = ground.guard(health="1.30")
    outage = Outage(down=False)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, outage) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("pass.done")
        outage.down = True
        ground.chain.set_price("WETH", 2_100_00000000)
        await running.said("heads.poll_failed")
        await running.said("heads.poll_failed")
        assert ground.events(one) == []
        outage.down = False
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
    assert len(ground.events(one)) == 1
    assert ground.health(one) >= target_of(one)


async def test_endpoint__no_websocket__polls(ground: Ground) -> None:
    one = ground.guard()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live", ws=False) as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
        assert proxy.recording.heads == []
    assert len(ground.events(one)) == 1


async def test_endpoint__frames_do_not_come__polling_overtakes_them(ground: Ground) -> None:
    ground.guard(health="1.50")
    unheard = Unheard()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, unheard) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await unheard.subscribed()
        unheard.from_block = 2**63
        await ground.pass_block(running)


async def test_endpoint__heads_missed__are_noticed_and_filled_in(ground: Ground) -> None:
    ground.settings["poll_interval_s"] = 60
    ground.guard(health="1.50")
    unheard = Unheard()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, unheard) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await unheard.subscribed()
        await running.said("pass.done")
        missed = [2_290_00000000, 2_270_00000000, 2_300_00000000]
        unheard.from_block = ground.block() + len(missed) + 1
        for price in missed:
            ground.chain.set_price("WETH", price)
        ground.chain.mine()
        await running.said("heads.missed", count=len(missed), block=ground.block())
        await running.said("pass.done", block=ground.block())
        await running.said("heads.backfilled", blocks=len(missed))
        asked = [post.methods for post in proxy.recording.posts]
        assert (CHAIN, *(POLL,) * len(missed)) in asked
        # The forecast has every round that was published meanwhile.
        stored = ground.query("SELECT answer FROM feed_rounds ORDER BY updated_at, round_id")
        assert [int(answer) for answer in stored][-len(missed) :] == missed


async def test_endpoint__cannot_simulate__tries_by_state_override_and_acts_as_exactly(
    ground: Ground,
) -> None:
    one = ground.guard()
    gate = WithoutMethod(SIMULATION)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("simulation.by_state_override")
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
        assert target_of(one) <= ground.health(one) <= target_of(one) * 101 // 100
        ground.chain.set_price("WETH", 1_900_00000000)
        await running.said("transaction.sent", purpose="Repay")
        assert proxy.recording.reads_per_block() <= 2
        await ground.until_concluded(running)
        # Asked for once, not at every action.
        asked = [post for post in proxy.recording.posts if SIMULATION in post.methods]
        assert len(asked) == 1
    assert len(ground.events(one)) == 2
    assert ground.flaws() == []


async def test_endpoint__loses_a_preparation__it_is_repeated(ground: Ground) -> None:
    one = ground.guard()
    lost = Lost(carries(SIMULATION))
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, lost) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
    assert lost.lost == 1
    assert len(ground.events(one)) == 1


@pytest.mark.parametrize("answer", [False, True], ids=["on-its-way", "its-answer"])
@pytest.mark.parametrize("transaction", [1, 2], ids=["approval", "action"])
async def test_endpoint__loses_a_broadcast__the_same_bytes_follow_before_the_deadline(
    ground: Ground, transaction: int, answer: bool
) -> None:
    one = ground.guard()
    lost = Lost(nth(transaction, carries(SEND)), answer=answer)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, lost) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.send_failed")
        await ground.until_concluded(running, DEADLINE_BLOCKS)
        sent = [each for post in proxy.recording.posts for each in post.sent]
    assert lost.lost == 1
    assert len(ground.events(one)) == 1
    approval, action = (tx["hash"] for tx in ground.transactions(one))
    assert set(sent) == {approval, action}
    # The action was never sent ahead of an approval that the node might not have.
    assert approval not in sent[sent.index(action) :]
    assert ground.flaws() == []


async def test_endpoint__drops_a_waiting_transaction__it_is_sent_again(ground: Ground) -> None:
    one = ground.guard()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, Gate()) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        ground.chain.rpc.call("anvil_dropAllTransactions")
        await ground.pass_block(running)
        await ground.until_concluded(running)
    assert len(ground.events(one)) == 1
    assert len(ground.decisions()) == 1


async def test_endpoint__reorganises_the_action_away__it_is_done_once_in_the_end(
    ground: Ground,
) -> None:
    ground.settings["confirmations"] = 3
    one = ground.guard()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        await ground.pass_block(running)
        assert len(ground.events(one)) == 1
        ground.chain.rpc.call("anvil_reorg", 1, [])
        assert ground.events(one) == []
        await running.said("heads.reorg")
        await ground.until_concluded(running)
    assert len(ground.events(one)) == 1
    assert len(ground.decisions()) == 1
    assert ground.flaws() == []
