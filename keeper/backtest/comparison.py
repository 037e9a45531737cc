"""Policies compared: everything that a report or a page shows of one replay."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Final

from keeper.backtest.crashes import Crash, HealthPath, crashes, health_paths, lowest_survivors
from keeper.backtest.lanes import Rules
from keeper.backtest.positions import EPISODE_S, Known, Positions
from keeper.backtest.replay import Replayed
from keeper.backtest.replay_pictures import costs_and_paths
from keeper.backtest.sheet import day, image, table, write_page
from keeper.backtest.tally import POOLED, Difference, Row, by_year, difference, tail_mean
from keeper.forecast.realised import DAY_S
from keeper.policy.worth import GUARD_SHARE

RIVAL: Final = "fixed_guard_1.25_1.40"
PICTURED: Final = 5
"""Policies in one picture: more cannot be told apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """One replay of some policies."""

    known: Known
    positions: Positions
    rules: Rules
    replayed: Replayed
    rows: Sequence[Row]
    seed: int

    @property
    def rival(self) -> str | None:
        """Whom the others are held against: the strongest rival, or the first policy if it is not
        there; None for one policy alone."""
        names = self.replayed.policies
        if len(names) < 2:
            return None
        return RIVAL if RIVAL in names else names[0]

    @cached_property
    def span(self) -> tuple[float, float]:
        """From the first start to the last end."""
        ends = self.positions.starts + EPISODE_S
        return float(self.positions.starts.min()), float(ends.max())

    @cached_property
    def crashes(self) -> list[Crash]:
        """The deepest within the span."""
        return crashes(self.known, *self.span)

    @cached_property
    def differences(self) -> Mapping[str, Difference]:
        """Every policy's cost less the rival's."""
        if self.rival is None:
            return {}
        names, cost = self.replayed.policies, self.replayed.cost_usd
        other = cost[names.index(self.rival)]
        return {
            name: difference(own, other, self.positions.starts, seed=self.seed)
            for name, own in zip(names, cost, strict=True)
            if name != self.rival
        }

    def survivors(self) -> Iterator[tuple[Crash, Mapping[str, float | None]]]:
        """Of every crash, the lowest health that each policy brings through."""
        for crash in self.crashes:
            yield crash, lowest_survivors(crash, self.known, self.rules, seed=self.seed)

    def picture(self) -> bytes:
        """Cost distributions, and the deepest crash."""
        shown = self._shown()
        costs = {name: self.replayed.cost_usd[self.replayed.policies.index(name)] for name in shown}
        deepest = max(self.crashes, key=lambda crash: crash.fall, default=None)
        paths: Sequence[HealthPath] = ()
        if deepest is not None:
            rules = {name: self.rules[name] for name in shown}
            paths = health_paths(deepest, self.known, rules, seed=self.seed)
        return costs_and_paths(costs, deepest, paths)

    def _shown(self) -> list[str]:
        """Doing nothing, the rival, the default, then as they come."""
        default = [row.policy for row in self.rows if row.default]
        wanted = [*self.replayed.policies[:1], *filter(None, [self.rival]), *default]
        return list(dict.fromkeys([*wanted, *self.replayed.policies]))[:PICTURED]


HEADS: Final = (
    "policy", "group", "episodes", "mean USD", "p95", "p99", "CVaR99", "liquidated", "economic",
    "worsened", "actions", "needless",
)  # fmt: skip


LEGEND: Final = (
    "p95, p99: what the dearest twentieth and hundredth of the episodes cost at least. CVaR99: what the "
    "dearest hundredth cost on average. economic: liquidated among the positions worth protecting, whose "
    f"gas in calm is at most {GUARD_SHARE:g} of what a liquidation takes. worsened: episodes in which an action "
    "lowered health, or that were liquidated and would have survived untouched. needless: actions in episodes that would have survived untouched."
)


def cells(row: Row) -> tuple[str, ...]:
    """A row as people read it, in the order of `HEADS`."""
    return (
        row.policy,
        row.group,
        f"{row.episodes:,}",
        *(f"{v:,.0f}" for v in (row.mean_usd, row.p95_usd, row.p99_usd, row.cvar99_usd)),
        f"{row.liquidated_share:.2%}",
        f"{row.economic_liquidated_share:.2%}",
        f"{row.worsened:,}",
        f"{row.actions:,}",
        f"{row.needless_actions:,}",
    )


