"""Before a send: what the other endpoints see decides with, and their silence does not."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.chain.rpc import EndpointUnavailableError, RpcError
from keeper.chain.standing import Standing
from keeper.engine.sight import OtherHeadError
from keeper.engine.witness import Word, word_of_blocks
from keeper.model.units import WAD
from keeper.model.values import Head
from keeper.policy.agreement import Verdict, weigh
from tests.unit.fake_rpc import FakeRpc, head_at, header, multicall, refused
from tests.unit.toy_chain import ALICE, GET_BLOCK_NUMBER, USD8, Ground, State
from tests.unit.toy_protocol import CHAIN_ID

Lie = Callable[[State], None]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    ground.watch(ALICE.address)
    yield ground
    ground.store.close()


def witness(ground: Ground, lie: Lie = lambda _: None) -> FakeRpc:
    """One more endpoint of the same chain, which may see its state otherwise."""

    def call(asked: Any, block: Any) -> Any:
        # A disputed block is looked at once more with the next one.
        assert block["blockHash"] in {ground.chain.head.hash, ground.chain.head.parent_hash}
        state = deepcopy(ground.chain.state)
        lie(state)
        return multicall(lambda view: ground.chain._view(state, view))(asked)

    rpc = FakeRpc(
        {
            "eth_chainId": lambda: hex(CHAIN_ID),
            "eth_call": call,
            "eth_getBlockByHash": lambda found, _: header(head_at(int(found[3:], 16))),
            "eth_getBlockByNumber": lambda number, _: header(head_at(int(number, 16))),
            "eth_getTransactionReceipt": ground.chain.node.rpc.answers["eth_getTransactionReceipt"],
            "eth_getTransactionCount": ground.chain.node.rpc.answers["eth_getTransactionCount"],
        }
    )
    rpc.name = f"witness {len(ground.witnesses) + 1}"
    ground.witnesses.append(rpc)
    return rpc


def cheaper(state: State) -> None:
    for market in state.markets.values():
        market.price_usd8 = 1_000 * USD8


def less_debt(state: State) -> None:
    for account in state.accounts.values():
        account.principal //= 2


def alerts(ground: Ground) -> set[tuple[str, str]]:
    """Those about endpoints: of the danger itself the owner is told beside them."""
    return {
        (alert.name, alert.severity.value)
        for alert in ground.notifier.active
        if alert.name.startswith("endpoints.")
    }


async def in_danger(ground: Ground) -> Head:
    await ground.start()
    ground.chain.market().price_usd8 = 1_850 * USD8
    return ground.chain.block()


async def test_send__others_see_the_same__acts_at_once_with_one_post_each(ground: Ground) -> None:
    others = [witness(ground), witness(ground)]
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert len(ground.chain.node.raws) == 2
    assert alerts(ground) == set()
    for other in others:
        before_send, _ = other.methods
        blocks = ["eth_getBlockByHash"] * 2
        assert before_send == ["eth_chainId", *blocks, "eth_call", "eth_getTransactionCount"]


async def test_send__others_count_another_nonce__sends_nothing_with_it(ground: Ground) -> None:
    for _ in range(2):
        witness(ground).answers["eth_getTransactionCount"] = lambda *_: "0x5"
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    await ground.engine.run_pass(ground.chain.block())
    assert ground.chain.node.raws == []
    assert ground.pool.endpoints[0].state.standing is Standing.OUTVOTED


@pytest.mark.parametrize("nonce", ["nonsense", None])
async def test_send__others_tell_no_nonce__the_rest_of_their_word_counts(
    ground: Ground, nonce: str | None
) -> None:
    witness(ground).answers["eth_getTransactionCount"] = lambda *_: nonce
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert len(ground.chain.node.raws) == 2
    assert alerts(ground) == set()


async def test_send__simulated_with_another_nonce_than_was_read__sends_nothing(
    ground: Ground,
) -> None:
    head = await in_danger(ground)
    told = iter(["0x0", "0x0", "0x5"])
    ground.chain.node.rpc.answers["eth_getTransactionCount"] = lambda *_: next(told, "0x5")
    await ground.engine.run_pass(head)
    assert next(told, None) is None
    assert ground.chain.node.raws == []


async def test_send__only_endpoint_configured__asks_nobody_and_alerts_nobody(
    ground: Ground,
) -> None:
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert len(ground.chain.node.raws) == 2
    assert alerts(ground) == set()


async def test_send__others_do_not_answer__acts_and_alerts(ground: Ground) -> None:
    witness(ground).down = True
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert len(ground.chain.node.raws) == 2
    assert alerts(ground) == {("endpoints.alone", "warning")}


@pytest.mark.parametrize(
    "method",
    [
        {"eth_call": refused("eth_call", -32000, "missing trie node")},
        {"eth_call": lambda *_: "0x"},
    ],
    ids=["refuses", "nonsense"],
)
async def test_send__other_cannot_say__acts_and_alerts(
    ground: Ground, method: dict[str, Any]
) -> None:
    witness(ground).answers |= method
    head = await in_danger(ground)
    assert head.number == 101
    await ground.engine.run_pass(head)
    assert len(ground.chain.node.raws) == 2
    assert alerts(ground) == {("endpoints.alone", "warning")}


@pytest.mark.parametrize("lie", [cheaper, less_debt])
async def test_send__one_contradicts_and_two_agree__acts_a_block_later(
    ground: Ground, lie: Lie
) -> None:
    witness(ground), witness(ground, lie)
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert ground.chain.node.raws == []
    assert alerts(ground) == {("endpoints.disagree", "warning")}
    await ground.engine.run_pass(ground.chain.block())
    assert len(ground.chain.node.raws) == 2
    asked = len(ground.witnesses[1].posts)
    # The liar is not asked again.
    ground.chain.mine()
    ground.chain.market().price_usd8 = 1_500 * USD8
    await ground.engine.run_pass(ground.chain.block())
    assert len(ground.chain.node.raws) > 2
    assert len(ground.witnesses[1].posts) == asked
    assert alerts(ground) == set()


async def test_send__two_endpoints_contradict_each_other__refuses_and_alerts_until_they_agree(
    ground: Ground,
) -> None:
    liar = witness(ground, cheaper)
    head = await in_danger(ground)
    for _ in range(3):
        await ground.engine.run_pass(head)
        head = ground.chain.block()
    assert ground.chain.node.raws == []
    assert alerts(ground) == {("endpoints.disagree", "critical")}
    assert [decided.outcome for decided in ground.decisions()] == ["refused", "refused"]
    liar.answers |= witness(ground).answers
    await ground.engine.run_pass(head)
    assert len(ground.chain.node.raws) == 2
    assert alerts(ground) == set()


async def test_send__most_contradict_the_reader__refuses_and_reads_elsewhere(
    ground: Ground,
) -> None:
    witness(ground, less_debt), witness(ground, less_debt)
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    await ground.engine.run_pass(ground.chain.block())
    assert ground.chain.node.raws == []
    assert ground.pool.in_order()[0].name == "witness 1"


@pytest.mark.parametrize(
    "lie",
    [
        {"timestamp": 30 * 86_400},
        {"timestamp": -86_400},
        {"base_fee_wei": 10**9},
    ],
    ids=["later", "earlier", "dearer"],
)
async def test_send__head_is_told_otherwise_than_others_have_it_by_its_hash__sends_nothing(
    ground: Ground, lie: dict[str, int]
) -> None:
    """A false time would empty the limits of a day, or hold them for ever."""
    witness(ground), witness(ground)
    head = await in_danger(ground)
    honest = ground.chain.node.rpc.answers["eth_getBlockByHash"]
    for _ in range(2):
        told = replace(head, **{name: getattr(head, name) + more for name, more in lie.items()})
        ground.chain.node.rpc.answers["eth_getBlockByHash"] = lambda *_, told=told: header(told)
        await ground.engine.run_pass(told)
        assert ground.chain.node.raws == []
        head = ground.chain.block()
    assert ground.pool.endpoints[0].state.standing is Standing.OUTVOTED
    ground.chain.node.rpc.answers["eth_getBlockByHash"] = honest
    await ground.engine.run_pass(head)
    assert [tx.nonce for tx in ground.sent()] == [0, 1]
    since = head.timestamp + 1
    assert ground.store.tallies.signed_since(CHAIN_ID, ALICE.address, since) == 0


async def test_send__another_than_is_read_told_the_head_otherwise__is_nobody_elses_word(
    ground: Ground,
) -> None:
    """The second of three announces a false time, and bears out its own lie."""
    liar, _ = witness(ground), witness(ground)
    head = await in_danger(ground)
    told = replace(head, timestamp=head.timestamp + 30 * 86_400)
    liar.answers["eth_getBlockByHash"] = lambda *_: header(told)
    with pytest.raises(OtherHeadError) as raised:
        await ground.engine.run_pass(told)
    assert raised.value.head == head
    # At the head as the one that is read has it, the two others are asked.
    await ground.engine.run_pass(raised.value.head)
    assert ground.chain.node.raws == []
    await ground.engine.run_pass(ground.chain.block())
    assert ground.pool.endpoints[1].state.standing is Standing.OUTVOTED
    assert [tx.nonce for tx in ground.sent()] == [0, 1]


@pytest.mark.parametrize("told", [None, {}, header(head_at(7)), "nonsense"])
async def test_pass__does_not_tell_the_block_that_is_read__is_not_used(
    ground: Ground, told: Any
) -> None:
    witness(ground)
    head = await in_danger(ground)
    ground.chain.node.rpc.answers["eth_getBlockByHash"] = lambda *_: told
    with pytest.raises(EndpointUnavailableError):
        await ground.engine.run_pass(head)


def test_word_of_blocks__one_hash_and_other_blocks__contradicts() -> None:
    head, parent = head_at(100), header(head_at(99))
    for lie in (
        {"number": "0x1"},
        {"timestamp": hex(head.timestamp - 864_000)},
        {"baseFeePerGas": "0x1"},
        {"parentHash": "0x" + "ab" * 32},
        {"hash": "0x" + "ab" * 32},
    ):
        word, difference = word_of_blocks([header(head) | lie, parent], head)
        assert word is Word.CONTRADICTS
        assert difference
    assert word_of_blocks([header(head), parent], head) == (Word.AGREES, "")
    assert word_of_blocks([{}, parent], head) == (Word.SILENT, "")


def test_word_of_blocks__only_the_parent_is_there__has_to_be_the_heads_own() -> None:
    head, parent = head_at(100), head_at(99)
    assert word_of_blocks([None, header(parent)], head) == (Word.BEHIND, "")
    for lie in ({"number": "0x1"}, {"hash": head.hash}, {"timestamp": hex(head.timestamp + 1)}):
        word, difference = word_of_blocks([None, header(parent) | lie], head)
        assert word is Word.CONTRADICTS
        assert difference


def test_word_of_blocks__the_block_before_that_nobody_had__is_looked_at_as_well() -> None:
    head, before = head_at(100), head_at(98)
    behind = [None, header(head_at(99))]
    assert word_of_blocks([*behind, header(before)], head, before) == (Word.BEHIND, "")
    older = header(before) | {"timestamp": hex(before.timestamp - 1)}
    word, difference = word_of_blocks([*behind, older], head, before)
    assert (word, "timestamp" in difference) == (Word.CONTRADICTS, True)


def overtaken(ground: Ground) -> None:
    """While a pass reads, the next endpoint in line comes to be asked first: its poll is ahead."""
    read = ground.chain.node.rpc.answers["eth_call"]

    def call(*asked: Any) -> Any:
        ahead = ground.chain.head.number + 1
        ground.pool.endpoints[1].showed_head(ahead, ahead)
        return read(*asked)

    ground.chain.node.rpc.answers["eth_call"] = call


def falls_back(ground: Ground) -> None:
    """The first is asked first again."""
    number = ground.chain.head.number
    for endpoint in ground.pool.endpoints:
        endpoint.showed_head(number, number)


async def test_send__another_is_asked_first_during_the_pass__what_was_read_has_no_second_voice(
    ground: Ground,
) -> None:
    """Two endpoints: the one that was read does not bear itself out, and the other is heard."""
    other = witness(ground, less_debt)
    head = await in_danger(ground)
    overtaken(ground)
    for _ in range(3):
        falls_back(ground)
        await ground.engine.run_pass(head)
        head = ground.chain.block()
    assert ground.chain.node.raws == []
    assert other.sent("eth_call")
    assert alerts(ground) == {("endpoints.disagree", "critical")}


async def test_send__another_is_asked_first_during_the_pass__the_liar_is_outvoted_and_not_the_other(
    ground: Ground,
) -> None:
    witness(ground, less_debt), witness(ground, less_debt)
    head = await in_danger(ground)
    overtaken(ground)
    for _ in range(2):
        falls_back(ground)
        await ground.engine.run_pass(head)
        head = ground.chain.block()
    assert ground.chain.node.raws == []
    standings = [each.state.standing for each in ground.pool.endpoints]
    assert standings == [Standing.OUTVOTED, Standing.ALIVE, Standing.ALIVE]


async def test_send__other_follows_another_chain_of_blocks__is_a_contradiction(
    ground: Ground,
) -> None:
    witness(ground).answers["eth_getBlockByHash"] = lambda *_: None
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert ground.chain.node.raws == []
    assert alerts(ground) == {("endpoints.disagree", "warning")}


def has_only(newest: list[int]) -> Callable[..., Any]:
    """Knows the blocks up to the first of these, after each look the next."""

    def answer(found: str, _: bool) -> Any:
        number = int(found[3:], 16)
        known = number <= newest[0]
        if len(newest) > 1 and not known:
            newest.pop(0)
        return header(head_at(number)) if known else None

    return answer


async def test_send__other_has_the_block_a_moment_later__is_asked_again_and_acts(
    ground: Ground,
) -> None:
    other = witness(ground)
    other.answers["eth_getBlockByHash"] = has_only([100, 100, 101])
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert len(ground.chain.node.raws) == 2
    assert len(other.posts) == 3 + 1  # and once after the send
    assert alerts(ground) == set()


async def test_send__no_other_ever_has_the_block__waits_and_then_refuses(ground: Ground) -> None:
    """Each block is made up on a real parent: the others have the parent, and never the block."""
    witness(ground).answers["eth_getBlockByHash"] = lambda found, _: (
        header(head_at(int(found[3:], 16))) if found == ground.chain.head.parent_hash else None
    )
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert ground.chain.node.raws == []
    (decided,) = ground.decisions()
    assert decided.reason == "only fake has block 101 yet: looking again at the next block"
    ground.witnesses[0].answers["eth_call"] = refused("eth_call", -32000, "header not found")
    for _ in range(3):
        # The one before has been replaced by a real one.
        ground.chain.block()
        await ground.engine.run_pass(ground.chain.block())
        assert ground.chain.node.raws == []
    assert alerts(ground) == {("endpoints.disagree", "critical")}


async def test_send__other_is_always_a_block_behind__bears_out_the_block_before_and_acts(
    ground: Ground,
) -> None:
    witness(ground).answers |= {
        "eth_getBlockByHash": lambda found, _: (
            header(head_at(int(found[3:], 16)))
            if int(found[3:], 16) < ground.chain.head.number
            else None
        ),
        "eth_call": past_reads(ground),
    }
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    assert ground.chain.node.raws == []
    await ground.engine.run_pass(ground.chain.block())
    assert len(ground.chain.node.raws) == 2
    assert alerts(ground) == set()


async def test_send__other_behind_sees_no_danger_in_the_block_before__contradicts(
    ground: Ground,
) -> None:
    witness(ground).answers |= {
        "eth_getBlockByHash": lambda found, _: (
            header(head_at(int(found[3:], 16)))
            if int(found[3:], 16) < ground.chain.head.number
            else None
        ),
        "eth_call": past_reads(ground, lambda state: cheaper(state)),
    }
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    await ground.engine.run_pass(ground.chain.block())
    assert ground.chain.node.raws == []
    assert ("endpoints.disagree", "warning") in alerts(ground)


def past_reads(ground: Ground, lie: Lie = lambda _: None) -> Callable[..., Any]:
    """Reads at any block but the newest, which it does not have; nothing moved since."""

    def call(asked: Any, block: Any) -> Any:
        if block["blockHash"] == ground.chain.head.hash:
            raise RpcError("eth_call", -32000, "header not found")
        state = deepcopy(ground.chain.state)
        lie(state)
        return multicall(lambda view: ground.chain._view(state, view))(asked)

    return call


def test_weigh__nobody_contradicts__acts_however_few_there_are() -> None:
    for agree in (0, 1, 5):
        verdict = weigh(agree=agree, contradict=0, waited=False, rechecked_on_chain=False)
        assert verdict is Verdict.ACT


@pytest.mark.parametrize(
    ("agree", "contradict", "verdict"),
    [(0, 1, Verdict.REFUSE), (1, 1, Verdict.ACT), (1, 2, Verdict.REFUSE), (2, 2, Verdict.ACT)],
)
def test_weigh__contradicted__waits_a_block_and_then_follows_the_majority(
    agree: int, contradict: int, verdict: Verdict
) -> None:
    def weighed(*, waited: bool, rechecked: bool = False) -> Verdict:
        return weigh(
            agree=agree, contradict=contradict, waited=waited, rechecked_on_chain=rechecked
        )

    assert weighed(waited=False) is Verdict.WAIT
    assert weighed(waited=False, rechecked=True) is Verdict.WAIT
    assert weighed(waited=True) is verdict
    # A contract that checks again on the chain needs no majority.
    assert weighed(waited=True, rechecked=True) is Verdict.ACT


async def test_pass__one_makes_up_a_receipt__does_not_free_the_position(ground: Ground) -> None:
    """Both of its transactions may still be mined: what is planned anew would be done twice."""
    witness(ground)
    witness(ground)
    answers = ground.chain.node.rpc.answers
    true = answers["eth_getTransactionReceipt"]
    ground.confirmations = 3
    head = await in_danger(ground)
    await ground.engine.run_pass(head)

    def made_up(tx_hash: str) -> Any:
        return true(tx_hash) or {
            "transactionHash": tx_hash,
            "blockNumber": hex(head.number),
            "blockHash": head.hash,
            "status": "0x0",
            "gasUsed": "0x1",
            "effectiveGasPrice": "0x1",
        }

    answers["eth_getTransactionReceipt"] = made_up
    with capture_logs() as logs:
        await ground.block()
    assert "receipt.disputed" in [line["event"] for line in logs]
    assert [tx.nonce for tx in ground.sent()] == [0, 1]
    answers["eth_getTransactionReceipt"] = true
    await ground.mine()
    await ground.block()
    assert [tx.nonce for tx in ground.sent()] == [0, 1]
    health = ground.position().health
    assert health is not None
    assert health > ground.watched[0].policy.floor / WAD


def recovered(ground: Ground) -> Callable[[Any, Any], Any]:
    """What the endpoint that is read answers where it shows the danger gone."""
    true = ground.chain.node.rpc.answers["eth_call"]

    def call(call: Any, block: Any) -> Any:
        if call["data"] == GET_BLOCK_NUMBER:
            return true(call, block)
        state = deepcopy(ground.chain.state)
        for market in state.markets.values():
            market.price_usd8 = 9_000 * USD8
        return multicall(lambda view: ground.chain._view(state, view))(call)

    return call


async def test_mend__one_shows_the_danger_gone__does_not_take_protection_back(
    ground: Ground,
) -> None:
    witness(ground)
    witness(ground)
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    answers = ground.chain.node.rpc.answers
    true = answers["eth_call"]
    answers["eth_call"] = recovered(ground)
    await ground.block()
    assert all(tx.to != tx.sender for tx in ground.sent())
    answers["eth_call"] = true
    ground.price(9_000)
    await ground.block()
    assert any(tx.to == tx.sender for tx in ground.sent())  # all say so


async def test_mend__nobody_has_the_block_yet_that_shows_the_danger_gone__waits_for_one_that_has(
    ground: Ground,
) -> None:
    others = [witness(ground), witness(ground)]
    head = await in_danger(ground)
    await ground.engine.run_pass(head)
    all_blocks = others[0].answers["eth_getBlockByHash"]
    for other in others:
        other.answers["eth_getBlockByHash"] = lambda found, full: (
            None if found == ground.chain.head.hash else all_blocks(found, full)
        )
    ground.chain.node.rpc.answers["eth_call"] = recovered(ground)
    await ground.block()
    assert all(tx.to != tx.sender for tx in ground.sent())
