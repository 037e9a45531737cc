"""Compiles the guardian: `make guardian` rewrites the committed JSON beside its sources.

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

OTHER_ARTIFACT: Final = "GUARDIAN_ARTIFACT"
"""Environment variable: the path of another artifact that the tests deploy, one with a defect."""

MAX_CODE_BYTES: Final = 24_576
"""EIP-170."""

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


def deployed_here() -> dict[str, Any]:
    """The artifact that the tests deploy: the committed one, unless the environment names another."""
    content: dict[str, Any] = json.loads(Path(os.environ.get(OTHER_ARTIFACT, ARTIFACT)).read_text())
    return content


def compiled(sources: Path = SOURCES) -> dict[str, Any]:
    """Every output of the compiler that is used here, for the sources in a directory."""
    bundle = FilesystemInputBundle([sources])
    file = bundle.load_file(sources / SOURCE.name)
    formats = ["abi", "bytecode", "bytecode_runtime", "source_map_runtime"]
    output: dict[str, Any] = compile_from_file_input(
        file, input_bundle=bundle, output_formats=formats
    )
    return output


def artifact(sources: Path = SOURCES) -> str:
    """The JSON that belongs beside the sources."""
    output = compiled(sources)
    size = len(output["bytecode_runtime"]) // 2 - 1
    if size > MAX_CODE_BYTES:
        raise ValueError(f"the guardian has {size} bytes of code, the limit is {MAX_CODE_BYTES}")
    content = {
        "contractName": "AaveGuardian",
        "compiler": f"vyper {vyper.__version__}",
        "abi": output["abi"] + errors((sources / "refusals.vy").read_text()),
        "bytecode": output["bytecode"],
        "deployedBytecode": output["bytecode_runtime"],
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    ARTIFACT.write_text(artifact())
