"""SIGKILL at every point of an action: exactly one execution, judged by the chain's events."""

from dataclasses import dataclass

import pytest

from keeper.devnet.proxy import Gate, RecordingProxy
from keeper.devnet.recording import POLL, SEND
from keeper.devnet.views import Repaid
from tests.devnet.keeping.gates import Hold, Pass, carries, nth
from tests.devnet.keeping.ground import DEADLINE_BLOCKS, Ground, Guarded, target_of
from tests.devnet.keeping.process import Keeper
from tests.faults.journals import locked

SIMULATION = "eth_simulateV1"
RECEIPT = "eth_getTransactionReceipt"
LOOK_BACK = "eth_getBlockByHash"
MORE_THAN_A_NODE_KEEPS = 200
"""Blocks; a full node forgets states after 128."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where the daemon is held, and what the journal holds by then: a state per transaction of the
    plan, approval first."""

    method: str
    nth: int = 1
    answer: bool = False
    mined: bool = False
    journal: tuple[str, ...]

    def gate(self) -> Hold:
        return Hold(nth(self.nth, carries(self.method)), answer=self.answer)


POINTS = {
    "before-intent": Point(method=SIMULATION, answer=True, journal=()),
    "intent-of-approval": Point(method=SEND, journal=("signed", "signed")),
    "intent-of-action": Point(method=SEND, nth=2, journal=("signed", "signed")),
    "approval-sent": Point(method=SEND, answer=True, journal=("signed", "signed")),
    "action-sent": Point(method=SEND, nth=2, answer=True, journal=("signed", "signed")),
    "before-receipt": Point(method=RECEIPT, mined=True, journal=("broadcast", "broadcast")),
    "receipt-on-its-way": Point(
        method=RECEIPT, mined=True, answer=True, journal=("broadcast", "broadcast")
    ),
}


@pytest.mark.parametrize("blocks_down", [0, DEADLINE_BLOCKS + 2], ids=["at-once", "past-deadline"])
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
async def test_kill__held_at_a_point__one_execution(
    ground: Ground, point: Point, blocks_down: int
) -> None:
    one = ground.guard()
    gate = point.gate()
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy:
        async with ground.keeper(proxy, "--live") as killed:
            if point.mined:
                await killed.said("transaction.sent", purpose="Repay")
                ground.chain.mine()
            await gate.reached()
            assert states(ground) == point.journal
            await killed.kill()
        for _ in range(blocks_down):
            ground.chain.mine()
        proxy.gate = Gate()
        async with ground.keeper(proxy, "--live") as restarted:
            await ground.until_concluded(restarted)
            assert_protected_once(ground, one, restarted)
            assert await restarted.stop() == 0


@pytest.mark.parametrize("point", ["intent-of-approval", "intent-of-action"])
async def test_kill__deadline_passed_before_the_bytes_left__no_ops_take_the_nonces_first(
    ground: Ground, point: str
) -> None:
    # What was cancelled does not count: the limit per day leaves room for one action of 2241 USD.
    one = ground.guard(max_per_action_usd=2_500, max_per_day_usd=2_500)
    gate = POINTS[point].gate()
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy:
        async with ground.keeper(proxy, "--live") as killed:
            await gate.reached()
            await killed.kill()
        for _ in range(DEADLINE_BLOCKS + 1):
            ground.chain.mine()
        proxy.gate = Gate()
        async with ground.keeper(proxy, "--live") as restarted:
            await ground.until_concluded(restarted)
            assert_protected_once(ground, one, restarted)
    cancelled, done = ground.decisions()
    assert (cancelled.outcome, done.outcome) == ("cancelled", "done")
    no_ops = [tx for tx in cancelled.transactions if tx.purpose == "cancel"]
    assert [tx.nonce for tx in no_ops if tx.block is not None][-1] == cancelled.transactions[
        -1
    ].nonce
    last = max(tx.nonce for tx in cancelled.transactions)
    assert done.transactions[0].nonce == last + 1


async def test_kill__journal_locked_after_the_receipt_was_read__one_execution(
    ground: Ground,
) -> None:
    one = ground.guard()
    hold = Hold(carries(RECEIPT), answer=True)
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, hold) as proxy:
        async with ground.keeper(proxy, "--live") as killed:
            await killed.said("transaction.sent", purpose="Repay")
            ground.chain.mine()
            await hold.reached()
            with locked(ground.journal):
                # The daemon polls on while its store waits: after the second poll from here it has
                # the receipt and cannot write it down.
                proxy.gate = second = Pass(nth(2, carries(POLL)))
                hold.release()
                await second.seen()
                await killed.kill()
        assert states(ground) == ("broadcast", "broadcast")
        proxy.gate = Gate()
        async with ground.keeper(proxy, "--live") as restarted:
            await ground.until_concluded(restarted)
            assert_protected_once(ground, one, restarted)


