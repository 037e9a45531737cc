"""Each line of the list of faults is played, see `tests/faults/lines.py`, and none leaks a key."""

import pytest

from tests.faults.registry import Line
from tests.faults.report import SEEN
from tests.faults.stage import Stage


async def test_fault__injected__what_must_be_seen_is_seen(
    line: Line, stage: Stage, request: pytest.FixtureRequest
) -> None:
    request.node.stash[SEEN] = await line.play(stage)
    assert stage.leaks() == []
