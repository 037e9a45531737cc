"""One seeded ordeal: two positions fall twice while the keeper's process dies again and again.

A crash is a `BaseException` at a random one of the points that the process passes: before and after
each request to the node, and before and after each transaction of the journal. What survives is the
SQLite file and the chain. The node drops transactions, loses answers, forgets to mine and takes
blocks back, be they deeper than the confirmations. The verdict is the chain's: what was executed, and how the positions stand.
"""

import asyncio
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ParamSpec, TypeVar

from keeper.chain.rpc import EndpointUnavailableError, Request
from keeper.model.units import Address
from keeper.storage.store import Store
from tests.unit.fake_node import Sent, decoded, hash_of
from tests.unit.toy_chain import ALICE, BOB, Ground, ToyChain, debt_of

P = ParamSpec("P")
R = TypeVar("R")

FLOOR, TARGET = 1.15, 1.40
FALLS = (1_850, 1_500)
"""Each leaves both positions just below their floor, from the start and from the target."""
POINTS_BETWEEN_CRASHES = 60
BLOCKS_BETWEEN_FALLS = 12
MOST_REORGED = 4
"""Blocks: one more than the confirmations ever are."""
BLOCKS_TO_MEND = 40


class Crash(BaseException):
    """The process is dead."""


@dataclass
class Doom:
    """Counts the points down to the next crash; once dead, no further point is passed."""

    rng: Random
    armed: bool = False
    left: int = 0
    dead: bool = False
    crashes: int = 0

    def arm(self) -> None:
        self.armed, self.dead = True, False
        self.left = self.rng.randint(1, POINTS_BETWEEN_CRASHES)

    def point(self) -> None:
        """Raises `Crash` where the process dies."""
        if self.armed and not self.dead:
            self.left -= 1
            if self.left <= 0:
                self.dead = True
                self.crashes += 1
        if self.dead:
            raise Crash


@dataclass(frozen=True, slots=True)
class Execution:
    """One action on the chain, and how its account stood."""

    who: Address
    health: float
    block: int


class Chain(ToyChain):
    """Remembers at which health each action was executed."""

    def __init__(self) -> None:
        super().__init__("toy")
        self.executed: list[Execution] = []
        self.firm = self.node.number
        """No reorg takes back this block."""

    def health(self, who: Address) -> float:
        account, price = self.account(who), self.market().price_usd8
        return account.ether * price * 80 / (debt_of(account, self.head.timestamp) * 10**22)

    def _ran(self, tx: Sent) -> bool:
        before, now = self.health(tx.sender), self.account(tx.sender).principal
        succeeded = super()._ran(tx)
        if succeeded and self.account(tx.sender).principal != now:
            self.executed.append(Execution(tx.sender, before, self.node.number))
        return succeeded

    def reorg(self, depth: int, *, kept: Callable[[], bool]) -> None:
        """The newest blocks are replaced by as many empty ones. `kept` tells of each of their
        transactions whether the node still has it."""
        newest, price = self.node.number, self.market().price_usd8
        start = max(newest - depth, self.firm)
        raws = {hash_of(raw): raw for raw in self.node.raws}
        gone = [
            tx_hash
            for tx_hash, receipt in self.node.receipts.items()
            if int(receipt["blockNumber"], 16) > start
        ]
        for tx_hash in sorted(gone, key=lambda each: -decoded(raws[each]).nonce):
            self.node.take_back(tx_hash, raws[tx_hash] if kept() else None)
        self.executed = [each for each in self.executed if each.block <= start]
        self.node.fork = "f" if self.node.fork != "f" else "e"
        self.state = deepcopy(self.past[start])
        self.market().price_usd8 = price
        self.past |= {number: deepcopy(self.state) for number in range(start + 1, newest + 1)}