async def test_kill__again_while_the_result_is_read__one_execution(ground: Ground) -> None:
    one = ground.guard()
    gate = POINTS["action-sent"].gate()
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy:
        async with ground.keeper(proxy, "--live") as killed:
            await gate.reached()
            await killed.kill()
        ground.chain.mine()
        ground.chain.mine()
        # A restarted daemon looks back at the receipt's block, which it has not seen itself.
        proxy.gate = looking_back = Hold(carries(LOOK_BACK))
        async with ground.keeper(proxy, "--live") as killed:
            await looking_back.reached()
            assert states(ground) == ("mined", "mined")
            await killed.kill()
        proxy.gate = Gate()
        async with ground.keeper(proxy, "--live") as restarted:
            await ground.until_concluded(restarted)
            assert_protected_once(ground, one, restarted)


async def test_kill__down_longer_than_the_node_keeps_states__goes_on_protecting(
    ground: Ground,
) -> None:
    one = ground.guard()
    gate = POINTS["action-sent"].gate()
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy:
        async with ground.keeper(proxy, "--live") as killed:
            await gate.reached()
            await killed.kill()
        ground.chain.mine()
        ground.chain.rpc.call("anvil_mine", hex(MORE_THAN_A_NODE_KEEPS))
        proxy.gate = Gate()
        async with ground.keeper(proxy, "--live") as restarted:
            await restarted.said("plan.concluded", succeeded=True)
            assert len(ground.events(one)) == 1
            ground.chain.set_price("WETH", 1_900_00000000)
            await restarted.said("transaction.sent", purpose="Repay")
            ground.chain.mine()
            await restarted.said("plan.concluded", succeeded=True, differences=[])
    assert len(ground.events(one)) == 2


async def test_kill__position_not_configured_any_more__the_others_are_protected(
    ground: Ground,
) -> None:
    ground.guard("gone")
    hold = Hold(carries(SEND))
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, hold) as proxy:
        async with ground.keeper(proxy, "--live") as killed:
            await hold.reached()
            await killed.kill()
        ground.guarded.clear()
        ground.environ.clear()
        one = ground.guard("main")
        proxy.gate = Gate()
        async with ground.keeper(proxy, "--live") as restarted:
            await restarted.said("transaction.sent", purpose="Repay")
            ground.chain.mine()
            await restarted.said("plan.concluded", position="main", succeeded=True)
            assert await restarted.stop() == 0
    assert len(ground.events(one)) == 1


async def test_kill__result_written_and_nothing_after_it__forecast_does_not_act_again(
    ground: Ground,
) -> None:
    wary = ground.guard("wary", health="1.30", floor=1.05, trigger_probability=0.02, horizon="30d")
    other = ground.guard("other", health="1.30")
    hold = Hold(nth(2, carries(SIMULATION)))
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, hold) as proxy:
        async with ground.keeper(proxy, "--live") as killed:
            await killed.said("transaction.sent", purpose="Repay")
            # In one block the first action is mined and the other position falls below its floor:
            # the pass that writes the first result is held at the second simulation.
            ground.chain.set_price("WETH", 2_180_00000000)
            await hold.reached()
            assert ground.query("SELECT succeeded FROM results") == [1]
            await killed.kill()
        proxy.gate = Gate()
        async with ground.keeper(proxy, "--live") as restarted:
            await restarted.said("transaction.sent", purpose="Repay")
            ground.chain.mine()
            await restarted.said("plan.concluded", position="other", succeeded=True)
            await ground.pass_block(restarted)
    assert ground.health(wary) < target_of(wary)
    assert len(ground.events(wary)) == 1
    assert len(ground.events(other)) == 1


def states(ground: Ground) -> tuple[str, ...]:
    """Of the journal's intents, in the order of their nonces."""
    return tuple(ground.query("SELECT state FROM intents ORDER BY id"))


def assert_protected_once(ground: Ground, one: Guarded, keeper: Keeper) -> None:
    """By the chain: one repayment, every nonce used once, the target reached, nothing left to
    happen. By the journal: nothing open, nothing worse, nothing but what was predicted."""
    (event,) = ground.events(one)
    assert isinstance(event, Repaid)
    mined = ground.transactions(one)
    first = int(mined[0]["nonce"], 16)
    assert [int(tx["nonce"], 16) for tx in mined] == list(range(first, first + len(mined)))
    assert first + len(mined) == ground.nonce(one) == ground.nonce(one, "pending")
    assert {tx["status"] for tx in mined} == {"0x1"}
    (block,) = (tx["blockNumber"] for tx in mined if tx["hash"] == event.transaction)
    assert target_of(one) <= ground.health(one, block) <= target_of(one) * 101 // 100
    assert ground.allowance(one, "USDC") == 0
    assert ground.open() == [], keeper.log()
    assert ground.flaws() == [], keeper.log()
