"""What a drill came to, position by position."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from keeper.devnet.falling import BlockFacts, Fall, Subject
from keeper.model.units import WAD, Address, Wad
from keeper.storage.views import DecisionView

ETHER = 10**18
Verdict = Literal["saved", "liquidated", "not in danger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionTold:
    """One position from the fork to the end. Healths are None without debt."""

    label: str
    market: str
    account: Address
    verdict: Verdict
    health_start: float | None
    health_without_keeper: float | None
    """At the bottom, if nobody had acted."""
    health_lowest: float | None
    health_end: float | None
    actions: int
    moved_usd: float
    gas_usd: float | None
    """None where no market prices the chain's coin."""
    gas_wei: int
    swap_usd: float
    liquidation_loss_usd: float
    last_refusal: str | None

    @property
    def cost_usd(self) -> float | None:
        """Cash: gas and swaps. What was moved stays the owner's."""
        return None if self.gas_usd is None else self.gas_usd + self.swap_usd

    def document(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "market": self.market,
            "account": self.account,
            "verdict": self.verdict,
            "health": {
                "start": self.health_start,
                "without_keeper": self.health_without_keeper,
                "lowest": self.health_lowest,
                "end": self.health_end,
            },
            "actions": self.actions,
            "moved_usd": self.moved_usd,
            "cost_usd": self.cost_usd,
            "gas_usd": self.gas_usd,
            "gas_wei": str(self.gas_wei),
            "swap_usd": self.swap_usd,
            "liquidation_loss_usd": self.liquidation_loss_usd,
            "last_refusal": self.last_refusal,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """The whole drill."""

    fall: Fall
    blocks: int
    late_blocks: int
    """That the keeper was not through with when the next one came."""
    positions: tuple[PositionTold, ...]
    unmoved: tuple[Address, ...]
    """Pools that stayed where they were."""

    @property
    def all_kept(self) -> bool:
        """Whether nobody was liquidated."""
        return all(each.verdict != "liquidated" for each in self.positions)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "drop_percent": self.fall.drop_percent,
            "over_s": self.fall.over_s,
            "block_s": self.fall.step_s,
            "blocks": self.blocks,
            "late_blocks": self.late_blocks,
            "pools_not_moved": list(self.unmoved),
            "positions": [each.document() for each in self.positions],
        }


@dataclass(slots=True, kw_only=True)
class Tally:
    """Adds blocks up."""

    subjects: Sequence[Subject]
    _start: list[Wad | None] = field(default_factory=list)
    _lowest: list[Wad | None] = field(default_factory=list)
    _end: list[Wad | None] = field(default_factory=list)
    _losses_usd8: dict[tuple[str, Address], int] = field(default_factory=dict)
    _fees: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """By transaction: wei, and what a coin was worth in its block."""
    _swaps_usd8: dict[str, int] = field(default_factory=dict)
    _blocks: int = 0

    def begin(self, healths: Sequence[Wad | None]) -> None:
        """As the fork has them."""
        self._start, self._lowest, self._end = list(healths), list(healths), list(healths)

    def add(self, facts: BlockFacts) -> None:
        """The next block."""
        self._blocks += 1
        self._end = list(facts.healths)
        self._lowest = [
            min((h for h in pair if h is not None), default=None)
            for pair in zip(self._lowest, facts.healths, strict=True)
        ]
        for key, loss in facts.losses_usd8.items():
            self._losses_usd8[key] = self._losses_usd8.get(key, 0) + loss
        for transaction, wei in facts.fees_wei.items():
            self._fees[transaction] = (wei, facts.native_usd8)
        self._swaps_usd8 |= facts.swaps_usd8

    def report(
        self,
        *,
        fall: Fall,
        without: Sequence[Wad | None],
        decided: Sequence[DecisionView],
        late_blocks: int,
        unmoved: tuple[Address, ...],
    ) -> DrillReport:
        """`decided`: what the keeper's journal holds."""
        by_label: dict[str, list[DecisionView]] = {}
        for decision in decided:
            by_label.setdefault(decision.label, []).append(decision)
        return DrillReport(
            fall=fall,
            blocks=self._blocks,
            late_blocks=late_blocks,
            unmoved=unmoved,
            positions=tuple(
                self._told(place, subject, without[place], by_label.get(subject.label, []))
                for place, subject in enumerate(self.subjects)
            ),
        )

    def _told(
        self,
        place: int,
        subject: Subject,
        without: Wad | None,
        decided: Sequence[DecisionView],
    ) -> PositionTold:
        done = [each for each in decided if each.outcome == "done"]
        refused = [each.reason for each in decided if not each.approved]
        sent = [tx.tx_hash for each in decided for tx in each.transactions]
        fees = [self._fees[each] for each in dict.fromkeys(sent) if each in self._fees]
        key = (subject.market, subject.account)
        verdict: Verdict = (
            "liquidated"
            if key in self._losses_usd8
            else "saved"
            if without is not None and without < WAD
            else "not in danger"
        )
        return PositionTold(
            label=subject.label,
            market=subject.market,
            account=subject.account,
            verdict=verdict,
            health_start=_float(self._start[place]),
            health_without_keeper=_float(without),
            health_lowest=_float(self._lowest[place]),
            health_end=_float(self._end[place]),
            actions=len(done),
            moved_usd=sum(each.amount_usd or 0.0 for each in done),
            gas_usd=_gas_usd(fees),
            gas_wei=sum(wei for wei, _ in fees),
            swap_usd=sum(self._swaps_usd8.get(each, 0) for each in sent) / 1e8,
            liquidation_loss_usd=self._losses_usd8.get(key, 0) / 1e8,
            last_refusal=refused[-1] if refused else None,
        )


def _gas_usd(fees: Sequence[tuple[int, int | None]]) -> float | None:
    total = 0.0
    for wei, native_usd8 in fees:
        if native_usd8 is None:
            return None
        total += wei * native_usd8 / ETHER / 1e8
    return total


def _float(health: Wad | None) -> float | None:
    return None if health is None else health / WAD
