"""A signer that gives no signature: nothing is sent, its owner hears of it, and the next block tries."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.chain.signer import Signature, SignatureUnavailableError
from keeper.chain.transactions.pen import SILENT
from keeper.model.alerts import Severity
from keeper.model.lifecycle import State
from tests.unit.transaction_ground import ALICE, Ground


class Moody:
    """Alice's key behind a service that may be down."""

    name, address = "moody", ALICE.address

    def __init__(self) -> None:
        self.down = True

    async def sign(self, payload: bytes) -> Signature:
        if self.down:
            raise SignatureUnavailableError("the signing service does not answer")
        return await ALICE.sign(payload)

    async def close(self) -> None:
        pass


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "journal.sqlite3")
    yield ground
    ground.store.close()


async def test_submit__signer_gives_no_signature__sends_nothing_says_so_and_takes_no_nonce(
    ground: Ground,
) -> None:
    signer = Moody()
    ground.restarted(signers=(signer,))
    assert await ground.submit() == []
    assert ground.sent() == []
    (told,) = ground.notifier.active
    assert (told.name, told.subject, told.severity) == (SILENT, ALICE.address, Severity.CRITICAL)
    assert "does not answer" in told.text
    for settled in await ground.settle():
        assert {intent.state for intent in settled.intents} == {State.EXPIRED}
        ground.conclude(settled)

    signer.down = False
    await ground.submit()
    assert ground.sent() == [("approve", 0), ("Repay", 1)]
    assert ground.notifier.active == ()
