"""Contracts that do what the real ones never do."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from eth_abi.abi import decode, encode
from vyper.compiler import compile_from_file_input  # type: ignore[import-untyped]  # it ships no types
from vyper.compiler.input_bundle import FilesystemInputBundle  # type: ignore[import-untyped]  # as above

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.devnet.artifacts import Artifact, Artifacts, Contract, Interface
from keeper.devnet.chain import LocalChain
from keeper.devnet.uniswap import MAX_UINT256
from tests.devnet.support import create
from tests.guardian.build import SOURCES
from tests.guardian.ground import USDC, Ground

AGGREGATE3: Final = bytes.fromhex("82ad56cb")
"""aggregate3((address,bool,bytes)[])"""
_CONTRACTS: Final = Path(__file__).parent / "contracts"


def mock(chain: LocalChain, name: str, *arguments: object) -> Contract:
    """One of `contracts/`, deployed. It may import the guardian's modules."""
    return create(chain, _compiled(name), *arguments)


@cache
def _compiled(name: str) -> Artifact:
    bundle = FilesystemInputBundle([SOURCES, _CONTRACTS])
    output = compile_from_file_input(
        bundle.load_file(_CONTRACTS / f"{name}.vy"),
        input_bundle=bundle,
        output_formats=["abi", "bytecode"],
    )
    return Artifact(
        interface=Interface(tuple(output["abi"])), bytecode=output["bytecode"][2:], links={}
    )


def list_odd_token(chain: LocalChain, artifacts: Artifacts) -> Contract:
    """A token with USDT's manners, worth a dollar, with a million of it to borrow: no collateral."""
    odd, aave = mock(chain, "OddToken"), chain.contracts.aave
    admin = chain.account("deployer").address
    usdc: Any = chain.read(aave.pool, "getReserveData", chain.contracts.tokens["USDC"].address)
    feed = chain.contracts.feeds["USDC"].address
    implementations = [
        create(chain, artifacts.aave(f"protocol/tokenization/{name}"), aave.pool.address).address
        for name in ("AToken", "StableDebtToken", "VariableDebtToken")
    ]
    names = ("aODD", "aODD", "vODD", "vODD", "sODD", "sODD")
    listing = (
        *(*implementations, 6, usdc[11], odd.address, admin, ZERO_ADDRESS),
        *(*names, b""),
    )
    chain.transact(admin, aave.oracle, "setAssetSources", [odd.address], [feed])
    chain.transact(admin, aave.pool_configurator, "initReserves", [listing])
    chain.transact(admin, aave.pool_configurator, "setReserveBorrowing", odd.address, True)
    chain.transact(admin, odd, "mint", admin, 10**6 * USDC)
    chain.transact(admin, odd, "approve", aave.pool.address, MAX_UINT256)
    chain.transact(admin, aave.pool, "supply", odd.address, 10**6 * USDC, admin, 0)
    return odd


def batch(calls: Sequence[tuple[str, bool, bytes]]) -> bytes:
    """Calls of Multicall3 in one: target, whether it may fail, data."""
    return AGGREGATE3 + encode(["(address,bool,bytes)[]"], [calls])


def aggregate(
    made: Ground, calls: Sequence[tuple[str, bool, bytes]]
) -> tuple[tuple[bool, bytes], ...]:
    """What Multicall3 would answer: for each call whether it succeeded, and its answer."""
    multicall = made.chain.contracts.multicall3
    request = {"to": multicall, "data": "0x" + batch(calls).hex()}
    answer = made.chain.rpc.call("eth_call", request, "latest")
    (found,) = decode(["(bool,bytes)[]"], bytes.fromhex(answer[2:]))
    return tuple(found)
