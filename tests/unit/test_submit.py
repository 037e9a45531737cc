"""Sending: durable before the first byte leaves, in order, with nonces that leave no gap."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from keeper.chain.rpc import EndpointUnavailableError, RpcError
from keeper.model.lifecycle import State
from tests.unit.fake_node import Sent, hash_of
from tests.unit.transaction_ground import (
    ALICE,
    BOB,
    CHAIN_ID,
    GWEI,
    POOL,
    REPAY,
    Ground,
    ends,
    position,
    prepared,
)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    yield ground
    ground.store.close()


async def test_submit__a_plan__is_on_disk_before_its_first_byte_leaves(ground: Ground) -> None:
    on_disk: list[dict[str, State]] = []
    ground.node.before_taking = lambda _: on_disk.append(ground.states())
    intents = await ground.submit()
    assert on_disk == [{"approve": State.SIGNED, "Repay": State.SIGNED}] * 2
    assert ground.states() == {"approve": State.BROADCAST, "Repay": State.BROADCAST}
    assert ground.sent() == [("approve", 0), ("Repay", 1)]
    assert [each.attempt.raw for each in intents] == ground.node.raws
    assert [each.attempt.hash for each in intents] == list(ground.node.pool)
    assert ground.manager.busy(position())
    assert not ground.manager.busy(position(BOB.address))


async def test_submit__transaction__carries_chain_fees_and_gas_with_headroom(
    ground: Ground,
) -> None:
    await ground.submit(prepared(REPAY, chain_nonce=7))
    (tx,) = ground.node.sent()
    assert tx == Sent(
        hash=hash_of(ground.node.raws[0]),
        sender=ALICE.address,
        nonce=7,
        to=POOL,
        call=REPAY.data,
        fields=tx.fields,
    )
    fields = {name: tx.fields[name] for name in ("chainId", "gas", "value", "maxFeePerGas")}
    assert fields == {
        "chainId": CHAIN_ID,
        "gas": 300_000,
        "value": 0,
        "maxFeePerGas": 3 * GWEI,
    }
    assert tx.fields["maxPriorityFeePerGas"] == GWEI


async def test_submit__journal_refuses__nothing_is_sent_and_nothing_is_open(
    ground: Ground,
) -> None:
    await ground.submit()
    ground.restarted()  # a manager that does not know of the plan, and hence of its nonces
    with pytest.raises(IntegrityError):
        await ground.submit(prepared(of=position(market="other")))
    assert len(ground.node.raws) == 2
    assert ground.manager.idle
    assert len(ground.journal.open_intents(CHAIN_ID)) == 2


async def test_submit__two_positions_of_one_signer__take_consecutive_nonces(
    ground: Ground,
) -> None:
    await ground.submit(prepared(chain_nonce=4))
    await ground.submit(prepared(of=position(market="other"), chain_nonce=4))
    await ground.submit(prepared(of=position(BOB.address), chain_nonce=4))
    assert [nonce for _, nonce in ground.sent()] == [4, 5, 6, 7, 4, 5]


async def test_submit__earlier_plan_half_mined__counts_on_from_what_is_open(
    ground: Ground,
) -> None:
    first, _ = await ground.submit(prepared(chain_nonce=4))
    ground.node.mine(first.attempt.hash)
    await ground.submit(prepared(REPAY, of=position(market="other"), chain_nonce=5))
    assert ground.sent()[-1] == ("Repay", 6)


@pytest.mark.parametrize(
    "trouble",
    [
        EndpointUnavailableError("timed out"),
        RpcError("eth_sendRawTransaction", -32000, "the mempool is full"),
    ],
)
async def test_submit__send_fails__stays_open_and_nothing_is_sent_behind_it(
    ground: Ground, trouble: Exception
) -> None:
    def refuse(_: bytes) -> None:
        raise trouble

    ground.node.before_taking = refuse
    with capture_logs() as logs:
        await ground.submit()
    assert ground.sent() == [("approve", 0)]
    assert ground.states() == {"approve": State.SIGNED, "Repay": State.SIGNED}
    assert ground.manager.busy(position())
    (said,) = [line for line in logs if line["event"] == "transaction.send_failed"]
    assert (said["purpose"], said["nonce"]) == ("approve", 0)


async def test_submit__answer_lost_but_transaction_taken__its_receipt_decides(
    ground: Ground,
) -> None:
    def lose(raw: bytes) -> None:
        ground.node.before_taking = lambda _: None
        ground.node._send("0x" + raw.hex())
        raise EndpointUnavailableError("timed out")

    ground.node.before_taking = lose
    await ground.submit(prepared(REPAY))
    ground.node.mine()
    (settled,) = await ground.settle()
    assert ends(settled) == [State.CONFIRMED]
