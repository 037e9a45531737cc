"""The scores as one HTML file that needs no other: tables, reliability diagrams, tests."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isfinite
from pathlib import Path
from typing import Final

from keeper.backtest.coverage import Coverage
from keeper.backtest.diagrams import pairs_picture, pit_picture, reliability_picture
from keeper.backtest.models import hours
from keeper.backtest.score import POOLED, Pool, Row
from keeper.backtest.sheet import day, image, write_page
from keeper.forecast.calibration import Calibration
from keeper.forecast.realised import DAY_S, HOUR_S
from keeper.model.book import Floats

FIGURES: Final = {HOUR_S: (0.15, 0.005), 4 * HOUR_S: (0.14, 0.005), DAY_S: (0.09, 0.006)}
"""What the forecast is to reach over all pairs: Brier skill at least, calibration error at most."""
LEAST_RATIO: Final = 0.9
MOST_RATIO: Final = 1.1
"""And observed over predicted, among forecasts of 1 to 5 %, in between."""


def falls_short(row: Row) -> dict[str, str]:
    """Which of its figures a default row misses: by the field, as it is said to people."""
    if not row.default or row.horizon_s not in FIGURES:
        return {}
    least, most = FIGURES[row.horizon_s]
    missed = {}
    if not row.brier_skill >= least:
        missed["brier_skill"] = f"Brier skill {row.brier_skill:.3f} < {least}"
    if not row.calibration_error <= most:
        missed["calibration_error"] = f"calibration error {row.calibration_error:.4f} > {most}"
    ratio = row.observed_over_predicted_1_5
    if not LEAST_RATIO <= ratio <= MOST_RATIO:
        missed["observed_over_predicted_1_5"] = (
            f"observed/predicted {ratio:.2f} not in {LEAST_RATIO} to {MOST_RATIO}"
        )
    return {field: f"{row.pair}, {hours(row.horizon_s)}: {said}" for field, said in missed.items()}


def write(
    path: Path,
    rows: Sequence[Row],
    pools: Mapping[str, Mapping[int, Pool]],
    covered: Iterable[Coverage],
    chances: Mapping[str, Floats],
    calibration: Calibration,
) -> None:
    """Write the report; `pools` by pair and horizon."""
    pooled = [row for row in rows if row.pair == POOLED]
    missed = [said for row in pooled for said in falls_short(row).values()]
    verdict = (
        "<p>Falls short: " + "; ".join(map(escape, missed)) + ".</p>"
        if missed
        else "<p>The pooled forecast reaches its figures at every horizon scored.</p>"
    )
    sections = [
        "<h1>Breach probabilities, scored</h1>",
        (
            f"<p>Fitted on prices up to {day(calibration.until)}; scored from "
            f"{day(min(row.first for row in rows))} to {day(max(row.last for row in rows))}. An episode "
            "begins every hour at health 1.01, 1.03, 1.05, 1.10 and 1.20; it counts as breached when the "
            "modelled oracle (a round at 0.5 % or one hour) takes health to 1 within the horizon. Skills "
            "are against climatology: each pair's frequency in the span of the fit.</p>"
        ),
        verdict,
        f"<p>{escape(against(pooled))}</p>",
        "<h2>Reliability</h2>",
        image(reliability_picture(pools.get(POOLED, {})), "Observed frequency against forecast"),
        "<h2>All pairs together</h2>",
        _table(pooled),
        "<h2>Each pair, the daemon's forecast</h2>",
        "<p>Red: short of what is asked of all pairs together.</p>",
        _table([row for row in rows if row.pair != POOLED and row.default], alone=True),
        "<h2>Reliability of each pair</h2>",
        image(
            pairs_picture({pair: of for pair, of in pools.items() if pair != POOLED}),
            "Observed frequency against forecast, pair by pair",
        ),
        "<h2>Probability integral transform, 24 h</h2>",
        image(pit_picture(chances), "Histograms that are flat where the tables are right"),
        "<h2>Rare falls: Kupiec's test of how often, Christoffersen's of flocking</h2>",
        _coverage(covered),
        "<h2>Each pair, every model</h2>",
        _table([row for row in rows if row.pair != POOLED and not row.default]),
        "<h2>Fitted on</h2><ul>",
        *(f"<li>{escape(p)}: {day(a)} to {day(b)}</li>" for p, (a, b) in calibration.spans.items()),
        "</ul><p>Files and their SHA-256:</p><ul>",
        *(f"<li>{escape(n)} <code>{h}</code></li>" for n, h in calibration.inputs.items()),
        "</ul>",
    ]
    write_page(path, "Breach probabilities, scored", sections)


SIGNIFICANT: Final = 0.01


def against(pooled: Iterable[Row]) -> str:
    """Which of the others the daemon's forecast beats over all pairs, and how surely."""
    others = [row for row in pooled if not row.default and row.horizon_s in FIGURES]
    named = {row: f"{row.model} at {hours(row.horizon_s)}" for row in others}
    better = [row for row in others if row.dm_t < 0.0 and row.dm_p < SIGNIFICANT]
    unsure = [row for row in others if not row.dm_p < SIGNIFICANT]
    beaten = len(others) - len(better) - len(unsure)
    said = (
        f"By Diebold and Mariano's test {beaten} of {len(others)} comparisons are won at "
        f"p < {SIGNIFICANT:g}."
    )
    if unsure:
        said += f" Undecided: {', '.join(named[row] for row in unsure)}."
    if better:
        said += f" Better informed or better: {', '.join(named[row] for row in better)}."
    return said


