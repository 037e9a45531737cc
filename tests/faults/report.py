"""The table that the suite prints: fault, what was seen, verdict."""

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.registry import Line

PASSED, RED = "pass", "RED"
SEEN = pytest.StashKey[str]()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    fault: str
    must: str
    seen: str
    verdict: str
    seconds: float


class FaultReport:
    """A pytest plugin; `path` takes the rows as JSON."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.rows: list[Row] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        played = getattr(item, "callspec", None)
        line = played.params.get("line") if played else None
        if isinstance(line, Line) and (call.when == "call" or report.failed):
            seen = item.stash.get(SEEN, "") if report.passed else _first_line(call)
            before = [row for row in self.rows if row.name == line.name]
            if before and before[0].verdict == RED:
                return report
            self.rows = [row for row in self.rows if row.name != line.name] + [
                Row(
                    name=line.name,
                    fault=line.fault,
                    must=line.must,
                    seen=seen,
                    verdict=PASSED if report.passed else RED,
                    seconds=round(call.duration, 2),
                )
            ]
        return report

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.rows:
            return
        terminalreporter.section("faults")
        for row in self.rows:
            terminalreporter.write_line(f"{row.verdict:4} {row.name}", red=row.verdict == RED)
            terminalreporter.write_line(f"       fault  {row.fault}")
            terminalreporter.write_line(f"       seen   {row.seen}")
        red = [row.name for row in self.rows if row.verdict == RED]
        terminalreporter.write_line(
            f"{len(self.rows)} faults, {len(self.rows) - len(red)} passed, {len(red)} red"
        )
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            rows = [asdict(row) for row in self.rows]
            self._path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")


def _first_line(call: pytest.CallInfo[None]) -> str:
    said = "" if call.excinfo is None else str(call.excinfo.value)
    return said.strip().split("\n", 1)[0][:200] or "no reason was given"
