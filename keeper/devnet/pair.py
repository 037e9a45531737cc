"""A hedged pair twice on one chain: a loan against ether and a short of ether, whose owner keeps each
leg by a wallet of its own, or both by one.

Both pairs have the same legs, the same policies and the same reserve in all. What differs is whether
the reserve is one: where the legs are in one account, whichever is in danger is paid for from all of
it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from keeper.devnet.aave import RESERVES
from keeper.devnet.accounts import DevAccount
from keeper.devnet.daemon import running_keeper
from keeper.devnet.files import (
    JOURNAL,
    aave_section,
    chain_section,
    environment,
    protected_section,
    signer_section,
)
from keeper.devnet.pace import Pace
from keeper.devnet.perp import SETTLEMENT
from keeper.devnet.perp_stage import LEVERAGE, PerpGround, perp_grounded
from keeper.devnet.perp_story import PerpWitness
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.scenario import Scenario
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.twins import COLLATERAL_WETH, HEALTH_AT_START, WATCHFUL, Policy
from keeper.devnet.views import BlockView, Deposited, Liquidated, Repaid, Supplied, TakenOver
from keeper.devnet.witness import Witness
from keeper.model.units import BPS, WAD, Address

SHORT: Final = Policy(floor="2.20", target="4.00", trigger_probability="0.10")
RESERVE: Final = Fraction(1, 5)
"""Of the debt, in each pair's wallets together: a wallet with half of it cannot keep the loan."""
SEPARATELY, TOGETHER = "separately", "as one book"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The accounts that hold the legs; one and the same where they are one book."""

    name: str
    loan: DevAccount
    short: DevAccount

    @property
    def accounts(self) -> dict[Address, DevAccount]:
        """Each once."""
        return {each.address: each for each in (self.loan, self.short)}

    @property
    def labels(self) -> tuple[str, str]:
        """Of its two positions."""
        suffix = "alone" if len(self.accounts) > 1 else "paired"
        return f"loan-{suffix}", f"short-{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTold:
    """What became of one pair. Money in USD."""

    name: str
    reserve_usd: float
    actions: Mapping[str, int]
    paid_in_usd: float
    """From the reserve into the legs: still the owner's."""
    gas_usd: float
    liquidations: int
    loss_usd: float
    cost_usd: float
    """Gas and losses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """Both pairs, side by side."""

    scenario: str
    blocks: int
    pairs: tuple[PairTold, ...]
    reads_per_block: int
    broadcasts: int

    def problems(self) -> list[str]:
        """Why the demo failed; empty when it is a success."""
        told = {pair.name: pair for pair in self.pairs}
        found = []
        if told[TOGETHER].liquidations:
            found.append("a leg of the pair that is one book was liquidated")
        if told[TOGETHER].cost_usd >= told[SEPARATELY].cost_usd:
            found.append(
                f"as one book the pair cost {told[TOGETHER].cost_usd:,.2f} USD, separately "
                f"{told[SEPARATELY].cost_usd:,.2f}"
            )
        return found

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class PairDemo:
    """One scenario, two pairs, one keeper."""

    scenario: Scenario
    ground: PerpGround
    pairs: tuple[Pair, ...]
    reserve_raw: int
    folder: Path
    environ: Mapping[str, str]
    show: Callable[[str], None]
    _blocks: list[tuple[BlockView, BlockView]] = field(default_factory=list)

    async def play(self) -> PairReport:
        """Run the whole path and stop the keeper. Raises `KeeperFailedError`."""
        chain = self.ground.chain
        async with RecordingProxy(chain.rpc_url, chain.ws_url) as proxy:
            config = self._write(proxy.http_url, proxy.ws_url)
            environ = {**self.environ, **environment()}
            async with running_keeper(config, self.folder / JOURNAL, environ) as keeper:
                await keeper.ready([label for pair in self.pairs for label in pair.labels])
                await self._drive(keeper.check)
        return PairReport(
            scenario=self.scenario.name,
            blocks=len(self.ground.path),
            pairs=tuple(map(self._told, self.pairs)),
            reads_per_block=proxy.recording.reads_per_block(),
            broadcasts=proxy.recording.broadcasts(),
        )

    def _write(self, rpc_url: str, ws_url: str) -> Path:
        chain = self.ground.chain
        text = chain_section(chain, rpc_url, ws_url) + aave_section(chain) + self.ground.perp.toml()
        for pair in self.pairs:
            for account in pair.accounts.values():
                text += signer_section(self.folder, account.name, account.private_key)
            legs = zip(pair.labels, (WATCHFUL, SHORT), ("aave", "perp"), strict=True)
            for (label, policy, market), account in zip(legs, (pair.loan, pair.short), strict=True):
                text += protected_section(label, policy, market, account.address, account.name)
        path = self.folder / "keeper.toml"
        path.write_text(text, encoding="utf-8")
        return path

    async def _drive(self, check: Callable[[], None]) -> None:
        stop = threading.Event()
        driving = asyncio.create_task(asyncio.to_thread(self._walk, stop))
        try:
            while not driving.done():
                await asyncio.wait({driving}, timeout=5.0)
                check()
                if self._blocks:
                    self.show(f"block {len(self._blocks)}/{len(self.ground.path)}")
        finally:
            stop.set()
            await driving

    def _walk(self, stop: threading.Event) -> None:
        accounts = tuple({each: None for pair in self.pairs for each in pair.accounts})
        market, perp = self.ground.market, self.ground.perp
        lending = Witness(market=market, accounts=accounts)
        perps = PerpWitness(market=market, perp=perp, accounts=accounts)
        pace = Pace(self.scenario.wall_seconds, stop)
        for tick, _ in zip(self.ground.path, pace.beats(), strict=False):
            number = market.step(tick)
            self._blocks.append((lending.look(number), perps.look(number)))

    def _told(self, pair: Pair) -> PairTold:
        tokens = self.ground.chain.contracts.tokens
        units = {
            token.address: self.ground.chain.contracts.token(symbol).unit
            for symbol, token in tokens.items()
        }
        weth, mine = tokens["WETH"].address, pair.accounts
        actions, paid_usd8, gas_usd8, losses = dict[str, int](), 0, 0, list[int]()
        for lending, perps in self._blocks:
            prices = lending.prices_usd8

            def usd8(asset: Address, raw: int, prices: Mapping[Address, int] = prices) -> int:
                return raw * prices[asset] // units[asset]

            gas_usd8 += sum(usd8(weth, fee.wei) for fee in lending.fees if fee.sender in mine)
            for event in (*lending.events, *perps.events):
                match event:
                    case Supplied() | Repaid() | Deposited() if event.account in mine:
                        kind = _KINDS[type(event)]
                        actions[kind] = actions.get(kind, 0) + 1
                        paid_usd8 += usd8(event.asset, event.amount_raw)
                    case Liquidated() if event.account in mine:
                        seized = usd8(event.collateral_asset, event.seized_raw)
                        losses.append(seized - usd8(event.debt_asset, event.repaid_raw))
                    case TakenOver() if event.account in mine:
                        losses.append(event.penalty_usd8)
                    case _:
                        pass
        unit = self.ground.chain.contracts.token(SETTLEMENT).unit
        return PairTold(
            name=pair.name,
            reserve_usd=self.reserve_raw / unit,
            actions=actions,
            paid_in_usd=paid_usd8 / 1e8,
            gas_usd=gas_usd8 / 1e8,
            liquidations=len(losses),
            loss_usd=sum(losses) / 1e8,
            cost_usd=(gas_usd8 + sum(losses)) / 1e8,
        )


_KINDS: Final = {Supplied: "AddCollateral", Repaid: "Repay", Deposited: "AddMargin"}


@contextmanager
def paired(
    scenario: Scenario,
    toolchain: Toolchain,
    folder: Path,
    *,
    environ: Mapping[str, str],
    show: Callable[[str], None],
    reserve: Fraction | None = None,
) -> Iterator[PairDemo]:
    """Start the chain and open both pairs at the scenario's first price; stop on leaving. `reserve`
    is what lies in each pair's wallets together, as a share of the debt."""
    with perp_grounded(scenario, toolchain) as ground:
        chain = ground.chain
        both = chain.account("paired")
        pairs = (
            Pair(
                name=SEPARATELY,
                loan=chain.account("loan-alone"),
                short=chain.account("short-alone"),
            ),
            Pair(name=TOGETHER, loan=both, short=both),
        )
        debt_raw = _debt_raw(ground)
        whole = int(debt_raw * (RESERVE if reserve is None else reserve))
        for pair in pairs:
            _open(ground, pair, debt_raw)
            for account in pair.accounts:
                if whole:
                    chain.mint(SETTLEMENT, account, whole // len(pair.accounts))
        yield PairDemo(
            scenario=scenario,
            ground=ground,
            pairs=pairs,
            reserve_raw=whole,
            folder=folder,
            environ=environ,
            show=show,
        )


def _answer(ground: PerpGround) -> int:
    return int(ground.chain.read(ground.chain.contracts.feeds["WETH"], "latestRoundData")[1])


def _debt_raw(ground: PerpGround) -> int:
    counted = COLLATERAL_WETH * _answer(ground) * RESERVES["WETH"].liquidation_threshold // BPS
    unit = ground.chain.contracts.token(SETTLEMENT).unit
    return int(counted * WAD // HEALTH_AT_START) * unit // 10**8


def _open(ground: PerpGround, pair: Pair, debt_raw: int) -> None:
    """The loan's dollars are spent; the short is as large as the loan's collateral."""
    chain, loan, short = ground.chain, pair.loan.address, pair.short.address
    unit = chain.contracts.token("WETH").unit
    chain.open_position(
        loan, collateral={"WETH": COLLATERAL_WETH * unit}, debt={SETTLEMENT: debt_raw}
    )
    sink = chain.account("market_maker").address
    chain.transact(loan, chain.contracts.tokens[SETTLEMENT], "transfer", sink, debt_raw)
    notional = COLLATERAL_WETH * _answer(ground) * chain.contracts.token(SETTLEMENT).unit // 10**8
    ground.perp.deposit(short, SETTLEMENT, notional // LEVERAGE)
    ground.perp.trade(short, "vETH", base=-COLLATERAL_WETH * WAD)
