"""A chain in memory on which the toy protocol runs, and an engine that watches it."""

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keeper.abi.erc20 import APPROVE
from keeper.abi.words import Function
from keeper.backtest.shipped import shipped
from keeper.chain.market_prices import MarketPrices
from keeper.chain.pool import Endpoint, Pool
from keeper.chain.prepare import Preparer
from keeper.chain.prices import FeedPrices
from keeper.chain.reader import Reader
from keeper.chain.rpc import RpcError
from keeper.chain.settings import MULTICALL3, FeeSettings
from keeper.chain.signer import Signer
from keeper.chain.transactions.accounts import SignerAccounts
from keeper.chain.transactions.manager import TransactionManager
from keeper.chain.transactions.votes import PoolVotes
from keeper.engine.calibrator import Calibrator
from keeper.engine.caution import Caution
from keeper.engine.crosscheck import CrossCheck
from keeper.engine.engine import Engine
from keeper.engine.guarding import Guarding
from keeper.engine.planning import MARGIN_S
from keeper.engine.watch import Watched, WatchedMarket
from keeper.engine.witness import Witnesses
from keeper.model.reading import Call
from keeper.model.units import WAD, Address, Wad, Wei
from keeper.model.values import Head, PositionId
from keeper.policy.settings import Policy
from keeper.protocols.market_source import MarketSource
from keeper.service.notifications import Notifications
from keeper.storage.store import Store
from keeper.storage.views import DecisionView, PositionView, history, positions
from tests.unit.fake_feed import Feed
from tests.unit.fake_node import ALICE_KEY, BOB_KEY, FakeNode, Sent, signer_of
from tests.unit.fake_rpc import FakeRpc, View, address, aggregated, head_at, header, multicall, word
from tests.unit.toy_protocol import (
    ADD,
    CHAIN_ID,
    DOLLAR,
    ETHER,
    FEED,
    HOUR_S,
    POSITION,
    PRICE,
    REPAY,
    Toy,
    ToyPosition,
    market_address,
)

GET_BLOCK_NUMBER = "0x" + Function("getBlockNumber()").encode().hex()
"""Of Multicall3, by which it is known at the start."""
GWEI = 10**9
USD8 = 10**8
ALICE, BOB = signer_of(ALICE_KEY), signer_of(BOB_KEY)
DEADLINE_BLOCKS = 5
FINALITY_BLOCKS = 20


class RevertedError(Exception):
    """A toy contract's refusal."""


@dataclass
class Account:
    """Raw amounts of one account in one market, its wallet included."""

    ether: int = 10 * ETHER.unit
    principal: int = 13_000 * DOLLAR.unit
    updated_at: int = 0
    ether_wallet: int = 10 * ETHER.unit
    dollar_wallet: int = 10_000 * DOLLAR.unit
    allowance: int = 0

    def words(self) -> tuple[int, ...]:
        return (
            self.ether,
            self.principal,
            self.updated_at,
            self.ether_wallet,
            self.dollar_wallet,
            self.allowance,
        )


@dataclass
class Market:
    """The toy protocol's contract."""

    feed: Feed
    price_usd8: int = 2_000 * USD8
    broken: bool = False
    """While true, every view of it reverts."""
    skewed: int = 0
    """Debt that a repayment leaves behind, contrary to what the protocol promises."""


@dataclass
class State:
    markets: dict[Address, Market]
    accounts: dict[tuple[Address, Address], Account]


