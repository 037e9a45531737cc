"""A hedged pair twice on one chain: a loan and a perp whose owner keeps each leg by itself, or both as
one book.

Both pairs have the same legs, the same policies and the same reserve in all. What differs is whether
what is spare for one leg may serve the other: `pair_stage.py` opens them.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

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
from keeper.devnet.perp_stage import PerpGround
from keeper.devnet.perp_story import PerpWitness
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.scenario import Scenario
from keeper.devnet.twins import Policy
from keeper.devnet.views import (
    BlockView,
    Deposited,
    Fee,
    Liquidated,
    Reduced,
    Repaid,
    Supplied,
    TakenOver,
)
from keeper.devnet.witness import Witness
from keeper.model.units import Address

SEPARATELY, TOGETHER = "separately", "as one book"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One position of each pair."""

    name: str
    market: str
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The accounts that hold the legs; one and the same where they are one book."""

    name: str
    loan: DevAccount
    perp: DevAccount
    guardians: tuple[Address, ...] = ()
    """Of the loan and the perp, where the keeper has not the accounts' own keys."""

    @property
    def accounts(self) -> dict[Address, DevAccount]:
        """Each once."""
        return {each.address: each for each in (self.loan, self.perp)}

    def label(self, leg: Leg) -> str:
        """Of its position."""
        return f"{leg.name}-{'alone' if len(self.accounts) > 1 else 'paired'}"

    def paid(self, fee: Fee) -> bool:
        """Whether it was for this pair: from its accounts, or to its guardians."""
        return fee.sender in self.accounts or fee.to in self.guardians


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTold:
    """What became of one pair. Money in USD."""

    name: str
    reserve_usd: float
    actions: Mapping[str, int]
    paid_in_usd: float
    """From the reserve or from the other leg: still the owner's."""
    gas_usd: float
    trading_usd: float
    """What was lost against the index where a leg was made smaller."""
    liquidations: int
    loss_usd: float
    cost_usd: float
    """Gas, trading and what liquidations took."""
    hedge_left: float
    """Of the perp's size at the beginning: 1 where the pair is hedged as before."""


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
        if told[TOGETHER].hedge_left < told[SEPARATELY].hedge_left:
            found.append("as one book less is left of the hedge than separately")
        # Which of two is cheaper tells nothing where one gave its hedge away.
        if (
            told[TOGETHER].hedge_left == told[SEPARATELY].hedge_left
            and told[TOGETHER].cost_usd >= told[SEPARATELY].cost_usd
        ):
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
    legs: tuple[Leg, Leg]
    """The loan and the perp."""
    pairs: tuple[Pair, ...]
    keeper: DevAccount | None
    """Who calls the guardians; None where there are none."""
    reserve_raw: int
    folder: Path
    environ: Mapping[str, str]
    show: Callable[[str], None]
    _blocks: list[tuple[BlockView, BlockView]] = field(default_factory=list)

    async def play(self) -> PairReport:
        """Run the whole path and stop the keeper. Raises `KeeperFailedError`."""
        chain = self.ground.chain
        begun = {pair.name: self._size(pair) for pair in self.pairs}
        async with RecordingProxy(chain.rpc_url, chain.ws_url) as proxy:
            config = self._write(proxy.http_url, proxy.ws_url)
            environ = {**self.environ, **environment()}
            async with running_keeper(config, self.folder / JOURNAL, environ) as keeper:
                await keeper.ready([pair.label(leg) for pair in self.pairs for leg in self.legs])
                await self._drive(keeper.check)
        return PairReport(
            scenario=self.scenario.name,
            blocks=len(self.ground.path),
            pairs=tuple(self._told(pair, begun) for pair in self.pairs),
            reads_per_block=proxy.recording.reads_per_block(),
            broadcasts=proxy.recording.broadcasts(),
        )

    def _write(self, rpc_url: str, ws_url: str) -> Path:
        chain = self.ground.chain
        text = chain_section(chain, rpc_url, ws_url) + aave_section(chain) + self.ground.perp.toml()
        owners = {each.address: each for pair in self.pairs for each in pair.accounts.values()}
        for signer in owners.values() if self.keeper is None else (self.keeper,):
            text += signer_section(self.folder, signer.name, signer.private_key)
        for pair in self.pairs:
            for place, (leg, account) in enumerate(
                zip(self.legs, (pair.loan, pair.perp), strict=True)
            ):
                signer = self.keeper or account
                text += protected_section(
                    pair.label(leg), leg.policy, leg.market, account.address, signer.name
                )
                if pair.guardians:
                    text += f'guardian = "{pair.guardians[place]}"\n'
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
        owners = {pair.guardians[1]: pair.perp.address for pair in self.pairs if pair.guardians}
        perps = PerpWitness(market=market, perp=perp, accounts=accounts, owners=owners)
        pace = Pace(self.scenario.wall_seconds, stop)
        for tick, _ in zip(self.ground.path, pace.beats(), strict=False):
            number = market.step(tick)
            self._blocks.append((lending.look(number), perps.look(number)))

    def _told(self, pair: Pair, begun: Mapping[str, int]) -> PairTold:
        """`begun`: the size of each pair's perp at the beginning."""
        tokens = self.ground.chain.contracts.tokens
        units = {
            token.address: self.ground.chain.contracts.token(symbol).unit
            for symbol, token in tokens.items()
        }
        weth, mine = tokens["WETH"].address, pair.accounts
        actions, losses = Counter[str](), list[int]()
        paid_usd8 = gas_usd8 = traded_usd8 = 0
        for lending, perps in self._blocks:
            prices = lending.prices_usd8

            def usd8(asset: Address, raw: int, prices: Mapping[Address, int] = prices) -> int:
                return raw * prices[asset] // units[asset]

            gas_usd8 += sum(usd8(weth, fee.wei) for fee in lending.fees if pair.paid(fee))
            for event in (*lending.events, *perps.events):
                match event:
                    case Supplied() | Repaid() | Deposited() if event.account in mine:
                        actions[self._kind(event)] += 1
                        paid_usd8 += usd8(event.asset, event.amount_raw)
                    case Liquidated() if event.account in mine:
                        seized = usd8(event.collateral_asset, event.seized_raw)
                        losses.append(seized - usd8(event.debt_asset, event.repaid_raw))
                    case Reduced() if event.account in mine:
                        actions["ReducePosition"] += 1
                        traded_usd8 += event.worth_usd8 - event.quote_usd8
                    case TakenOver() if event.account in mine:
                        losses.append(event.penalty_usd8)
                    case _:
                        pass
        unit = self.ground.chain.contracts.token(SETTLEMENT).unit
        return PairTold(
            name=pair.name,
            reserve_usd=self.reserve_raw / unit,
            actions=dict(actions),
            paid_in_usd=paid_usd8 / 1e8,
            gas_usd=gas_usd8 / 1e8,
            liquidations=len(losses),
            loss_usd=sum(losses) / 1e8,
            trading_usd=traded_usd8 / 1e8,
            cost_usd=(gas_usd8 + traded_usd8 + sum(losses)) / 1e8,
            hedge_left=self._size(pair) / begun[pair.name],
        )

    def _size(self, pair: Pair) -> int:
        """Of its perp, now."""
        perp = self.ground.perp.perp
        base = perp.base_tokens["vETH"].address
        return int(
            self.ground.chain.read(
                perp.account_balance, "getTakerPositionSize", pair.perp.address, base
            )
        )

    def _kind(self, event: Supplied | Repaid | Deposited) -> str:
        """There is no reserve where guardians act: what they deposit comes from the loan."""
        if isinstance(event, Deposited) and self.keeper is not None:
            return "MoveMargin"
        return _KINDS[type(event)]


_KINDS: Final = {Supplied: "AddCollateral", Repaid: "Repay", Deposited: "AddMargin"}
