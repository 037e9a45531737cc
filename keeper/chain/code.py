"""What contracts run: their own code, and the implementation that an EIP-1967 proxy points to."""

from collections.abc import Mapping, Sequence

from eth_utils.crypto import keccak

from keeper.chain.reader import Reader
from keeper.chain.rpc import Request
from keeper.model.units import Address
from keeper.model.values import Head

IMPLEMENTATION_SLOT = hex(int.from_bytes(keccak(text="eip1967.proxy.implementation"), "big") - 1)
"""https://eips.ethereum.org/EIPS/eip-1967."""

Code = tuple[str, str]
"""The hash of the code, and the word in the implementation's slot: 0 of what is no proxy."""


async def read_code(
    reader: Reader, contracts: Sequence[Address], head: Head
) -> Mapping[Address, Code]:
    """In one POST, of each contract that the node tells it of.

    Raises `EndpointUnavailableError`."""
    block = {"blockHash": head.hash}
    _, answers = await reader.read(
        [],
        at=head.hash,
        beside=[
            request
            for contract in contracts
            for request in (
                Request(method="eth_getCode", params=(contract, block)),
                Request(method="eth_getStorageAt", params=(contract, IMPLEMENTATION_SLOT, block)),
            )
        ],
    )
    return {
        contract: (keccak(hexstr=code).hex(), word)
        for contract, code, word in zip(contracts, answers[::2], answers[1::2], strict=True)
        if isinstance(code, str) and isinstance(word, str)
    }