class ToyChain:
    """Blocks of 12 s; the state of every block can be read by its hash."""

    def __init__(self, *markets: str) -> None:
        self.node = FakeNode()
        self.state = State({}, {})
        self.past: dict[int, State] = {}
        self.others: dict[Address, View] = {}
        """What further contracts answer, at every block."""
        self.unavailable: set[str] = set()
        """Hashes of blocks whose state the node has forgotten."""
        for place, name in enumerate(markets):
            feed = Feed(address(f"f{place}"))
            self.state.markets[market_address(name)] = Market(feed=feed)
            publish_history(feed, self.node.head.timestamp)
        self.node.rpc.answers |= {
            "eth_chainId": lambda: hex(CHAIN_ID),
            "eth_getBlockByNumber": lambda number, _: header(head_at(int(number, 16))),
            "eth_call": self._call,
            "eth_simulateV1": self._simulate,
            "eth_getBlockByHash": lambda found, _: header(
                head_at(int(found[3:], 16), fork=found[2])
            ),
            "eth_feeHistory": lambda *_: {"reward": [[hex(GWEI)]]},
        }

    @property
    def head(self) -> Head:
        return self.node.head

    def market(self, name: str = "toy") -> Market:
        return self.state.markets[market_address(name)]

    def account(self, who: Address, name: str = "toy") -> Account:
        return self.state.accounts[market_address(name), who]

    def block(self) -> Head:
        """The next block, without what waits in the pool."""
        self._keep()
        self.node.skip(1)
        self._keep()
        return self.head

    def mine(self) -> Head:
        """The next block, with all that waits in the pool."""
        self._keep()
        self.node.mine(run=self._ran)
        self._keep()
        return self.head

    def _keep(self) -> None:
        self.past[self.node.number] = deepcopy(self.state)

    def _ran(self, tx: Sent) -> bool:
        try:
            self._run(self.state, tx.sender, tx.to, tx.call, self.head.timestamp)
        except RevertedError:
            return False
        return True

    def _run(self, state: State, sender: Address, to: Address, call: bytes, now: int) -> None:
        if not call:
            return
        selector, amount = call[:4], int.from_bytes(call[-32:], "big")
        if selector == APPROVE.selector:
            spender = address("0x" + call[16:36].hex())
            state.accounts[spender, sender].allowance = amount
            return
        account, market = state.accounts[to, sender], state.markets[to]
        if account.allowance < amount:
            raise RevertedError("allowance")
        account.allowance -= amount
        if selector == REPAY.selector:
            if account.dollar_wallet < amount:
                raise RevertedError("balance")
            account.dollar_wallet -= amount
            account.principal = debt_of(account, now) - amount + market.skewed
            account.updated_at = now
        else:
            assert selector == ADD.selector
            account.ether_wallet -= amount
            account.ether += amount

    def _call(self, call: Mapping[str, str], block: Mapping[str, str]) -> Any:
        found = block["blockHash"]
        number = int(found[3:], 16)
        if call["data"] == GET_BLOCK_NUMBER:
            return f"0x{number:064x}"
        if found in self.unavailable or number > self.node.number:
            raise RpcError("eth_call", -32000, "missing trie node")
        state = self.state if number == self.node.number else self.past[number]
        return multicall(lambda asked: self._view(state, asked))(call)

    def _view(self, state: State, call: Call) -> bytes | None:
        market = state.markets.get(call.target)
        if call.target in self.others:
            return self.others[call.target](call)
        if market is None:
            (feed,) = (m.feed for m in state.markets.values() if m.feed.address == call.target)
            return feed.view(call)
        if market.broken:
            return None
        if call.data == PRICE.selector:
            return word(market.price_usd8)
        if call.data == FEED.selector:
            return bytes(12) + bytes.fromhex(market.feed.address[2:])
        account = state.accounts[call.target, address("0x" + call.data[-20:].hex())]
        names = [function.selector for function in POSITION.values()]
        return word(account.words()[names.index(call.data[:4])])

    def _simulate(self, options: Mapping[str, Any], block: str) -> Any:
        assert block == self.head.hash
        state = deepcopy(self.state)
        (asked,) = options["blockStateCalls"]
        now = int(asked["blockOverrides"]["time"], 16)
        *transactions, reads = asked["calls"]
        calls: list[dict[str, Any]] = []
        for tx in transactions:
            outcome: dict[str, Any] = {"status": "0x1", "gasUsed": "0xc350", "returnData": "0x"}
            try:
                self._run(state, tx["from"], tx["to"], bytes.fromhex(tx["data"][2:]), now)
            except RevertedError as error:
                outcome |= {"status": "0x0", "returnData": "0x" + str(error).encode().hex()}
            calls.append(outcome)
        read = aggregated(lambda call: self._view(state, call), bytes.fromhex(reads["data"][2:]))
        calls.append({"status": "0x1", "gasUsed": "0x1", "returnData": "0x" + read.hex()})
        return [{"timestamp": hex(now), "calls": calls}]


def debt_of(account: Account, now: int) -> int:
    return ToyPosition(
        id=PositionId(chain_id=CHAIN_ID, market="", account=address("00")),
        ether=0,
        principal=account.principal,
        updated_at=account.updated_at,
        price_usd8=0,
        timestamp=now,
    ).debt


def publish_history(feed: Feed, now: int, *, hourly_percent: float = 4.0, days: int = 8) -> None:
    """Days of hourly rounds, up and down by turns; 4 % an hour is 370 % a year."""
    for hour in range(24 * days, -1, -1):
        answer = 2_000 * USD8 * (1 + hourly_percent / 100 * (hour % 2))
        feed.publish((round(answer), now - hour * HOUR_S))


