"""What every adapter owes the real contracts, whatever the protocol."""

from collections.abc import Callable
from typing import Any, Protocol

from keeper.devnet.chain import LocalChain
from keeper.mandate import direct
from keeper.model.reading import Reading
from keeper.model.units import Address, Wad
from keeper.model.values import Payment, ProtocolCall
from tests.protocols.reading import Reader


class Adapter(Protocol):
    """The part of a protocol's module that these checks use."""

    def snapshot(
        self, market: Any, accounts: tuple[Address, ...], /, *, timestamp: int
    ) -> Reading[Any]: ...

    def predict(self, action: Payment, position: Any, at: int, /) -> Any: ...

    def encode(self, action: Payment, position: Any, /) -> ProtocolCall: ...

    def matches(self, predicted: Any, reread: Any, /) -> tuple[str, ...]: ...


HealthOf = Callable[[Reader, Address], Wad | None]
"""The protocol's own getter at the reader's block; None without debt."""


def read(adapter: Adapter, chain: LocalChain, market: Any, *accounts: Address) -> Any:
    """A snapshot at the latest block."""
    reader = Reader(chain)
    return reader.run(adapter.snapshot(market, accounts, timestamp=reader.timestamp))


def assert_prediction_holds(
    adapter: Adapter, chain: LocalChain, market: Any, action: Payment, health_of: HealthOf
) -> Any:
    """Do the action from the account itself; the prediction at the receipt's block must equal what
    is read there, to the last unit. Returns what was read.
    """
    account = action.position.account
    before = read(adapter, chain, market, account).position(account)
    call = adapter.encode(action, before)
    hashes = [
        chain.send(account, transaction.to, transaction.data)
        for transaction in direct.transactions(call)
    ]
    chain.mine(chain.timestamp() + 3607)
    for sent in hashes:
        receipt = chain.rpc.call("eth_getTransactionReceipt", sent)
        assert receipt is not None, action
        assert receipt["status"] == "0x1", action
    reader = Reader(chain)
    after = reader.run(adapter.snapshot(market, (account,), timestamp=reader.timestamp))
    reread = after.position(account)
    predicted = adapter.predict(action, after.revalued(before), reader.timestamp)
    assert adapter.matches(predicted, reread) == ()
    assert predicted.health == health_of(reader, account)
    return reread
