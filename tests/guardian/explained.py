"""A guardian's deployed code, instruction by instruction, with the place in the sources of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vyper.compiler import compile_from_file_input  # type: ignore[import-untyped]  # it ships no types
from vyper.compiler.input_bundle import FilesystemInputBundle  # type: ignore[import-untyped]  # as above

from tests.guardian.build import SOURCES, deployed_here

PUSH1, PUSH32, JUMPI = 0x60, 0x7F, 0x57


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in the sources an instruction comes from."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    @property
    def text(self) -> str:
        lines = (SOURCES / self.file).read_text().splitlines()[self.line - 1 : self.end_line]
        lines[-1] = lines[-1][: self.end_column]
        lines[0] = lines[0][self.column :]
        return " ".join(line.strip() for line in lines)


@dataclass(slots=True, kw_only=True)
class Code:
    """A guardian's deployed code as the compiler explains it."""

    name: str
    bytes: bytes
    operations: dict[int, int]
    places: dict[int, Place]
    guards: dict[int, str]
    """What a guard of the compiler's own refuses, by the instruction that refuses it."""

    @property
    def branches(self) -> list[int]:
        return [pc for pc, operation in self.operations.items() if operation == JUMPI]


def explained(source: Path, committed: Path) -> Code:
    """A committed contract, which its sources compile to."""
    bundle = FilesystemInputBundle([SOURCES])
    files = {bundle.load_file(path).source_id: path.name for path in SOURCES.glob("*.vy")}
    found = compile_from_file_input(
        bundle.load_file(source),
        input_bundle=bundle,
        output_formats=["source_map_runtime"],
    )["source_map_runtime"]
    code = bytes.fromhex(deployed_here(committed)["deployedBytecode"][2:])
    positions = found["pc_pos_map"]
    places = {
        pc: Place(files[source], *positions[pc])
        for pc, (source, _) in found["pc_ast_map"].items()
        if pc in positions and None not in positions[pc]
    }
    operations = dict(_disassembled(code))
    # The compiler's source map does not name the check of a decoded answer's length.
    lengths = {
        pc: "abi_decode length check"
        for pc, place in places.items()
        if operations.get(pc) == JUMPI and place.text.startswith("abi_decode(")
    }
    return Code(
        name=source.stem,
        bytes=code,
        operations=operations,
        places=places,
        guards=lengths | found["error_map"],
    )


def _disassembled(code: bytes) -> Iterator[tuple[int, int]]:
    pc = 0
    while pc < len(code):
        yield pc, code[pc]
        pc += 1 + (code[pc] - PUSH1 + 1 if PUSH1 <= code[pc] <= PUSH32 else 0)
