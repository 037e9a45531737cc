"""The figures that a recording gives, worked by hand."""

import json
from typing import Any

import pytest
from eth_utils.crypto import keccak

from keeper.devnet.recording import Recording

RAW = "0x02aabb"
SENT = "0x" + keccak(hexstr=RAW).hex()


def block_hash(number: int) -> str:
    return f"0x{number:064x}"


def head(number: int) -> str:
    header = {
        "number": hex(number),
        "hash": block_hash(number),
        "parentHash": block_hash(number - 1),
        "timestamp": hex(1000 + number),
    }
    return json.dumps(
        {"method": "eth_subscription", "params": {"subscription": "0x1", "result": header}}
    )


def read(number: int = 1) -> dict[str, Any]:
    return {"method": "eth_call", "params": [{}, {"blockHash": block_hash(number)}]}


def simulate(number: int) -> dict[str, Any]:
    return {"method": "eth_simulateV1", "params": [{}, block_hash(number)]}


def send() -> dict[str, Any]:
    return {"method": "eth_sendRawTransaction", "params": [RAW]}


def poll() -> dict[str, Any]:
    return {"method": "eth_getBlockByNumber", "params": ["latest", False]}


def test_reads_per_block__batches_and_single_calls__counts_round_trips() -> None:
    recording = Recording()
    recording.frame(0.0, head(1))
    recording.post(0.1, [read(), read(), read()])
    recording.frame(1.0, head(2))
    recording.post(1.1, [read(2)])
    recording.post(1.2, [{"method": "eth_feeHistory", "params": []}])
    recording.frame(2.0, head(3))
    assert recording.reads_per_block() == 2


def test_reads_per_block__polls_and_sends__are_not_counted() -> None:
    recording = Recording()
    recording.frame(0.0, head(1))
    recording.post(0.1, [poll()])
    recording.post(0.2, [read()])
    recording.post(0.3, [poll(), poll()])
    recording.post(0.4, [send()])
    assert recording.reads_per_block() == 1


def test_reads_per_block__poll_within_a_batch_of_reads__is_counted() -> None:
    recording = Recording()
    recording.frame(0.0, head(1))
    recording.post(0.1, [read()])
    recording.post(0.2, [poll(), read()])
    assert recording.reads_per_block() == 2


def test_reads_per_block__outcome_read_after_the_send__is_not_part_of_the_decision() -> None:
    recording = Recording()
    recording.frame(0.0, head(1))
    recording.post(0.1, [read()])
    recording.post(0.2, [send()])
    recording.post(0.3, [read()])
    assert recording.reads_per_block() == 1


def test_reads_per_block__pass_that_lasts_into_the_next_block__is_its_own_blocks() -> None:
    recording = Recording()
    recording.frame(0.0, head(1))
    recording.post(0.1, [read(1)])
    recording.frame(1.0, head(2))
    recording.post(1.1, [simulate(1)])
    recording.post(1.2, [read(2)])
    recording.post(1.3, [simulate(2)])
    assert recording.reads_per_block() == 2


def test_reads_per_block__broadcast_of_the_block_before__ends_no_count() -> None:
    recording = Recording()
    recording.frame(0.0, head(1))
    recording.post(0.1, [read(1)])
    recording.frame(1.0, head(2))
    recording.post(1.1, [send()])
    recording.post(1.2, [read(2)])
    recording.post(1.3, [read(2)])
    recording.post(1.4, [simulate(2)])
    assert recording.reads_per_block() == 3


def test_reads_per_block__nothing_seen__is_zero() -> None:
    assert Recording().reads_per_block() == 0


def test_head_to_broadcast__decided_two_heads_ago__counts_from_that_head() -> None:
    # Announced at 10.0 s, broadcast at 10.75 s: 750 ms, although a newer head came between.
    recording = Recording()
    recording.frame(10.0, head(1))
    recording.frame(10.5, head(2))
    recording.post(10.75, [send()])
    recording.post(11.0, [send()])
    assert recording.head_to_broadcast_ms({SENT: 1}) == [pytest.approx(750.0)]


def test_head_to_broadcast__transaction_or_head_unknown__is_left_out() -> None:
    recording = Recording()
    recording.frame(10.0, head(1))
    recording.post(10.1, [send()])
    assert recording.head_to_broadcast_ms({}) == []
    assert recording.head_to_broadcast_ms({SENT: 7}) == []


def test_broadcasts__one_transaction_sent_twice__counts_once() -> None:
    recording = Recording()
    recording.post(10.0, [read()])
    recording.post(10.1, [send()])
    recording.post(10.2, [send()])
    assert recording.broadcasts() == 1


def test_frame__not_a_head__is_ignored() -> None:
    recording = Recording()
    recording.frame(0.0, '{"jsonrpc": "2.0", "id": 1, "result": "0x1"}')
    assert recording.heads == []
