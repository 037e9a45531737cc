"""What several tests of the local chain do with it."""

from dataclasses import replace

from eth_utils.address import to_checksum_address

from keeper.devnet.artifacts import Artifact, Contract
from keeper.devnet.chain import LocalChain
from keeper.model.units import Address


def create(chain: LocalChain, artifact: Artifact, *arguments: object) -> Contract:
    """Deploy one more contract, in a block of its own."""
    code = artifact.creation_code({}, *arguments).hex()
    transaction = {
        "from": chain.account("deployer").address,
        "data": "0x" + code,
        "gas": hex(10_000_000),
    }
    sent = chain.rpc.call("eth_sendTransaction", transaction)
    chain.mine()
    receipt = chain.rpc.call("eth_getTransactionReceipt", sent)
    assert receipt["status"] == "0x1"
    address = Address(to_checksum_address(receipt["contractAddress"]))
    return Contract(address=address, interface=artifact.interface)


def index_in_block(chain: LocalChain, transaction: str) -> int:
    """Where in its block a mined transaction stands."""
    receipt = chain.rpc.call("eth_getTransactionReceipt", transaction)
    return int(receipt["transactionIndex"], 16)


def succeeded(chain: LocalChain, transaction: str) -> bool:
    """Whether a mined transaction succeeded."""
    receipt = chain.rpc.call("eth_getTransactionReceipt", transaction)
    return bool(receipt["status"] == "0x1")


def uptime_feed(chain: LocalChain) -> Contract:
    """The sequencer's: a feed's code at an address of its own, without rounds."""
    feed = chain.contracts.feeds["WETH"]
    code = chain.rpc.call("eth_getCode", feed.address, "latest")
    uptime = replace(feed, address=Address(to_checksum_address("0x" + "5e" * 20)))
    chain.rpc.call("anvil_setCode", uptime.address, code)
    return uptime


def write_round(chain: LocalChain, feed: Contract, answer: int, since: int) -> None:
    """Publish a round that began at `since`, in a block of its own."""
    chain.transact(chain.account("feeds").address, feed, "push", answer, since)
