"""The signers' accounts, read beside the pass, against the journal's nonces."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper.chain.rpc import RpcError
from keeper.chain.transactions.accounts import SignerAccounts
from keeper.model.units import Wei
from tests.unit.transaction_ground import ALICE, BOB, CHAIN_ID, Ground


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    yield ground
    ground.store.close()


async def look(ground: Ground, accounts: SignerAccounts) -> None:
    """What a pass does at the node's newest block, and then the job."""
    accounts.take(await ground.node.rpc.batch(accounts.requests(ground.node.head)))
    await accounts.reconcile(CHAIN_ID, last_nonce=ground.journal.last_nonce, run=ground.store.run)


async def test_reconcile__our_own_transactions__are_explained(ground: Ground) -> None:
    accounts = SignerAccounts([ALICE.address, BOB.address])
    await look(ground, accounts)
    await ground.submit()
    ground.node.mine()
    with capture_logs() as logs:
        await look(ground, accounts)
    assert logs == []


@pytest.mark.parametrize("own", [0, 2])
async def test_reconcile__transactions_of_others__are_counted_once(
    ground: Ground, own: int
) -> None:
    accounts = SignerAccounts([ALICE.address, BOB.address])
    await look(ground, accounts)
    if own:
        await ground.submit()
        ground.node.mine()
    ground.node.nonces[ALICE.address] = own + 3
    with capture_logs() as logs:
        await look(ground, accounts)
        await look(ground, accounts)
    (said,) = logs
    assert said["event"] == "reconcile.foreign_transactions"
    assert (said["signer"], said["count"]) == (ALICE.address, 3)


@pytest.mark.parametrize("said", [RpcError("eth_getBalance", -32000, "busy"), None, "much", 7])
async def test_take__node_tells_no_number__is_missing_and_said(
    ground: Ground, said: object
) -> None:
    accounts = SignerAccounts([ALICE.address, BOB.address])
    accounts.take([said, said, "0x5", hex(10**18)])
    assert accounts.balances_wei == {BOB.address: Wei(10**18)}
    with capture_logs() as logs:
        await accounts.reconcile(
            CHAIN_ID, last_nonce=ground.journal.last_nonce, run=ground.store.run
        )
    assert [(line["event"], line["signer"]) for line in logs] == [
        ("reconcile.unanswered", ALICE.address)
    ]


def test_requests__no_signers_as_in_a_dry_run__are_none(ground: Ground) -> None:
    assert SignerAccounts().requests(ground.node.head) == []
