"""Where a line plays: the daemon behind a faulty endpoint, and the verdicts.

A verdict rests on the chain's events and on the journal. What the daemon logs serves to wait for it,
never to judge it.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from keeper.devnet.chain import BLOCK_GAS_LIMIT, FIRST_IN_BLOCK
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.recording import SEND
from keeper.devnet.views import Liquidated
from keeper.model.units import WAD, Address
from tests.devnet.keeping.ground import Ground, Guarded, target_of
from tests.devnet.keeping.process import WITHIN_S, Keeper
from tests.faults import canaries
from tests.faults.faulty import Fault, Faulty

LOOK_S = 0.01
SETTLED_WITHIN_BLOCKS = 16
BURNER = Address("0x" + "b0" * 20)
BURNS_ALL_ITS_GAS = "0x5b600056"
"""JUMPDEST, PUSH1 0, JUMP."""
PLAN = 2
"""Transactions of a plan on this ground: the approval and the action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """Both caps of a transaction."""

    cap_wei: int
    tip_wei: int


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bid_of(raw: str) -> tuple[int, Bid]:
    """The nonce and the bid of signed bytes."""
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    bid = Bid(cap_wei=fields["maxFeePerGas"], tip_wei=fields["maxPriorityFeePerGas"])
    return fields["nonce"], bid


@dataclass(slots=True, kw_only=True)
class Pager:
    """The receiver of alerts."""

    told: dict[str, bytes]
    status: int
    alerts: list[tuple[str, str]] = field(default_factory=list)
    """The name and the status of each, in order."""

    async def take(self, request: web.Request) -> web.Response:
        """One POST."""
        body = await request.read()
        self.told[f"alert {len(self.told)}"] = body
        alert = json.loads(body)
        self.alerts.append((alert["name"], alert["status"]))
        return web.Response(status=self.status)


