"""The two worst hours of 19 May 2021 on Perp v2's real contracts, with the production daemon."""

import asyncio
from fractions import Fraction
from functools import partial
from pathlib import Path

from keeper.config import foreign_environment
from keeper.devnet.demo import Demo
from keeper.devnet.perp_stage import SIZE_ETH, perp_staged, write_perp_files
from keeper.devnet.scenario import packaged_scenario
from keeper.devnet.table import Moment
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.twins import Guarding
from keeper.devnet.views import TakenOver
from keeper.model.units import WAD

BEGIN, END = 1_621_423_800, 1_621_431_000
"""11:30 to 13:30."""


def test_play__perp_twins_and_no_reserve__the_guardian_keeps_the_forecasts_long(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    scenario = packaged_scenario("may-2021").model_copy(
        update={"start": BEGIN, "end": END, "block_seconds": ((BEGIN, 60),)}
    )
    chosen = Guarding(mode="guardian", reserve=Fraction(0))
    with perp_staged(scenario, toolchain, chosen, leverage=4) as stage:
        demo = Demo(
            scenario=scenario,
            stage=stage,
            write=partial(write_perp_files, stage),
            folder=tmp_path,
            environ=foreign_environment(),
            show=lambda _: None,
        )
        report = asyncio.run(demo.play())
        house = stage.perp.perp.clearing_house
        value = stage.chain.read(house, "getAccountValue", stage.twins["forecast"].address)
    told = {story.name: story for story in report.told}
    assert report.problems() == []
    assert report.key is not None
    assert report.key.tokens == ()
    assert told["unprotected"].liquidations
    assert not told["forecast"].liquidations
    assert {action.kind for action in told["forecast"].actions} == {"ReducePosition"}
    assert told["forecast"].debt_end_usd8 > 0
    assert value > 0


def test_play__perp_twins__the_forecast_keeps_its_long_and_the_unprotected_loses_it(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    scenario = packaged_scenario("may-2021").model_copy(
        update={"start": BEGIN, "end": END, "block_seconds": ((BEGIN, 60),)}
    )
    moments: list[Moment] = []
    with perp_staged(scenario, toolchain, leverage=4) as stage:
        demo = Demo(
            scenario=scenario,
            stage=stage,
            write=partial(write_perp_files, stage),
            folder=tmp_path,
            environ=foreign_environment(),
            show=moments.append,
        )
        report = asyncio.run(demo.play())
        demo.draw(tmp_path / "demo.png", report)
        newest = int(stage.chain.rpc.call("eth_blockNumber"), 16)
        sizes = {
            name: stage.chain.read(
                stage.perp.perp.account_balance,
                "getTakerPositionSize",
                account.address,
                stage.perp.perp.base_tokens["vETH"].address,
            )
            for name, account in stage.twins.items()
        }
        taken = [
            event.account
            for number in range(newest - report.blocks + 1, newest + 1)
            for event in stage.witness.look(number).events
            if isinstance(event, TakenOver)
        ]
        assert stage.twins["unprotected"].address in taken
        assert stage.twins["forecast"].address not in taken
    told = {story.name: story for story in report.told}
    assert report.problems() == []
    assert sizes["forecast"] == SIZE_ETH * WAD
    assert sizes["unprotected"] < SIZE_ETH * WAD
    assert {action.kind for action in told["forecast"].actions} == {"AddMargin"}
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert moments[-1].healths["forecast"] is not None
