"""A drill: a fall rehearsed on a fork, with the user's own positions, the daemon and a liquidator."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import OperationalError

from keeper.devnet.daemon import RunningKeeper, running_keeper
from keeper.devnet.drill_report import DrillReport, Tally
from keeper.devnet.falling import FallingMarket
from keeper.storage import views
from keeper.storage.database import DatabaseUnusableError

AFTER_BLOCKS = 10
"""At the bottom, for what is under way."""
PASSED_WITHIN_S = 60.0
"""The fork fetches each word from its origin when it is first asked for."""
POLL_S = 0.02


@dataclass(slots=True, kw_only=True)
class Drill:
    """One fall, with the daemon at its side; the next block waits until it is through with one."""

    market: FallingMarket
    config: Path
    journal: Path
    environ: Mapping[str, str]
    """All that the daemon's process inherits."""
    show: Callable[[int, int, float], None]
    """Is told of each block: its number, of how many, and what is left of the prices."""
    late_blocks: int = 0

    async def play(self) -> DrillReport:
        """Play the whole path. Raises `KeeperFailedError` if the daemon does not come up or ends,
        and `DeploymentError` if the stage cannot be set."""
        market, fall = self.market, self.market.fall
        await asyncio.to_thread(market.set_up)
        without = await asyncio.to_thread(market.without_keeper)
        tally = Tally(subjects=market.subjects)
        tally.begin(await asyncio.to_thread(market.healths))
        async with running_keeper(self.config, self.journal, self.environ) as keeper:
            await keeper.ready([subject.label for subject in market.subjects])
            started_at, blocks = market.now(), fall.blocks + AFTER_BLOCKS
            for number in range(1, blocks + 1):
                block = await asyncio.to_thread(market.step, number, started_at)
                tally.add(await asyncio.to_thread(market.facts, block))
                await self._passed(keeper, block)
                self.show(number, blocks, fall.factor(number * fall.step_s))
        return tally.report(
            fall=fall,
            without=without,
            decided=await asyncio.to_thread(views.history, self.journal),
            late_blocks=self.late_blocks,
            unmoved=market.unmoved,
        )

    async def _passed(self, keeper: RunningKeeper, block: int) -> None:
        """Wait until the daemon is through with a block, for a while."""
        until = time.monotonic() + PASSED_WITHIN_S
        while time.monotonic() < until:
            keeper.check()
            if await asyncio.to_thread(self._seen_block) >= block:
                return
            await asyncio.sleep(POLL_S)
        self.late_blocks += 1

    def _seen_block(self) -> int:
        try:
            return max((seen.block for seen in views.positions(self.journal)), default=0)
        except (DatabaseUnusableError, OperationalError):
            return 0