# Health of a fresh account is 16000/13000 = 1.2308 at 2000 dollars.
POLICY = Policy(
    name="forecast",
    floor=Wad(115 * WAD // 100),
    trigger_probability=0.05,
    horizon_s=86_400,
    target=Wad(14 * WAD // 10),
    max_health_to_act=Wad(14 * WAD // 10),
    max_per_action_usd8=100_000 * USD8,
    max_per_day_usd8=100_000 * USD8,
    min_action_usd8=USD8,
)
FLOOR_ONLY = replace(POLICY, name="fixed", trigger_probability=None)


class Ground:
    """An engine, as `app` wires it, over a chain in memory."""

    def __init__(self, path: Path, *markets: str) -> None:
        self.path = path
        self.chain = ToyChain(*(markets or ("toy",)))
        self.toy = Toy()
        self.watched: list[Watched] = []
        self.store = Store(path)
        self.live = True
        self.market_sources: list[MarketSource] = []
        self.witnesses: list[FakeRpc] = []
        """Endpoints beside the one that reads."""
        self.notifier = Notifications(clock=time.monotonic)
        self.confirmations = 1
        self.signers: dict[Address, Signer] = {signer.address: signer for signer in (ALICE, BOB)}

    def watch(
        self, who: Address, policy: Policy = FLOOR_ONLY, *, market: str = "toy", **changes: int
    ) -> Account:
        """A position to protect; returns what its market has of it."""
        account = Account(updated_at=self.chain.head.timestamp, **changes)
        self.chain.state.accounts[market_address(market), who] = account
        label = f"{'alice' if who == ALICE.address else 'bob'}@{market}"
        position = PositionId(chain_id=CHAIN_ID, market=market, account=who)
        self.watched.append(Watched(id=position, label=label, policy=policy))
        return account

    async def start(self) -> Engine:
        """As after the process began: nothing in memory but what `resume` finds."""
        rpc = self.chain.node.rpc
        self.pool = Pool([Endpoint(each, chain_id=CHAIN_ID) for each in (rpc, *self.witnesses)])
        reader = Reader(self.pool, multicall=MULTICALL3)
        fees = FeeSettings(
            max_fee_wei=Wei(100 * GWEI),
            min_priority_fee_wei=Wei(1),
            deadline_blocks=DEADLINE_BLOCKS,
        )
        self.pool = Pool([Endpoint(each, chain_id=CHAIN_ID) for each in (rpc, *self.witnesses)])
        self.transactions = TransactionManager(
            rpc=rpc,
            chain_id=CHAIN_ID,
            signers=self.signers if self.live else {},
            fees=fees,
            confirmations=self.confirmations,
            finality_blocks=FINALITY_BLOCKS,
            journal=self.store.journal,
            run=self.store.run,
            votes=PoolVotes(self.pool),
        )
        names = dict.fromkeys(row.id.market for row in self.watched)
        markets = [
            WatchedMarket(
                self.toy,
                provider=market_address(name),
                name=name,
                chain_id=CHAIN_ID,
                accounts=tuple(r.id.account for r in self.watched if r.id.market == name),
            )
            for name in names
        ]
        self.engine = Engine(
            watched=self.watched,
            markets=markets,
            pool=self.pool,
            reader=reader,
            prices=FeedPrices(
                reader=reader, chain_id=CHAIN_ID, store=self.store.prices, run=self.store.run
            ),
            market_prices=MarketPrices(reader=reader, sources=self.market_sources),
            calibrator=Calibrator(shipped=shipped(), store=self.store, chain_id=CHAIN_ID),
            preparer=Preparer(rpc=rpc, multicall=MULTICALL3, fees=fees, margin_s=MARGIN_S),
            witnesses=Witnesses(
                pool=self.pool, multicall=MULTICALL3, notifier=self.notifier, pause_s=0.0
            ),
            crosscheck=CrossCheck(
                pool=self.pool, multicall=MULTICALL3, notifier=self.notifier, markets=markets
            ),
            transactions=self.transactions,
            accounts=SignerAccounts(self.signers if self.live else ()),
            guarding=Guarding(),
            caution=Caution(markets=markets, notifier=self.notifier),
            notifier=self.notifier,
            store=self.store,
            fees=fees,
            live=self.live,
            now=time.time,
        )
        await self.engine.resume(self.chain.head)
        for each in self.witnesses:
            # What the first refuses at the start, such as code, they are asked too.
            each.posts.clear()
        return self.engine

    async def look(self) -> None:
        """One pass over the newest block."""
        await self.engine.run_pass(self.chain.head)

    async def block(self) -> None:
        """An empty block, and a pass over it."""
        self.chain.block()
        await self.look()

    async def mine(self) -> None:
        """A block with what was sent, and a pass over it."""
        self.chain.mine()
        await self.look()

    def price(self, dollars: int, market: str = "toy") -> None:
        self.chain.market(market).price_usd8 = dollars * USD8

    def sent(self) -> list[Sent]:
        return self.chain.node.sent()

    def decisions(self) -> list[DecisionView]:
        return history(self.path)

    def position(self, label: str = "alice@toy") -> PositionView:
        (found,) = (each for each in positions(self.path) if each.label == label)
        return found
