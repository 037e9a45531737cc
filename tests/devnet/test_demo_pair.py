"""A hedged pair twice on one chain, each leg with a wallet of its own and both with one."""

import asyncio
from dataclasses import replace
from pathlib import Path

from keeper.config import foreign_environment
from keeper.devnet.pair import SEPARATELY, TOGETHER, PairReport, PairTold
from keeper.devnet.pair_stage import SOURCE_FLOOR, paired
from keeper.devnet.scenario import packaged_scenario
from keeper.devnet.toolchain import Toolchain

BEGIN, END = 1_621_426_800, 1_621_428_600
"""12:20 to 12:50."""
EARLIER, LATER = 1_621_423_800, 1_621_431_000
"""11:30 to 13:30."""


def told(name: str, *, cost_usd: float, liquidations: int = 0) -> PairTold:
    return PairTold(
        name=name,
        reserve_usd=1_000.0,
        actions={"Repay": 1},
        paid_in_usd=500.0,
        gas_usd=cost_usd,
        liquidations=liquidations,
        trading_usd=0.0,
        loss_usd=0.0,
        cost_usd=cost_usd,
        hedge_left=1.0,
    )


def test_problems__one_book_dearer_or_liquidated__is_told() -> None:
    good = PairReport(
        scenario="s",
        blocks=1,
        pairs=(
            told(SEPARATELY, cost_usd=9.0, liquidations=1),
            told(TOGETHER, cost_usd=8.0),
        ),
        reads_per_block=2,
        broadcasts=2,
    )
    assert good.problems() == []
    dear = replace(good, pairs=(good.pairs[0], told(TOGETHER, cost_usd=9.0)))
    assert "as one book the pair cost 9.00 USD, separately 9.00" in dear.problems()[0]
    # Separately it may be cheaper to give the hedge away.
    given = replace(told(SEPARATELY, cost_usd=-9.0), hedge_left=0.2)
    assert replace(good, pairs=(given, good.pairs[1])).problems() == []
    cut = replace(told(TOGETHER, cost_usd=8.0), hedge_left=0.9)
    assert "less is left of the hedge" in replace(good, pairs=(good.pairs[0], cut)).problems()[0]
    lost = replace(good, pairs=(good.pairs[0], told(TOGETHER, cost_usd=8.0, liquidations=1)))
    assert "liquidated" in lost.problems()[0]


def test_play__half_an_hour__both_pairs_are_kept_and_told(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    scenario = packaged_scenario("may-2021").model_copy(
        update={"start": BEGIN, "end": END, "block_seconds": ((BEGIN, 60),)}
    )
    lines: list[str] = []
    with paired(
        scenario, toolchain, tmp_path, environ=foreign_environment(), show=lines.append
    ) as demo:
        report = asyncio.run(demo.play())
        alone, one = demo.pairs
        assert len(alone.accounts) == 2
        assert len(one.accounts) == 1
    assert [pair.name for pair in report.pairs] == [SEPARATELY, TOGETHER]
    assert {pair.reserve_usd for pair in report.pairs} == {report.pairs[0].reserve_usd}
    assert all(pair.liquidations == 0 for pair in report.pairs)
    assert report.document()["blocks"] == len(demo.ground.path)


def test_play__guardians_and_no_reserve__margin_comes_from_the_loan_and_the_hedge_stays(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    scenario = packaged_scenario("may-2021").model_copy(
        update={"start": EARLIER, "end": LATER, "block_seconds": ((EARLIER, 60),)}
    )
    with paired(
        scenario,
        toolchain,
        tmp_path,
        environ=foreign_environment(),
        show=lambda _: None,
        mode="guardian",
    ) as demo:
        report = asyncio.run(demo.play())
        pool, one = demo.ground.chain.contracts.aave.pool, demo.pairs[1]
        health = demo.ground.chain.read(pool, "getUserAccountData", one.loan.address)[-1]
    alone, together = report.pairs
    assert report.problems() == []
    assert set(together.actions) == {"MoveMargin"}
    assert together.paid_in_usd > 0
    assert together.hedge_left == 1.0
    assert health >= SOURCE_FLOOR
    assert set(alone.actions) <= {"ReducePosition"}
    assert alone.paid_in_usd == 0
    assert report.reads_per_block <= 2
