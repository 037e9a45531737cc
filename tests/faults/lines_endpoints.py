"""The only endpoint fails in a way of its own while a position falls, and comes back."""

import json

from tests.faults.faulty import Fault, down, error, garbled, slow, status, truncated
from tests.faults.registry import Play, line
from tests.faults.stage import Stage

FALL = 2_100_00000000
HUGE_BYTES = 32 * 2**20
SLOW_S = 30.0


def outage(fault: Fault, requests: int = 2) -> Play:
    """For the time of a few requests."""

    async def play(stage: Stage) -> str:
        one = stage.ground.guard(health="1.30")
        async with stage.daemon() as running:
            await stage.block(running)
            stage.inject(fault)
            stage.ground.chain.set_price("WETH", FALL)
            await stage.asked(running, requests)
            seen = stage.untouched(one)
            stage.inject()
            await stage.settle(one, running)
        return f"{seen} meanwhile; then " + stage.protected(one)

    return play


def _wrong_ids(body: bytes) -> bytes:
    parsed = json.loads(body)
    for response in parsed if isinstance(parsed, list) else [parsed]:
        response["id"] += 1_000
    return json.dumps(parsed).encode()


def _first_answer_only(body: bytes) -> bytes:
    parsed = json.loads(body)
    return json.dumps(parsed[:1] if isinstance(parsed, list) else []).encode()


MEANWHILE = "nothing is sent meanwhile; afterwards one repayment"
for name, fault, said in (
    ("all-endpoints-down", down, "every connection is cut"),
    ("http-429", status(429), "HTTP 429 to everything"),
    ("http-500", status(500), "HTTP 500 to everything"),
    ("http-503", status(503), "HTTP 503 to everything"),
    ("json-truncated", truncated, "every answer ends in the middle"),
    ("json-empty", garbled(lambda _: b""), "every answer is empty"),
    ("json-not", garbled(lambda _: b"<html>502</html>"), "every answer is a web page"),
    (
        "json-huge",
        garbled(lambda body: body + b" " * HUGE_BYTES + b"x"),
        "every answer has 32 MiB of rubbish behind it",
    ),
    ("json-nested", garbled(lambda _: b"[" * 100_000), "every answer is nested beyond measure"),
    ("json-wrong-id", garbled(_wrong_ids), "every answer bears another question's id"),
    ("json-answers-missing", garbled(_first_answer_only), "batches are answered in part"),
    (
        "json-rpc-rate-limit",
        error(None, "daily request count exceeded", code=-32005),
        "JSON-RPC error -32005 to everything",
    ),
):
    line(name, fault=said, must=MEANWHILE)(outage(fault))
line("slow-30-s", fault="every answer takes 30 s", must=MEANWHILE, quick=False)(
    outage(slow(SLOW_S), 1)
)


@line("pruned-state", must="nothing is sent on what cannot be read; afterwards one repayment")
async def _(stage: Stage) -> str:
    """the node answers "missing trie node" to every read of state"""
    pruned = error(
        {"eth_call", "eth_simulateV1"}, "missing trie node 4b2a (path ) state is not available"
    )
    return await outage(pruned)(stage)
