"""Which lines and branches of the guardian its tests reach: `make guardian-coverage`.

Every call and transaction of the tests that reaches a guardian is traced on Anvil, instruction by
instruction, and laid over the compiler's source map. A branch is a JUMPI that has gone both ways. The
thief is left out: what is reached is reached by a test that says what it expects. The constructor is
not part of the deployed code.

The guards that the compiler adds by itself are counted by kind; `compiler_guards.py` says what each
would refuse. Where a line or a branch is not reached, the end is 1.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from vyper.compiler import compile_from_file_input  # type: ignore[import-untyped]  # it ships no types
from vyper.compiler.input_bundle import FilesystemInputBundle  # type: ignore[import-untyped]  # as above

from keeper.devnet.rpc import Rpc
from tests.guardian.build import SOURCE, SOURCES, deployed_here
from tests.guardian.compiler_guards import GUARDS
from tests.planting import say

HERE: Final = Path(__file__).parent
LEFT_OUT: Final = ("thief", "mutants", "build", "gas")
BARE: Final = {"disableStack": True, "disableStorage": True, "disableMemory": True}
PUSH1, PUSH32, JUMPI = 0x60, 0x7F, 0x57
NAMED: Final = {"JUMPI": JUMPI, "JUMP": 0x56, "JUMPDEST": 0x5B, "MSTORE": 0x52, "SHR": 0x1C}
"""Operations by which a code is told from another."""

Request = tuple[str, Sequence[Any]]


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
    """The deployed code as the compiler explains it."""

    bytes: bytes
    operations: dict[int, int]
    places: dict[int, Place]
    guards: dict[int, str]
    """What a guard of the compiler's own refuses, by the instruction that refuses it."""

    @property
    def branches(self) -> list[int]:
        return [pc for pc, operation in self.operations.items() if operation == JUMPI]


def explained() -> Code:
    """The committed contract, which the sources compile to."""
    bundle = FilesystemInputBundle([SOURCES])
    files = {bundle.load_file(path).source_id: path.name for path in SOURCES.glob("*.vy")}
    found = compile_from_file_input(
        bundle.load_file(SOURCE),
        input_bundle=bundle,
        output_formats=["source_map_runtime"],
    )["source_map_runtime"]
    code = bytes.fromhex(deployed_here()["deployedBytecode"][2:])
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
        bytes=code, operations=operations, places=places, guards=lengths | found["error_map"]
    )


