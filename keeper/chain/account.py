"""What is asked of a signer's account, always at one block."""

from keeper.chain.rpc import Request
from keeper.model.units import Address
from keeper.model.values import Head


def nonce_request(signer: Address, head: Head) -> Request:
    """How many transactions of the signer's are mined at the head."""
    return Request(method="eth_getTransactionCount", params=(signer, {"blockHash": head.hash}))


def balance_request(signer: Address, head: Head) -> Request:
    """What the signer has at the head, in wei."""
    return Request(method="eth_getBalance", params=(signer, {"blockHash": head.hash}))
