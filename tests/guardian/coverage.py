"""Which lines and branches of the guardians their tests reach: `make guardian-coverage`.

Every call and transaction of the tests that reaches a guardian is traced on Anvil, instruction by
instruction, and laid over the compiler's source map; each contract has a report of its own, in which
what it imports counts as far as it is compiled into it. A branch is a JUMPI that has gone both ways.
The thieves are left out: what is reached is reached by a test that says what it expects. The
constructor is not part of the deployed code.

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

from keeper.devnet.rpc import Rpc
from tests.guardian.build import ARTIFACT, PERP_ARTIFACT, PERP_SOURCE, SOURCE, SOURCES
from tests.guardian.compiler_guards import GUARDS
from tests.guardian.explained import JUMPI, Code, explained
from tests.planting import say

HERE: Final = Path(__file__).parent
LEFT_OUT: Final = ("thief", "perp_thief", "mutants", "build", "gas")
BARE: Final = {"disableStack": True, "disableStorage": True, "disableMemory": True}
NAMED: Final = {"JUMPI": JUMPI, "JUMP": 0x56, "JUMPDEST": 0x5B, "MSTORE": 0x52, "SHR": 0x1C}
"""Operations by which a code is told from another."""

Request = tuple[str, Sequence[Any]]


@dataclass(slots=True, kw_only=True)
class Reached:
    """What the tests have run of one contract."""

    code: Code
    traces: int = 0
    seen: set[int] = field(default_factory=set)
    jumps: dict[int, set[bool]] = field(default_factory=lambda: defaultdict(set))
    """For each JUMPI, whether it was taken."""

    def add(self, frame: Sequence[tuple[int, str]]) -> None:
        """One call of the contract."""
        self.seen |= {pc for pc, _ in frame}
        for (pc, name), (after, _) in pairwise(frame):
            if name == "JUMPI":
                self.jumps[pc].add(after != pc + 1)


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Traces what the tests send to guardians, as a plugin of pytest."""

    contracts: Sequence[Reached]
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
            found = bytes.fromhex(code[2:])
            self.guardians[to] = any(found.startswith(one.code.bytes) for one in self.contracts)
        return self.guardians[to] or any(
            known[2:] in data for known, is_one in self.guardians.items() if is_one
        )

    def _trace(self, answers: Sequence[Any]) -> None:
        ran = []
        for frame in _frames(answers[0]["structLogs"]):
            fitting = [one for one in self.contracts if _is_of(one.code, frame)]
            # What could be either's, which is refused before anything tells them apart, is neither's.
            if len(fitting) == 1:
                fitting[0].add(frame)
                ran += fitting
        for one in self.contracts:
            one.traces += any(one is each for each in ran)


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
    contracts = [
        Reached(code=explained(source, committed))
        for source, committed in ((SOURCE, ARTIFACT), (PERP_SOURCE, PERP_ARTIFACT))
    ]
    files = [
        str(path)
        for path in sorted(HERE.glob("test_*.py"))
        if path.stem.removeprefix("test_") not in LEFT_OUT
    ]
    failed = pytest.main(
        ["-p", "no:cacheprovider", "-q", *files, *sys.argv[1:]], [Recorder(contracts=contracts)]
    )
    wrong = [line for reached in contracts for line in told(reached)]
    codes = [reached.code for reached in contracts]
    kinds = {code.guards[pc] for code in codes for pc in code.branches if pc in code.guards}
    wrong += sorted(f"{kind}: without a reason" for kind in kinds - GUARDS.keys())
    wrong += sorted(f"{kind}: no such guard" for kind in GUARDS.keys() - kinds)
    for line in wrong:
        say(f"WRONG {line}")
    return int(failed) or (1 if wrong else 0)


def told(reached: Reached) -> list[str]:
    """Print a contract's report; what no test reaches."""
    code, jumps = reached.code, reached.jumps
    lines = {(place.file, place.line) for place in code.places.values()}
    run = {(code.places[pc].file, code.places[pc].line) for pc in reached.seen if pc in code.places}
    own = [pc for pc in code.branches if pc not in code.guards and pc in code.places]
    sides = [(pc, taken) for pc in own for taken in (True, False)]
    missing = [(pc, taken) for pc, taken in sides if taken not in jumps[pc]]
    say(f"{code.name}: {reached.traces} calls and transactions traced")
    say(f"lines: {len(run)} of {len(lines)}")
    say(f"branches: {len(sides) - len(missing)} of {len(sides)} sides")
    _tell_guards(reached)
    wrong = [f"{code.name}: {f}:{n}: no test reaches {_line(f, n)}" for f, n in sorted(lines - run)]
    for pc, taken in missing:
        place = code.places[pc]
        wrong.append(f"{code.name}: {place.file}:{place.line}: {place.text} is never {taken}")
    return wrong


def _tell_guards(reached: Reached) -> None:
    code = reached.code
    guards = [pc for pc in code.branches if pc in code.guards]
    passed = Counter(code.guards[pc] for pc in guards if reached.jumps[pc])
    every = Counter(code.guards[pc] for pc in guards)
    say(f"the compiler's own guards: {passed.total()} of {every.total()} passed")
    for kind, count in sorted(every.items()):
        say(f"  {passed[kind]:3} of {count:3} passed: {kind}")
    for pc in guards:
        if not reached.jumps[pc]:
            place = code.places.get(pc)
            say(f"  never met: {code.guards[pc]}: {place and (place.file, place.text)}")


def _line(file: str, number: int) -> str:
    return (SOURCES / file).read_text().splitlines()[number - 1].strip()


if __name__ == "__main__":
    sys.exit(main())
