"""The market of a local chain: trades move the pools along a path, feeds follow, liquidators act.

One block per tick. Within a block the feeds' rounds come first, the liquidator right behind them,
everyone else after: so a keeper that waits for a price round is never ahead of the liquidator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from keeper.devnet.chain import SECOND_IN_BLOCK, Fees, LocalChain
from keeper.devnet.feeds import DECIMALS, Round, is_due
from keeper.devnet.liquidator import Liquidator
from keeper.devnet.path import Tick
from keeper.devnet.pools import Pair
from keeper.devnet.uniswap import MAX_UINT256, POOL_DEPTHS_USD, PoolKey

REFERENCES: dict[str, PoolKey] = {
    "WETH": ("WETH", "USDC", 500),
    "WBTC": ("WBTC", "USDC", 3_000),
}
"""The pool whose price a feed follows."""
DOLLARS = {"USDC": 1.0, "DAI": 1.0}
"""Worth one dollar throughout."""
TRADER_FUNDS_USD = 10**10
"""Far more than all pools hold, so that no trade falls short."""
TRADE_FEES = Fees(max_wei=10**13, priority_wei=0)
"""Above any scenario's gas price, behind the feeds and the liquidator."""
STRIKE_GAS = 10_000_000
TRADE_GAS = 1_000_000


@dataclass(slots=True, kw_only=True)
class Market:
    """Drives one chain; for use by one thread at a time."""

    chain: LocalChain
    liquidator: Liquidator
    others: Sequence[Callable[[Tick], None]] = ()
    """Whoever else acts in each block, once feeds and pools have moved."""
    _pairs: dict[PoolKey, Pair] = field(init=False)
    _last_rounds: dict[str, Round] = field(init=False)

    def __post_init__(self) -> None:
        contracts = self.chain.contracts
        self._pairs = {
            key: Pair(
                pool=contracts.uniswap.pools[key],
                base=contracts.token(key[0]),
                quote=contracts.token(key[1]),
                fee=key[2],
            )
            for key in POOL_DEPTHS_USD
        }
        self._last_rounds = {symbol: self._last_round(symbol) for symbol in contracts.feeds}

    def fund_trader(self) -> None:
        """Give the trader tokens of every kind, and the router its allowance."""
        contracts = self.chain.contracts
        trader = self.chain.account("market_maker").address
        for symbol, token in contracts.tokens.items():
            dollars_raw = TRADER_FUNDS_USD * 10**DECIMALS * contracts.token(symbol).unit
            self.chain.mint(symbol, trader, dollars_raw // self._last_rounds[symbol].answer)
            self.chain.transact(
                trader, token, "approve", contracts.uniswap.router.address, MAX_UINT256
            )

    def price(self, symbol: str) -> float:
        """What the market pays now, in USD."""
        if symbol in DOLLARS:
            return DOLLARS[symbol]
        reference = REFERENCES[symbol]
        return self._pairs[reference].price(self._root(reference))

    def step(self, tick: Tick) -> int:
        """One block of the path; returns its number.

        Feeds publish what the pools said at the end of the block before; then the trades of this
        block move the pools to the tick's prices."""
        if self._publish(tick.timestamp):
            self._strike()
        self._trade(tick)
        for act in self.others:
            act(tick)
        return self.chain.mine(tick.timestamp, tick.gas_price_wei)

    def _publish(self, now: int) -> bool:
        published = False
        for symbol, last in self._last_rounds.items():
            price = self.price(symbol)
            if is_due(last, price, now):
                self._last_rounds[symbol] = Round(round(price * 10**DECIMALS), now)
                self.chain.send_price(symbol, *self._last_rounds[symbol])
                published = True
        return published

    def _strike(self) -> None:
        sender = self.chain.account("liquidator").address
        target = self.liquidator.contract.address
        for calldata in self.liquidator.strikes():
            self.chain.send(sender, target, calldata, fees=SECOND_IN_BLOCK, gas=STRIKE_GAS)

    def _trade(self, tick: Tick) -> None:
        trader = self.chain.account("market_maker").address
        router = self.chain.contracts.uniswap.router
        prices = {**DOLLARS, **tick.prices}
        for key, pair in self._pairs.items():
            base, quote, _ = key
            if base not in prices or quote not in prices:
                continue
            swap = pair.trade(trader, self._root(key), prices[base] / prices[quote])
            if swap is not None:
                calldata = router.encode("exactInputSingle", swap)
                self.chain.send(trader, router.address, calldata, fees=TRADE_FEES, gas=TRADE_GAS)

    def _root(self, key: PoolKey) -> int:
        return int(self.chain.read(self._pairs[key].pool, "slot0")[0])

    def _last_round(self, symbol: str) -> Round:
        _, answer, _, updated_at, _ = self.chain.read(
            self.chain.contracts.feeds[symbol], "latestRoundData"
        )
        return Round(answer, updated_at)
