"""What a stretch of time came to: costs, losses avoided and idle capital, from the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keeper.engine.hindsight import LeftAlone, left_alone
from keeper.model.units import SECONDS_PER_DAY
from keeper.storage.ledger import DayView, Entry, Ledger, rounds

COUNTERFACTUAL = (
    "Left alone means: the position as it stood at the first action of an episode, with nobody "
    "acting for it until the position's next episode or the end of the report, valued at every round "
    "that its oracles published since. Where its health would have fallen below 1, one liquidation is "
    "counted: the penalty on the close factor's share of the debt, as both stood at that action. "
    "Interest, later liquidations and what the owner would have done are not counted."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one action, in US dollars; None where the coin's price was not known."""

    fees_usd: float | None
    other_usd: float
    """Swap fees, price impact, carry: as planned."""

    @property
    def total_usd(self) -> float:
        return (self.fees_usd or 0.0) + self.other_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """The actions from one danger to its end, beside what had become of the position without."""

    label: str
    entries: tuple[Entry, ...]
    cost_usd: float
    left_alone: LeftAlone | None
    avoided_usd: float | None
    """None where it cannot be told; 0 where it would have come through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Of one position's reserve, over the days of the report."""

    label: str
    mean_reserve_usd: float
    samples: int
    """In all; a day counts as much as another, however many it has."""
    most_used_in_a_day_usd: float

    @property
    def idle_usd(self) -> float:
        return max(self.mean_reserve_usd - self.most_used_in_a_day_usd, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """All of it."""

    costs: tuple[Cost, ...]
    """Of each entry of the ledger."""
    episodes: tuple[Episode, ...]
    idle: tuple[Idle, ...]

    @property
    def cost_usd(self) -> float:
        return sum(each.total_usd for each in self.costs)

    @property
    def avoided_usd(self) -> float:
        return sum(each.avoided_usd or 0.0 for each in self.episodes)


def balance(journal: Path, ledger: Ledger) -> Balance:
    """Raises `DatabaseUnusableError`."""
    return Balance(
        costs=tuple(map(_cost, ledger.entries)),
        episodes=tuple(_episodes(journal, ledger)),
        idle=tuple(_idle(ledger)),
    )


def _cost(entry: Entry) -> Cost:
    planned = entry.document.get("costs", {})
    native = entry.document["inputs"].get("native_usd")
    done = entry.decision.outcome == "done"
    return Cost(
        fees_usd=None if native is None else entry.fees_wei / 1e18 * native,
        other_usd=planned.get("cash_usd", 0.0) - planned.get("gas_usd", 0.0) if done else 0.0,
    )


def _episodes(journal: Path, ledger: Ledger) -> list[Episode]:
    grouped: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
    for entry in ledger.entries:
        if entry.episode is not None:
            view = entry.decision
            grouped[view.market, view.account, entry.episode].append(entry)
    found = []
    for (market, account, _), entries in grouped.items():
        first = entries[0]
        later = [
            each[0].decision.timestamp
            for (its_market, its_account, _), each in grouped.items()
            if (its_market, its_account) == (market, account)
            and each[0].decision.timestamp > first.decision.timestamp
        ]
        alone = _left_alone(journal, first, until=min(later, default=ledger.until))
        found.append(
            Episode(
                label=first.decision.label,
                entries=tuple(entries),
                cost_usd=sum(_cost(each).total_usd for each in entries),
                left_alone=alone,
                avoided_usd=_avoided(entries, alone),
            )
        )
    return found


def _left_alone(journal: Path, first: Entry, *, until: int) -> LeftAlone | None:
    terms = first.document["inputs"].get("health_terms", [])
    since = first.decision.timestamp
    feeds = [each["feed"] for each in terms if each["feed"]]
    return left_alone(
        terms, rounds(journal, first.chain_id, feeds, since), since=since, until=until
    )


def _avoided(entries: Sequence[Entry], alone: LeftAlone | None) -> float | None:
    if alone is None:
        return None
    helped = any(each.decision.outcome == "done" for each in entries)
    if not helped or alone.liquidatable_at is None:
        return 0.0
    loss: float = entries[0].document["at_stake"]["liquidation_loss_usd"]
    return loss


def _idle(ledger: Ledger) -> list[Idle]:
    held: dict[str, list[DayView]] = defaultdict(list)
    for each in ledger.days:
        held[each.label].append(each)
    used: dict[tuple[str, int], float] = defaultdict(float)
    for entry in ledger.entries:
        view = entry.decision
        if view.outcome == "done" and view.kind not in ("Deleverage", "ReducePosition"):
            used[view.label, view.timestamp // SECONDS_PER_DAY] += view.amount_usd or 0.0
    return [
        Idle(
            label=label,
            mean_reserve_usd=sum(each.mean_reserve_usd for each in days) / len(days),
            samples=sum(each.samples for each in days),
            most_used_in_a_day_usd=max(
                (usd for (of, _), usd in used.items() if of == label), default=0.0
            ),
        )
        for label, days in held.items()
    ]
