"""The wick and the calm, shortened, on real contracts with the production daemon."""

import asyncio
from functools import partial
from pathlib import Path

from keeper.config import foreign_environment
from keeper.devnet.demo import Demo
from keeper.devnet.files import write_files
from keeper.devnet.report import Report
from keeper.devnet.scenario import Scenario, packaged_scenario
from keeper.devnet.stage import staged
from keeper.devnet.story import AccountTold
from keeper.devnet.table import Moment
from keeper.devnet.toolchain import Toolchain
from keeper.model.units import WAD

HOUR_S = 3600
TRIGGER = 0.10


def play(
    scenario: Scenario, toolchain: Toolchain, folder: Path
) -> tuple[Report, dict[str, AccountTold], list[Moment]]:
    """The report, the twins' stories by name, and what was shown."""
    moments: list[Moment] = []
    with staged(scenario, toolchain) as stage:
        demo = Demo(
            scenario=scenario,
            stage=stage,
            write=partial(write_files, stage),
            folder=folder,
            environ=foreign_environment(),
            show=moments.append,
        )
        report = asyncio.run(demo.play())
    return report, {story.name: story for story in report.told}, moments


def test_wick__forecast_twin__is_out_of_reach_before_the_oracle_falls(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    wick = packaged_scenario("wick")
    # The slow part of the afternoon in blocks of 5 minutes; the end soon after the wick.
    shortened = wick.model_copy(
        update={
            "block_seconds": ((wick.start, 300), (wick.start + 5 * HOUR_S, 60)),
            "end": wick.start + 15 * HOUR_S // 2,
        }
    )
    report, told, _ = play(shortened, toolchain, tmp_path)
    assert report.problems() == []
    assert told["forecast"].actions[0].cause == "forecast"
    # The lowest health includes the block of the fallen round, right after the oracle's move: no
    # action could have landed between that and a liquidator.
    assert told["forecast"].min_health is not None
    assert told["forecast"].min_health > WAD
    (struck,) = told["unprotected"].liquidations
    assert told["forecast"].actions[0].block < struck.block
    # The usual rule had not acted yet, and falls with the unprotected.
    assert [one.block for one in told["fixed"].liquidations] == [struck.block]


def test_calm__a_day_of_it__nothing_is_sent(toolchain: Toolchain, tmp_path: Path) -> None:
    calm = packaged_scenario("calm")
    shortened = calm.model_copy(update={"end": calm.start + 24 * HOUR_S})
    report, told, shown = play(shortened, toolchain, tmp_path)
    assert report.problems() == []
    assert report.broadcasts == 0
    assert {story.cost_usd8 for story in told.values()} == {0}
    # It did watch: both guarded twins have a forecast. Its tail is that of measured crashes, so it
    # never says never; on this day it said at most 5 in a million. A user wants it far from acting
    # all day: a thousandth of the trigger leaves room for a new fit, not for a false alarm.
    seen = [moment.breach_probabilities for moment in shown if moment.breach_probabilities]
    assert seen[-1].keys() == {"fixed", "forecast"}
    assert all(p is not None and p < TRIGGER / 1000 for each in seen for p in each.values())