def write(path: Path, found: Comparison) -> None:
    """The report as one HTML file."""
    first, last = found.span
    pooled = [row for row in found.rows if row.group == POOLED]
    files = {
        f.name: f.sha256() for own in found.known.values() for track in own for f in track.files
    }
    sections = [
        "<h1>What policies would have cost</h1>",
        (
            f"<p>{len(found.positions):,} positions that start from {day(first)} on and end by "
            f"{day(last)}, each watched for up to {EPISODE_S // DAY_S} days under every policy, on the "
            f"same paths, with the same latency, gas and luck (seed {found.seed}). Costs in US dollars: "
            "gas, swap fees, price impact, carry of moved reserve, and liquidation penalties.</p>"
        ),
        image(found.picture(), "Cost distributions, and health through the deepest crash"),
        "<h2>All positions together</h2>",
        f"<p>{LEGEND}</p>",
        table(HEADS, ((row.default, cells(row)) for row in pooled)),
        *_against(found),
        "<h2>Lowest starting health that lives through each crash</h2>",
        (
            "<p>A debt of 100,000 dollars a day before the fall, a quarter of it in reserve, five minutes "
            "of latency, gas of 20 dollars in calm; “–”: not even 2.00.</p>"
        ),
        _survivors(found),
        "<h2>Each pair</h2>",
        table(HEADS, ((row.default, cells(row)) for row in found.rows if row.group != POOLED)),
        "<h2>Each year</h2>",
        _years(found),
        "<h2>Prices</h2><ul>",
        *(f"<li>{name} <code>{digest}</code></li>" for name, digest in sorted(files.items())),
        "</ul>",
    ]
    write_page(path, "What policies would have cost", sections)


def _against(found: Comparison) -> list[str]:
    if found.rival is None:
        return []
    heads = ("policy", "mean", "90 % of block bootstraps", "CVaR99", "90 % of block bootstraps")
    return [
        f"<h2>Against {found.rival}</h2>",
        "<p>Paired: the same episodes, resampled in blocks of thirty days, all pairs together.</p>",
        table(heads, ((False, (name, *spread(each))) for name, each in found.differences.items())),
    ]


def spread(found: Difference) -> tuple[str, str, str, str]:
    """Mean and tail against the rival's, each with its interval."""
    said = []
    for middle, low, high in (found.mean, found.cvar99):
        said += [_percent(middle), f"{_percent(low)} to {_percent(high)}"]
    return said[0], said[1], said[2], said[3]


def _percent(value: float) -> str:
    return f"{value:+.1%}" if isfinite(value) else "–"


def _survivors(found: Comparison) -> str:
    lines = []
    for crash, lowest in found.survivors():
        told = [f"{low:.2f}" if low is not None else "–" for low in lowest.values()]
        lines.append((False, (crash.name, f"{crash.track.pair} −{crash.fall:.0%}", *told)))
    return table(("crash", "fall within a day", *found.replayed.policies), lines)


def _years(found: Comparison) -> str:
    lines = []
    for year, mask in by_year(found.positions).items():
        for name, cost in zip(found.replayed.policies, found.replayed.cost_usd, strict=True):
            own = cost[mask]
            told = (f"{len(own):,}", f"{own.mean():,.0f}", f"{tail_mean(own):,.0f}")
            lines.append((False, (name, year, *told)))
    return table(("policy", "year", "episodes", "mean USD", "CVaR99"), lines)


def markdown(found: Comparison) -> str:
    """The tables as Markdown."""
    lines = [_line(HEADS), "|" + "---|" * len(HEADS)]
    lines += [_line(cells(row)) for row in found.rows]
    if found.rival is not None:
        heads = (f"against {found.rival}", "mean", "90 %", "CVaR99", "90 %")
        lines += ["", _line(heads), "|" + "---|" * len(heads)]
        lines += [_line((name, *spread(each))) for name, each in found.differences.items()]
    policies = found.replayed.policies
    lines += ["", _line(("crash", "fall", *policies)), "|" + "---|" * (2 + len(policies))]
    for crash, lowest in found.survivors():
        told = (f"{low:.2f}" if low is not None else "–" for low in lowest.values())
        lines.append(_line((crash.name, f"{crash.track.pair} −{crash.fall:.0%}", *told)))
    return "\n".join(lines) + "\n"


def _line(told: Sequence[str]) -> str:
    return f"| {' | '.join(told)} |"
