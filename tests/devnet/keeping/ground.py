"""The daemon's ground: positions on a local chain, its files, and what the chain says happened."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from keeper.devnet.aave import RESERVES
from keeper.devnet.accounts import DevAccount
from keeper.devnet.chain import LocalChain
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.views import PoolEvent, pool_events
from keeper.model.units import BPS, WAD, Address, Wad
from keeper.storage import views
from tests.devnet.keeping.process import Keeper, asked, keeper

DEADLINE_BLOCKS = 3
POLICY: Mapping[str, Any] = {
    "floor": 1.25,
    "target": 1.40,
    "max_per_action_usd": 100_000,
    "max_per_day_usd": 200_000,
}
POLL_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """One watched position and the section of the configuration that names its policy."""

    label: str
    account: DevAccount
    policy: Mapping[str, Any]

    def toml(self) -> str:
        name = self.label
        rules = "\n".join(f"{key} = {_toml(value)}" for key, value in self.policy.items())
        return (
            f"[policies.{name}]\n{rules}\n[signers.{name}]\n"
            f'[[positions]]\nlabel = "{name}"\nmarket = "aave"\naccount = '
            f'"{self.account.address}"\npolicy = "{name}"\nsigner = "{name}"\n'
        )


@dataclass(slots=True, kw_only=True)
class Ground:
    """A chain, a folder for the daemon's files, and the positions in them."""

    chain: LocalChain
    folder: Path
    guarded: list[Guarded] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    """Further keys of `[chain]`."""
    service: dict[str, Any] = field(default_factory=dict)
    """The keys of `[service]`."""
    breakers: dict[str, Any] = field(default_factory=dict)
    """The keys of `[breakers]`."""
    sections: list[str] = field(default_factory=list)
    """Further sections of the configuration."""
    environ: dict[str, str] = field(default_factory=dict)
    """The daemon's environment: the keys, to begin with."""
    first_block: int = 0

    # -- setting up ------------------------------------------------------------------------------

    def guard(
        self,
        label: str = "main",
        *,
        health: str = "1.20",
        debt: str = "USDC",
        wallet: Mapping[str, int] | None = None,
        **policy: Any,
    ) -> Guarded:
        """A position of 10 WETH against `debt` at `health` (none if "0"), and nothing in its wallet
        but whole tokens of `wallet`. By default it is below its floor at once. A key of the policy
        that is None is not written."""
        account = self.chain.account(label)
        self._open(account.address, Fraction(health), debt)
        for symbol, whole in ({debt: 10_000} if wallet is None else wallet).items():
            unit = self.chain.contracts.token(symbol).unit
            self.chain.mint(symbol, account.address, whole * unit)
        written = {k: v for k, v in {**POLICY, **policy}.items() if v is not None}
        one = Guarded(label=label, account=account, policy=written)
        self.guarded.append(one)
        self.environ[f"KEEPER_SIGNERS__{label.upper()}__PRIVATE_KEY"] = account.private_key
        self.first_block = self.block() + 1
        return one

    def _open(self, account: Address, health: Fraction, debt: str) -> None:
        contracts = self.chain.contracts
        weth, token = contracts.token("WETH"), contracts.token(debt)
        borrowed = 0
        if health:
            counted = 10 * self.price("WETH") * RESERVES["WETH"].liquidation_threshold
            borrowed = int(Fraction(counted * token.unit, BPS * self.price(debt)) / health)
        self.chain.open_position(
            account,
            collateral={"WETH": 10 * weth.unit},
            debt={debt: borrowed} if borrowed else {},
        )
        if borrowed:
            sink = self.chain.account("sink").address
            self.chain.transact(account, contracts.tokens[debt], "transfer", sink, borrowed)

    def approve(self, one: Guarded, symbol: str, raw: int) -> None:
        """Let the pool take `raw` units of the account's token."""
        contracts = self.chain.contracts
        token, pool = contracts.tokens[symbol], contracts.aave.pool.address
        self.chain.transact(one.account.address, token, "approve", pool, raw)
        self.first_block = self.block() + 1

    # -- the daemon ------------------------------------------------------------------------------

    @property
    def journal(self) -> Path:
        return self.folder / "keeper.sqlite3"

    def config(self, rpc_url: str, ws_url: str | None) -> Path:
        """Write the configuration."""
        chain = {
            "id": self.chain.chain_id,
            "rpc_url": rpc_url,
            **({} if ws_url is None else {"ws_url": ws_url}),
            "poll_interval_s": POLL_INTERVAL_S,
            **self.settings,
        }
        provider = self.chain.contracts.aave.pool_addresses_provider.address
        sections = [
            "[chain]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in chain.items()),
            '[store]\npath = "keeper.sqlite3"\n[log]\nlevel = "debug"',
            f"[fees]\nmax_fee_gwei = 500\ndeadline_blocks = {DEADLINE_BLOCKS}",
            _section("service", self.service),
            _section("breakers", self.breakers),
            f'[markets.aave]\nprotocol = "aave_v3"\npool_addresses_provider = "{provider}"',
            *self.sections,
            *(one.toml() for one in self.guarded),
        ]
        path = self.folder / "keeper.toml"
        path.write_text("\n".join(sections))
        return path

    def keeper(
        self,
        proxy: RecordingProxy,
        *options: str,
        ws: bool = True,
        sabotage: Callable[[], None] | None = None,
    ) -> AbstractAsyncContextManager[Keeper]:
        """`keeper run` behind a proxy; killed on leaving."""
        config = self.config(proxy.http_url, proxy.ws_url if ws else None)
        return keeper("run", *options, config=config, environ=self.environ, sabotage=sabotage)

    async def ask(self, *arguments: str) -> Keeper:
        """A command about the journal, run to its end with the configuration last written."""
        return await asked(*arguments, config=self.folder / "keeper.toml", environ=self.environ)

    async def pass_block(self, running: Keeper) -> int:
        """Mine a block and wait until the daemon is through with it; its number."""
        number = self.chain.mine()
        await running.said("pass.done", block=number)
        return number

    async def until_concluded(self, running: Keeper, blocks: int = 2 * DEADLINE_BLOCKS) -> None:
        """Mine on until everything the daemon sent is settled and a plan has succeeded."""
        for _ in range(blocks):
            await self.pass_block(running)
            if running.all("plan.concluded", succeeded=True) and not self.open():
                return
        raise AssertionError(running.log(f"nothing concluded within {blocks} blocks"))

    # -- what the chain says ---------------------------------------------------------------------

    def block(self) -> int:
        """The newest block's number."""
        return int(self.chain.rpc.call("eth_blockNumber"), 16)

    def nonce(self, one: Guarded, block: str = "latest") -> int:
        """How many transactions of the account are mined, or with "pending" also wait."""
        return int(self.chain.rpc.call("eth_getTransactionCount", one.account.address, block), 16)

    def health(self, one: Guarded, block: str = "latest") -> Wad:
        """By the pool's own getter."""
        pool = self.chain.contracts.aave.pool
        account = one.account.address
        return Wad(self.chain.read(pool, "getUserAccountData", account, block=block)[-1])

    def allowance(self, one: Guarded, symbol: str) -> int:
        """What the pool may still take."""
        contracts = self.chain.contracts
        owner, pool = one.account.address, contracts.aave.pool.address
        return int(self.chain.read(contracts.tokens[symbol], "allowance", owner, pool))

    def price(self, symbol: str) -> int:
        """The pool's oracle's, in USD with 8 decimals."""
        contracts = self.chain.contracts
        token = contracts.tokens[symbol].address
        return int(self.chain.read(contracts.aave.oracle, "getAssetPrice", token))

    def events(self, one: Guarded) -> list[PoolEvent]:
        """The pool's events of the account since it is guarded."""
        blocks = [hex(number) for number in range(self.first_block, self.block() + 1)]
        found = self.chain.rpc.batch([("eth_getBlockReceipts", (block,)) for block in blocks])
        pool = self.chain.contracts.aave.pool.address
        return [
            event
            for receipts in found
            for event in pool_events(receipts, pool)
            if event.account == one.account.address
        ]

    def transactions(self, one: Guarded) -> list[dict[str, Any]]:
        """The account's mined transactions since it is guarded, in order, with their receipts."""
        blocks = [hex(number) for number in range(self.first_block, self.block() + 1)]
        found = self.chain.rpc.batch([("eth_getBlockByNumber", (block, True)) for block in blocks])
        own = [
            transaction
            for block in found
            for transaction in block["transactions"]
            if int(transaction["from"], 16) == int(one.account.address, 16)
        ]
        receipts = self.chain.rpc.batch(
            [("eth_getTransactionReceipt", (transaction["hash"],)) for transaction in own]
        )
        return [
            {**transaction, **receipt} for transaction, receipt in zip(own, receipts, strict=True)
        ]

    # -- what the journal says -------------------------------------------------------------------

    def decisions(self) -> list[views.DecisionView]:
        """Every decision in the journal."""
        return views.history(self.journal)

    def open(self) -> list[str]:
        """Intents that may still change the chain, and episodes that have not ended."""
        return self.query(
            "SELECT state || ' ' || key FROM intents WHERE state IN ('signed','broadcast','mined')"
            " UNION ALL SELECT 'episode ' || id FROM episodes WHERE closed_block IS NULL"
        )

    def flaws(self) -> list[str]:
        """Results of actions that were mined and yet did not do exactly as predicted."""
        return self.query(
            "SELECT decision_id || ' ' || differences FROM results"
            " WHERE worsened OR (succeeded AND differences != '[]')"
        )

    def query(self, sql: str) -> list[Any]:
        """The first column of a query, read-only."""
        uri = f"file:{self.journal}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return [first for first, *_ in connection.execute(sql)]


def target_of(one: Guarded) -> Wad:
    """As the contracts count health."""
    return Wad(int(Fraction(str(one.policy["target"])) * WAD))


def _section(name: str, keys: Mapping[str, Any]) -> str:
    return f"[{name}]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in keys.items())


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
