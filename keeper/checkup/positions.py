"""Positions, what their reserves can bear, and the history that their forecasts come from."""

from collections.abc import Iterator
from math import inf

from keeper.chain.rpc import EndpointUnavailableError
from keeper.checkup.figures import table_line
from keeper.checkup.line import Line, of_error
from keeper.config.settings import Settings
from keeper.engine.runway import all_paid, fall_of, held_until, runway, then
from keeper.inquiry import Seen, look
from keeper.model.errors import ConfigurationError, TemporaryError
from keeper.model.reading import ReadingError
from keeper.model.values import PositionState
from keeper.watching import watched_markets

DEVIATIONS = 3.0


async def looked(settings: Settings) -> Seen | Line:
    """Every position as a pass would see it now, or why none can be seen."""
    try:
        return await look(settings)
    except (ConfigurationError, TemporaryError, ReadingError, EndpointUnavailableError) as error:
        return of_error("positions", "fail", error)


def position_lines(settings: Settings, seen: Seen) -> list[Line]:
    """Of each position, and of what their forecasts come from."""
    adapters = {market.name: market.adapter for market in watched_markets(settings)}
    lines: list[Line] = []
    for row, watched in enumerate(seen.watched):
        position = seen.snapshot.positions[row]
        if isinstance(position, ReadingError):
            lines.append(of_error(f"position {watched.label}", "fail", position))
            continue
        lines.append(_health(seen, row, position))
        volatility = float(seen.outlook.forecast.volatility_per_year[row])
        found = runway(
            position,
            watched,
            adapters[watched.id.market],
            volatility_per_year=volatility,
            book=seen.outlook.book_of(row),
            charter=seen.charter_of(watched.id),
        )
        if found is not None:
            topic = f"reserve {watched.label}"
            held = f"the reserve of {found.reserve_usd:,.0f} USD"
            bears = (
                all_paid(found.against)
                if found.in_deviations == inf
                else held_until(found.against, found.held_down_to)
            )
            lasts = found.holds(DEVIATIONS)
            day = f"a day of three standard deviations takes {100 * fall_of(DEVIATIONS, volatility):.1f} %"
            lines.append(
                Line(topic=topic, verdict="ok", what=f"{held} {bears}; {day}")
                if lasts
                else Line(
                    topic=topic,
                    verdict="warn",
                    what=f"{held} {bears}; {day if lasts is not None else 'no volatility is known yet'}"
                    + (f"; then {then(found.against)}" if found.unwinds else ""),
                    fix="put more into the reserve, or set a guardian that may sell collateral "
                    "(docs/UNWINDING.md) or make a perp smaller (docs/PERPS.md)",
                )
            )
    return [*lines, *_history(seen)]


def _health(seen: Seen, row: int, position: PositionState) -> Line:
    watched = seen.watched[row]
    topic = f"position {watched.label}"
    if position.health is None:
        return Line(
            topic=topic,
            verdict="ok",
            what="it has neither debt nor position: nothing can be liquidated",
        )
    health, floor = position.health / 1e18, watched.policy.floor / 1e18
    by_hand = "topup" if position.terms_shown else "repay"
    return Line(
        topic=topic,
        verdict="ok" if health >= floor else "warn",
        what=f"health {health:.3f}, floor {floor:.3f}",
        fix=""
        if health >= floor
        else f"keeper run --live acts at once; keeper act {by_hand} --simulate",
    )


def _history(seen: Seen) -> Iterator[Line]:
    """Of each feed that a position depends on: whether the forecast has enough of it, and of when."""
    now = seen.snapshot.head.timestamp
    cold = {
        seen.outlook.columns[k].label: why
        for row in range(len(seen.watched))
        for k in seen.outlook.columns_of(row)
        if (why := seen.outlook.why_cold[k]) is not None
    }
    for name, why in cold.items():
        yield Line(
            topic="history",
            verdict="warn",
            what=f"{name}: {why}",
            fix="keeper prices fetch",
        )
    if not cold:
        what = "every price that a position depends on has rounds enough for its forecast"
        yield Line(topic="history", verdict="ok", what=what)
    if seen.outlook.calibration is not None:
        yield table_line(seen.outlook.calibration, now=now)
