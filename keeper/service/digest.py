"""The daily summary: how every position stands, what was done and what is wrong."""

from collections.abc import Mapping, Sequence

from keeper.engine.reporting import PassReport, PositionReport
from keeper.model.alerts import Alert, Severity

DIGEST = "keeper.digest"
MOST_POSITIONS = 20
"""The lowest in health; the rest is counted."""


def digest(
    report: PassReport | None,
    *,
    actions: Mapping[tuple[str, str], int],
    spent_wei: int,
    standing: Sequence[Alert],
) -> Alert:
    """`actions` of the last 24 hours by kind and outcome, `spent_wei` what their gas has cost."""
    lines = ["no pass has ended yet"] if report is None else _positions(report)
    done = ", ".join(f"{count} {kind} {outcome}" for (kind, outcome), count in actions.items())
    lines.append(
        f"24 hours: {done or 'nothing to do'}; gas {spent_wei / 1e18:.6f} of the chain's coin"
    )
    wrong = ", ".join(f"{each.name} {each.subject}".strip() for each in standing)
    lines.append(f"alerts that stand: {wrong or 'none'}")
    return Alert(name=DIGEST, severity=Severity.INFO, text="\n".join(lines))


def _positions(report: PassReport) -> list[str]:
    ordered = sorted(report.positions, key=_danger)
    lines = [f"block {report.head.number}, {len(ordered)} positions"]
    lines += [_line(each) for each in ordered[:MOST_POSITIONS]]
    if len(ordered) > MOST_POSITIONS:
        lines.append(f"and {len(ordered) - MOST_POSITIONS} healthier ones")
    return lines


def _danger(position: PositionReport) -> tuple[bool, float]:
    health = float("inf") if position.health is None else position.health
    return position.readable, health


def _line(position: PositionReport) -> str:
    if not position.readable:
        return f"{position.label}: CANNOT BE READ"
    if position.health is None:
        return f"{position.label}: no debt"
    likely = position.breach_probability
    forecast = "no forecast" if likely is None else f"breach {100 * likely:.2g} %"
    return f"{position.label}: health {position.health:.4f}, {forecast}"
