"""From a head to signed bytes with 1,000 positions, one of which needs protection."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import erfc, exp, log, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes

from keeper.backtest.shipped import shipped
from keeper.chain.local_signer import LocalSigner
from keeper.chain.market_prices import MarketPrices
from keeper.chain.pool import Endpoint, Pool
from keeper.chain.prepare import Preparer
from keeper.chain.prices import FeedPrices
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.chain.settings import FeeSettings
from keeper.chain.transactions.accounts import SignerAccounts
from keeper.chain.transactions.manager import TransactionManager
from keeper.devnet.chain import VARIABLE_RATE
from keeper.devnet.deployment import TOKEN_DECIMALS
from keeper.engine.calibrator import Calibrator
from keeper.engine.caution import Caution
from keeper.engine.crosscheck import CrossCheck
from keeper.engine.engine import Engine
from keeper.engine.guarding import Guarding
from keeper.engine.planning import MARGIN_S
from keeper.engine.watch import Watched, WatchedMarket
from keeper.engine.witness import Witnesses
from keeper.model.units import SECONDS_PER_YEAR, WAD, Wad, Wei
from keeper.model.values import PositionId
from keeper.policy.settings import Policy
from keeper.protocols import aave_v3
from keeper.service.notifications import Notifications
from keeper.storage.store import Store
from tests.benchmarks.measuring import Lap, Side, take_turns
from tests.benchmarks.peers import Peer
from tests.benchmarks.reading import discovered
from tests.benchmarks.report import Row, compared
from tests.benchmarks.town import DAY_S, Town

NAME = "head to signed bytes, 1,000 positions"
ROUNDS = 3
USD8 = 10**8
FLOOR, TARGET, TRIGGER = 1.15, 1.40, 0.05
VOLATILITY_PER_YEAR = 0.8
"""A script's constant."""
POLICY = Policy(
    name="bench",
    floor=Wad(115 * WAD // 100),
    trigger_probability=TRIGGER,
    horizon_s=DAY_S,
    target=Wad(140 * WAD // 100),
    max_health_to_act=Wad(2 * WAD),
    max_per_action_usd8=100_000 * USD8,
    max_per_day_usd8=100_000 * USD8,
    min_action_usd8=USD8,
)
FEES = FeeSettings(
    max_fee_wei=Wei(100 * 10**9), min_priority_fee_wei=Wei(10**8), deadline_blocks=10
)


class StoppingRpc(Rpc):
    """Keeps what would be broadcast, and notes when: the chain must stand still."""

    signed_at = 0.0
    signed: bytes = b""

    async def call(self, method: str, *params: Any) -> Any:
        if method != "eth_sendRawTransaction":
            return await super().call(method, *params)
        self.signed_at = time.perf_counter()
        self.signed = bytes.fromhex(params[0][2:])
        return "0x"


@dataclass(slots=True)
class Ours:
    """The engine with everything it has in the daemon, and a journal of its own each time."""

    town: Town
    rpc: StoppingRpc
    folder: Path
    number: int = 0

    async def run(self) -> Lap:
        """One pass of a daemon that has seen the block before the fall, until bytes would leave."""
        self.number += 1
        store = Store(self.folder / f"{self.number}.sqlite3")
        try:
            engine = self._engine(store)
            await engine.resume(self.town.calm)
            await engine.run_pass(self.town.calm)
            begin = time.perf_counter()
            await engine.run_pass(self.town.head)
            return Lap(seconds=self.rpc.signed_at - begin, found=self.rpc.signed)
        finally:
            store.close()

    def _engine(self, store: Store) -> Engine:
        chain = self.town.chain
        multicall = chain.contracts.multicall3
        key = Account.from_key(self.town.endangered.private_key)
        notifier = Notifications(clock=time.monotonic)
        pool = Pool([Endpoint(self.rpc, chain_id=chain.chain_id)])
        reader = Reader(pool, multicall=multicall)
        markets = [
            WatchedMarket(
                aave_v3,
                provider=chain.contracts.aave.pool_addresses_provider.address,
                name="aave",
                chain_id=chain.chain_id,
                accounts=self.town.addresses,
            )
        ]
        return Engine(
            watched=[
                Watched(
                    id=PositionId(chain_id=chain.chain_id, market="aave", account=account),
                    label=account,
                    policy=POLICY,
                )
                for account in self.town.addresses
            ],
            markets=markets,
            pool=pool,
            reader=reader,
            prices=FeedPrices(
                reader=reader, chain_id=chain.chain_id, store=store.prices, run=store.run
            ),
            market_prices=MarketPrices(reader=reader),
            calibrator=Calibrator(shipped=shipped(), store=store, chain_id=chain.chain_id),
            preparer=Preparer(rpc=self.rpc, multicall=multicall, fees=FEES, margin_s=MARGIN_S),
            witnesses=Witnesses(pool=pool, multicall=multicall, notifier=notifier),
            crosscheck=CrossCheck(
                pool=pool, multicall=multicall, notifier=notifier, markets=markets
            ),
            transactions=TransactionManager(
                rpc=self.rpc,
                chain_id=chain.chain_id,
                signers={self.town.endangered.address: LocalSigner("bench", key)},
                fees=FEES,
                confirmations=1,
                journal=store.journal,
                run=store.run,
            ),
            accounts=SignerAccounts([self.town.endangered.address]),
            guarding=Guarding(),
            caution=Caution(markets=markets, notifier=notifier),
            notifier=notifier,
            store=store,
            fees=FEES,
            live=True,
            now=time.time,
        )


@dataclass(slots=True)
class Script:
    """What one writes with web3.py: read all, forecast each, repay for the one in danger."""

    peer: Peer
    town: Town
    healths: list[int] = field(default_factory=list)
    """As last read."""

    def sequentially(self) -> bytes:
        """One call after the other."""
        accounts = self.town.addresses
        read = [self.peer.pool.functions.getUserAccountData(a).call() for a in accounts]
        return self._sign(read)

    async def gathered(self) -> bytes:
        """All calls at once."""
        pool = self.peer.async_pool
        accounts = self.town.addresses
        read = await asyncio.gather(
            *(pool.functions.getUserAccountData(account).call() for account in accounts)
        )
        return self._sign(read)

    def _sign(self, read: Sequence[Sequence[int]]) -> bytes:
        self.healths = [answer[5] for answer in read]
        endangered = [
            (account, answer)
            for account, answer in zip(self.town.addresses, read, strict=True)
            if in_danger(answer[5] / WAD)
        ]
        ((account, (collateral, debt, _, threshold, _, _)),) = endangered
        eth: Any = self.peer.w3.eth
        home = self.town.homes[self.town.addresses.index(account)]
        token = self.peer.tokens[home.debts[0]][0]
        # Debt after it × target = collateral × threshold.
        usd8 = debt - collateral * threshold / 10_000 / TARGET
        decimals = TOKEN_DECIMALS[home.debts[0]]
        repay = self.peer.pool.functions.repay(
            token.address, int(usd8 * 10**decimals / USD8), VARIABLE_RATE, account
        )
        transaction = repay.build_transaction(
            {"from": account, "nonce": eth.get_transaction_count(account)}
        )
        key = self.town.endangered.private_key
        return bytes(eth.account.sign_transaction(transaction, key).raw_transaction)


def in_danger(health: float) -> bool:
    """Below the floor, or likelier than the trigger to touch 1 within a day: the closed form for
    one price that moves, without drift."""
    if health < FLOOR:
        return True
    sigma = VOLATILITY_PER_YEAR * sqrt(DAY_S / SECONDS_PER_YEAR)
    drift = -0.5 * sigma**2
    barrier = log(health)
    breach = 0.5 * erfc((barrier + drift) / sigma / sqrt(2)) + 0.5 * exp(
        -2 * drift * barrier / sigma**2
    ) * erfc((barrier - drift) / sigma / sqrt(2))
    return breach > TRIGGER and health < TARGET


def meant(raw: bytes) -> tuple[str, str, str]:
    """Signer, target and function of a signed transaction."""
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return (
        Account.recover_transaction(raw),
        to_checksum_address(fields["to"]),
        fields["data"][:4].hex(),
    )


async def measure(town: Town) -> tuple[list[Row], str]:
    """The rows of this figure, and what to know of them."""
    rpc = StoppingRpc(town.chain.rpc_url)
    multicall = town.chain.contracts.multicall3
    market = await discovered(town, Reader(rpc, multicall=multicall), town.head)
    with TemporaryDirectory() as folder:
        ours = Ours(town, rpc, Path(folder))
        script = Script(Peer(town, market, multicall), town)
        keeper = Side(name="keeper", run=ours.run, repeats=3)
        one_by_one = Side(name="web3, one call after the other", run=script.sequentially)
        gathered = Side(name="AsyncWeb3, asyncio.gather", run=script.gathered)
        await take_turns([keeper, one_by_one, gathered], rounds=ROUNDS)
    reading = aave_v3.snapshot(market, town.addresses, timestamp=town.head.timestamp)
    (found,), _ = await Reader(rpc, multicall=multicall).read([reading], at=town.head.hash)
    if script.healths != [found.position(account).health for account in town.addresses]:
        raise AssertionError("the sides did not read the same healths")
    await rpc.close()
    await script.peer.async_w3.provider.disconnect()
    if not meant(keeper.found) == meant(one_by_one.found) == meant(gathered.found):
        raise AssertionError("the sides did not sign for the same thing")
    return [compared(NAME, keeper, one_by_one, goal=30), compared(NAME, keeper, gathered)], (
        "Signing: keeper reads every balance of every reserve, forecasts with a covariance of four "
        "feeds, plans in exact integers, simulates and journals before it signs; the scripts read "
        "account data only, and neither simulate nor journal."
    )
