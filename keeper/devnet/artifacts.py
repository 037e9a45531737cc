"""Contracts as their packages ship them: creation code to link, functions to encode."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.abi import (
    function_abi_to_4byte_selector,
    get_abi_input_types,
    get_abi_output_types,
)

from keeper.model.units import Address
from keeper.resources import devnet_sources


@dataclass(frozen=True)
class Interface:
    """A contract's ABI. Functions are chosen by name and number of arguments."""

    abi: tuple[Any, ...]

    def encode(self, function: str, *arguments: object) -> bytes:
        """Calldata of one function; raises `KeyError` if the contract has none of that arity."""
        entry = self._functions[function, len(arguments)]
        return function_abi_to_4byte_selector(entry) + encode(get_abi_input_types(entry), arguments)

    def decode(self, function: str, arity: int, output: bytes) -> Any:
        """What the function returned: one value as itself, several as a tuple, none as None.

        Addresses come in lower case, as eth_abi gives them.
        """
        values = decode(get_abi_output_types(self._functions[function, arity]), output)
        return values[0] if len(values) == 1 else values or None

    def encode_constructor(self, *arguments: object) -> bytes:
        """What follows the creation code."""
        constructor: Any = next((e for e in self.abi if e["type"] == "constructor"), None)
        types = get_abi_input_types(constructor) if constructor else []
        return encode(types, arguments)

    @cached_property
    def _functions(self) -> dict[tuple[str, int], Any]:
        functions = (entry for entry in self.abi if entry["type"] == "function")
        return {(entry["name"], len(entry["inputs"])): entry for entry in functions}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A deployed contract."""

    address: Address
    interface: Interface

    def encode(self, function: str, *arguments: object) -> bytes:
        """Calldata for this contract."""
        return self.interface.encode(function, *arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A compiled contract whose libraries may still have to be linked."""

    interface: Interface
    bytecode: str
    """Hexadecimal digits without 0x; a placeholder stands where a library's address belongs."""
    links: Mapping[str, tuple[int, ...]]
    """Library name to the byte positions of its address."""

    def creation_code(self, libraries: Mapping[str, Address], *arguments: object) -> bytes:
        """What a deployment transaction carries; raises `KeyError` for a missing library."""
        digits = self.bytecode
        for library, positions in self.links.items():
            address = libraries[library].removeprefix("0x").lower()
            for position in positions:
                digits = digits[: 2 * position] + address + digits[2 * position + 40 :]
        return bytes.fromhex(digits) + self.interface.encode_constructor(*arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """The artifacts below one `node_modules`, and our own."""

    node_modules: Path

    def aave(self, path: str) -> Artifact:
        """`protocol/pool/Pool`: a contract of `@aave/core-v3`."""
        return _load(self.node_modules / "@aave/core-v3/artifacts/contracts" / _file(path))

    def uniswap(self, package: str, path: str) -> Artifact:
        """`v3-core`, `UniswapV3Factory`: a contract of one of Uniswap's packages."""
        return _load(self.node_modules / "@uniswap" / package / "artifacts/contracts" / _file(path))

    def perp(self, package: str, path: str) -> Artifact:
        """`curie-contract`, `Vault`: a contract of one of Perp's packages."""
        return _load(self.node_modules / "@perp" / package / "artifacts/contracts" / _file(path))

    def safe(self, path: str) -> Artifact:
        """`proxies/SafeProxyFactory`: a contract of `@safe-global/safe-contracts`."""
        return _load(
            self.node_modules
            / "@safe-global/safe-contracts/build/artifacts/contracts"
            / _file(path)
        )

    def own(self, name: str) -> Artifact:
        """A contract of this package."""
        return _load(devnet_sources() / "contracts" / f"{name}.json")

    def multicall3_creation_code(self) -> str:
        """Multicall3's creation code as 0x-hexadecimal digits, from viem's constants."""
        source = (self.node_modules / "viem/_cjs/constants/contracts.js").read_text()
        return source.split("multicall3Bytecode = '", 1)[1].split("'", 1)[0]


def _file(path: str) -> str:
    return f"{path}.sol/{path.rsplit('/', 1)[-1]}.json"


def _load(path: Path) -> Artifact:
    content = json.loads(path.read_text())
    links = {
        library: tuple(int(place["start"]) for place in places)
        for libraries in content.get("linkReferences", {}).values()
        for library, places in libraries.items()
    }
    return Artifact(
        interface=Interface(tuple(content["abi"])),
        bytecode=content["bytecode"].removeprefix("0x"),
        links=links,
    )
