"""The demo's first fall with guardians: a key of gas money only, a small reserve, and pools."""

import asyncio
from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import pytest

from keeper.config import foreign_environment
from keeper.devnet.demo import Demo
from keeper.devnet.files import write_files
from keeper.devnet.report import Report
from keeper.devnet.scenario import packaged_scenario
from keeper.devnet.stage import staged
from keeper.devnet.story import AccountTold
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.twins import Guarding

AFTER_THE_FIRST_FALL = 1_584_013_200
RESERVE = Fraction(1, 8)
"""Of the debt: less than the first action takes, and more than half of it."""


@pytest.fixture(scope="module")
def report(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    scenario = packaged_scenario("black-thursday").model_copy(update={"end": AFTER_THE_FIRST_FALL})
    with staged(scenario, toolchain, Guarding(mode="guardian", reserve=RESERVE)) as stage:
        demo = Demo(
            scenario=scenario,
            stage=stage,
            write=partial(write_files, stage),
            folder=tmp_path_factory.mktemp("demo"),
            environ=foreign_environment(),
            show=lambda _: None,
        )
        yield asyncio.run(demo.play())


def told(report: Report, name: str) -> AccountTold:
    return next(story for story in report.told if story.name == name)


def test_guarded__forecast_twin__survives_what_liquidates_the_unprotected(report: Report) -> None:
    assert report.problems() == []
    assert report.reads_per_block <= 2
    assert told(report, "unprotected").liquidations
    assert told(report, "forecast").liquidations == ()


def test_guarded__reserve__is_used_before_collateral_is_sold(report: Report) -> None:
    first, *later = told(report, "forecast").actions
    assert first.kind == "Repay"
    assert {action.kind for action in later} == {"Deleverage"}


def test_guarded__keepers_key__owns_nothing_and_speaks_to_guardians_only(report: Report) -> None:
    key = report.key
    assert key is not None
    assert (key.tokens, key.approvals) == ((), 0)
    assert key.counterparties
    assert set(key.counterparties) <= set(key.guardians)
