"""Policies replayed over a year of five-minute prices, on one thread."""

import time
from typing import Final

from keeper.backtest.lanes import Rules
from keeper.backtest.policies import roster
from keeper.backtest.positions import Positions, drawn, placed
from keeper.backtest.replay import replay
from keeper.backtest.tracks import STEP_S, track
from keeper.forecast.realised import DAY_S
from keeper.model.book import Floats
from tests.benchmarks.calibrating import year
from tests.benchmarks.measuring import Side, take_turns
from tests.benchmarks.report import Row

UNIT: Final = "M position-steps/s"
PER_PAIR: Final = 500
ROUNDS: Final = 3
LOOPED: Final = 20
"""Positions that the loop goes through."""
GOAL: Final = 1.0


def looped(positions: Positions, prices: Floats, floor: float) -> int:
    """The least that a loop does for every position and step: health, and whether it is below."""
    below = 0
    listed = prices.tolist()
    for n in range(LOOPED):
        ratio = positions.collateral[n] * positions.threshold[n] / positions.debt[n]
        first = int(positions.first[n])
        for step in range(int(positions.steps[n]) + 1):
            health = ratio * listed[first + step]
            if health < floor:
                below += 1
    return below


async def measure() -> tuple[list[Row], str]:
    """The row of this figure, and what to know of it."""
    own = track(year())
    known = {own.pair: (own,)}
    rows = drawn(known, start=own.start, end=own.end, seed=1, per_pair=PER_PAIR)
    positions = placed(rows, known, end=own.end)
    rules: Rules = {policy.id: policy.rule for policy in roster()}
    clock = time.thread_time
    ours = Side(
        name="every shipped policy",
        run=lambda: replay(positions, rules, seed=1),
        repeats=1,
        clock=clock,
    )
    loop = Side(
        name="a Python loop of health < floor alone",
        run=lambda: looped(positions, own.oracle, 1.25),
        repeats=1,
        clock=clock,
    )
    await take_turns([ours, loop], rounds=ROUNDS)
    if not ours.found.actions.any() or loop.found == 0:
        raise AssertionError("nobody came near the floor: nothing was measured")
    steps = int(positions.steps.sum() + len(positions))
    rate = steps * len(rules) / ours.median_ms / 1e3
    peer = (30 * DAY_S // STEP_S + 1) * LOOPED / loop.median_ms / 1e3
    row = Row(
        name=f"{len(rules)} policies replayed on {len(positions)} positions",
        value=rate,
        unit=UNIT,
        peer=loop.name,
        peer_value=peer,
        ratio=rate / peer,
        goal=GOAL,
    )
    return [row], (
        "Replay: thirty days each on a random walk whose volatility comes and goes, one thread, by "
        "that thread's own time, everything included but reading the prices."
    )