def markdown(rows: Sequence[Row]) -> str:
    """The scores as two tables: all pairs together under every model, and each pair's default."""
    heads = "horizon,forecast,n,base rate,Brier skill,log skill,calibration error,observed / predicted 1–5 %,t,p"
    lines = [*_heads(heads.split(","))]
    for row in rows:
        if row.pair == POOLED and row.horizon_s in FIGURES:
            model = f"**{row.model}**" if row.default else row.model
            tested = ("", "") if row.default else (_number(row.dm_t, 1), _chance(row.dm_p))
            lines.append(_line(hours(row.horizon_s), model, *_scores(row), *tested))
    heads = "horizon,pair,scored,n,base rate,Brier skill,log skill,calibration error,observed / predicted 1–5 %"
    lines += ["", against(row for row in rows if row.pair == POOLED), "", *_heads(heads.split(","))]
    for row in rows:
        if row.default:
            span = f"{day(row.first)} to {day(row.last)}"
            lines.append(_line(hours(row.horizon_s), row.pair, span, *_scores(row)))
    return "\n".join(lines) + "\n"


def _scores(row: Row) -> tuple[str, ...]:
    return (
        f"{row.n:,}",
        _number(row.base_rate, 4),
        _number(row.brier_skill, 3),
        _number(row.log_skill, 3),
        _number(row.calibration_error, 4),
        _number(row.observed_over_predicted_1_5, 2),
    )


def _heads(names: Sequence[str]) -> tuple[str, str]:
    return _line(*names), "|" + "---|" * len(names)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


_HEADS: Final = "model,pair,horizon,from,to,n,base rate,Brier skill,log skill,calibration error,observed / predicted 1–5 %,loses to the daemon's: t,p"


def _table(rows: Iterable[Row], *, alone: bool = False) -> str:
    """`alone`: of one model, which then is compared with none."""
    heads = _HEADS.split(",")
    shown = slice(1, -2) if alone else slice(None)
    lines = [f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads[shown])}</tr>"]
    for row in rows:
        cells = {
            "model": escape(row.model),
            "pair": escape(row.pair),
            "horizon_s": hours(row.horizon_s),
            "first": day(row.first),
            "last": day(row.last),
            "n": f"{row.n:,}",
            "base_rate": _number(row.base_rate, 4),
            "brier_skill": _number(row.brier_skill, 3),
            "log_skill": _number(row.log_skill, 3),
            "calibration_error": _number(row.calibration_error, 4),
            "observed_over_predicted_1_5": _number(row.observed_over_predicted_1_5, 2),
            "dm_t": "" if row.default else _number(row.dm_t, 1),
            "dm_p": "" if row.default else _chance(row.dm_p),
        }
        missed = falls_short(row)
        written = [
            f"<td{' class=short' * (field in missed)}>{cell}</td>" for field, cell in cells.items()
        ]
        marked = " class=default" * (row.default and not alone)
        lines.append(f"<tr{marked}>{''.join(written[shown])}</tr>")
    return "".join([*lines, "</table>"])


def _coverage(covered: Iterable[Coverage]) -> str:
    heads = ("pair", "horizon", "rate", "n", "expected", "came", "Kupiec p", "Christoffersen p")
    lines = [f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"]
    for one in covered:
        cells = (
            escape(one.pair),
            hours(one.horizon_s),
            f"{one.rate:.0%}",
            str(one.n),
            f"{one.rate * one.n:.0f}",
            str(one.hits),
            _number(one.kupiec_p, 3),
            _number(one.christoffersen_p, 3),
        )
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return "".join([*lines, "</table>"])


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if isfinite(value) else "–"


def _chance(p: float) -> str:
    return f"{p:.1g}" if isfinite(p) else "–"