@dataclass(slots=True, kw_only=True)
class Stage:
    """One endpoint in front of the local chain, with its gate; more if a line asks for them.

    All their URLs bear an API key, which must not be found anywhere afterwards."""

    ground: Ground
    proxy: RecordingProxy
    gate: Faulty
    opened: AsyncExitStack
    """Closes what the line has opened."""
    runs: list[Keeper] = field(default_factory=list)
    """Every run of the daemon."""
    told: dict[str, bytes] = field(default_factory=dict)
    """What it told the world: its pages, its alerts."""

    def inject(self, *faults: Fault) -> None:
        """From now on the endpoint has these faults and no others."""
        self.gate.faults = faults

    async def endpoint(self, name: str, *faults: Fault, use: str = "all") -> RecordingProxy:
        """One more endpoint, in the order of preference behind those that are there."""
        chain = self.ground.chain
        proxy = RecordingProxy(chain.rpc_url, chain.ws_url, Faulty(*faults))
        await self.opened.enter_async_context(proxy)
        self.ground.environ[f"KEEPER_ENDPOINTS__{name.upper()}__URL"] = (
            proxy.http_url + canaries.PATH
        )
        self.ground.sections.append(f'[endpoints.{name}]\nuse = "{use}"')
        return proxy

    @asynccontextmanager
    async def daemon(
        self, *, ws: bool = False, sabotage: Callable[[], None] | None = None
    ) -> AsyncIterator[Keeper]:
        """`keeper run --live` behind the endpoint; killed on leaving."""
        self.ground.environ |= canaries.urls(self.proxy, ws=ws)
        self.ground.environ["KEEPER_SERVICE__HTTP_PORT"] = str(free_port())
        async with self.ground.keeper(self.proxy, "--live", ws=ws, sabotage=sabotage) as running:
            self.runs.append(running)
            yield running

    def no_deadline(self) -> None:
        """Plans do not grow old: only sending them again, or at a higher price, helps."""
        self.ground.environ["KEEPER_FEES__DEADLINE_BLOCKS"] = "100"

    def leaks(self) -> list[str]:
        """Where a key is found that nobody may see."""
        said = {
            f"log of run {n}": (run.text + run.output).encode() for n, run in enumerate(self.runs)
        }
        keys = [one.account.private_key for one in self.ground.guarded]
        found = said | self.told | canaries.files(self.ground) | canaries.processes()
        return canaries.leaks(found, keys)

    async def pages(self) -> dict[str, bytes]:
        """The daemon's pages, as anybody on the machine can read them; kept for `leaks`."""
        port = self.ground.environ["KEEPER_SERVICE__HTTP_PORT"]
        async with aiohttp.ClientSession() as session:
            for page in ("healthz", "metrics"):
                async with session.get(f"http://127.0.0.1:{port}/{page}") as answer:
                    self.told[page] = await answer.read()
        return self.told

    async def pager(self, status: int = 200) -> "Pager":
        """Where the daemon's alerts are posted to from its next start on, answered with a status."""
        pager = Pager(told=self.told, status=status)
        app = web.Application()
        app.router.add_post("/{path:.*}", pager.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self.opened.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        self.ground.environ["KEEPER_WEBHOOK_URL"] = f"http://127.0.0.1:{port}{canaries.PATH}"
        return pager

    # -- waiting ---------------------------------------------------------------------------------

    async def until(self, happened: Callable[[], object], what: str, running: Keeper) -> None:
        """Look until something has happened outside the daemon."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while not happened():
                    assert running.alive, running.log(f"it ended before {what}")
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise AssertionError(running.log(f"waited in vain for {what}")) from None

    async def sent(self, one: Guarded, running: Keeper, count: int = PLAN) -> None:
        """Wait until so many of the account's transactions wait in the node's mempool."""

        def waiting() -> bool:
            return self.ground.nonce(one, "pending") - self.ground.nonce(one) >= count

        await self.until(waiting, f"{count} transactions in the mempool", running)

    async def asked(
        self, running: Keeper, posts: int = 4, *, of: RecordingProxy | None = None
    ) -> None:
        """Wait until the endpoint, or another one, has been asked so many times more."""
        recorded = (of or self.proxy).recording.posts
        enough = len(recorded) + posts
        await self.until(lambda: len(recorded) >= enough, f"{posts} more requests", running)

    async def block(self, running: Keeper, **how: Any) -> int:
        """Mine a block and wait until the daemon is through with it, well or badly."""
        number = self.ground.chain.mine(**how)

        def through() -> bool:
            return any(
                line.get("block") == number and line.get("event") in {"pass.done", "pass.failed"}
                for line in running.lines
            )

        await self.until(through, f"a pass over block {number}", running)
        return number

    async def settle(self, one: Guarded, running: Keeper, executions: int = 1) -> None:
        """Mine on until the action is on the chain and nothing is open."""
        for _ in range(SETTLED_WITHIN_BLOCKS):
            await self.block(running)
            if len(self.ground.events(one)) >= executions and not self.ground.open():
                await self.pages()
                return
        raise AssertionError(
            running.log(f"not settled in {SETTLED_WITHIN_BLOCKS} blocks: {self.ground.open()}")
        )

    # -- the chain's own faults ------------------------------------------------------------------

    async def congested(self, running: Keeper, *, beside_gas: int = 0, **how: Any) -> int:
        """As `block`, with a block that is full of what pays more than anybody else, but for so much
        gas for those who pay as much."""
        chain = self.ground.chain
        if chain.rpc.call("eth_getCode", BURNER, "latest") == "0x":
            chain.rpc.call("anvil_setCode", BURNER, BURNS_ALL_ITS_GAS)
        crowd = chain.account("crowd").address
        chain.send(crowd, BURNER, b"", fees=FIRST_IN_BLOCK, gas=BLOCK_GAS_LIMIT - beside_gas)
        return await self.block(running, **how)

    def reorg(self, depth: int) -> None:
        """The newest `depth` blocks are replaced by as many empty ones."""
        self.ground.chain.rpc.call("anvil_reorg", depth, [])

    # -- verdicts ----------------------------------------------------------------------------------

    def protected(self, one: Guarded, *, executions: int = 1, reverted: int = 0) -> str:
        """Exactly so many actions of an account, at most `reverted` that failed, its target
        reached, each nonce used once, nothing waiting, nothing open, nothing worse."""
        ground = self.ground
        events = ground.events(one)
        assert not any(isinstance(event, Liquidated) for event in events), "it was liquidated"
        assert len(events) == executions, f"{len(events)} executions: {events}"
        mined = ground.transactions(one)
        nonces = [int(transaction["nonce"], 16) for transaction in mined]
        assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))
        assert ground.nonce(one) == nonces[-1] + 1 == ground.nonce(one, "pending")
        failed = [transaction for transaction in mined if transaction["status"] != "0x1"]
        assert len(failed) <= reverted, f"{len(failed)} reverted"
        # Interest since the action keeps it a hair below its target.
        health = ground.health(one)
        assert health >= target_of(one) * 999 // 1000, f"health {health / WAD:.4f}"
        assert ground.open() == [], f"left open: {ground.open()}"
        assert ground.flaws() == [], f"not as predicted: {ground.flaws()}"
        times = "once" if executions == 1 else f"{executions} times"
        return f"acted {times}, {len(mined)} nonces without a gap, health {health / WAD:.3f}"

    def journalled(self) -> None:
        """Whatever a node was ever shown is in the journal, with its bytes."""
        shown = {sent for post in self.proxy.recording.posts for sent in post.sent}
        assert shown <= set(self.ground.query("SELECT hash FROM attempts")), "sent, not journalled"

    def untouched(self, one: Guarded) -> str:
        """Nothing of the account was mined, waits or was even shown to a node."""
        ground = self.ground
        assert ground.transactions(one) == []
        assert ground.nonce(one) == ground.nonce(one, "pending")
        assert self.broadcasts() == 0, f"{self.broadcasts()} transactions were sent"
        return "nothing sent"

    def broadcasts(self) -> int:
        """How many POSTs carried a signed transaction, wherever they ended."""
        return sum(SEND in post.methods for post in self.proxy.recording.posts)
