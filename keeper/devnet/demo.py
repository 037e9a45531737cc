"""The demo: a crash on a local chain, three twins, and the keeper as its users run it."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from keeper.devnet.accounts import DevAccount
from keeper.devnet.chain import LocalChain
from keeper.devnet.daemon import RunningKeeper, Testimony, read_journal, running_keeper
from keeper.devnet.files import JOURNAL, environment
from keeper.devnet.market import Market
from keeper.devnet.pace import Pace
from keeper.devnet.path import Tick
from keeper.devnet.picture import draw
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.report import Report
from keeper.devnet.scenario import Scenario
from keeper.devnet.story import AccountTold, Decided
from keeper.devnet.table import Moment
from keeper.devnet.views import BlockView
from keeper.devnet.witness import key_told
from keeper.model.units import Address

SHOWN_EVERY_S = 0.5


class Eyes(Protocol):
    """Looks at the chain after each block."""

    def look(self, number: int) -> BlockView: ...


class Stories(Protocol):
    """Turns blocks into stories."""

    @property
    def weth(self) -> Address: ...
    def tell(
        self,
        name: str,
        account: Address,
        blocks: Sequence[BlockView],
        decided: Mapping[str, Decided],
        guardian: Address | None = None,
    ) -> AccountTold: ...


class Playable(Protocol):
    """A stage on which twins live through a scenario, whatever the market they are in."""

    @property
    def chain(self) -> LocalChain: ...
    @property
    def market(self) -> Market: ...
    @property
    def path(self) -> Sequence[Tick]: ...
    @property
    def twins(self) -> Mapping[str, DevAccount]: ...
    @property
    def keeper(self) -> DevAccount | None: ...
    @property
    def guardians(self) -> Mapping[str, Address]: ...
    @property
    def witness(self) -> Eyes: ...
    @property
    def teller(self) -> Stories: ...
    @property
    def targets(self) -> Mapping[str, Fraction]: ...
    @property
    def floors(self) -> Mapping[str, Fraction]: ...
    @property
    def owed(self) -> str: ...


@dataclass(slots=True, kw_only=True)
class Demo:
    """One scenario on its stage, with the keeper guarding the twins that have a policy."""

    scenario: Scenario
    stage: Playable
    write: Callable[[Path, str, str], Path]
    """Puts the keeper's files into a folder, for endpoints by HTTP and by WebSocket; returns the
    configuration's path."""
    folder: Path
    """For the keeper's configuration, journal and log."""
    environ: Mapping[str, str]
    """What the keeper's process inherits."""
    show: Callable[[Moment], None]
    _blocks: list[BlockView] = field(default_factory=list)
    """Written by the thread that drives the chain, read by the one that shows it."""

    async def play(self) -> Report:
        """Run the whole path and stop the keeper; the chain is left as it ended.

        Raises `KeeperFailedError` if the daemon does not come up or ends."""
        chain = self.stage.chain
        async with RecordingProxy(chain.rpc_url, chain.ws_url) as proxy:
            config = self.write(self.folder, proxy.http_url, proxy.ws_url)
            environ = {**self.environ, **environment()}
            async with running_keeper(config, self._journal, environ) as keeper:
                await keeper.ready(self.stage.targets)
                late_beats = await self._crash(keeper)
            testimony = await asyncio.to_thread(read_journal, self._journal)
        decided_at = {sent: why.head_number for sent, why in testimony.decided.items()}
        return Report(
            scenario=self.scenario.name,
            calm=self.scenario.calm,
            blocks=len(self.stage.path),
            told=self._told(self._blocks, testimony),
            reads_per_block=proxy.recording.reads_per_block(),
            broadcasts=proxy.recording.broadcasts(),
            head_to_broadcast_ms=tuple(proxy.recording.head_to_broadcast_ms(decided_at)),
            late_beats=late_beats,
            targets=self.stage.targets,
            owed=self.stage.owed,
            key=None
            if self.stage.keeper is None
            else key_told(chain, self.stage.keeper.address, tuple(self.stage.guardians.values())),
        )

    def draw(self, path: Path, report: Report) -> None:
        """The picture of a played demo, as PNG."""
        draw(
            path,
            self.scenario.title,
            self._blocks,
            self.stage.teller.weth,
            {name: account.address for name, account in self.stage.twins.items()},
            report.told,
            self.stage.floors,
        )

    @property
    def _journal(self) -> Path:
        return self.folder / JOURNAL

    async def _crash(self, keeper: RunningKeeper) -> int:
        """Drive the path on a thread of its own while showing it; returns the late blocks."""
        stop = threading.Event()
        pace = Pace(self.scenario.wall_seconds, stop)
        driving = asyncio.create_task(asyncio.to_thread(self._drive, pace))
        try:
            while not driving.done():
                await asyncio.wait({driving}, timeout=SHOWN_EVERY_S)
                keeper.check()
                if self._blocks:
                    self.show(await asyncio.to_thread(self._moment))
        finally:
            # Whatever ended the showing, the thread leaves the chain before anyone else goes on.
            stop.set()
            await driving
        # The last blocks may have come while the moment before them was being drawn.
        self.show(await asyncio.to_thread(self._moment))
        return pace.late_beats

    def _drive(self, pace: Pace) -> None:
        market = self.stage.market
        witness = self.stage.witness
        self._blocks.append(witness.look(int(self.stage.chain.rpc.call("eth_blockNumber"), 16)))
        for tick, _ in zip(self.stage.path, pace.beats(), strict=False):
            self._blocks.append(witness.look(market.step(tick)))

    def _moment(self) -> Moment:
        # Blocks first: an action is in the journal before it is in a block.
        blocks = list(self._blocks)
        testimony = read_journal(self._journal)
        newest = blocks[-1]
        return Moment(
            title=self.scenario.title,
            block=len(blocks) - 1,
            blocks=len(self.stage.path),
            timestamp=newest.timestamp,
            market_price=newest.market_price,
            oracle_price=newest.prices_usd8[self.stage.teller.weth] / 1e8,
            gas_price_wei=newest.gas_price_wei,
            healths={
                name: newest.accounts[twin.address].health
                for name, twin in self.stage.twins.items()
            },
            breach_probabilities=testimony.breach_probabilities,
            told=self._told(blocks, testimony),
            owed=self.stage.owed,
        )

    def _told(self, blocks: list[BlockView], testimony: Testimony) -> tuple[AccountTold, ...]:
        return tuple(
            self.stage.teller.tell(
                name, twin.address, blocks, testimony.decided, self.stage.guardians.get(name)
            )
            for name, twin in self.stage.twins.items()
        )
