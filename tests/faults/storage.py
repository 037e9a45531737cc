"""Contract state changed from nowhere, without a transaction: for good, or for a lying node only."""

from itertools import product

from eth_utils.crypto import keccak

from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import LocalChain
from keeper.devnet.recording import Json
from keeper.devnet.rpc import RpcError
from keeper.model.units import Address
from tests.devnet.keeping.ground import Guarded

BASES = 100
"""Mappings are looked for among so many first slots of a contract."""
PROBE = "0x" + (4711).to_bytes(32, "big").hex()


def slot_behind(
    chain: LocalChain, contract: Contract, keys: tuple[int, ...], function: str, *arguments: object
) -> str:
    """The slot that a view function answers from, of the mapping's entry for `keys` if there are any,
    found by trying: Solidity hashes key and slot, Vyper slot and key."""
    call = {"to": contract.address, "data": "0x" + contract.encode(function, *arguments).hex()}
    true = chain.rpc.call("eth_call", call, "latest")
    for base, key_first in product(range(BASES), (True, False)):
        slot = base.to_bytes(32, "big")
        for key in keys:
            word = key.to_bytes(32, "big")
            slot = keccak(word + slot if key_first else slot + word)
        found = "0x" + slot.hex()
        override = {contract.address: {"stateDiff": {found: PROBE}}}
        try:
            if chain.rpc.call("eth_call", call, "latest", override) != true:
                return found
        except RpcError:
            continue
    raise AssertionError(f"{function} answers from no mapping that was tried")


def set_balance(chain: LocalChain, symbol: str, account: Address, raw: int) -> None:
    """Let the account have so much of a token."""
    token = chain.contracts.tokens[symbol]
    slot = slot_behind(chain, token, (int(account, 16),), "balanceOf", account)
    chain.rpc.call("anvil_setStorageAt", token.address, slot, _word(raw))


def with_balance(chain: LocalChain, symbol: str, account: Address, raw: int) -> Json:
    """State overrides in which the account has so much of a token."""
    token = chain.contracts.tokens[symbol]
    slot = slot_behind(chain, token, (int(account, 16),), "balanceOf", account)
    return {token.address: {"stateDiff": {slot: _word(raw)}}}


def revoke(chain: LocalChain, symbol: str, account: Address) -> None:
    """Let the pool take nothing of the account's token any more."""
    token, pool = chain.contracts.tokens[symbol], chain.contracts.aave.pool.address
    keys = (int(account, 16), int(pool, 16))
    slot = slot_behind(chain, token, keys, "allowance", account, pool)
    chain.rpc.call("anvil_setStorageAt", token.address, slot, _word(0))


def with_price(chain: LocalChain, symbol: str, answer: int) -> Json:
    """State overrides in which the newest answer of a feed is another one."""
    feed = chain.contracts.feeds[symbol]
    number = int(chain.read(feed, "latestRound")) & (2**64 - 1)
    slot = slot_behind(chain, feed, (number,), "latestAnswer")
    return {feed.address: {"stateDiff": {slot: _word(answer << 64 | chain.timestamp())}}}


def with_price_as_now(chain: LocalChain, symbol: str) -> Json:
    """State overrides in which the newest answer of a feed stays what it is now."""
    feed = chain.contracts.feeds[symbol]
    number = int(chain.read(feed, "latestRound")) & (2**64 - 1)
    slot = slot_behind(chain, feed, (), "latestRound")
    return {feed.address: {"stateDiff": {slot: _word(number)}}}


def with_debt(chain: LocalChain, one: Guarded, symbol: str, scaled: int) -> Json:
    """State overrides in which an account owes another amount, before interest."""
    data, asset = chain.contracts.aave.reserve_data_provider, chain.contracts.tokens[symbol]
    *_, debt_token = chain.read(data, "getReserveTokensAddresses", asset.address)
    debt = Contract(address=Address(debt_token), interface=asset.interface)
    account = one.account.address
    slot = slot_behind(chain, debt, (int(account, 16),), "balanceOf", account)
    return {debt.address: {"stateDiff": {slot: _word(scaled)}}}


def _word(number: int) -> str:
    return "0x" + number.to_bytes(32, "big").hex()
