"""Compiles the guardians: `make guardian` rewrites the committed JSON beside their sources.

The compiler is pinned with its hash in requirements-dev.lock, so anyone gets the same bytes.
"""

import json
import os
import re
from pathlib import Path
from typing import Any, Final

import vyper  # type: ignore[import-untyped]  # it ships no types
from eth_utils.crypto import keccak
from vyper.compiler import compile_from_file_input  # type: ignore[import-untyped]  # as above
from vyper.compiler.input_bundle import FilesystemInputBundle  # type: ignore[import-untyped]  # as above

SOURCES: Final = Path(__file__).parents[2] / "contracts_abi" / "guardian"
SOURCE: Final = SOURCES / "aave_guardian.vy"
ARTIFACT: Final = SOURCES / "aave_guardian.json"
PERP_SOURCE: Final = SOURCES / "perp_guardian.vy"
PERP_ARTIFACT: Final = SOURCES / "perp_guardian.json"
NAMES: Final = {SOURCE.stem: "AaveGuardian", PERP_SOURCE.stem: "PerpGuardian"}

OTHER_ARTIFACT: Final = "GUARDIAN_ARTIFACT"
"""Environment variable: the path of another artifact that the tests deploy, one with a defect."""

MAX_CODE_BYTES: Final = 24_576
"""EIP-170."""
OWNER_BYTES: Final = 32
"""Written behind the code when it is deployed."""

_DECLARED: Final = re.compile(
    r"# error (?P<name>\w+)\((?P<inputs>[^)]*)\)\n"
    r'\w+: constant\(bytes4\) = method_id\("(?P<signature>[^"]+)", output_type=bytes4\)\n'
)


def errors(source: str) -> list[dict[str, Any]]:
    """The ABI entries of the errors that `refusals.vy` declares.

    Raises `ValueError` where a declaration and the signature below it disagree.
    """
    entries = []
    for found in _DECLARED.finditer(source):
        inputs = [tuple(item.split()) for item in found["inputs"].split(", ")]
        signature = f"{found['name']}({','.join(kind for kind, _ in inputs)})"
        if signature != found["signature"]:
            raise ValueError(f"refusals.vy: {signature} is declared above {found['signature']}")
        fields = [{"name": name, "type": kind} for kind, name in inputs]
        entries.append({"type": "error", "name": found["name"], "inputs": fields})
    if len(entries) != source.count("method_id("):
        raise ValueError("refusals.vy: a selector has no `# error` line above it")
    return entries


def selector(entry: dict[str, Any]) -> bytes:
    """The first four bytes of a refusal."""
    types = ",".join(field["type"] for field in entry["inputs"])
    return keccak(text=f"{entry['name']}({types})")[:4]


def deployed_here(committed: Path = ARTIFACT) -> dict[str, Any]:
    """The artifact that the tests deploy: the committed one, unless the environment names another
    of the same contract."""
    named = os.environ.get(OTHER_ARTIFACT)
    if named is not None:
        other: dict[str, Any] = json.loads(Path(named).read_text())
        if other["contractName"] == NAMES[committed.stem]:
            return other
    content: dict[str, Any] = json.loads(committed.read_text())
    return content


def compiled(sources: Path = SOURCES, source: Path = SOURCE) -> dict[str, Any]:
    """Every output of the compiler that is used here, for the sources in a directory."""
    bundle = FilesystemInputBundle([sources])
    file = bundle.load_file(sources / source.name)
    formats = ["abi", "bytecode", "bytecode_runtime", "source_map_runtime"]
    output: dict[str, Any] = compile_from_file_input(
        file, input_bundle=bundle, output_formats=formats
    )
    return output


def artifact(sources: Path = SOURCES, source: Path = SOURCE) -> str:
    """The JSON that belongs beside the sources."""
    output = compiled(sources, source)
    size = len(output["bytecode_runtime"]) // 2 - 1 + OWNER_BYTES
    if size > MAX_CODE_BYTES:
        raise ValueError(f"{source.stem} has {size} bytes of code, the limit is {MAX_CODE_BYTES}")
    declared = errors((sources / "refusals.vy").read_text())
    used = [entry for entry in declared if selector(entry).hex() in output["bytecode"]]
    content = {
        "contractName": NAMES[source.stem],
        "compiler": f"vyper {vyper.__version__}",
        "abi": output["abi"] + used,
        "bytecode": output["bytecode"],
        "deployedBytecode": output["bytecode_runtime"],
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    ARTIFACT.write_text(artifact())
    PERP_ARTIFACT.write_text(artifact(source=PERP_SOURCE))
