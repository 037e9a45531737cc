"""When something goes wrong in a pass: who is protected all the same, and what is told of it."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from keeper.chain.rpc import EndpointUnavailableError
from keeper.engine.sight import OtherHeadError
from keeper.model.units import WAD, Wad
from keeper.model.values import Head
from keeper.storage.views import explanation
from tests.unit.fake_rpc import FakeRpc, header, refused
from tests.unit.toy_chain import (
    ALICE,
    BOB,
    DEADLINE_BLOCKS,
    FINALITY_BLOCKS,
    FLOOR_ONLY,
    Ground,
)
from tests.unit.toy_protocol import DOLLAR, market_address


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3", "toy", "other")
    yield ground
    ground.store.close()


# -- one's trouble is not the others' ------------------------------------------------------------


async def test_pass__two_positions_in_danger__are_both_protected_in_one_pass(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    ground.watch(BOB.address)
    await ground.start()
    ground.price(1_850)
    ground.chain.node.rpc.posts.clear()
    await ground.block()
    assert {each.label for each in ground.decisions()} == {"alice@toy", "bob@toy"}
    methods = ground.chain.node.rpc.methods
    # One round trip to read, one to try both plans; then each transaction.
    assert [post[:2] for post in methods] == [
        ["eth_chainId", "eth_call"],
        ["eth_simulateV1", "eth_simulateV1"],
        *[["eth_sendRawTransaction"]] * 4,
    ]


@pytest.mark.parametrize(
    "refuses", [("eth_call", "eth_getTransactionCount"), ("eth_call",)], ids=["all", "calls"]
)
async def test_pass__first_endpoint_has_no_state_while_something_is_open__another_is_read(
    ground: Ground, refuses: tuple[str, ...]
) -> None:
    ground.watch(ALICE.address)
    honest = ground.chain.node.rpc.answers
    second = FakeRpc(dict(honest))
    ground.witnesses.append(second)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    assert len(ground.sent()) == 2
    ground.chain.node.rpc.answers = honest | {
        method: refused(method, -32000, "header not found") for method in refuses
    }
    passes = ground.engine.passes
    await ground.mine()
    assert ground.engine.passes == passes + 1
    (decision,) = ground.decisions()
    assert decision.outcome == "done"


async def test_pass__first_endpoint_refuses_every_plan__another_is_asked_from_the_next_block_on(
    ground: Ground,
) -> None:
    """What a node says of a plan nobody bears out: one alone must not refuse all of them for ever."""
    ground.watch(ALICE.address)
    rpc = ground.chain.node.rpc
    ground.witnesses.append(FakeRpc(dict(rpc.answers)))
    await ground.start()
    ground.price(1_850)
    rpc.answers["eth_simulateV1"] = lambda options, _: [
        {
            "timestamp": "0x1",
            "calls": [
                {"status": "0x0", "gasUsed": "0x1", "returnData": "0x"}
                for _ in options["blockStateCalls"][0]["calls"]
            ],
        }
    ]
    first, second = ground.pool.endpoints
    assert ground.pool.in_order() == [first, second]
    await ground.block()
    assert ground.sent() == []
    assert ground.pool.in_order() == [second, first]


async def test_pass__first_endpoint_answers_calls_with_nothing__another_is_read_next(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    rpc = ground.chain.node.rpc
    ground.witnesses.append(FakeRpc(dict(rpc.answers)))
    await ground.start()
    rpc.answers["eth_call"] = lambda *_: "0x"
    with pytest.raises(EndpointUnavailableError):
        await ground.block()
    await ground.block()
    assert ground.engine.passes == 1


async def test_pass__first_endpoint_refuses_one_market__another_is_read_next(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    ground.watch(BOB.address, market="other")
    rpc = ground.chain.node.rpc
    ground.witnesses.append(FakeRpc(dict(rpc.answers)))
    await ground.start()
    await ground.look()
    true, other = rpc.answers["eth_call"], market_address("other")[2:].lower()
    refuses = refused("eth_call", -32000, "execution timeout")
    rpc.answers["eth_call"] = lambda call, block: (
        refuses(call, block) if other in call["data"] else true(call, block)
    )
    await ground.block()
    assert ground.position("bob@other").note.startswith("NOT PROTECTED since block 101: ")
    await ground.block()
    assert ground.position("bob@other").note.startswith("watched: ")


@pytest.mark.parametrize(
    "told",
    [
        lambda _, __: None,
        lambda head, _: {**header(head), "timestamp": "no time"},
        lambda head, asked: header(replace(head, timestamp=head.timestamp + asked)),
    ],
    ids=["none", "nonsense", "another each time"],
)
async def test_pass__first_endpoint_reads_a_block_that_it_does_not_tell__another_is_read_next(
    ground: Ground, told: Callable[[Head, int], Any]
) -> None:
    ground.watch(ALICE.address)
    rpc = ground.chain.node.rpc
    ground.witnesses += [FakeRpc(dict(rpc.answers)) for _ in range(2)]
    await ground.start()
    asked = count(1)
    rpc.answers["eth_getBlockByHash"] = lambda *_: told(ground.chain.head, next(asked))
    with pytest.raises(EndpointUnavailableError) as caught:
        await ground.block()
    if isinstance(caught.value, OtherHeadError):
        with pytest.raises(EndpointUnavailableError):
            await ground.engine.run_pass(caught.value.head)
    await ground.block()
    assert ground.engine.passes == 1


async def test_pass__absurd_fee_history__positions_are_protected_all_the_same(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    absurd = {"baseFeePerGas": ["0x" + "f" * 400]}
    ground.chain.node.rpc.answers["eth_feeHistory"] = lambda *_: absurd
    await ground.block()
    for _ in range(3):
        # What waits is outbid meanwhile.
        await ground.block()
    assert {tx.nonce for tx in ground.sent()} == {0, 1}
    await ground.mine()
    health = ground.position().health
    assert health is not None
    assert health > 1.3


async def test_pass__market_unreadable__spoils_its_own_positions_only(ground: Ground) -> None:
    ground.watch(ALICE.address)
    ground.watch(BOB.address, market="other")
    await ground.start()
    await ground.look()
    ground.price(1_850)
    ground.price(1_850, "other")
    ground.chain.market("other").broken = True
    with capture_logs() as logs:
        await ground.block()
        await ground.block()
    assert [each.label for each in ground.decisions()] == ["alice@toy"]
    said = [(line["event"], line["position"]) for line in logs if "position" in line]
    assert said.count(("position.unreadable", "bob@other")) == 1
    assert ground.position("bob@other").note.startswith("NOT PROTECTED since block 101: ")
    ground.chain.market("other").broken = False
    await ground.block()
    assert [each.label for each in ground.decisions()] == ["alice@toy", "bob@other"]
    assert ground.position("bob@other").note == "a transaction is under way"


async def test_pass__all_markets_unreadable__is_survived(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.chain.market().broken = True
    await ground.block()
    ground.chain.market().broken = False
    ground.price(1_850)
    await ground.block()
    assert len(ground.decisions()) == 1


async def test_refresh__market_unreadable__the_others_are_still_refreshed(ground: Ground) -> None:
    ground.watch(ALICE.address)
    ground.watch(BOB.address, market="other")
    published, ground.chain.market("other").feed.rounds = (
        ground.chain.market("other").feed.rounds,
        [],
    )
    engine = await ground.start()
    ground.chain.market().broken = True
    ground.chain.market("other").feed.rounds = published
    await engine.refresh(ground.chain.head)
    await ground.block()
    assert ground.position("bob@other").breach_probability is not None


async def test_resume__market_never_readable__is_refused(ground: Ground) -> None:
    ground.watch(ALICE.address)
    ground.chain.market().broken = True
    with pytest.raises(Exception, match="reverted"):
        await ground.start()


@pytest.mark.parametrize("where", ["unplannable", "unencodable", "unjudgeable"])
async def test_pass__bug_in_one_positions_plan__the_other_is_protected(
    ground: Ground, where: str
) -> None:
    ground.watch(ALICE.address)
    ground.watch(BOB.address)
    await ground.start()
    getattr(ground.toy, where).add(ALICE.address)
    ground.price(1_850)
    with capture_logs() as logs:
        await ground.block()
    assert [each.label for each in ground.decisions()] == ["bob@toy"]
    assert {tx.sender for tx in ground.sent()} == {BOB.address}
    (said,) = [line for line in logs if line["event"] == "position.failed"]
    assert said["position"] == "alice@toy"
    assert ground.position("alice@toy").note == "failed: the log says why"


async def test_pass__many_in_danger__no_more_other_ways_are_tried_than_one_post_bears(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash endangers all positions at once: what one of them could do instead must not make the
    POST too long for the node."""
    monkeypatch.setattr("keeper.engine.approval.MOST_OTHERS", 1)
    for who in (ALICE, BOB):
        ground.watch(who.address)
    await ground.start()
    ground.price(1_850)
    ground.chain.node.rpc.posts.clear()
    await ground.block()
    (tried,) = (post for post in ground.chain.node.rpc.methods if "eth_simulateV1" in post)
    assert tried.count("eth_simulateV1") == 2 + 1
    assert {tx.sender for tx in ground.sent()} == {ALICE.address, BOB.address}


