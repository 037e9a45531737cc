"""Compiles the local chain's own contracts: `python tests/devnet/compile_contracts.py` rewrites the
committed JSON beside each source."""

import json
from pathlib import Path

from vyper.compiler import compile_code  # type: ignore[import-untyped]  # it ships no types

import keeper.devnet

CONTRACTS = Path(keeper.devnet.__file__).parent / "contracts"


def compiled(source: Path) -> str:
    """The JSON that belongs beside `source`."""
    output = compile_code(source.read_text(), output_formats=["abi", "bytecode"])
    artifact = {"contractName": source.stem, "abi": output["abi"], "bytecode": output["bytecode"]}
    return json.dumps(artifact, indent=1) + "\n"


if __name__ == "__main__":
    for path in sorted(CONTRACTS.glob("*.vy")):
        path.with_suffix(".json").write_text(compiled(path))
