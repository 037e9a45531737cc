"""The process dies anywhere on the way of a transaction: one execution of each episode, none lost."""

from pathlib import Path

import structlog

from tests.crashpoints.ordeal import endure

POINTS = 200
SEED = 1


async def test_crash__at_random_points__one_execution_of_each_episode(tmp_path: Path) -> None:
    with structlog.testing.capture_logs():
        crashes, _ = await endure(tmp_path, points=POINTS, first_seed=SEED)
    assert crashes >= POINTS