# -- outcomes ------------------------------------------------------------------------------------


async def test_pass__reverted_on_chain__is_told_and_tried_again(ground: Ground) -> None:
    account = ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    wallet, account.dollar_wallet = account.dollar_wallet, 0
    await ground.mine()
    account.dollar_wallet = wallet
    await ground.block()
    first, second = ground.decisions()
    assert (first.outcome, first.health_after, second.outcome) == ("reverted", None, "pending")
    assert ground.engine.worsened_positions == 0


async def test_pass__never_taken_by_its_deadline__is_cancelled_and_planned_anew(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    take = ground.chain.node.rpc.answers["eth_sendRawTransaction"]
    ground.chain.node.rpc.answers["eth_sendRawTransaction"] = refused("eth_sendRawTransaction")
    for _ in range(DEADLINE_BLOCKS + 1):
        await ground.block()
    ground.chain.node.rpc.answers["eth_sendRawTransaction"] = take
    await ground.block()
    assert [(tx.to, tx.call) for tx in ground.chain.node.pool.values()] == [
        (ALICE.address, b""),
        (ALICE.address, b""),
    ]
    await ground.mine()
    first, second = ground.decisions()
    assert (first.outcome, second.outcome) == ("cancelled", "pending")
    assert [tx.nonce for tx in second.transactions] == [2, 3]
    await ground.mine()
    assert [each.outcome for each in ground.decisions()] == ["cancelled", "done"]
    assert ground.engine.worsened_positions == 0


async def test_pass__outcome_differs_from_the_prediction__is_told(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    ground.chain.market().skewed = 5
    await ground.mine()
    (decided,) = ground.decisions()
    assert decided.as_predicted is False
    assert explanation(ground.path, decided.id).differences[0].startswith("debt is ")
    assert ground.engine.worsened_positions == 0


async def test_pass__position_worse_than_without_the_action__is_counted(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    ground.chain.market().skewed = 9_000 * DOLLAR.unit
    with capture_logs() as logs:
        await ground.mine()
    assert ground.engine.worsened_positions == 1
    (said,) = [line for line in logs if line["event"] == "plan.concluded"]
    assert (said["log_level"], said["worsened"]) == ("error", True)


async def test_pass__bug_in_comparing_one_outcome__the_plan_is_over_and_the_others_are_protected(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    ground.toy.unjudgeable.add(ALICE.address)
    await ground.mine()
    (decided,) = ground.decisions()
    assert (decided.outcome, decided.health_after) == ("done", None)
    (told,) = explanation(ground.path, decided.id).differences
    assert told.startswith("could not be compared: ")


async def test_pass__block_of_the_receipt_forgotten__the_plan_is_over_all_the_same(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    ground.watch(BOB.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    mined = ground.chain.mine()
    ground.chain.unavailable.add(mined.hash)
    await ground.block()
    for decided in ground.decisions():
        assert decided.outcome == "done"
        (told,) = explanation(ground.path, decided.id).differences
        assert told.startswith("could not be read again: ")
    assert ground.engine.worsened_positions == 0


async def test_pass__fails_before_its_end__the_plan_that_was_over_is_concluded_by_the_next(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    ground.chain.mine()  # a block that the engine does not see, so that it has to look back
    with monkeypatch.context() as fault:
        fault.setattr("keeper.engine.triggering.decide", _failing)
        with pytest.raises(ZeroDivisionError):
            await ground.block()
    await ground.block()
    (decided,) = ground.decisions()
    assert (decided.outcome, decided.as_predicted) == ("done", True)


async def test_pass__reorg_takes_back_what_was_done__is_open_again_though_nothing_is_planned(
    ground: Ground,
) -> None:
    account = ground.watch(ALICE.address)
    before = replace(account)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    await ground.mine()
    for tx in reversed(ground.sent()):
        ground.chain.node.take_back(tx.hash, None)
    ground.chain.state.accounts[market_address("toy"), ALICE.address] = before
    ground.price(2_000)
    await ground.block()
    (decided,) = ground.decisions()
    assert [tx.state for tx in decided.transactions] == ["broadcast", "broadcast"]


async def test_pass__no_reorg_reaches_what_was_done__is_final(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    await ground.block()
    await ground.mine()
    ground.chain.node.skip(FINALITY_BLOCKS)
    await ground.block()
    (decided,) = ground.decisions()
    assert [tx.state for tx in decided.transactions] == ["finalized", "finalized"]


async def test_pass__forecast_breaks__the_floor_acts_all_the_same(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    monkeypatch.setattr("keeper.engine.sight.look_ahead", _failing)
    await ground.block()
    (decided,) = ground.decisions()
    assert (decided.cause, decided.approved) == ("floor", True)


async def test_pass__chances_of_what_could_be_done_break__it_is_done_all_the_same(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    monkeypatch.setattr("keeper.engine.outlook.Outlook.chances", _failing)
    await ground.block()
    (decided,) = ground.decisions()
    assert decided.approved
    document = explanation(ground.path, decided.id).document
    assert document["costs"]["loss_left_usd"] is None
    assert document["at_stake"]["expected_loss_usd"] is None


def _failing(*_: object) -> NoReturn:
    raise ZeroDivisionError("a bug")


async def test_pass__two_markets_of_one_account__its_wallet_serves_the_more_endangered_first(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    ground.watch(ALICE.address, market="other")
    await ground.start()
    ground.price(1_850)
    ground.price(1_800, "other")
    await ground.block()
    assert [each.market for each in ground.decisions()] == ["other"]
    await ground.mine()
    assert [each.market for each in ground.decisions()] == ["other", "toy"]
    await ground.mine()
    assert [each.outcome for each in ground.decisions()] == ["done", "done"]


async def test_pass__journal_fails__nothing_is_sent_and_the_next_block_tries_again(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)

    def full(*_: object) -> NoReturn:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(ground.store.journal, "reserve", full)
        await ground.block()
        assert ground.sent() == []
        assert ground.position().note == "the journal cannot be used: the log says why"
    await ground.block()
    assert len(ground.sent()) == 2


async def test_pass__journal_fails_while_it_mends__ends_after_its_own_sends(
    ground: Ground,
) -> None:
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_850)
    ground.chain.block()
    begun, failed = asyncio.Event(), asyncio.Event()
    submit = ground.transactions.submit

    async def slow(*args: Any, **more: Any) -> Any:
        begun.set()
        await failed.wait()
        return await submit(*args, **more)

    async def broken(*_: object) -> NoReturn:
        await begun.wait()
        failed.set()
        raise OperationalError("select", {}, Exception("disk I/O error"))

    ground.transactions.submit, ground.transactions.mend = slow, broken  # type: ignore[method-assign, assignment]  # held by the test
    with pytest.raises(OperationalError):
        await ground.look()
    assert [tx.nonce for tx in ground.sent()] == [0, 1]


async def test_pass__mending_fails_for_another_reason__goes_on(ground: Ground) -> None:
    ground.watch(ALICE.address)
    await ground.start()

    async def broken(*_: object) -> NoReturn:
        raise OverflowError("int too large to convert to float")

    ground.transactions.mend = broken  # type: ignore[method-assign, assignment]  # broken by the test
    ground.price(1_850)
    with capture_logs() as logs:
        await ground.block()
    assert "mending.failed" in [line["event"] for line in logs]
    assert [tx.nonce for tx in ground.sent()] == [0, 1]


async def test_pass__plan_could_not_be_written_down__does_not_cool_down(ground: Ground) -> None:
    ground.watch(ALICE.address, replace(FLOOR_ONLY, cooldown_s=3_600, floor=Wad(WAD * 12 // 10)))
    await ground.start()
    journal = ground.store.journal
    reserve = journal.reserve

    def locked(*_: object) -> NoReturn:
        raise OperationalError("insert", {}, Exception("database is locked"))

    journal.reserve = locked  # type: ignore[method-assign, assignment]  # broken by the test
    ground.price(1_945)
    await ground.block()
    assert ground.sent() == []
    journal.reserve = reserve  # type: ignore[method-assign]  # mended
    await ground.block()
    assert [tx.nonce for tx in ground.sent()] == [0, 1]
