"""Broadcasting: what nodes' words mean, and what several answers amount to."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from keeper.chain.rpc import EndpointUnavailableError, RateLimitedError, RpcError
from keeper.chain.send_errors import KNOWN_TEXTS, classified
from keeper.chain.sending import Broadcaster, SendOutcome, Sent, combined

RAW = b"\x02\xf8signed"
HASH = "0x" + "ab" * 32
Answer = Callable[[], Any]


class Node:
    """Takes what is posted, and answers what the test says."""

    def __init__(self, name: str, answer: Answer = lambda: HASH) -> None:
        self.name = name
        self.posts: list[str] = []
        self.asked = asyncio.Event()
        self.held: asyncio.Event | None = None
        self._answer = answer

    async def call(self, method: str, *params: Any) -> Any:
        assert method == "eth_sendRawTransaction"
        self.posts.append(params[0])
        self.asked.set()
        if self.held is not None:
            await self.held.wait()
        return self._answer()


def refuses(message: str, code: int = -32000) -> Answer:
    def answer() -> Any:
        raise RpcError("eth_sendRawTransaction", code, message)

    return answer


def fails(error: Exception) -> Answer:
    def answer() -> Any:
        raise error

    return answer


async def sent_to(*nodes: Node) -> Sent:
    return await Broadcaster(nodes).send(RAW, HASH)


# -- one answer ----------------------------------------------------------------------------------

# Whole answers, as clients and providers give them: the text, with what stands around it.
ANSWERS = {
    "geth known": ("already known", SendOutcome.ALREADY_KNOWN),
    "geth replacement": ("replacement transaction underpriced", SendOutcome.REPLACEMENT_UNDERPRICED),
    "geth nonce": ("nonce too low: next nonce 5, tx nonce 3", SendOutcome.NONCE_TOO_LOW),
    "geth tip": ("transaction underpriced: gas tip cap 0, minimum needed 1", SendOutcome.FEE_TOO_LOW),
    "geth fee": ("max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 7", SendOutcome.FEE_TOO_LOW),
    "geth funds": ("insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1", SendOutcome.INSUFFICIENT_FUNDS),
    "geth full": ("txpool is full", SendOutcome.LIMITED),
    "geth cap": ("tx fee (1.20 ether) exceeds the configured cap (1.00 ether)", SendOutcome.REJECTED),
    "erigon replacement": ("INTERNAL_ERROR: could not replace existing tx", SendOutcome.REPLACEMENT_UNDERPRICED),
    "erigon underpriced": ("underpriced", SendOutcome.FEE_TOO_LOW),
    "erigon full": ("pending sub-pool is full", SendOutcome.LIMITED),
    "nethermind old": ("OldNonce, Current nonce: 4, nonce of rejected tx: 3", SendOutcome.NONCE_TOO_LOW),
    "nethermind gap": ("NonceGap, Future nonce. Expected nonce: 4", SendOutcome.NONCE_TOO_HIGH),
    "nethermind syncing": ("node is syncing", SendOutcome.LIMITED),
    "besu known": ("Known transaction", SendOutcome.ALREADY_KNOWN),
    "besu funds": ("Upfront cost exceeds account balance", SendOutcome.INSUFFICIENT_FUNDS),
    "besu far": ("Transaction nonce is too distant from current sender nonce", SendOutcome.NONCE_TOO_HIGH),
    "besu fee": ("Gas price below current base fee", SendOutcome.FEE_TOO_LOW),
    "nitro nonce": ("nonce too high: address 0x1, tx: 9 state: 7", SendOutcome.NONCE_TOO_HIGH),
    "nitro down": ("sequencer temporarily not available", SendOutcome.LIMITED),
    "nitro timeout": ("context deadline exceeded", SendOutcome.UNANSWERED),
    "anvil known": ("transaction already imported", SendOutcome.ALREADY_KNOWN),
    "anvil funds": ("Insufficient funds for gas * price + value", SendOutcome.INSUFFICIENT_FUNDS),
    "anvil chain": ("invalid chain id for signer", SendOutcome.REJECTED),
    "provider limit": ("Your app has exceeded its compute units per second capacity", SendOutcome.LIMITED),
    "nobody's": ("something went wrong", SendOutcome.UNANSWERED),
}  # fmt: skip


@pytest.mark.parametrize(("message", "outcome"), ANSWERS.values(), ids=ANSWERS)
async def test_send__refused__is_told_by_the_nodes_words(
    message: str, outcome: SendOutcome
) -> None:
    node = Node("one", refuses(message))
    sent = await sent_to(node)
    assert sent.outcome is outcome
    assert message in sent.reason
    assert node.posts == ["0x" + RAW.hex()]


@pytest.mark.parametrize("known", KNOWN_TEXTS, ids=lambda known: known.text)
def test_classified__each_known_text__means_what_its_row_says(known: Any) -> None:
    """No row is hidden behind an earlier one."""
    assert classified(-32000, known.text) is known.outcome
    assert classified(-32000, f"{known.text.upper()}: more") is known.outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (EndpointUnavailableError("one is unavailable: timed out"), SendOutcome.UNANSWERED),
        (RateLimitedError("one is unavailable: HTTP status 429"), SendOutcome.LIMITED),
    ],
)
async def test_send__no_answer__is_not_a_failure(error: Exception, outcome: SendOutcome) -> None:
    sent = await sent_to(Node("one", fails(error)))
    assert sent.outcome is outcome
    assert not sent.outcome.taken


@pytest.mark.parametrize("answer", [None, "0x" + "cd" * 32, {}])
async def test_send__answers_with_another_hash__nothing_is_known(answer: Any) -> None:
    assert (await sent_to(Node("one", lambda: answer))).outcome is SendOutcome.UNANSWERED


async def test_send__hash_in_upper_case__is_the_same() -> None:
    assert (await sent_to(Node("one", lambda: HASH.upper().replace("X", "x")))).outcome.taken


# -- several answers -----------------------------------------------------------------------------


async def test_send__several_endpoints__one_post_each_and_one_that_takes_it_is_enough() -> None:
    nodes = [
        Node("one", refuses("nonce too low")),
        Node("two"),
        Node("three", fails(EndpointUnavailableError("three is unavailable: timed out"))),
    ]
    sent = await sent_to(*nodes)
    assert sent.outcome is SendOutcome.ACCEPTED
    assert sent.reason == ""
    assert [reply.outcome for reply in sent.replies] == [
        SendOutcome.NONCE_TOO_LOW,
        SendOutcome.ACCEPTED,
        SendOutcome.UNANSWERED,
    ]
    assert [len(node.posts) for node in nodes] == [1, 1, 1]


async def test_send__one_hangs_and_another_has_it__does_not_wait_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keeper.chain.sending.OTHERS_WITHIN_S", 0.0)
    slow, quick = Node("slow"), Node("quick")
    slow.held = asyncio.Event()
    before = asyncio.all_tasks()
    broadcaster = Broadcaster([slow, quick])
    sent = await broadcaster.send(RAW, HASH)
    assert [reply.outcome for reply in sent.replies] == [
        SendOutcome.UNANSWERED,
        SendOutcome.ACCEPTED,
    ]
    await broadcaster.close()
    assert asyncio.all_tasks() == before


async def test_send__nobody_answers_in_time__is_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keeper.chain.sending.SEND_WITHIN_S", 0.0)
    slow = Node("slow")
    slow.held = asyncio.Event()
    broadcaster = Broadcaster([slow])
    assert (await broadcaster.send(RAW, HASH)).outcome is SendOutcome.UNANSWERED
    slow.held.set()
    await broadcaster.close()


async def test_send__caller_is_cancelled__no_post_outlives_it_unseen() -> None:
    slow = Node("slow")
    slow.held = asyncio.Event()
    before = asyncio.all_tasks()
    broadcaster = Broadcaster([slow])
    sending = asyncio.create_task(broadcaster.send(RAW, HASH))
    await slow.asked.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await broadcaster.close()
    assert asyncio.all_tasks() == before


def test_combined__rejection__counts_only_if_it_is_everybodys() -> None:
    rejected, unanswered = SendOutcome.REJECTED, SendOutcome.UNANSWERED
    assert combined([rejected, rejected]) is rejected
    assert combined([rejected, unanswered]) is unanswered
    assert combined([rejected, SendOutcome.LIMITED]) is SendOutcome.LIMITED
    assert combined([SendOutcome.FEE_TOO_LOW, unanswered]) is SendOutcome.FEE_TOO_LOW
    assert combined([]) is unanswered


# -- private endpoints ---------------------------------------------------------------------------


async def test_send__private_endpoint_takes_it__the_public_ones_see_it_only_if_sent_again() -> None:
    public, private = Node("public"), Node("private")
    broadcaster = Broadcaster([public], private=[private])
    assert (await broadcaster.send(RAW, HASH)).outcome is SendOutcome.ACCEPTED
    assert (len(private.posts), len(public.posts)) == (1, 0)
    assert (await broadcaster.send(RAW, HASH)).outcome is SendOutcome.ACCEPTED
    assert (len(private.posts), len(public.posts)) == (2, 1)


async def test_send__private_endpoint_is_down__the_public_ones_get_it_at_once() -> None:
    down = fails(EndpointUnavailableError("private is unavailable: timed out"))
    public, private = Node("public"), Node("private", down)
    sent = await Broadcaster([public], private=[private]).send(RAW, HASH)
    assert sent.outcome is SendOutcome.ACCEPTED
    assert [reply.endpoint for reply in sent.replies] == ["private", "public"]


async def test_send__private_only__no_public_endpoint_ever_sees_it() -> None:
    down = fails(EndpointUnavailableError("private is unavailable: timed out"))
    public, private = Node("public"), Node("private", down)
    broadcaster = Broadcaster([public], private=[private], private_only=True)
    for _ in range(3):
        assert (await broadcaster.send(RAW, HASH)).outcome is SendOutcome.UNANSWERED
    assert (len(private.posts), public.posts) == (3, [])
