"""The guardians' tests prove themselves: planted defects, each of which must turn a test red.

`python -m tests.guardian.mutants` changes one place in a copy of the contract's sources, compiles it
and runs the tests that should notice against that guardian. A defect that no test notices, or one
whose place is not found exactly once, ends it with 1. The tests must pass without a defect first.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.guardian.build import OTHER_ARTIFACT, PERP_SOURCE, SOURCE, SOURCES, artifact
from tests.guardian.defects import DEFECTS
from tests.guardian.perp_defects import PERP_DEFECTS
from tests.planting import Defect, chosen, plant, report, say

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
WITHIN_S: Final = 1_800
THIEFS_CALLS: Final = 1_200
PASSED, FAILED = 0, 1
"""Pytest's exit codes."""

_FAILED: Final = re.compile(r"^FAILED \S+/(?P<test>test_\w+\.py::\w+)", re.MULTILINE)
_BROKEN: Final = re.compile(r"^ERROR ", re.MULTILINE)


def red_tests(tests: Sequence[str], built: Path | None = None) -> list[str]:
    """Those of the tests that fail with this artifact, by default the committed one.

    Raises `RuntimeError` if they could not be run: a guardian that cannot be deployed proves nothing.
    """
    other = {} if built is None else {OTHER_ARTIFACT: str(built)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb", "no", "-rfE"]
    # What the thief finds is wanted, not the shortest way to it.
    command += ["--hypothesis-profile", "first-failure", "--timeout", "0"]
    ran = subprocess.run(
        [*command, *(str(HERE / test) for test in tests)],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "N": str(THIEFS_CALLS), **other},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    if ran.returncode not in (PASSED, FAILED) or _BROKEN.search(ran.stdout):
        raise RuntimeError(f"the tests were not run:\n{ran.stdout}\n{ran.stderr}")
    return list(dict.fromkeys(_FAILED.findall(ran.stdout)))


def red_with(defect: Defect, tests: Sequence[str]) -> list[str]:
    """Those of the tests that fail with this defect. Raises `MisplacedError`."""
    with tempfile.TemporaryDirectory(prefix="guardian-mutant-") as folder:
        copy = Path(folder)
        for source in SOURCES.glob("*.vy"):
            shutil.copy(source, copy)
        plant(defect, copy)
        built = copy / "mutant.json"
        built.write_text(artifact(copy, PERP_SOURCE if defect in PERP_DEFECTS else SOURCE))
        return red_tests(tests, built)


def main() -> int:
    """Plant one defect after the other; 0 if every one was noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="defects to plant; all by default")
    parser.add_argument("--by", help="this test instead of each defect's own, as test_thief.py")
    given = parser.parse_args()
    wanted = chosen((*DEFECTS, *PERP_DEFECTS), given.names)
    tests = {d.name: (given.by,) if given.by else d.tests for d in wanted}
    if red := red_tests(sorted({test for each in tests.values() for test in each})):
        say(f"red without any defect: {', '.join(red)}")
        return 1
    say("the tests pass without a defect")
    return report(wanted, lambda defect: red_with(defect, tests[defect.name]))


if __name__ == "__main__":
    sys.exit(main())