class MortalStore(Store):
    """The journal, each of whose transactions the process may not survive."""

    def __init__(self, path: Path, doom: Doom) -> None:
        super().__init__(path)
        self._doom = doom

    async def run(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        self._doom.point()
        found = await super().run(method, *args, **kwargs)
        self._doom.point()
        return found


@dataclass
class Ordeal:
    """Where it is played."""

    folder: Path
    seed: int
    doom: Doom = field(init=False)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.doom = Doom(self.rng)
        self.chain = Chain()
        self.ground = Ground(self.folder / "journal.sqlite3")
        self.ground.store.close()
        self.ground.chain = self.chain
        self.ground.confirmations = self.rng.randint(1, 3)
        for signer in (ALICE, BOB):
            self.ground.watch(signer.address)
        self._make_mortal()

    def _make_mortal(self) -> None:
        rpc = self.chain.node.rpc
        call, batch = rpc.call, rpc.batch

        async def dying_call(method: str, *params: Any) -> Any:
            self.doom.point()
            lost = method == "eth_sendRawTransaction" and self.doom.armed and self._chance(0.1)
            if lost and self._chance(0.5):
                raise EndpointUnavailableError("the request was lost")
            found = await call(method, *params)
            self.doom.point()
            if lost:
                raise EndpointUnavailableError("the answer was lost")
            return found

        async def dying_batch(requests: Sequence[Request]) -> list[Any]:
            self.doom.point()
            found = await batch(requests)
            self.doom.point()
            return found

        rpc.call, rpc.batch = dying_call, dying_batch  # type: ignore[method-assign]  # the fault

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    async def play(self) -> None:
        """Fall twice, in trouble; then mend. Raises AssertionError with the verdict."""
        self.doom.arm()
        await self._restart()
        for dollars in FALLS:
            # What one fall has led to is not made undone during the next.
            self.chain.block()
            self.chain.firm = self.chain.node.number
            self.ground.price(dollars)
            for _ in range(self.rng.randint(2, BLOCKS_BETWEEN_FALLS)):
                self._block()
                await self._survive()
            # The next danger begins where this one is over, and trouble goes on.
            for _ in range(BLOCKS_TO_MEND):
                if self._safe():
                    break
                self.chain.mine()
                await self._survive()
            assert self._safe(), f"an episode is lost: {self._told()}"
        self.doom.armed = False
        for _ in range(BLOCKS_TO_MEND):
            self.chain.mine()
            await self._survive()
            if self.ground.transactions.idle:
                break
        self.ground.store.close()
        self._judge()

    def _safe(self) -> bool:
        return all(self.chain.health(signer.address) >= FLOOR for signer in (ALICE, BOB))

    def _judge(self) -> None:
        twice = [each for each in self.chain.executed if each.health >= FLOOR]
        assert twice == [], f"executed without need: {self._told()}"
        for signer in (ALICE, BOB):
            count = sum(each.who == signer.address for each in self.chain.executed)
            assert count == len(FALLS), f"{count} executions: {self._told()}"
        assert self.ground.transactions.idle, f"left open: {self._told()}"

    def _told(self) -> str:
        healths = [self.chain.health(signer.address) for signer in (ALICE, BOB)]
        return f"seed {self.seed}, executed {self.chain.executed}, healths {healths}"

    def _block(self) -> None:
        """Somebody's block: with what waits, with some of it, or with nothing."""
        node = self.chain.node
        if node.pool and self._chance(0.15):
            node.drop(self.rng.choice(sorted(node.pool)))
        if self._chance(0.5):
            self.chain.mine()
        else:
            self.chain.block()
        if self._chance(0.1):
            self.chain.reorg(self.rng.randint(1, MOST_REORGED), kept=lambda: self._chance(0.5))

    async def _survive(self) -> None:
        """A pass; where it dies, the next process takes it up."""
        try:
            await self.ground.look()
        except Crash:
            await self._restart()
        except EndpointUnavailableError:
            pass

    async def _restart(self) -> None:
        while True:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self.ground.store.close()
            if self.doom.dead:
                self.doom.arm()
            self.ground.store = MortalStore(self.ground.path, self.doom)
            try:
                await self.ground.start()
            except Crash:
                continue
            except EndpointUnavailableError:
                continue
            return


async def endure(folder: Path, *, points: int, first_seed: int) -> tuple[int, int]:
    """Play ordeals until so many crashes were survived; how many there were of both."""
    # Tasks that died with their process have nobody to tell.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    crashes, played = 0, 0
    while crashes < points:
        here = folder / str(played)
        here.mkdir()
        ordeal = Ordeal(here, first_seed + played)
        await ordeal.play()
        crashes += ordeal.doom.crashes
        played += 1
    return crashes, played
