"""The market of a forked chain, made to fall: feeds, pools and liquidators of the real contracts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keeper.abi.aave_v3 import Oracle
from keeper.abi.words import Function
from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.chain import GWEI, Fees
from keeper.devnet.overlay import FallingFeed, deployer_on, laid_over
from keeper.devnet.pushing import Pusher, lend, pusher, read_word
from keeper.devnet.rpc import Rpc
from keeper.devnet.views import (
    Liquidated,
    PoolEvent,
    Repaid,
    decode_account,
    guardian_sales,
    paid_fees,
    pool_events,
)
from keeper.model.mandate import NOBODY
from keeper.model.units import Address, Wad, Wei
from keeper.protocols.aave_v3 import AaveMarket, price_sources

BLOCK_S: Final = 12
MOST_BLOCKS: Final = 120
"""A longer fall has longer blocks."""
GAS: Final = 10_000_000
SET_UP_GAS: Final = 10**11
FIRST, SECOND, THIRD = (Fees(max_wei=10**15 - n, priority_wei=GWEI) for n in range(3))
"""Feeds, liquidators, trades: Anvil orders a block by the first of the two. The tip is an ordinary
one, since the keeper's own follows what recent blocks paid."""
ACCOUNT_DATA: Final = Function("getUserAccountData(address)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """Prices fall by `drop_percent` within `over_s`, in each moment by the same share."""

    drop_percent: float
    over_s: int

    @property
    def step_s(self) -> int:
        """Chain time from block to block."""
        return max(BLOCK_S, -(-self.over_s // MOST_BLOCKS))

    @property
    def blocks(self) -> int:
        """Until the bottom."""
        return -(-self.over_s // self.step_s)

    def factor(self, elapsed_s: int) -> float:
        """What is left of a price."""
        return float((1.0 - self.drop_percent / 100.0) ** min(elapsed_s / self.over_s, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One of the user's positions, as the fork has it."""

    label: str
    market: str
    account: Address
    owed: tuple[Address, ...]
    """The tokens of its debts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFacts:
    """What one block did to the subjects, in USD with 8 decimals at its own oracle prices."""

    healths: Sequence[Wad | None]
    losses_usd8: Mapping[tuple[str, Address], int]
    """What liquidations took beyond the debt they repaid, by market and account; without the
    protocol's own share of the penalty, which the event leaves out."""
    fees_wei: Mapping[str, Wei]
    """By transaction."""
    swaps_usd8: Mapping[str, int]
    """What an unwind sold beyond what it repaid, by transaction."""
    native_usd8: int | None


@dataclass(slots=True, kw_only=True)
class FallingMarket:
    """For use by one thread at a time. Blocks are mined by `step` only."""

    rpc: Rpc
    artifacts: Artifacts
    fall: Fall
    markets: Mapping[str, AaveMarket]
    subjects: tuple[Subject, ...]
    pools: tuple[Address, ...]
    """Those that the keeper may use or looks at."""
    native: Address | None
    """The coin's wrapped token, which prices gas."""
    base_fee_wei: int
    unmoved: tuple[Address, ...] = ()
    """Pools that cannot be moved."""
    _feeds: list[FallingFeed] = field(default_factory=list)
    _liquidators: dict[str, Contract] = field(default_factory=dict)
    _pusher: Pusher | None = None
    _trader: Address = NOBODY

    @property
    def standing(self) -> tuple[Address, ...]:
        """Feeds of dollars, which do not fall."""
        return tuple(feed.feed for feed in self._feeds if not feed.falls)

    def set_up(self) -> None:
        """Take over feeds and pools. Raises `DeploymentError`."""
        # Time stands still meanwhile, so that no interest accrues before the fall, and blocks have
        # room for every contract.
        gas_limit = self.rpc.call("eth_getBlockByNumber", "latest", False)["gasLimit"]
        self.rpc.call("evm_setBlockGasLimit", hex(SET_UP_GAS))
        self.rpc.call("anvil_setBlockTimestampInterval", 0)
        sources = dict.fromkeys(
            source for market in self.markets.values() for source in price_sources(market)
        )
        code = {each: self.rpc.call("eth_getCode", each, "latest") for each in sources}
        self._feeds = laid_over(
            self.rpc, self.artifacts, [each for each in sources if code[each] != "0x"]
        )
        deployer = deployer_on(self.rpc)
        for market in self.markets.values():
            data = deployer.create(
                self.artifacts.aave("misc/AaveProtocolDataProvider"), market.provider
            )
            made = self._liquidators[market.name] = deployer.create(
                self.artifacts.own("Liquidator"), market.pool, market.oracle, data.address
            )
            owed = {t for s in self.subjects if s.market == market.name for t in s.owed}
            for token in owed:
                deployer.call(made, "approve", token)
            deployer.flush()
            for reserve in market.reserves:
                if reserve.token.address in owed:
                    lend(self.rpc, reserve.token.address, reserve.a_token, made.address, share=4)
        lenders = {r.token.address: r.a_token for m in self.markets.values() for r in m.reserves}
        self._pusher, self.unmoved = pusher(self.rpc, self.artifacts, self.pools, lenders)
        self._trader = deployer_on(self.rpc).account
        self.rpc.call("anvil_removeBlockTimestampInterval")
        self.rpc.call("evm_setBlockGasLimit", gas_limit)

    def without_keeper(self) -> list[Wad | None]:
        """Each position's health at the bottom if nobody acted."""
        snapshot = self.rpc.call("evm_snapshot")
        bottom = self.fall.factor(self.fall.over_s)
        for feed in self._feeds:
            if feed.falls:
                data = feed.rounds.encode("push", round(feed.first * bottom), feed.last.updated_at)
                self._send(feed.rounds.address, data, FIRST)
        self._mine(self.now() + 1)
        found = self.healths()
        self.rpc.call("evm_revert", snapshot)
        return found

    def step(self, number: int, started_at: int) -> int:
        """The path's block of this number, from 1; returns its height.

        Feeds publish what the market was worth at the end of the block before; the liquidators
        strike right behind them; then the pools are moved; everybody else follows."""
        now = started_at + number * self.fall.step_s
        before, after = (self.fall.factor(n * self.fall.step_s) for n in (number - 1, number))
        published = False
        for feed in self._feeds:
            if (due := feed.due(before, now)) is not None:
                feed.last, published = due, True
                data = feed.rounds.encode("push", due.answer, due.updated_at)
                self._send(feed.rounds.address, data, FIRST)
        if published:
            for market, contract in self._liquidators.items():
                accounts = [each.account for each in self.subjects if each.market == market]
                self._send(contract.address, contract.encode("strike", accounts), SECOND)
        if self._pusher is not None:
            for push in self._pusher.pushes(self._factors(after)):
                self._send(push.to, push.data, THIRD)
        return self._mine(now)

    def facts(self, block: int) -> BlockFacts:
        """Of the newest block, which is `block`."""
        receipts = self.rpc.call("eth_getBlockReceipts", hex(block))
        events = {name: pool_events(receipts, m.pool) for name, m in self.markets.items()}
        return BlockFacts(
            healths=self.healths(),
            losses_usd8=self._losses(events),
            fees_wei={fee.transaction: fee.wei for fee in paid_fees(receipts)},
            swaps_usd8=self._swaps(receipts, events),
            native_usd8=self._native_usd8(),
        )

    def now(self) -> int:
        """The newest block's time."""
        newest = self.rpc.call("eth_getBlockByNumber", "latest", False)
        return int(newest["timestamp"], 16)

    def healths(self) -> list[Wad | None]:
        """By the protocol's own getter, at the newest block."""
        calls = [ACCOUNT_DATA(self.markets[s.market].pool, s.account) for s in self.subjects]
        answers = self.rpc.batch(
            [
                ("eth_call", ({"to": call.target, "data": "0x" + call.data.hex()}, "latest"))
                for call in calls
            ]
        )
        return [decode_account(bytes.fromhex(answer[2:])).health for answer in answers]

    def _losses(
        self, events: Mapping[str, tuple[PoolEvent, ...]]
    ) -> dict[tuple[str, Address], int]:
        losses: dict[tuple[str, Address], int] = {}
        for market, found in events.items():
            for event in found:
                if isinstance(event, Liquidated):
                    key = (market, event.account)
                    seized = self._usd8(market, event.collateral_asset, event.seized_raw)
                    repaid = self._usd8(market, event.debt_asset, event.repaid_raw)
                    losses[key] = losses.get(key, 0) + seized - repaid
        return losses

    def _swaps(self, receipts: Any, events: Mapping[str, tuple[PoolEvent, ...]]) -> dict[str, int]:
        repaid = {
            event.transaction: (market, event)
            for market, found in events.items()
            for event in found
            if isinstance(event, Repaid)
        }
        swaps = {}
        for sale in guardian_sales(receipts):
            if sale.transaction in repaid:
                market, event = repaid[sale.transaction]
                swaps[sale.transaction] = self._usd8(
                    market, sale.asset, sale.amount_raw
                ) - self._usd8(market, event.asset, event.amount_raw)
        return swaps

    def _usd8(self, market: str, token: Address, raw: int) -> int:
        found = next(r for r in self.markets[market].reserves if r.token.address == token)
        price = read_word(self.rpc, Oracle.GET_ASSET_PRICE(self.markets[market].oracle, token))
        return raw * price // found.token.unit

    def _native_usd8(self) -> int | None:
        for market in self.markets.values():
            for reserve in market.reserves:
                if reserve.token.address == self.native:
                    call = Oracle.GET_ASSET_PRICE(market.oracle, reserve.token.address)
                    return read_word(self.rpc, call)
        return None

    def _factors(self, factor: float) -> dict[Address, float]:
        """What is left of the price of each token of the markets."""
        falls = {feed.feed for feed in self._feeds if feed.falls}
        return {
            reserve.token.address: factor if reserve.price_source in falls else 1.0
            for market in self.markets.values()
            for reserve in market.reserves
        }

    def _send(self, to: Address, data: bytes, fees: Fees) -> None:
        self.rpc.call(
            "eth_sendTransaction",
            {
                "from": self._trader,
                "to": to,
                "data": "0x" + data.hex(),
                "gas": hex(GAS),
                "maxFeePerGas": hex(fees.max_wei),
                "maxPriorityFeePerGas": hex(fees.priority_wei),
            },
        )

    def _mine(self, now: int) -> int:
        self.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(self.base_fee_wei))
        self.rpc.call("evm_mine", hex(now))
        return int(self.rpc.call("eth_blockNumber"), 16)