def _disassembled(code: bytes) -> Iterator[tuple[int, int]]:
    pc = 0
    while pc < len(code):
        yield pc, code[pc]
        pc += 1 + (code[pc] - PUSH1 + 1 if PUSH1 <= code[pc] <= PUSH32 else 0)


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Traces what the tests send to guardians, as a plugin of pytest."""

    code: Code
    seen: set[int] = field(default_factory=set)
    jumps: dict[int, set[bool]] = field(default_factory=lambda: defaultdict(set))
    """For each JUMPI, whether it was taken."""
    traces: int = 0
    guardians: dict[str, bool] = field(default_factory=dict)

    def pytest_sessionstart(self) -> None:
        send = Rpc.batch

        def batch(rpc: Rpc, requests: Sequence[Request]) -> list[Any]:
            for method, params in requests:
                # A mined transaction's steps are not kept: it is traced as it is sent.
                if method in ("eth_call", "eth_sendTransaction") and self._concerns(
                    rpc, send, params[0]
                ):
                    self._trace(send(rpc, [("debug_traceCall", (params[0], "latest", BARE))]))
            return send(rpc, requests)

        Rpc.batch = batch  # type: ignore[assignment, method-assign]  # for the whole of this run

    def _concerns(self, rpc: Rpc, send: Any, request: dict[str, str]) -> bool:
        """Whether it goes to a guardian, or names one."""
        to, data = (request.get("to") or "").lower(), request.get("data", "").lower()
        if not to:
            return False
        if not self.guardians.get(to):
            (code,) = send(rpc, [("eth_getCode", (to, "latest"))])
            self.guardians[to] = bytes.fromhex(code[2:]).startswith(self.code.bytes)
        return self.guardians[to] or any(
            known[2:] in data for known, is_one in self.guardians.items() if is_one
        )

    def _trace(self, answers: Sequence[Any]) -> None:
        self.traces += 1
        for frame in _frames(answers[0]["structLogs"]):
            if _is_of(self.code, frame):
                self.seen |= {pc for pc, _ in frame}
                for (pc, name), (after, _) in pairwise(frame):
                    if name == "JUMPI":
                        self.jumps[pc].add(after != pc + 1)


def _is_of(code: Code, frame: Sequence[tuple[int, str]]) -> bool:
    """Whether a call ran this code: no other contract has its operations at the same places."""
    return len(frame) > len(NAMED) and all(
        pc in code.operations and NAMED.get(name, code.operations[pc]) == code.operations[pc]
        for pc, name in frame
    )


def _frames(steps: Sequence[dict[str, Any]]) -> Iterator[list[tuple[int, str]]]:
    """The instructions of each call: where, and which."""
    open_frames: list[list[tuple[int, str]]] = []
    for step in steps:
        while len(open_frames) > step["depth"]:
            yield open_frames.pop()
        if len(open_frames) < step["depth"]:
            open_frames.append([])
        open_frames[-1].append((step["pc"], step["op"]))
    yield from reversed(open_frames)


def main() -> int:
    """Run the tests and print what they reach; 1 if that is not all, or a test fails."""
    code = explained()
    recorder = Recorder(code=code)
    files = [
        str(path)
        for path in sorted(HERE.glob("test_*.py"))
        if path.stem.removeprefix("test_") not in LEFT_OUT
    ]
    failed = pytest.main(["-p", "no:cacheprovider", "-q", *files, *sys.argv[1:]], [recorder])
    return int(failed) or told(code, recorder)


def told(code: Code, recorder: Recorder) -> int:
    """Print the report; 1 if something is unreached, or a guard has no reason."""
    lines = {(place.file, place.line) for place in code.places.values()}
    reached = {
        (code.places[pc].file, code.places[pc].line) for pc in recorder.seen if pc in code.places
    }
    own = [pc for pc in code.branches if pc not in code.guards and pc in code.places]
    sides = [(pc, taken) for pc in own for taken in (True, False)]
    missing = [(pc, taken) for pc, taken in sides if taken not in recorder.jumps[pc]]
    say(f"{recorder.traces} calls and transactions traced")
    say(f"lines: {len(reached)} of {len(lines)}")
    say(f"branches: {len(sides) - len(missing)} of {len(sides)} sides")
    wrong = [f"{f}:{n}: no test reaches {_line(f, n)}" for f, n in sorted(lines - reached)]
    wrong += [
        f"{code.places[pc].file}: {code.places[pc].text} is never {taken}" for pc, taken in missing
    ]
    guards = [pc for pc in code.branches if pc in code.guards]
    passed = Counter(code.guards[pc] for pc in guards if recorder.jumps[pc])
    every = Counter(code.guards[pc] for pc in guards)
    say(f"the compiler's own guards: {passed.total()} of {every.total()} passed")
    for kind, count in sorted(every.items()):
        say(f"  {passed[kind]:3} of {count:3} passed: {kind}")
    for pc in guards:
        if not recorder.jumps[pc]:
            place = code.places.get(pc)
            say(f"  never met: {code.guards[pc]}: {place and (place.file, place.text)}")
    wrong += sorted(f"{kind}: without a reason" for kind in every.keys() - GUARDS.keys())
    wrong += sorted(f"{kind}: no such guard" for kind in GUARDS.keys() - every.keys())
    for line in wrong:
        say(f"WRONG {line}")
    return 1 if wrong else 0


def _line(file: str, number: int) -> str:
    return (SOURCES / file).read_text().splitlines()[number - 1].strip()


if __name__ == "__main__":
    sys.exit(main())
