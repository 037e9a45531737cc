"""Tells an owner what a position needs that the keeper does not give it: how much, by when, how likely.

The amounts are the protocol's own arithmetic, to the smallest unit; the time and the probabilities are
the forecast's. Looked at after everything is sent, so that telling delays no protection.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from keeper.engine.ahead import Chance, chances
from keeper.engine.approval import Approved
from keeper.engine.decided import Decided
from keeper.engine.outlook import Outlook
from keeper.engine.records import described
from keeper.engine.scribe import Scribe
from keeper.engine.watch import Snapshot, Watched, WatchedMarket
from keeper.model.alerts import Alert, AlertFields, Notifier, Severity
from keeper.model.reading import ReadingError
from keeper.model.units import WAD, Wad
from keeper.model.values import PositionState
from keeper.policy.needed import Needed, needed
from keeper.policy.plan import Plan, Refused

MARGIN_CALL = "position.margin_call"
ANEW_S = 60
"""A position's figures are worked out anew after this."""
MOST_A_PASS = 20
"""Positions that are worked out in one pass: the rest waits for the next block."""
TOLERABLE = 0.05
"""The probability of a breach by which help has to be there, where the policy names none."""


class MarginCalls:
    """Remembers whom it has told, and when."""

    def __init__(
        self,
        *,
        watched: Sequence[Watched],
        markets: Mapping[str, WatchedMarket],
        notifier: Notifier,
        scribe: Scribe,
        live: bool,
    ) -> None:
        self._scribe = scribe
        self._watched = watched
        self._markets = markets
        self._notifier = notifier
        self._live = live
        self._told_at: dict[int, int] = {}

    def tell(
        self,
        snapshot: Snapshot,
        outlook: Outlook,
        *,
        acting: Sequence[int],
        decided: Sequence[Decided],
        approved: Sequence[Approved],
    ) -> None:
        """`acting`: the rows that something should be done about."""
        for row in set(self._told_at) - set(acting):
            self._notifier.resolve(MARGIN_CALL, self._watched[row].label)
            del self._told_at[row]
        done = {each.row: each.plan for each, _ in approved} if self._live else {}
        now = snapshot.head.timestamp
        due = [
            each
            for each in decided
            if not _saved(each, done.get(each.row))
            and now - self._told_at.get(each.row, 0) >= ANEW_S
        ][:MOST_A_PASS]
        ahead: Mapping[int, Sequence[Chance]] | None = None
        for each in due:
            self._told_at[each.row] = now
            note = self._scribe.notes.get(each.row, "")
            if isinstance(plan := done.get(each.row), Plan):
                note = f"does what it can, {described(plan.action)}"
            with self._scribe.alone(each.row):
                ahead = chances(outlook) if ahead is None else ahead
                self._call(snapshot, each, ahead.get(each.row, ()), note)

    def _call(self, snapshot: Snapshot, each: Decided, ahead: Sequence[Chance], note: str) -> None:
        watched, read = self._watched[each.row], snapshot.positions[each.row]
        if isinstance(read, ReadingError) or read.health is None:
            return
        aged = each.plan.before
        adapter = self._markets[watched.id.market].adapter
        wanted = needed(
            aged,
            adapter.options(aged),
            lambda action: adapter.predict(action, aged, aged.timestamp),
            watched.policy.target,
        )
        tolerable = watched.policy.trigger_probability or TOLERABLE
        by_s = left_s(read.health, ahead, tolerable)
        now = snapshot.head.timestamp
        self._notifier.notify(
            Alert(
                name=MARGIN_CALL,
                subject=watched.label,
                severity=Severity.CRITICAL,
                text=margin_call(watched, read, wanted, ahead, by_s, now=now, note=note),
                fields=_fields(read.health, wanted, ahead, None if by_s is None else now + by_s),
            )
        )


def left_s(health: Wad, ahead: Sequence[Chance], tolerable: float) -> int | None:
    """Seconds within which a breach stays less likely than `tolerable`, by the forecast's horizons; 0
    where it does not even for the shortest, or nothing is forecast; None beyond the longest."""
    if health <= WAD or not ahead:
        return 0
    likely = [place for place, each in enumerate(ahead) if each.breach_probability >= tolerable]
    if not likely:
        return None
    return 0 if likely[0] == 0 else ahead[likely[0] - 1].horizon_s


def margin_call(
    watched: Watched,
    position: PositionState,
    wanted: Sequence[Needed],
    ahead: Sequence[Chance],
    by_s: int | None,
    *,
    now: int,
    note: str,
) -> str:
    """How much, by when, at what probability, and what the keeper does about it. Times are UTC."""
    policy = watched.policy
    health = 0 if position.health is None else position.health
    how_much = " or ".join(map(str, wanted)) or "no payment that the protocol takes now suffices"
    if by_s is None:
        by = "within a week"
    elif by_s == 0:
        by = "at once"
    else:
        by = f"by {datetime.fromtimestamp(now + by_s, UTC):%Y-%m-%d %H:%M} UTC"
    likely = ", ".join(
        f"{100 * each.breach_probability:.2g} % within {_span(each.horizon_s)}" for each in ahead
    )
    return (
        f"health {health / WAD:.4f} (floor {policy.floor / WAD:g}). To reach {policy.target / WAD:g}: "
        f"{how_much}, {by}. Liquidation: {likely or 'no forecast'}. The keeper: {note or 'nothing'}"
    )


def _fields(
    health: Wad, wanted: Sequence[Needed], ahead: Sequence[Chance], by: int | None
) -> AlertFields:
    return {
        "health": f"{health / WAD:.6f}",
        "by": by,
        **{f"{each.kind}_{each.amount.token.symbol}": str(each.amount.raw) for each in wanted},
        **{f"probability_{each.horizon_s}s": each.breach_probability for each in ahead},
    }


def _saved(each: Decided, plan: Plan | Refused | None) -> bool:
    """Whether it is brought to its target now, in this block or by slices over some, or left because
    that costs more than it spares, of which others tell."""
    if isinstance(each.plan, Refused):
        return each.plan.not_worth
    return isinstance(plan, Plan) and (plan.reaches_target or plan.slice)


def _span(seconds: int) -> str:
    for unit, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit} {word}"
    return f"{seconds} s"
